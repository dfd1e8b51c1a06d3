"""People: an articulated figure in three dimensions, its clothes, and how far a synthetic one differs (``gap``).

Joints are tabled in units of stature; x is the figure's right, y its front, z up. Where people stand and who hides whom
is in ``realfake.generators.procedural``.
"""

import math
from dataclasses import dataclass

import numpy as np

from realfake.aerial.camera import Array
from realfake.aerial.solids import Solid

Colour = tuple[float, float, float]
POSES = ("stand", "kneel", "prone")
STATURE = 1.7  # metres: the stature that a domain's statures in pixels are stated for
SKINS = ((236, 188, 154), (198, 140, 104), (141, 92, 62), (92, 60, 44))
HAIRS = ((36, 30, 28), (84, 58, 38), (150, 116, 70), (120, 118, 116))


@dataclass(frozen=True)
class Character:
    """One of eight bodies: stature in metres, width relative to the average, and what it wears in a game engine."""

    stature: float
    width: float
    shirt: Colour
    trousers: Colour


CHARACTERS = (
    Character(1.70, 1.00, (30, 90, 255), (20, 20, 160)),
    Character(1.78, 1.08, (255, 40, 30), (60, 60, 70)),
    Character(1.62, 0.92, (255, 215, 0), (150, 0, 190)),
    Character(1.85, 1.12, (0, 200, 90), (120, 70, 10)),
    Character(1.55, 0.90, (255, 80, 200), (255, 255, 255)),
    Character(1.74, 1.15, (255, 130, 0), (0, 110, 110)),
    Character(1.66, 0.96, (0, 220, 230), (200, 20, 60)),
    Character(1.80, 1.00, (170, 60, 255), (80, 200, 0)),
)


@dataclass(frozen=True)
class Person:
    """What a figure is drawn from, and what became of it in the image.

    ``character`` 0-7, ``pose`` of POSES, ``yaw`` in degrees counter-clockwise (0 faces away from the camera),
    ``place`` (x, y) on the ground and ``stature`` in metres, ``gait`` four numbers around 0: stride, arm swing, lean,
    arm spread. ``stature_pixels``: its length seen side-on at its distance. ``visible``: the share of its pixels that
    neither another thing nor the border hides.
    """

    character: int
    pose: str
    yaw: float
    place: tuple[float, float]
    stature: float
    gait: tuple[float, float, float, float]
    shirt: Colour
    trousers: Colour
    skin: Colour
    hair: Colour
    stature_pixels: float = 0.0
    visible: float = 1.0


@dataclass(frozen=True)
class Body:
    """How a figure is built and shaded, relative to a person; ``vivid`` is how far its colours are the character's."""

    limbs: float = 1.0
    torso: float = 1.0
    head: float = 1.0
    arms: float = 1.0
    spread: float = 0.0
    motion: float = 1.0
    shade: float = 1.0
    vivid: float = 0.0


def body(gap: float) -> Body:
    """Return a person's body at gap 0, an unshaded, saturated, stiff mannequin's at 1; beyond, limbs swell further.

    Raises ValueError for a negative gap.
    """
    if gap < 0:
        raise ValueError(f"gap={gap} is negative; write 0 for people drawn as the real ones, 1 for mannequins")
    return Body(
        limbs=1 + 0.9 * gap,
        torso=1 + 0.35 * gap,
        head=1 + 0.5 * gap,
        arms=1 + 0.3 * gap,
        spread=0.14 * gap,
        motion=max(0.0, 1 - gap),
        shade=max(0.0, 1 - gap),
        vivid=min(1.0, gap),
    )


def dress(rng: np.random.Generator, clothes: tuple[Colour, ...]) -> tuple[Colour, Colour, Colour, Colour]:
    """Return shirt, trousers, skin and hair drawn from a domain's clothes: every colour a little off."""
    picks = [clothes[rng.integers(len(clothes))], clothes[rng.integers(len(clothes))]]
    picks += [SKINS[rng.integers(len(SKINS))], HAIRS[rng.integers(len(HAIRS))]]
    shift = rng.normal(0, 9, (4, 3))
    shirt, trousers, skin, hair = np.clip(np.array(picks) + shift, 0, 255).tolist()
    return tuple(shirt), tuple(trousers), tuple(skin), tuple(hair)


def figure(person: Person, gap: float = 0.0) -> Solid:
    """Return a person as capsules in metres: a pure function of the attributes and the gap, whatever the domain."""
    build = body(gap)
    joints = _joints(person, build)
    pairs, radii, colours = _parts(person, build)
    turned = _turn(joints * person.stature, person)
    return Solid(person.place, turned[np.array(pairs).T], radii * person.stature, colours, shade=build.shade)


# --------------------------------------------------------------------------------------------------------- the skeleton

# head, neck, then left and right (x mirrored): shoulder, elbow, hand, hip, knee, foot
_TABLE = {
    "stand": ((0.02, 0.93), (0.0, 0.84), (0.115, 0.0, 0.80), (0.15, 0.0, 0.63), (0.155, 0.05, 0.47),
              (0.055, 0.0, 0.52), (0.06, 0.0, 0.28), (0.065, 0.0, 0.04)),
    "kneel": ((0.12, 0.70), (0.08, 0.62), (0.115, 0.06, 0.58), (0.15, 0.12, 0.43), (0.11, 0.24, 0.32),
              (0.06, 0.0, 0.29), (0.08, 0.13, 0.05), (0.075, -0.17, 0.05)),
    "prone": ((0.45, 0.07), (0.36, 0.07), (0.115, 0.32, 0.06), (0.19, 0.37, 0.04), (0.2, 0.49, 0.04),
              (0.055, 0.02, 0.06), (0.07, -0.22, 0.05), (0.08, -0.45, 0.04)),
}  # fmt: skip
HEAD, NECK, SHOULDER, ELBOW, HAND, HIP, KNEE, FOOT = 0, 1, 2, 4, 6, 8, 10, 12


def _joints(person: Person, build: Body) -> Array:
    """Return the joints (14, 3) in units of stature, before turning: each pair left then right."""
    head, neck, *sides = _TABLE[person.pose]
    joints = np.array([(0, *head), (0, *neck), *((sign * x, y, z) for x, y, z in sides for sign in (-1, 1))], float)
    stride, swing, lean, spread = (value * build.motion for value in person.gait)
    sign = np.array([-1.0, 1.0])
    if person.pose == "stand":
        for joint, amount in ((KNEE, 0.07), (FOOT, 0.13)):
            joints[joint : joint + 2, 1] += sign * amount * stride
    for joint, amount in ((ELBOW, 0.06), (HAND, 0.13)):
        joints[joint : joint + 2, 1] -= sign * amount * swing
        joints[joint : joint + 2, 0] += sign * amount * (0.4 * abs(spread) + build.spread / 0.13)
    for joint in (ELBOW, HAND):
        joints[joint : joint + 2] += (joints[joint : joint + 2] - joints[SHOULDER : SHOULDER + 2]) * (build.arms - 1)
    if person.pose != "prone":
        joints[:, 1] += 0.06 * lean * joints[:, 2]
    joints[:, 2] = np.maximum(joints[:, 2], 0.03)
    return joints


def _parts(person: Person, build: Body) -> tuple[list[tuple[int, int]], Array, Array]:
    """Return the pairs of joints that capsules join, their radii in units of stature (n,), and their colours (n, 3)."""
    character = CHARACTERS[person.character]
    shirt, trousers = (
        tuple(np.array(worn) * (1 - build.vivid) + np.array(vivid) * build.vivid)
        for worn, vivid in ((person.shirt, character.shirt), (person.trousers, character.trousers))
    )
    arm, leg = 0.030 * build.limbs, 0.046 * build.limbs
    trunk = 0.066 * build.torso * character.width
    table = [
        *((HIP + side, KNEE + side, leg, trousers) for side in (0, 1)),
        *((KNEE + side, FOOT + side, 0.72 * leg, trousers) for side in (0, 1)),
        *((HIP + side, SHOULDER + side, trunk, shirt) for side in (0, 1)),
        (HIP, SHOULDER + 1, trunk, shirt),
        *((SHOULDER + side, ELBOW + side, 1.15 * arm, shirt) for side in (0, 1)),
        *((ELBOW + side, HAND + side, arm, person.skin) for side in (0, 1)),
        (NECK, HEAD, 0.034 * build.limbs, person.skin),
        (HEAD, HEAD, 0.064 * build.head, person.hair),
    ]
    pairs = [(a, b) for a, b, _, _ in table]
    return pairs, np.array([radius for *_, radius, _ in table]), np.array([colour for *_, colour in table], float)


def _turn(joints: Array, person: Person) -> Array:
    """Return joints in metres turned by the yaw about the vertical and put where the person is."""
    sin, cos = math.sin(math.radians(person.yaw)), math.cos(math.radians(person.yaw))
    x, y, z = joints.T
    return np.stack([x * cos - y * sin + person.place[0], x * sin + y * cos + person.place[1], z], -1)

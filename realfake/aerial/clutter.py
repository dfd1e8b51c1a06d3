"""Things that are not people but may pass for them from above: the potential false positives. One function a kind.

Posts, signs, stumps, bags, dogs and scooters are as tall or as coloured as people; trees, cars and roofs hide them.
How solids are drawn is in ``solids``; how many of each a domain has is in ``domains``.
"""

from collections.abc import Callable

import numpy as np

from realfake.aerial import blocks
from realfake.aerial.blocks import CARS, Place, heading_of, one_of, right_of, up
from realfake.aerial.domains import Domain
from realfake.aerial.solids import Solid

GREENS = ((46, 66, 30), (58, 82, 36), (72, 92, 44), (86, 102, 58), (64, 78, 50))
FOLIAGE_SHADE = 0.45


def thing(kind: str, place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    """Return a solid of one of ``KINDS`` at a place; raises ValueError for another kind."""
    if kind not in KINDS:
        raise ValueError(f"there is no thing called {kind!r}; use one of {', '.join(KINDS)}")
    return KINDS[kind](place, domain, rng)


def _capsules(place: Place, parts: list, reach: float = 0.0, shade: float = 1.0) -> Solid:
    """Return a solid of parts given as start, end (relative to the place), radius and colour."""
    starts, ends, radii, colours = zip(*parts, strict=True)
    lines = np.array([starts, ends], float) + np.array([*place, 0.0])
    return Solid(place, lines, np.array(radii), np.array(colours, float), reach=reach, shade=shade)


# ------------------------------------------------------------------------------------------------------- slender things


def _pole(place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    """A street lamp: a pole with an arm."""
    height, grey = rng.uniform(3, 6), np.full(3, rng.uniform(70, 150))
    arm = up(height) + heading_of(rng) * rng.uniform(0.3, 1.2)
    return _capsules(
        place, [(up(0), up(height), 0.07, grey), (up(height), arm, 0.06, grey), (arm, arm, 0.16, grey + 40)]
    )


def _post(place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    """A bollard or a fence post as high as a person's chest or head, with a cap of another colour."""
    height, radius = rng.uniform(0.9, 1.7), rng.uniform(0.09, 0.18)
    body, cap = one_of(rng, domain.clothes), one_of(rng, ((60, 50, 44), (190, 188, 180), (160, 50, 40)))
    return _capsules(place, [(up(0), up(height), radius, body), (up(height), up(height + 0.1), radius, cap)])


def _sign(place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    """A board on two legs, of the size and colours of a dressed torso."""
    side = right_of(heading_of(rng)) * 0.22
    board, legs = one_of(rng, domain.clothes), np.array([70.0, 68, 66])
    return _capsules(
        place,
        [
            (side, side + up(0.8), 0.04, legs),
            (-side, -side + up(0.8), 0.04, legs),
            (side + up(0.9), side + up(1.5), 0.11, board),
            (-side + up(0.9), -side + up(1.5), 0.11, board),
            (up(0.9), up(1.5), 0.12, board),
        ],
    )


def _stump(place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    """A dead trunk, upright or fallen: as long and as brown as a person lying in the dirt."""
    bark, length = np.array([92.0, 72, 54]) + rng.normal(0, 10, 3), rng.uniform(0.5, 1.8)
    along = up(length) if rng.random() < 0.5 else heading_of(rng) * length + up(0.15)
    branch = 0.6 * along + heading_of(rng) * 0.4
    radius = rng.uniform(0.1, 0.2)
    return _capsules(place, [(up(0.1), along, radius, bark), (0.6 * along, branch, 0.5 * radius, bark - 8)])


# ---------------------------------------------------------------------------------------------------------- low things


def _bag(place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    """A coat, a rucksack or a blanket on the ground, in the colours that people wear."""
    heading, parts = heading_of(rng), []
    for _ in range(rng.integers(1, 4)):
        start = heading * rng.uniform(-0.5, 0.1) + rng.normal(0, 0.1, 3) * (1, 1, 0) + up(0.1)
        parts.append(
            (start, start + heading * rng.uniform(0.2, 0.7), rng.uniform(0.1, 0.2), one_of(rng, domain.clothes))
        )
    return _capsules(place, parts)


def _dog(place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    heading, coat = heading_of(rng), one_of(rng, ((50, 40, 34), (150, 118, 80), (200, 190, 176), (96, 70, 48)))
    side = right_of(heading) * 0.1
    front, back, head = heading * 0.3 + up(0.45), heading * -0.3 + up(0.45), heading * 0.5 + up(0.6)
    legs = [
        (end + sign * side, (end + sign * side) * (1, 1, 0), 0.04, coat) for end in (front, back) for sign in (-1, 1)
    ]
    return _capsules(place, [*legs, (back, front, 0.14, coat), (head, head, 0.11, coat - 10)])


def _stone(place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    grey, size = one_of(rng, ((150, 146, 138), (176, 170, 158), (122, 116, 108))), rng.uniform(0.15, 0.55)
    parts = []
    for _ in range(rng.integers(2, 5)):
        centre = rng.normal(0, 0.6 * size, 3) * (1, 1, 0) + up(0.4 * size)
        parts.append(
            (centre, centre + heading_of(rng) * size * 0.7, size * rng.uniform(0.4, 0.8), grey + rng.normal(0, 12))
        )
    return _capsules(place, parts)


def _pot(place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    """A flower pot: a round dark thing with a bright crown, a head and shoulders seen from above."""
    crown, clay = (
        one_of(rng, ((62, 86, 40), (180, 60, 70), (206, 180, 70))),
        one_of(rng, ((146, 84, 60), (90, 88, 86))),
    )
    return _capsules(place, [(up(0.1), up(0.4), 0.22, clay), (up(0.6), up(0.7), rng.uniform(0.15, 0.28), crown)])


def _bin(place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    colour = one_of(rng, ((44, 62, 48), (60, 60, 62), (40, 62, 96), (150, 120, 40)))
    return _capsules(place, [(up(0.2), up(0.9), 0.27, colour), (up(1.0), up(1.05), 0.24, colour * 0.6)])


def _chair(place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    """A garden chair or lounger with a coloured cushion."""
    heading, cushion = heading_of(rng), one_of(rng, domain.clothes)
    side, length = right_of(heading) * 0.2, rng.uniform(0.4, 1.6)
    seat = [(sign * side + up(0.4), sign * side + heading * length + up(0.4), 0.14, cushion) for sign in (-1, 0, 1)]
    return _capsules(place, [*seat, (side + up(0.8), -side + up(0.8), 0.1, cushion * 0.8)])


def _scooter(place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    heading, paint, dark = heading_of(rng), one_of(rng, CARS), np.array([32.0, 32, 34])
    side = right_of(heading) * 0.3
    wheels = [(heading * x + up(0.28), heading * x + up(0.32), 0.26, dark) for x in (-0.65, 0.65)]
    handle = heading * 0.45 + up(1.0)
    return _capsules(
        place,
        [
            *wheels,
            (heading * -0.6 + up(0.6), heading * 0.4 + up(0.6), 0.17, paint),
            (handle - side, handle + side, 0.05, dark),
        ],
        reach=0.6,
    )


# ------------------------------------------------------------------------------------------------------- green things


def _leaves(rng: np.random.Generator, fewest: int, most: int, radius: float, height: float, squash: float) -> list:
    """Return parts of a crown: overlapping balls of slightly different greens around a centre at that height."""
    green, count = one_of(rng, GREENS), int(rng.integers(fewest, most + 1))
    offsets = rng.normal(0, 0.5, (count, 3)).clip(-1.1, 1.1) * (radius, radius, radius * squash)
    sizes, tones = rng.uniform(0.14, 0.32, count) * radius, rng.normal(0, 9, count) + 26 * offsets[:, 2] / radius
    offsets += up(height)
    offsets[:, 2] = np.maximum(offsets[:, 2], 0.5 * sizes)
    return list(zip(offsets, offsets, sizes, green + tones[:, None], strict=True))


def _bush(place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    radius = rng.uniform(0.3, 1.0)
    return _capsules(place, _leaves(rng, 7, 12, radius, 0.5 * radius, 0.5), 0.5 * radius, FOLIAGE_SHADE)


def _tree(place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    radius, height = rng.uniform(1.2, 2.6), rng.uniform(2.5, 4.5)
    trunk = (up(0), up(height), 0.14, np.array([84.0, 66, 50]))
    return _capsules(place, [trunk, *_leaves(rng, 40, 60, radius, height, 0.6)], 0.3, FOLIAGE_SHADE)


KINDS: dict[str, Callable[[Place, Domain, np.random.Generator], Solid]] = {
    "pole": _pole,
    "post": _post,
    "sign": _sign,
    "stump": _stump,
    "bag": _bag,
    "dog": _dog,
    "stone": _stone,
    "pot": _pot,
    "bin": _bin,
    "chair": _chair,
    "scooter": _scooter,
    "bush": _bush,
    "tree": _tree,
    "car": blocks.car,
    "bench": blocks.bench,
    "roof": blocks.roof,
    "parasol": blocks.parasol,
}

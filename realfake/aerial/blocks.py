"""Things with flat faces (cars, benches, houses, parasols), and the vectors and colours that all things are built with.

The rounded things are in ``clutter``.
"""

import math

import numpy as np

from realfake.aerial.camera import Array
from realfake.aerial.domains import Domain
from realfake.aerial.people import Colour
from realfake.aerial.solids import Face, Solid

Place = tuple[float, float]
CARS = ((196, 198, 200), (60, 62, 66), (34, 36, 40), (128, 130, 134), (150, 36, 34), (44, 66, 120), (214, 212, 204))
ROOFS = ((146, 74, 56), (122, 62, 50), (108, 108, 110), (150, 136, 120), (84, 80, 78))
NO_LINES, NO_COLOURS = np.zeros((2, 0, 3)), np.zeros((0, 3))


def one_of(rng: np.random.Generator, colours: tuple[Colour, ...], spread: float = 8) -> Array:
    """Return one of the colours, a little off."""
    return np.array(colours[rng.integers(len(colours))]) + rng.normal(0, spread, 3)


def heading_of(rng: np.random.Generator) -> Array:
    """Return a direction (3,) along the ground, drawn at random."""
    angle = rng.uniform(0, 2 * math.pi)
    return np.array([math.cos(angle), math.sin(angle), 0.0])


def right_of(heading: Array) -> Array:
    """Return the direction (3,) to the right of a heading."""
    return np.array([heading[1], -heading[0], 0.0])


def up(height: float) -> Array:
    """Return the point (3,) at that height in metres above the middle."""
    return np.array([0.0, 0.0, height])


def _prism(
    place: Place, heading: Array, size: tuple[float, float], low: float, high: float, colour: Array
) -> list[Face]:
    """Return the side and top faces of a box on the ground, sides darker: those away from the camera come first."""
    along, across = heading * size[0] / 2, -right_of(heading) * size[1] / 2
    corners = np.array([-along - across, along - across, along + across, across - along]) + np.array([*place, 0.0])
    top, bottom = corners + up(high), corners + up(low)
    nexts = np.roll(np.arange(4), -1)
    walls = np.stack([bottom, bottom[nexts], top[nexts], top], 1)
    bright = 0.55 + 0.2 * (walls[:, :, 0].mean(1) > place[0])  # the walls on the right are lit
    order = np.argsort(-walls[:, :, 1].mean(1), kind="stable").tolist()  # the camera looks along +y
    return [*((walls[i], tuple((colour * bright[i]).tolist())) for i in order), (top, tuple(colour.tolist()))]


def _solid_of_faces(place: Place, faces: list[Face], reach: float) -> Solid:
    return Solid(place, NO_LINES, np.zeros(0), NO_COLOURS, faces=tuple(faces), reach=reach)


def car(place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    heading, paint, length = heading_of(rng), one_of(rng, CARS), rng.uniform(3.8, 4.8)
    body = _prism(place, heading, (length, 1.8), 0.25, 0.85, paint)
    back = (place[0] - 0.15 * heading[0], place[1] - 0.15 * heading[1])
    glass = _prism(back, heading, (0.56 * length, 1.6), 0.85, 1.25, np.array([46.0, 52, 60]))
    roof = _prism(back, heading, (0.38 * length, 1.45), 1.25, 1.45, paint * 1.04)
    return _solid_of_faces(place, [*body, *glass, *roof], reach=0.5 * length)


def bench(place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    wood = one_of(rng, ((120, 86, 58), (96, 92, 86), (150, 120, 84)))
    return _solid_of_faces(place, _prism(place, heading_of(rng), (1.7, 0.5), 0.2, 0.5, wood), reach=0.3)


def roof(place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    """A house with a gabled roof, lit on one side, or a flat one."""
    heading, colour = heading_of(rng), one_of(rng, ROOFS)
    length, width, eaves = rng.uniform(5, 10), rng.uniform(4, 7), rng.uniform(2.4, 4.5)
    walls = _prism(place, heading, (length, width), 0, eaves, np.array([176.0, 168, 156]))
    if rng.random() < 0.3:
        return _solid_of_faces(place, [*walls[:-1], (walls[-1][0], tuple(colour))], reach=0.6 * length)
    a, b, c, d = walls[-1][0]
    ridge_ab, ridge_cd = (b + c) / 2 + up(0.22 * width), (a + d) / 2 + up(0.22 * width)
    slopes = [
        (np.array([a, b, ridge_ab, ridge_cd]), tuple(colour)),
        (np.array([d, c, ridge_ab, ridge_cd]), tuple(colour * 0.78)),
    ]
    gables = [(np.array([b, c, ridge_ab]), (150.0, 142.0, 130.0)), (np.array([a, d, ridge_cd]), (150.0, 142.0, 130.0))]
    tiles = [
        (_course(slope[0], share), tuple(np.array(slope[1]) * 0.88))
        for slope in slopes
        for share in (0.2, 0.4, 0.6, 0.8)
    ]
    return _solid_of_faces(place, [*walls[:-1], *gables, *slopes, *tiles], reach=0.6 * length)


def _course(slope: Array, share: float) -> Array:
    """Return a thin row of tiles across a slope (4, 3), at that share of the way from the eaves to the ridge."""
    low, high = (slope[:2] + (slope[3:1:-1] - slope[:2]) * (share + step) for step in (0.0, 0.035))
    return np.concatenate([low, high[::-1]])


def parasol(place: Place, domain: Domain, rng: np.random.Generator) -> Solid:
    colour, radius = (
        one_of(rng, ((206, 196, 176), (170, 50, 46), (60, 96, 130), (210, 170, 80))),
        rng.uniform(0.9, 1.5),
    )
    angles = np.linspace(0, 2 * math.pi, 9)
    rim = np.stack([place[0] + radius * np.cos(angles), place[1] + radius * np.sin(angles), np.full(9, 2.0)], -1)
    top = np.array([*place, 2.4])
    faces = [(np.array([rim[i], rim[i + 1], top]), tuple(colour * (0.8 + 0.05 * (i % 4)))) for i in range(8)]
    return _solid_of_faces(place, faces, reach=0.2)

"""Aerial scenes with people, drawn: a pure function of domain, index and seed, with boxes, masks and attributes.

    scene = render("urban", 0, seed=1, pixels=320)
    scene.image, scene.boxes, scene.masks, scene.people

The scene is laid out here: which people and things stand where, who hides whom. How each looks is in
``realfake.aerial``. No part of this reads a spec or a store; one seed per split (train 0, test 1) keeps splits apart.
"""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from realfake.aerial import clutter, grid
from realfake.aerial.camera import Array, Camera, Sun
from realfake.aerial.domains import Domain, domain_for
from realfake.aerial.ground import anywhere, ground
from realfake.aerial.people import CHARACTERS, POSES, STATURE, Person, body, dress, figure
from realfake.aerial.sensor import develop
from realfake.aerial.solids import SHADOW_SUBPIXELS, Patch, Solid, cast, draw
from realfake.samples import seed_of

UNIT_PIXELS = 256  # counts of people and things are stated for an image of this side
SMALLEST_PIXELS, LARGEST_PIXELS = 48, 1024
CROWD_METRES = 0.7  # standard deviation of where one who joins another stands
PLACEMENTS = 6  # tries to stand clear of cars and houses


@dataclass(frozen=True)
class Scene:
    """One image and everything that is known of it. ``k`` people are seen in it.

    ``image`` (h, w, 3) uint8; ``boxes`` (k, 4) float64 of x, y, width, height in pixels, tight around the masks;
    ``labels`` (h, w) uint16, where j + 1 marks the pixels of ``people[j]`` and 0 everything else; ``hidden``: how many
    people are in the scene of whom no pixel is seen. ``cell``: the number of the synthetic grid's cell, else None.
    """

    domain: str
    index: int
    seed: int
    gap: float
    image: Array
    boxes: Array
    labels: Array
    people: tuple[Person, ...]
    hidden: int
    camera: Camera
    sun: Sun
    cell: int | None = None

    @property
    def masks(self) -> Array:
        """The masks (k, h, w) bool of the people, disjoint."""
        return self.labels == np.arange(1, len(self.people) + 1, dtype=np.uint16)[:, None, None]


def render(
    domain: Domain | str, index: int, seed: int = 0, *, pixels: int = UNIT_PIXELS, gap: float = 0.0, zoom: float = 1.0
) -> Scene:
    """Return scene ``index`` of a domain: the same bytes in any batch, order and process with the same libraries.

    ``gap`` widens what sets synthetic people apart from real ones beyond style: 0 draws both with one routine, 1 draws
    mannequins (thick limbs, stiff arms, saturated flat colours), more goes further. Real-like domains ignore it.
    ``zoom`` brings the camera nearer, so that people are that many times larger.
    Raises ValueError for an unknown domain, a negative index or gap, a zoom outside 0.5-8, and a size outside 48-1024
    pixels.
    """
    domain = domain_for(domain) if isinstance(domain, str) else domain
    _check(index, pixels, zoom)
    rng = np.random.default_rng(seed_of("aerial", domain.name, seed, index))
    gap = gap if domain.synthetic else 0.0
    body(gap)  # refuses a negative gap
    number = grid.pool_cell(index, seed) if domain.synthetic else None
    camera, sun = _camera(domain, rng, pixels, number, zoom), _sun(domain, rng)
    density = (pixels / UNIT_PIXELS) ** 2
    canvas = ground(domain, camera, rng, density)
    things = _things(domain, camera, rng, density)
    if number is None:
        people = _people(domain, camera, rng, density, things)
    else:
        people = [_of_cell(grid.cell(number), domain, rng)]
    people = [replace(person, stature_pixels=_stature_pixels(person, camera)) for person in people]
    figures = [figure(person, gap) for person in people]
    _shade(canvas, [*things, *figures], camera, sun)
    labels, visible = _paint(canvas, things, figures, camera, sun)
    image = develop(canvas, domain.lens, rng)
    labels, boxes, seen = _tight(labels, people, visible)
    hidden = len(people) - len(seen)
    return Scene(domain.name, index, seed, gap, image, boxes, labels, seen, hidden, camera, sun, number)


def _check(index: int, pixels: int, zoom: float) -> None:
    if index < 0:
        raise ValueError(f"index={index} is negative; scenes are numbered from 0")
    if not 0.5 <= zoom <= 8:
        raise ValueError(f"zoom={zoom} cannot be drawn; choose from 0.5 to 8 times the usual size of people")
    if not SMALLEST_PIXELS <= pixels <= LARGEST_PIXELS:
        raise ValueError(
            f"pixels={pixels} cannot be drawn; choose a side from {SMALLEST_PIXELS} to {LARGEST_PIXELS} pixels"
        )


# ---------------------------------------------------------------------------------------------------------- the layout


def _camera(domain: Domain, rng: np.random.Generator, pixels: int, number: int | None, zoom: float) -> Camera:
    """Return the camera: drawn from the domain's ranges, or of the cell, whose person then stands off the middle."""
    pitch, stature, shift = rng.uniform(*domain.pitches), _log_uniform(rng, domain.statures), rng.uniform(-0.3, 0.3, 2)
    if number is None:
        return Camera(pitch, domain.focal * STATURE / (zoom * stature), pixels, (pixels / 2, pixels / 2), domain.focal)
    cell = grid.cell(number)
    distance = domain.focal * CHARACTERS[cell.character].stature / (zoom * cell.stature)
    u, v = (pixels * (0.5 + shift)).tolist()
    return Camera(cell.pitch, distance, pixels, (u, v), domain.focal)


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def _sun(domain: Domain, rng: np.random.Generator) -> Sun:
    return Sun(rng.uniform(0, 360), rng.uniform(*domain.sun), rng.uniform(*domain.shadow))


def _count(rng: np.random.Generator, fewest: int, most: int, density: float) -> int:
    """Return a number between fewest and most, times the density, rounded up or down at random."""
    return int(rng.integers(fewest, most + 1) * density + rng.random())


def _things(domain: Domain, camera: Camera, rng: np.random.Generator, density: float) -> list[Solid]:
    things = []
    for kind, fewest, most in domain.clutter:
        for _ in range(_count(rng, fewest, most, density)):
            things.append(clutter.thing(kind, anywhere(camera, rng, margin=8), domain, rng))
    return things


def _people(
    domain: Domain, camera: Camera, rng: np.random.Generator, density: float, things: list[Solid]
) -> list[Person]:
    """Return people anywhere on the tile or just outside it, some beside the one before, clear of large things."""
    people: list[Person] = []
    for _ in range(max(1, _count(rng, *domain.people, density))):
        joins = bool(people) and rng.random() < domain.crowding
        place = _free_place(camera, rng, things, people[-1].place if joins else None)
        character = int(rng.integers(len(CHARACTERS)))
        stature = CHARACTERS[character].stature * rng.normal(1, 0.03)
        pose = POSES[int(np.searchsorted(np.cumsum(domain.poses)[:-1], rng.random(), side="right"))]
        people.append(_person(domain, rng, character, pose, rng.uniform(0, 360), place, stature))
    return people


def _free_place(
    camera: Camera, rng: np.random.Generator, things: list[Solid], beside: tuple[float, float] | None
) -> tuple[float, float]:
    """Return a place on no car and in no house, or the last one tried."""
    large = [thing for thing in things if thing.reach]
    place = (0.0, 0.0)
    for _ in range(PLACEMENTS):
        if beside is None:
            place = anywhere(camera, rng, margin=4)
        else:
            shift = rng.normal(0, CROWD_METRES, 2).tolist()
            place = (beside[0] + shift[0], beside[1] + shift[1])
        if all(np.hypot(place[0] - t.base[0], place[1] - t.base[1]) > t.reach for t in large):
            break
    return place


def _of_cell(cell: grid.Cell, domain: Domain, rng: np.random.Generator) -> Person:
    """Return the person of a cell, where the camera looks at, so that its stature in pixels is the cell's."""
    stature = CHARACTERS[cell.character].stature
    return _person(domain, rng, cell.character, cell.pose, cell.yaw, (0.0, 0.0), stature)


def _person(
    domain: Domain,
    rng: np.random.Generator,
    character: int,
    pose: str,
    yaw: float,
    place: tuple[float, float],
    stature: float,
) -> Person:
    stride, swing, lean, spread = rng.normal(0, 0.8, 4).clip(-1.6, 1.6).tolist()
    shirt, trousers, skin, hair = dress(rng, domain.clothes)
    return Person(character, pose, yaw, place, stature, (stride, swing, lean, spread), shirt, trousers, skin, hair)


def _stature_pixels(person: Person, camera: Camera) -> float:
    depth = camera.project(np.array([*person.place, 0.0]))[2]
    return float(camera.focal * person.stature / depth)


# --------------------------------------------------------------------------------------------------------- the drawing


def _shade(canvas: Image.Image, solids: list[Solid], camera: Camera, sun: Sun) -> None:
    """Darken the ground where solids cast their shadows; what lies in them keeps a little of the sky's blue."""
    if not sun.strength:
        return
    side = camera.pixels * SHADOW_SUBPIXELS
    shadow = Image.new("L", (side, side))
    brush = ImageDraw.Draw(shadow)
    for solid in solids:
        cast(solid, camera, sun, brush)
    shadow = shadow.reduce(SHADOW_SUBPIXELS)
    tables = 255 - np.multiply.outer((1.0, 0.97, 0.88), np.arange(256)) * sun.strength
    light = Image.merge("RGB", [shadow] * 3).point(tables.round().astype(int).ravel().tolist())
    canvas.paste(ImageChops.multiply(canvas, light))


def _paint(
    canvas: Image.Image, things: list[Solid], figures: list[Solid], camera: Camera, sun: Sun
) -> tuple[Image.Image, list[float]]:
    """Draw all solids, far ones first; return whose pixels are whose (0: no one's) and each person's visible share."""
    solids = [*things, *figures]
    middles = np.array([[*solid.base, solid.height / 2] for solid in solids])
    owners, whole = Image.new("I", canvas.size), [0] * len(figures)
    for i in np.argsort(-camera.project(middles)[:, 2], kind="stable").tolist():
        patch = draw(solids[i], camera, sun)
        if patch is None:
            continue
        canvas.paste(patch.image, patch.corner, patch.image)
        who = i - len(things) + 1
        if who > 0:
            whole[who - 1] = int(np.count_nonzero(np.asarray(patch.mask)))
        if who > 0 or any(whole):  # a thing hides only people who were drawn before it
            owners.paste(max(0, who), _window(patch), patch.mask)
    left = np.bincount(np.asarray(owners).ravel(), minlength=len(figures) + 1)[1:]
    return owners, [
        seen / all_of_it if all_of_it else 0.0 for seen, all_of_it in zip(left.tolist(), whole, strict=True)
    ]


def _window(patch: Patch) -> tuple[int, int, int, int]:
    x, y = patch.corner
    return x, y, x + patch.image.width, y + patch.image.height


def _tight(owners: Image.Image, people: list[Person], visible: list[float]) -> tuple[Array, Array, tuple[Person, ...]]:
    """Return the label map, boxes (k, 4) and people of those who are seen, renumbered without gaps."""
    from scipy.ndimage import find_objects

    seen = [i for i, share in enumerate(visible) if share > 0]
    renumbered = np.zeros(len(people) + 1, np.uint16)
    renumbered[np.array(seen, int) + 1] = np.arange(1, len(seen) + 1)
    labels = renumbered.take(np.asarray(owners))
    boxes = [(x.start, y.start, x.stop - x.start, y.stop - y.start) for y, x in find_objects(labels)]
    shown = tuple(replace(people[i], visible=visible[i]) for i in seen)
    return labels, np.array(boxes, np.float64).reshape(-1, 4), shown

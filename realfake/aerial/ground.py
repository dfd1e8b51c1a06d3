"""The ground: fractal noise between three colours of a surface, with patches, roads and plots laid over it.

Coarse noise is drawn anew for every image; the finest grain is cut at random from one fixed tile, since drawing it
would cost more than all the rest. The values of surfaces are in ``domains``.
"""

import functools
import math

import numpy as np
from PIL import Image, ImageDraw

from realfake.aerial.camera import Array, Camera
from realfake.aerial.domains import SURFACES, Domain, Patch, Plot, Strip, Surface

GRAIN_PIXELS = 1024
RAGGED = 0.08  # how much of the grain frays the border of a patch
DECAY = 0.62  # amplitude of an octave relative to the one before


def ground(domain: Domain, camera: Camera, rng: np.random.Generator, density: float) -> Image.Image:
    """Return the ground as an RGB image; ``density`` multiplies how many plots there are."""
    broad = broad_noise(rng, camera, domain.octaves)
    names = list(dict.fromkeys([domain.base, *_surface_names(domain)]))
    labels = _labels(domain, camera, rng, density, broad, names)
    surfaces = [SURFACES[name] for name in names]
    mottle = np.array([s.mottle for s in surfaces], np.float32).take(labels)
    tones = 0.5 + mottle * broad
    if any(s.grain for s in surfaces):
        tones += np.array([s.grain for s in surfaces], np.float32).take(labels) * grain(rng, camera.pixels)
    tones = np.clip(tones * 255, 0, 255).astype(np.uint16)
    colours = _colour_table(surfaces, rng).take((labels.astype(np.uint16) << 8) + tones)
    return Image.frombytes("RGB", (camera.pixels, camera.pixels), colours.tobytes(), "raw", "RGBX")


def broad_noise(rng: np.random.Generator, camera: Camera, octaves: int) -> Array:
    """Return fractal noise (h, w) of mean 0 and standard deviation 1, foreshortened as the ground is."""
    squeeze = 1 / max(0.35, math.sin(math.radians(camera.pitch)))
    side, field = 3, None
    for octave in range(octaves):
        shape = (math.ceil(side * squeeze), side)
        fresh = rng.standard_normal(shape, np.float32) * DECAY**octave
        field = fresh if field is None else fresh + _resized(field, shape)
        side *= 2
    field = _resized(field, (camera.pixels, camera.pixels))  # type: ignore[arg-type]
    return (field - field.mean()) / (field.std() + 1e-6)


def grain(rng: np.random.Generator, pixels: int) -> Array:
    """Return unit noise (pixels, pixels) cut at random from the fixed tile, mirrored at random."""
    tile = _grain_tile()
    side = min(pixels, GRAIN_PIXELS)
    y, x = rng.integers(GRAIN_PIXELS - side + 1, size=2)
    flip_y, flip_x = 1 - 2 * rng.integers(2, size=2)
    cut = tile[y : y + side, x : x + side][::flip_y, ::flip_x]
    repeats = -(-pixels // side)
    return np.tile(cut, (repeats, repeats))[:pixels, :pixels] if repeats > 1 else cut


@functools.lru_cache(maxsize=1)
def _grain_tile() -> Array:
    """Return the tile: white noise and half as much again of noise two and four pixels wide."""
    rng = np.random.default_rng(20240829)
    tile = np.zeros((GRAIN_PIXELS, GRAIN_PIXELS), np.float32)
    for width, amplitude in ((1, 1.0), (2, 0.8), (4, 0.7)):
        side = GRAIN_PIXELS // width
        tile += amplitude * _resized(rng.standard_normal((side, side), np.float32), tile.shape)
    return tile / tile.std()


def _resized(field: Array, shape: tuple[int, ...]) -> Array:
    return np.asarray(Image.fromarray(field).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def _colour_table(surfaces: list[Surface], rng: np.random.Generator) -> Array:
    """Return the colours (surfaces · 256,) uint32 of every surface and tone, as the bytes R, G, B, 0."""
    stops, tones = np.array([0.0, 127.5, 255.0]), np.arange(256)
    tint = rng.normal(0, 2.5, 3) + rng.normal(0, 6)
    table = np.zeros((len(surfaces), 256, 4), np.uint8)
    for row, surface in zip(table, surfaces, strict=True):
        colours = np.array(surface.colours) + tint + rng.normal(0, 2, 3)
        for channel in range(3):
            row[:, channel] = np.clip(np.interp(tones, stops, colours[:, channel]), 0, 255)
    return table.view(np.uint32).reshape(-1)


# ------------------------------------------------------------------------------------------------------------- layout


def _surface_names(domain: Domain) -> list[str]:
    names = []
    for layer in domain.layers:
        names += [layer.surface, layer.border, layer.line] if isinstance(layer, Strip) else [layer.surface]
    return [name for name in names if name]


def _labels(
    domain: Domain, camera: Camera, rng: np.random.Generator, density: float, broad: Array, names: list[str]
) -> Array:
    """Return which surface lies where, (h, w) uint8 indices into ``names``."""
    labels = np.zeros(broad.shape, np.uint8)
    ragged = RAGGED * grain(rng, camera.pixels)
    rough = broad + ragged
    for layer in domain.layers:  # patches first, whatever their place: a road is not overgrown by its meadow
        if isinstance(layer, Patch):
            field = rough if rng.random() < 0.5 else 2 * ragged - rough
            labels[field > layer.above] = names.index(layer.surface)
    image = Image.fromarray(labels)
    brush, heading = ImageDraw.Draw(image), rng.uniform(0, 180)
    for layer in domain.layers:
        if isinstance(layer, Strip):
            for turn in range(rng.integers(layer.count[0], layer.count[1] + 1)):
                _lay_strip(layer, camera, rng, brush, names, heading + 90 * turn)
        elif isinstance(layer, Plot):
            most = rng.integers(layer.count[0], layer.count[1] + 1)
            for _ in range(rng.binomial(most, min(1.0, density)) if density < 1 else round(most * density)):
                side, across = rng.uniform(*layer.side, size=2)
                rectangle = _rectangle(*anywhere(camera, rng), side, across, heading)
                _fill(brush, camera, rectangle, names.index(layer.surface))
    return np.asarray(image)


def _lay_strip(
    layer: Strip, camera: Camera, rng: np.random.Generator, brush: ImageDraw.ImageDraw, names: list[str], heading: float
) -> None:
    x, y = anywhere(camera, rng)
    width, length = rng.uniform(*layer.width), 1.1 * camera.distance
    if layer.border:
        border = _rectangle(x, y, length, width + 2 * layer.border_width, heading)
        _fill(brush, camera, border, names.index(layer.border))
    _fill(brush, camera, _rectangle(x, y, length, width, heading), names.index(layer.surface))
    if layer.line and not layer.dashed:
        _fill(brush, camera, _rectangle(x, y, length, 0.25 * width, heading), names.index(layer.line))
    elif layer.line:
        cos, sin = math.cos(math.radians(heading)), math.sin(math.radians(heading))
        steps = np.arange(-0.5 * length, 0.5 * length, 6.0)[:, None, None] * (cos, sin, 0.0)
        for dash in (
            camera.project(_rectangle(x, y, 2.5, 0.22, heading) + steps)[..., :2].reshape(len(steps), -1).tolist()
        ):
            brush.polygon(dash, fill=names.index(layer.line))


def anywhere(camera: Camera, rng: np.random.Generator, margin: float = 0.0) -> tuple[float, float]:
    """Return a ground point (x, y) seen anywhere on the tile, or up to ``margin`` pixels outside it."""
    u, v = rng.uniform(-margin, camera.pixels + margin, size=2)
    return camera.ground(float(u), float(v))


def _rectangle(x: float, y: float, length: float, width: float, heading: float) -> Array:
    """Return the corners (4, 3) of a rectangle on the ground around (x, y), its length along the heading (degrees)."""
    cos, sin = math.cos(math.radians(heading)), math.sin(math.radians(heading))
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (length / 2, width / 2)
    along, across = corners.T
    return np.stack([x + along * cos - across * sin, y + along * sin + across * cos, np.zeros(4)], -1)


def _fill(brush: ImageDraw.ImageDraw, camera: Camera, points: Array, label: int) -> None:
    brush.polygon(camera.project(points)[:, :2].ravel().tolist(), fill=label)

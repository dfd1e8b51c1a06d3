"""Things in a scene as capsules and flat faces in metres, drawn small with soft edges, and their shadows.

What the things are is in ``people`` and ``clutter``; what is put where is in ``realfake.generators.procedural``.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from realfake.aerial.camera import Array, Camera, Sun

FINE, COARSE = 4, 2  # subpixels a pixel, in small and in large patches
LARGE = 64  # pixels
SHADOW_SUBPIXELS = 2
ROUND = 2.5  # subpixels: parts of a smaller radius show no light and dark side
THIN = 3  # subpixels: lines up to this width need no round ends
Face = tuple[Array, tuple[float, float, float]]


@dataclass(frozen=True)
class Solid:
    """Capsules from ``lines[0]`` to ``lines[1]``, (2, n, 3), with ``radii`` (n,), in metres, and ``colours`` (n, 3).

    ``faces`` are convex polygons (m, 3) with a colour, drawn in their order before the capsules. ``base`` is the
    ground point it stands on, ``reach`` the radius in metres in which nobody can stand, ``shade`` how rounded it looks.
    """

    base: tuple[float, float]
    lines: Array
    radii: Array
    colours: Array
    faces: tuple[Face, ...] = ()
    reach: float = 0.0
    shade: float = 1.0

    @property
    def height(self) -> float:
        """Metres."""
        tops = [self.lines[..., 2], *(points[:, 2] for points, _ in self.faces)]
        return max((float(z.max()) for z in tops if z.size), default=0.0)


@dataclass(frozen=True)
class Patch:
    """A drawn solid: an RGBA image whose upper left corner lies at ``corner`` (x, y) of the tile."""

    image: Image.Image
    corner: tuple[int, int]

    @property
    def mask(self) -> Image.Image:
        """The pixels that are its own, of mode "1": those it covers at least half of."""
        return self.image.getchannel("A").convert("1", dither=Image.Dither.NONE)


def draw(solid: Solid, camera: Camera, sun: Sun) -> Patch | None:
    """Return a solid as the camera sees it, far parts first; None where nothing of it can fall on the tile."""
    ends, radii, depths = _capsules_seen(solid.lines, solid.radii, camera)
    faces = _polygons_seen([points for points, _ in solid.faces], camera)
    low, high = _extent(ends, radii, faces)
    if (high <= 0).any() or (low >= camera.pixels).any():
        return None
    subpixels = FINE if (high - low).max() < LARGE else COARSE
    canvas = Image.new("RGBA", tuple(((high - low) * subpixels).tolist()))
    brush = ImageDraw.Draw(canvas)
    inks = _inks(np.array([colour for _, colour in solid.faces]).reshape(-1, 3))
    for points, ink in zip(faces, inks, strict=True):
        brush.polygon(((points - low) * subpixels).ravel().tolist(), fill=ink)
    order = np.argsort(-depths, kind="stable").tolist()
    lines, widths = ((ends - low) * subpixels).swapaxes(0, 1).reshape(-1, 4), (radii * subpixels).tolist()
    shift = np.tile(_towards_light(sun), 2) * 0.3
    lit_lines = (lines + np.multiply.outer(radii * subpixels, shift)).tolist()
    dark, even, lit = (_inks(solid.colours * (1 + amount * solid.shade)) for amount in (-0.28, -0.08, 0.12))
    lines = lines.tolist()
    for i in order:
        is_round = solid.shade > 0 and widths[i] > ROUND
        _capsule(brush, lines[i], widths[i], dark[i] if is_round else even[i])
        if is_round:
            _capsule(brush, lit_lines[i], widths[i] * 0.68, lit[i])
    return Patch(canvas.reduce(subpixels), (int(low[0]), int(low[1])))


def cast(solid: Solid, camera: Camera, sun: Sun, brush: ImageDraw.ImageDraw) -> None:
    """Draw the shadow of a solid on the ground with a brush of ``SHADOW_SUBPIXELS`` subpixels a pixel."""
    ends, radii, _ = _capsules_seen(sun.shadow(solid.lines), solid.radii, camera)
    flat = (ends * SHADOW_SUBPIXELS).swapaxes(0, 1).reshape(-1, 4).tolist()
    for line, radius in zip(flat, (radii * SHADOW_SUBPIXELS).tolist(), strict=True):
        _capsule(brush, line, radius, 255)
    for points in _polygons_seen([sun.shadow(points) for points, _ in solid.faces], camera):
        brush.polygon((points * SHADOW_SUBPIXELS).ravel().tolist(), fill=255)


def _capsules_seen(lines: Array, radii: Array, camera: Camera) -> tuple[Array, Array, Array]:
    """Return the ends (2, n, 2) and radii (n,) of capsules in pixels, and the depths (n,) of their middles."""
    seen = camera.project(lines)
    depths = 0.5 * (seen[0, :, 2] + seen[1, :, 2])
    return seen[..., :2], camera.focal * radii / depths, depths


def _polygons_seen(faces: list[Array], camera: Camera) -> list[Array]:
    """Return the corners (m, 2) of each face in pixels: one projection for all, which is what costs."""
    if not faces:
        return []
    seen = camera.project(np.concatenate(faces))[:, :2]
    lasts = itertools.accumulate(len(points) for points in faces)
    return [seen[last - len(points) : last] for points, last in zip(faces, lasts, strict=True)]


def _extent(lines: Array, radii: Array, faces: list[Array]) -> tuple[Array, Array]:
    """Return the whole-pixel corners (x, y) around everything, one pixel wider than needed."""
    points = np.concatenate([lines.reshape(-1, 2), *faces])
    margin = radii.max() if len(radii) else 0.0  # the thickest part's: a pixel or two too many cost nothing
    low, high = points.min(0) - margin, points.max(0) + margin
    return np.floor(low).astype(int) - 1, np.ceil(high).astype(int) + 1


def _towards_light(sun: Sun) -> Array:
    """Return the image direction (u, v) in which a round thing is lit: against its shadow, and from above."""
    azimuth = math.radians(sun.azimuth)
    return np.array([-math.cos(azimuth), math.sin(azimuth) * 0.5 - 0.5])


def _capsule(brush: ImageDraw.ImageDraw, line: list[float], radius: float, fill: int | tuple[int, int, int]) -> None:
    """Draw a line with round ends. Pillow counts pixels by their middles, and fills the last one of an ellipse too."""
    x0, y0, x1, y1 = line
    radius = max(radius, 0.5)
    width, is_long = round(2 * radius), abs(x1 - x0) + abs(y1 - y0) > 0.5
    if is_long:
        brush.line((x0 - 0.5, y0 - 0.5, x1 - 0.5, y1 - 0.5), fill=fill, width=width)
    if is_long and width <= THIN:
        return
    brush.ellipse((x0 - radius, y0 - radius, x0 + radius - 1, y0 + radius - 1), fill=fill)
    if is_long:
        brush.ellipse((x1 - radius, y1 - radius, x1 + radius - 1, y1 + radius - 1), fill=fill)


def _inks(colours: Array) -> list[tuple[int, int, int]]:
    """Return colours (n, 3) as what Pillow draws with."""
    return [tuple(colour) for colour in np.clip(colours, 0, 255).astype(int).tolist()]

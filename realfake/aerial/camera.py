"""Where things are seen: a pinhole camera over a flat ground, and the sun. Metres in, pixels out.

The ground is the plane z = 0; x points right, y away from the camera, z up. Image u points right, v down, in pixels
from the upper left corner of the tile. What a camera does to colours is in ``sensor``.
"""

import math
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
FOCAL = 900.0  # pixels: a frame about 1,360 px wide seen under 74°, of which an image is a tile


@dataclass(frozen=True)
class Camera:
    """A camera that looks down by ``pitch`` degrees (90 is nadir) at the ground point (0, 0), ``distance`` m away.

    That point is seen at ``centre`` (u, v); images are ``pixels`` wide and high; ``focal`` is in pixels.
    """

    pitch: float
    distance: float
    pixels: int
    centre: tuple[float, float]
    focal: float = FOCAL

    @property
    def altitude(self) -> float:
        """Metres above the ground."""
        return self.distance * math.sin(math.radians(self.pitch))

    def project(self, points: Array) -> Array:
        """Return (…, 3) of u, v in pixels and depth in metres for points (…, 3) in metres."""
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        sin, cos = math.sin(math.radians(self.pitch)), math.cos(math.radians(self.pitch))
        depth = self.distance + y * cos - z * sin
        scale = self.focal / depth
        seen = np.empty(points.shape)
        seen[..., 0] = self.centre[0] + x * scale
        seen[..., 1] = self.centre[1] - (y * sin + z * cos) * scale
        seen[..., 2] = depth
        return seen

    def ground(self, u: float, v: float) -> tuple[float, float]:
        """Return the (x, y) in metres of the ground seen at (u, v): the inverse of ``project`` at z = 0.

        Raises ValueError for a point at or above the horizon.
        """
        sin, cos = math.sin(math.radians(self.pitch)), math.cos(math.radians(self.pitch))
        down = v - self.centre[1]
        below_horizon = self.focal * sin + down * cos
        if below_horizon <= 0:
            raise ValueError(
                f"no ground is seen at v = {v:.0f}, above the horizon; look down steeper or use a smaller tile"
            )
        y = -down * self.distance / below_horizon
        return (u - self.centre[0]) * (self.distance + y * cos) / self.focal, y


@dataclass(frozen=True)
class Sun:
    """Light from ``azimuth`` (degrees, 0 shines along +x) at ``elevation`` degrees; ``strength`` 0 casts no shadow."""

    azimuth: float
    elevation: float
    strength: float

    @property
    def drift(self) -> tuple[float, float]:
        """How far, in metres (x, y), the shadow of a point one metre high lies from its foot."""
        length = 1 / math.tan(math.radians(self.elevation))
        return length * math.cos(math.radians(self.azimuth)), length * math.sin(math.radians(self.azimuth))

    def shadow(self, points: Array) -> Array:
        """Return where the shadows of points (…, 3) fall on the ground, (…, 3) with z = 0."""
        fallen = points.copy()
        fallen[..., 0] += points[..., 2] * self.drift[0]
        fallen[..., 1] += points[..., 2] * self.drift[1]
        fallen[..., 2] = 0
        return fallen

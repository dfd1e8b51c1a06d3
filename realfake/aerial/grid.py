"""The synthetic pool: 17,280 cells of stature, pitch, yaw, pose, character, and the order of a pool.

10 statures × 6 pitches × 12 yaws × 3 poses × 8 characters, as many cells as the pool of Progressive Transformation
Learning (arXiv 2211.01778) has images. How a cell looks is in ``people``.
"""

import functools
from dataclasses import dataclass

import numpy as np

from realfake.aerial.people import CHARACTERS, POSES
from realfake.samples import seed_of

STATURES = tuple(round(float(h), 3) for h in np.geomspace(9, 40, 10))  # pixels; equal ratios of altitude
PITCHES = tuple(float(p) for p in np.linspace(20, 90, 6))  # degrees
YAWS = tuple(float(y) for y in range(0, 360, 30))  # degrees
SHAPE = (len(STATURES), len(PITCHES), len(YAWS), len(POSES), len(CHARACTERS))
CELLS = int(np.prod(SHAPE))


@dataclass(frozen=True)
class Cell:
    """The parameters of one cell: stature in pixels, pitch and yaw in degrees, pose, character."""

    stature: float
    pitch: float
    yaw: float
    pose: str
    character: int


def cell(number: int) -> Cell:
    """Return the parameters of cell ``number``, 0 … CELLS - 1; raises ValueError outside."""
    if not 0 <= number < CELLS:
        raise ValueError(f"cell {number} is not on the grid; give a number from 0 to {CELLS - 1}")
    stature, pitch, yaw, pose, character = (int(i) for i in np.unravel_index(number, SHAPE))
    return Cell(STATURES[stature], PITCHES[pitch], YAWS[yaw], POSES[pose], character)


def number_of(cell: Cell) -> int:
    """Return the number of a cell: the inverse of ``cell``. Raises ValueError for parameters off the grid."""
    axes = (STATURES, PITCHES, YAWS, POSES, tuple(range(len(CHARACTERS))))
    values = (cell.stature, cell.pitch, cell.yaw, cell.pose, cell.character)
    number = 0
    for axis, value in zip(axes, values, strict=True):
        if value not in axis:
            raise ValueError(f"{value!r} is not on the grid's axis {axis}; use one of its values")
        number = number * len(axis) + axis.index(value)
    return number


def pool_cell(index: int, seed: int) -> int:
    """Return the cell that sample ``index`` of a pool shows: every cell once in each round of CELLS samples.

    A seeded order, so that a prefix of the pool is a random sample of the grid and not one corner of it.
    """
    return int(_order(seed)[index % CELLS])


@functools.lru_cache(maxsize=4)
def _order(seed: int) -> np.ndarray:
    return np.random.default_rng(seed_of("aerial grid", seed)).permutation(CELLS)

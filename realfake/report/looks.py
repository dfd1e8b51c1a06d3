"""What a report says of detectors rests on: looks, single detections, rounds of translation, and pictures.

A *look* is one detector tried on one test set; a *cell* is the looks that differ in nothing but seeds. Here: these as
plain data, and which cells are shown. Not here: where they come from (`detector_facts`), and the numbers behind figures
(`detection_tables`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from realfake.report.figures import Frame

CELL = ["test", "arm", "n_real", "n_added", "n_synthetic"]  # what tells the cells of a study apart


@dataclass(frozen=True)
class Objects:
    """What there is to find in i test images: g objects."""

    images: np.ndarray  # (i,) ids
    image: np.ndarray  # (g,) ids
    category: np.ndarray  # (g,)
    box: np.ndarray  # (g, 4) left, top, width, height in pixels
    counted: np.ndarray  # (g,) bool: crowds and regions need not be found


@dataclass(frozen=True)
class Seen:
    """What a detector found on a test set, matched at IoU 0.5: d detections."""

    image: np.ndarray  # (d,) ids
    category: np.ndarray  # (d,)
    box: np.ndarray  # (d, 4)
    score: np.ndarray  # (d,)
    rank: np.ndarray  # (d,) by score in its image and class
    matched: np.ndarray  # (d,) bool: found something
    ignored: np.ndarray  # (d,) bool: counts neither way
    truth: np.ndarray  # (d,) row of the object found, -1 where none
    distance: np.ndarray  # (d,) train2test, NaN where not known

    @property
    def correct(self) -> np.ndarray:
        return self.matched & ~self.ignored

    @property
    def false(self) -> np.ndarray:
        return ~self.matched & ~self.ignored


@dataclass(frozen=True)
class Round:
    """One round of progressive transformation: distances (m,) of the virtual images left, in the order of taking."""

    arm: str
    n_real: int
    iteration: int  # from 1
    distance: np.ndarray
    n_taken: int
    height: float | None  # median of the people of the candidates, pixels


@dataclass(frozen=True)
class Picture:
    """An image and boxes on it: true positives, false positives and missed objects."""

    id: int
    image: np.ndarray  # (h, w, c) uint8
    box: np.ndarray  # (k, 4)
    kind: np.ndarray  # (k,) "true", "false" or "missed"
    score: np.ndarray  # (k,) NaN for missed ones
    distance: np.ndarray  # (k,) NaN where not known


@dataclass(frozen=True)
class People:
    """Crops (k, p, p, c) of virtual people, of what became of them, and of real ones; `ids` (k,) of the virtual."""

    arm: str
    n_real: int
    iteration: int
    ids: np.ndarray
    virtual: np.ndarray
    translated: np.ndarray
    real: np.ndarray


@dataclass(frozen=True)
class OfTest:
    """What is shown of one test set; a pair of pictures is of one image, by `sides`."""

    name: str
    precision: Frame
    distances: Frame
    closeness: Frame
    pairs: tuple[tuple[Picture, Picture], ...] = ()
    sides: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class DetectionFacts:
    """All that a report says of the detectors of a study; `stand_in` is said with every number."""

    looks: Frame
    tests: tuple[OfTest, ...]
    rounds: tuple[Round, ...] = ()
    people: tuple[People, ...] = ()
    stand_in: str = ""
    least_score: float = 0.3  # of the detections in pictures


# --------------------------------------------------------------------------------------------------------- which cells


def leading(looks: Frame) -> Frame:
    """Return the rows of the cells with the largest volume of each arm at each n_real, where they ended well."""
    ok = looks[looks["status"] == "ok"]
    if not len(ok):
        return ok
    volume = list(zip(ok["n_synthetic"], ok["n_added"], strict=True))
    of = [tuple(row) for row in ok[["test", "arm", "n_real"]].itertuples(index=False)]
    largest: dict[tuple, tuple] = {}
    for key, one in zip(of, volume, strict=True):
        largest[key] = max(largest.get(key, one), one)
    return ok[[largest[key] == one for key, one in zip(of, volume, strict=True)]]


def of_real_images(cells: Frame) -> Any:
    """Say of each row whether it was trained on the real images of its size alone."""
    return (cells["n_synthetic"] == 0) & (cells["n_added"] == 0)


def mixed_sizes(cells: Frame) -> list[int]:
    """Return the real sizes at which there is something beside real images alone; all sizes where there is nowhere."""
    mixed = cells[~of_real_images(cells)]
    return sorted({int(n) for n in (mixed if len(mixed) else cells)["n_real"]})


def against(cells: Frame) -> dict[int, list[str]]:
    """Return for each n_real the arms to compare: real images alone, and the one with the largest synthetic volume.

    Of equal volumes the first in the study counts; both are of one recipe.
    """
    found = {}
    for n_real in mixed_sizes(cells):
        own = cells[cells["n_real"] == n_real]
        best = own[own["n_synthetic"] == own["n_synthetic"].max()].iloc[0]
        alone = own[of_real_images(own) & (own["recipe"] == best["recipe"])]
        beside = [best["arm"]] if best["n_synthetic"] else []
        found[n_real] = [*alone["arm"].unique()[:1], *beside]
    return found


def over_seeds(rows: Frame, across: list[str], value: str) -> Frame:
    """Return mean, lowest and highest value over the looks of each cell at each place of `across`, and their number.

    `low` and `high` are missing for a single look, unless the rows have an interval of their own.
    """
    by = [*CELL, *across]
    if not len(rows) or rows[value].isna().all():
        return pd.DataFrame(columns=[*by, value, "low", "high", "seeds", "band"])
    grouped = rows.dropna(subset=value).groupby(by, sort=False, dropna=False)
    found = grouped[value].agg([("mean", "mean"), ("low", "min"), ("high", "max"), ("seeds", "size")]).reset_index()
    alone = found["seeds"] == 1
    found["band"] = np.where(alone, "", "range over seeds")
    found.loc[alone, ["low", "high"]] = math.nan
    if "image_low" in rows:
        own = grouped[["image_low", "image_high"]].first().reset_index()
        told = alone & own["image_low"].notna()
        found.loc[told, ["low", "high"]] = own.loc[told, ["image_low", "image_high"]].to_numpy()
        found.loc[told, "band"] = "95 % interval over test images"
    return found.rename(columns={"mean": value})


def summarised(cell: Frame, name: str) -> tuple[float, float, float, int]:
    """Return mean, lowest, highest and number of the known values of a measure in a cell; NaN where none is known."""
    known = numbers(cell, name)
    known = known[np.isfinite(known)]
    if not len(known):
        return math.nan, math.nan, math.nan, 0
    return float(known.mean()), float(known.min()), float(known.max()), len(known)


def numbers(rows: Any, name: str) -> np.ndarray:
    """A column as floats; None and a missing column are NaN."""
    if name not in rows:
        return np.full(len(rows), math.nan)
    found: Any = pd.to_numeric(rows[name], errors="coerce")
    return found.to_numpy(float)

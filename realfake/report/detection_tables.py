"""The numbers behind the figures of detectors, as tidy tables: precision, distances, AP_t2t, rounds, correlations.

Here: pure functions of what `looks` holds. Not here: drawing (`detection_figures`), words (`detectors`), average
precision itself (`detections`) and AP_t2t (`representation.closeness`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from realfake.detections.precision import RECALLS, interpolated, precision_recall
from realfake.intervals import Interval
from realfake.measures import words
from realfake.report.figures import Frame
from realfake.report.looks import Objects, Picture, Round, Seen, numbers
from realfake.representation.closeness import Detected, Normalisation, average_precision_t2t
from realfake.representation.closeness_curves import correlation, curve

BANDS = ((0.01, 0.1), (0.1, 0.5), (0.5, math.inf))  # of scores; the last holds 1
THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)  # least scores of AP_t2t that are drawn
NORMALISATIONS: tuple[Normalisation, ...] = ("ground truth", "true positives")
LEAST_FOR_DENSITY = 10  # fewer distances are shown one by one
GRID = 101  # points of a density
DRAWS = 200  # of test images, for the band of a single seed
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
ALL_TESTS = "all test sets"
GO_WITH_AP = (  # measures that may
    *("distance_true_0.1", "distance_true_0.1_relative", "rho_0.1"),
    *("ap_t2t_0.01", "ap_t2t_0.1", "ap_t2t_0.5", "distribution_gap"),
)


# --------------------------------------------------------------------------------------------- from single detections


def precision_at_recalls(seen: Seen, there: Objects) -> np.ndarray:
    """Return (101,) the interpolated precision at IoU 0.5, averaged over classes; its mean is COCO's AP50.

    NaN where there is nothing to find.
    """
    order = np.lexsort((seen.rank, seen.image, -seen.score))
    curves = []
    for category in np.unique(there.category[there.counted]):
        rows = order[seen.category[order] == category]
        n = int((there.counted & (there.category == category)).sum())
        curves.append(interpolated(*precision_recall(seen.correct[rows], seen.false[rows], n)))
    return np.mean(curves, axis=0) if curves else np.full(len(RECALLS), math.nan)


def closeness_rows(seen: Seen, there: Objects, draws: int = 0) -> list[dict[str, Any]]:
    """Return AP_t2t, averaged over classes, at every threshold and by both normalisations; nothing without distances.

    With ``draws``, and for one class, also its 95 % interval over test images (``image_low``, ``image_high``).
    """
    categories = np.unique(there.category[there.counted])
    if np.isnan(seen.distance).any() or not len(categories):
        return []
    found = [_detected(seen, there, category) for category in categories]
    rows = []
    for kind in NORMALISATIONS:
        points = [[_ap(one, threshold, kind) for threshold in THRESHOLDS] for one in found]
        limits = (
            _limits(found[0], kind, draws) if draws and len(found) == 1 else [(math.nan, math.nan)] * len(points[0])
        )
        for threshold, values, (low, high) in zip(THRESHOLDS, zip(*points, strict=True), limits, strict=True):
            known = [value for value in values if not math.isnan(value)]
            mean = float(np.mean(known)) if known else math.nan
            told = {"ap_t2t": mean, "image_low": low, "image_high": high}
            rows.append({"normalisation": kind, "threshold": threshold, **told})
    return rows


def _detected(seen: Seen, there: Objects, category: int) -> Detected:
    own, objects = seen.category == category, there.counted & (there.category == category)
    row = {int(image): index for index, image in enumerate(there.images)}
    counts = np.bincount([row[int(image)] for image in there.image[objects]], minlength=len(row))
    image = np.array([row[int(i)] for i in seen.image[own]], dtype=np.int64)
    return Detected(image, seen.distance[own], seen.score[own], seen.correct[own], counts, seen.ignored[own])


def _ap(found: Detected, threshold: float, kind: Normalisation) -> float:
    n, matched, ignored = int(found.ground_truths.sum()), found.matched[:, 0], found.ignored[:, 0]
    own = {"normalisation": kind, "ignored": ignored}
    return average_precision_t2t(found.distance, found.score, matched, n, threshold, **own)


def _limits(found: Detected, kind: Normalisation, draws: int) -> list[tuple[float, float]]:
    points = curve(found, THRESHOLDS, normalisation=kind, draws=draws)
    ends = [(point.ap.low, point.ap.high) for point in points]
    return [ends_ if all(map(math.isfinite, ends_)) else (math.nan, math.nan) for ends_ in ends]


def distance_rows(seen: Sequence[Seen], grid: np.ndarray) -> list[dict[str, Any]]:
    """Return how the distances of right and wrong detections of a cell (its looks together) lie, by band of score.

    ``kind`` is "true" or "false" with the density over log10 of the distance at the ``grid``, which integrates to 1;
    where there are fewer than ten, each distance without a density. ``n`` counts the detections.
    """
    rows = []
    for low, high in BANDS:
        for kind in ("true", "false"):
            chosen = [s.distance[_in_band(s, low, high) & (s.correct if kind == "true" else s.false)] for s in seen]
            known = np.concatenate([*chosen, np.empty(0)])
            known = known[known > 0]  # also leaves out NaN
            at, density = _density(known, grid)
            told = {"band": band_name(low, high), "kind": kind, "n": len(known)}
            rows += [{**told, "distance": x, "density": y} for x, y in zip(at, density, strict=True)]
    return rows


def band_name(low: float, high: float) -> str:
    """The name of a band of scores."""
    return f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"


def grid_of(seen: Iterable[Seen]) -> np.ndarray:
    """Return the distances (101,) at which densities are told, evenly in their logarithm; none without distances."""
    known = np.concatenate([*(s.distance[s.correct | s.false] for s in seen), np.empty(0)])
    known = np.log10(known[known > 0])
    if not len(known):
        return np.empty(0)
    low, high = np.quantile(known, (0.001, 0.999))
    low, high = max(known.min(), low - 1), min(known.max(), high + 1)  # a decade beyond, for single far ones
    room = 0.12 * (high - low) + 0.01
    return 10 ** np.linspace(low - room, high + room, GRID)


def _in_band(seen: Seen, low: float, high: float) -> np.ndarray:
    return (seen.score >= low) & (seen.score < high)


def _density(distance: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel density of log10 distances (Scott's rule), or the distances themselves where they are few or all alike."""
    from scipy.stats import gaussian_kde

    if len(distance) < LEAST_FOR_DENSITY or np.ptp(distance) == 0:
        few = np.unique(distance)
        return few, np.full(len(few), math.nan)
    return grid, gaussian_kde(np.log10(distance))(np.log10(grid))


def picture(seen: Seen, there: Objects, image: np.ndarray, id: int, least: float) -> Picture:
    """Return an image with its detections that score ``least`` or more, and the objects that none of them found.

    Ignored detections are left out.
    """
    here = (seen.image == id) & (seen.score >= least)
    right, wrong = np.flatnonzero(here & seen.correct), np.flatnonzero(here & seen.false)
    missed = np.flatnonzero(
        (there.image == id) & there.counted & ~np.isin(np.arange(len(there.image)), seen.truth[right])
    )
    found = np.concatenate([right, wrong])
    kind = np.repeat(["true", "false", "missed"], [len(right), len(wrong), len(missed)])
    nothing = np.full(len(missed), math.nan)
    box = np.concatenate([seen.box[found], there.box[missed]])
    score, distance = (np.concatenate([column[found], nothing]) for column in (seen.score, seen.distance))
    return Picture(id, image, box, kind, score, distance)


def picture_rows(pairs: Iterable[tuple[Picture, ...]], sides: Sequence[str]) -> Frame:
    """Return every box that is drawn."""
    rows = [
        {"detector": side, "image": one.id, "kind": kind, "score": score, "distance": distance}
        | dict(zip(("left", "top", "width", "height"), map(float, box), strict=True))
        for pair in pairs
        for side, one in zip(sides, pair, strict=True)
        for kind, score, distance, box in zip(one.kind, one.score, one.distance, one.box, strict=True)
    ]
    return pd.DataFrame(rows)


# --------------------------------------------------------------------------------------- rounds, and what goes with AP


def round_rows(rounds: Iterable[Round]) -> Frame:
    """Return quantiles of the distances of the virtual images left and of those taken in every round, seeds together.

    ``height`` is the mean over seeds of the median height of the people of the candidates, with its range.
    """
    groups: dict[tuple, list[Round]] = {}
    for one in rounds:
        groups.setdefault((one.arm, one.n_real, one.iteration), []).append(one)
    rows = []
    for (arm, n_real, iteration), own in sorted(groups.items()):
        heights = [one.height for one in own if one.height is not None]
        for kind in ("left", "taken"):
            distance = np.concatenate([one.distance if kind == "left" else one.distance[: one.n_taken] for one in own])
            told = {"arm": arm, "n_real": n_real, "iteration": iteration, "kind": kind, "seeds": len(own)}
            told |= {"n": len(distance), **_quantiles(distance)}
            if kind == "taken" and heights:
                told |= {"height": np.mean(heights), "height_low": min(heights), "height_high": max(heights)}
            rows.append(told)
    return pd.DataFrame(rows)


def _quantiles(values: np.ndarray) -> dict[str, float]:
    found = np.quantile(values, QUANTILES) if len(values) else [math.nan] * len(QUANTILES)
    return {f"q{100 * q:02.0f}": float(value) for q, value in zip(QUANTILES, found, strict=True)}


def correlations(looks: Frame, draws: int = 500) -> Frame:
    """Return how each of `GO_WITH_AP` goes with AP over all looks, and within each test set, with 95 % intervals.

    Test sets of one detector are resampled together.
    """
    ok = looks[looks["status"] == "ok"]
    tests = list(dict.fromkeys(ok["test"]))
    rows: list[dict[str, Any]] = []
    for name in GO_WITH_AP:
        for over in ["", *(tests if len(tests) > 1 else ())]:
            own = ok[ok["test"] == over] if over else ok
            known = own[np.isfinite(numbers(own, name)) & np.isfinite(numbers(own, "average_precision"))]
            if len(known):
                values, ap = numbers(known, name), numbers(known, "average_precision")
                found = correlation(values, ap, group=known["trial"].to_numpy(), draws=draws)
                told = {
                    "measure": words(name),
                    "over": over or "all test sets",
                    "cells": found.cells,
                    "detectors": found.groups,
                }
                rows.append({**told, **_flat("spearman", found.spearman), **_flat("pearson", found.pearson)})
    return pd.DataFrame(rows)


def _flat(name: str, value: Interval) -> dict[str, Any]:
    known = value.censored != "withheld"
    ends = (value.point, value.low, value.high) if known else (math.nan,) * 3
    return dict(zip((name, f"{name}_low", f"{name}_high", f"{name}_reason"), (*ends, value.reason), strict=True))

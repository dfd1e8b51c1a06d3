"""The Gaussian of what a detector sees in its training images: fitted, kept in a file, and measured to.

Beside it a sample of the features themselves is kept, for distances at equal counts.

Which detections it is fitted to is PTL's rule (arXiv 2211.01778, under equation 2); where features come from is in
``keeping``, the moments and distances themselves in ``representation``, what follows for a test set in
``detection_measures``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from realfake.detections import overlap
from realfake.measures import COUNTS
from realfake.objects import Objects
from realfake.representation.distances import population
from realfake.representation.gaussians import Gaussian, gaussian, merged
from realfake.representation.mahalanobis import Mahalanobis, Switches, mahalanobis
from realfake.representation.sampling import Sampled
from realfake.samples import Samples
from realfake.spec import DetectionRecipe, DistanceRule
from realfake.tasks.keeping import Found, Keep, detect

IMAGES_AT_ONCE = 256  # whose features are held before they become a Gaussian
SAMPLE = 2 * COUNTS[-1]  # features kept of each class
MOMENTS = ("count", "mean", "rest", "scatter", "third", "fourth")


@dataclass(frozen=True)
class Population:
    """By class: the Gaussian of training detections, and the features ``(n, d)`` of at most ``SAMPLE`` of them."""

    gaussians: Mapping[int, Gaussian]
    sample: Mapping[int, np.ndarray]


def population_of(model: Any, samples: Samples, recipe: DetectionRecipe) -> Population:
    """Return what is known of the detections of every class in training images, by ``recipe.distance``.

    That is of detections that overlap an object of their class by more than one half (PTL, arXiv 2211.01778, under
    equation 2), merged from parts of the images. A class that was never found has a Gaussian of count 0.
    """
    rule, keep = recipe.distance, Keep.of(recipe)
    keep = replace(keep, score_threshold=max(keep.score_threshold, rule.least_score))  # lower ones never displace these
    parts: dict[int, list[Gaussian]] = {k: [] for k in range(len(samples.classes))}
    sample = {k: Sampled(SAMPLE, model.feature_width) for k in parts}
    for first in range(0, len(samples), IMAGES_AT_ONCE):
        part = samples.take(slice(first, first + IMAGES_AT_ONCE))
        assert part.objects is not None
        found = detect(model, part.images, keep)
        iou, truth = _best_overlap(found, part.objects)
        kept = population(found.score, iou, truth, least_score=rule.least_score, one_per_truth=rule.one_per_truth)
        for k, shards in parts.items():
            of_class = found.feature[kept & (found.category == k)]
            shards.append(gaussian(of_class))
            sample[k].add(of_class)
    gaussians = {k: merged(shards, model.feature_width) for k, shards in parts.items()}
    return Population(gaussians, {k: one.rows for k, one in sample.items()})


def write_population(path: Path, found: Population, fitted_on: str) -> None:
    """Write the Gaussian of every class, one row a class, and whether it is of "all" training images or the "real".

    Below that the sample, row by row, and how many rows each class has.
    """
    parts = found.gaussians
    columns: dict[str, Any] = {name: np.stack([getattr(part, name) for part in parts.values()]) for name in MOMENTS}
    columns["sample"] = np.concatenate(list(found.sample.values()))
    columns["sampled"] = np.array([len(rows) for rows in found.sample.values()])
    np.savez(path, category=np.array(list(parts)), fitted_on=np.array(fitted_on), **columns)


def read_gaussian(path: Path) -> dict[int, Gaussian]:
    """Return the Gaussian of every class that was written; ``distances.measure`` takes it as it is."""
    with np.load(path) as file:
        count, mean, rest, scatter, third, fourth = (file[name] for name in MOMENTS)
        return {
            int(k): Gaussian(int(count[i]), mean[i], rest[i], scatter[i], third[i], float(fourth[i]))
            for i, k in enumerate(file["category"])
        }


def read_population(path: Path) -> Population:
    """Return what ``write_population`` wrote; no sample of a trial that was made before there were any."""
    with np.load(path) as file:
        if "sample" not in file:
            return Population(read_gaussian(path), {})
        ends = np.cumsum(file["sampled"])
        parts = np.split(file["sample"], ends[:-1])
        return Population(read_gaussian(path), dict(zip(map(int, file["category"]), parts, strict=True)))


def _best_overlap(found: Found, objects: Objects) -> tuple[np.ndarray, np.ndarray]:
    """Return for each detection its largest overlap (d,) with an object of its class, and which (d,) that is."""
    iou, truth = np.zeros(len(found)), np.zeros(len(found), np.int64)
    for row in np.unique(found.image):
        here, of_image = np.flatnonzero(found.image == row), objects.of_image(row)
        if of_image.stop == of_image.start:
            continue
        shared = overlap(found.box[here, None], objects.box[of_image][None], np.array(False))
        same = (objects.label[of_image] == found.category[here, None]) & ~objects.crowd[of_image]
        shared = np.where(same, shared, 0.0)
        iou[here], truth[here] = shared.max(axis=1), of_image.start + shared.argmax(axis=1)
    return iou, truth


@dataclass(frozen=True)
class Ruler:
    """Distances by class as a rule says, ``plain`` ones without regularisation, and why there are none where so."""

    measured: Mapping[int, Mahalanobis]
    plain: Mapping[int, Mahalanobis]
    status: str

    @classmethod
    def of(cls, fitted: Mapping[int, Gaussian], rule: DistanceRule) -> "Ruler":
        """Return what can be measured; a class of too few training detections has no distance, as the status says."""
        switches = Switches(rule.squared, rule.covariance, ridge=rule.ridge)
        measured = {k: found for k, part in fitted.items() if (found := _measured(part, switches))}
        plain = {k: found for k, part in fitted.items() if (found := _measured(part, Switches(rule.squared)))}
        return cls(measured, plain, _status(fitted, measured, plain))

    def distance(self, found: Found, plain: bool = False) -> np.ndarray:
        """Return the distance (d,) of each detection to the training detections of its class; NaN where not known."""
        away = np.full(len(found), np.nan)
        for k, measure in (self.plain if plain else self.measured).items():
            of_class = found.category == k
            away[of_class] = measure(found.feature[of_class])
        return away


def _measured(fitted: Gaussian, switches: Switches) -> Mahalanobis | None:
    try:
        return mahalanobis(fitted, switches)
    except ValueError:  # too few training detections, or all alike
        return None


def _status(fitted: Mapping[int, Gaussian], measured: Mapping[int, Any], plain: Mapping[int, Any]) -> str:
    """Say of the class with the fewest training detections whether its distance is known."""
    worst = min(fitted, key=lambda k: (k in measured, k in plain, fitted[k].count))
    few = f"{fitted[worst].count} ≤ d + 2"
    if fitted[worst].count > fitted[worst].dimension + 2:
        few = f"{fitted[worst].count} whose features do not vary in all directions"
    if worst not in measured:
        return f"too few detections: {few}"
    return "ok" if worst in plain else f"only by regularisation: {few}"

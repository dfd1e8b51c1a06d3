"""What real labels, synthetic images and training cost: given, or measured from the records of a study.

Here: `Costs`, and how seconds are read off records and image files. Not here: what to buy for them (`planning`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from realfake.laws import Array
from realfake.pool_facts import shards_made
from realfake.samples import SHARD_ROWS
from realfake.spec import ClosedSet, Gan, Lora, Pool, Spec, Trial, address, order
from realfake.store import Store


class PlanError(ValueError):
    """What was asked cannot be planned; the message says why in one sentence."""


@dataclass(frozen=True)
class Costs:
    """What everything costs, all in one unit. By default a real image costs 1 and everything else nothing.

    Raises PlanError for a cost that is negative or not a number, and for labels that cost nothing.
    """

    real: float = 1.0  # one labelled real image
    synthetic: float = 0.0  # one candidate image out of the generator
    candidates_per_kept: float = 1.0  # candidates that are made for each image that is used
    generator: float = 0.0  # fitting a generator, whatever it is fitted on
    generator_per_real: float = 0.0  # and for each real image that it is fitted on
    training: float = 0.0  # one training, whatever the images
    training_per_image: float = 0.0  # and for each image, real or synthetic
    unit: str = ""  # "seconds", "€": for the text alone

    def __post_init__(self) -> None:
        for name, value in self._numbers().items():
            if not (math.isfinite(value) and value >= 0):
                raise PlanError(f"Costs.{name} is {value}; a cost is a number, 0 or more")
        if self.real == 0:
            raise PlanError("Costs.real is 0; where labels cost nothing there is nothing to plan, label all there is")
        if self.candidates_per_kept < 1:
            raise PlanError(f"Costs.candidates_per_kept is {self.candidates_per_kept:g}; it must be at least 1")

    def of(self, n: Any, m: Any, n_generator: Any) -> Array:
        """The cost of n real and m synthetic images, with one generator (if m > 0) and one training; inf for n = inf.

        Every real image that is seen is paid for: a generator that saw more than the n of the trial makes them
        max(n, n_generator), for subsets are nested. Arguments broadcast.
        """
        n, m, generator = np.broadcast_arrays(*(np.asarray(value, dtype=float) for value in (n, m, n_generator)))
        mixed, known = m > 0, np.isfinite(n)
        n, generator = np.where(known, n, 0.0), np.where(known & mixed, generator, 0.0)
        labels = self.real * np.maximum(n, generator)
        fitting = np.where(mixed, self.generator + self.generator_per_real * generator, 0.0)
        images = self.synthetic * self.candidates_per_kept * m
        return np.where(known, labels + fitting + images + self.training + self.training_per_image * (n + m), np.inf)

    def __str__(self) -> str:
        generator = _with_slope(self.generator, self.generator_per_real, "a real image")
        training = _with_slope(self.training, self.training_per_image, "an image")
        kept = f" ({self.candidates_per_kept:g} made for each kept)" if self.candidates_per_kept > 1 else ""
        parts = (
            f"a real image {_amount(self.real)}",
            f"a synthetic one {_amount(self.synthetic)}{kept}",
            f"a generator {generator}",
            f"a training {training}",
        )
        return ", ".join(parts) + (f" ({self.unit})" if self.unit else "")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _numbers(self) -> dict[str, float]:
        return {name: value for name, value in self.to_json().items() if name != "unit"}


def _with_slope(fixed: float, slope: float, of: str) -> str:
    return _amount(fixed) + (f" + {_amount(slope)} {of}" if slope else "")


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def measured_costs(trials: Iterable[Trial], store: Store, *, real: float) -> Costs:
    """What made things took, in seconds of one process: generators, images, trainings; `real` seconds to label one.

    Fitting is read as a line in n_generator and training as a line in the images (non-negative least squares), so that
    a study whose generators or trainings all take alike gives a constant. Raises PlanError where nothing is made.
    """
    trials = tuple(trials)
    things = [(spec, record) for spec in order(trials) if spec.made == "record" and (record := store.record(spec))]
    fits = ((spec, record) for spec, record in things if isinstance(spec, ClosedSet | Gan | Lora))
    fitted = [(spec.real.size, record["seconds"]) for spec, record in fits]
    trained = [(s.n_real + s.n_synthetic, record["seconds"]) for s, record in things if isinstance(s, Trial)]
    if not trained:
        raise PlanError("no trial of the study is made, so nothing says what a training takes; run the study first")
    generator, generator_per_real = line(fitted)
    training, training_per_image = line(trained)
    return Costs(
        real=real,
        synthetic=_seconds_an_image(order(trials), store),
        generator=generator,
        generator_per_real=generator_per_real,
        training=training,
        training_per_image=training_per_image,
        unit="seconds",
    )


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(seconds at size 0, seconds for each more) of (size, seconds) pairs, neither below 0."""
    from scipy.optimize import nnls

    if not points:
        return 0.0, 0.0
    sizes, seconds = np.array(points, dtype=float).T
    if len(np.unique(sizes)) == 1:
        return float(seconds.mean()), 0.0
    largest = sizes.max()
    found, _ = nnls(np.stack([np.ones_like(sizes), sizes / largest], axis=1), seconds)
    return float(found[0]), float(found[1] / largest)


def _seconds_an_image(specs: Iterable[Spec], store: Store) -> float:
    """Mean over the image files of the pools."""
    seconds = [
        made["seconds"]
        for pool in specs
        if isinstance(pool, Pool)
        for made in shards_made(store, address(pool))
        if "seconds" in made
    ]
    return sum(seconds) / (len(seconds) * SHARD_ROWS) if seconds else 0.0

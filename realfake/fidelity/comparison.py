"""Everything this package measures, in one table: two sets of images side by side.

One row a measure, each with its interval, its counts, the name of its feature space and, where there is one, what real
images give against real images. What each measure is stands in its own module; which pools a study has, in ``pools``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from realfake.fidelity.by_class import Recognisability, diversity, recognisability
from realfake.fidelity.copying import copies
from realfake.fidelity.feature_spaces import Space, features, space_name
from realfake.fidelity.frechet import frechet_distance
from realfake.fidelity.kernels import Discrepancy, class_discrepancy, kernel_distance, maximum_mean_discrepancy
from realfake.fidelity.neighbourhoods import Overlap, overlaps
from realfake.fidelity.telling_apart import separability
from realfake.intervals import Interval
from realfake.samples import Samples, load
from realfake.spec import Subset, Trial, address
from realfake.store import Store

if TYPE_CHECKING:
    import pandas as pd

KS = (3, 5)  # neighbours: of Kynkäänniemi et al. for precision and recall, of Naeem et al. for density and coverage
COLUMNS = ("measure", "value", "low", "high", "null", "null_low", "null_high", "p_value", "space")
RECOGNISED, DIVERSE = "recognisability (F1)", "diversity"  # of one class
Found = tuple[Interval, Interval | None, float | None]  # a value, what real images give, and a p-value


@dataclass(frozen=True)
class Compared:
    """What distinguishes two sets of images: ``table``, a row a measure; ``by_class``, a row a class and measure."""

    table: pd.DataFrame
    by_class: list[dict[str, Any]]


@dataclass(frozen=True)
class _Sets:
    """Features and labels of real, synthetic and held-out real images (None where there are none)."""

    real: np.ndarray
    real_labels: np.ndarray
    synthetic: np.ndarray
    labels: np.ndarray
    held_out: np.ndarray | None
    classes: int
    seed: int

    @functools.cached_property
    def near(self) -> dict[int, tuple[Overlap, Overlap | None]]:
        """The overlap of real with synthetic and with held-out images, for k = 3 and 5."""
        measured = functools.partial(overlaps, self.real, seed=self.seed)
        fresh = self.held_out
        return {k: (measured(self.synthetic, k=k), None if fresh is None else measured(fresh, k=k)) for k in KS}


def compare_images(
    real: Samples | Subset,
    synthetic: Samples | Subset,
    *,
    held_out: Samples | None = None,
    space: Space = "pixels",
    classifier: Trial | None = None,
    at_infinity: bool = False,
    store: Store | None = None,
    weights: Mapping[str, Path] | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> pd.DataFrame:
    """Return what distinguishes synthetic images from real ones: one row a measure, with 95 % intervals over images.

    Columns: measure, value, low, high; null, null_low, null_high: the same of real against ``held_out`` images that
    the generator never saw, by permutation for MMD², between halves of the real images for separability, and of the
    real images themselves for diversity; p_value of permutations; space, ``n_real``, ``n_synthetic``,
    ``n_held_out``, and a note where a measure could not be taken. ``space`` is as in ``features``; recognisability
    needs a ``classifier``, a made Trial of real images. Subsets are read from ``store``. ``at_infinity`` adds the
    extrapolated Fréchet distance, about fifteen times the work of the plain one. Raises ValueError for a Subset
    without a store or classes that differ, and what ``features`` raises.
    """
    given = {"held_out": held_out, "space": space, "classifier": classifier, "at_infinity": at_infinity}
    return compared(real, synthetic, **given, store=store, weights=weights, device=device, seed=seed).table


def compared(
    real: Samples | Subset,
    synthetic: Samples | Subset,
    *,
    held_out: Samples | None = None,
    space: Space = "pixels",
    classifier: Trial | None = None,
    at_infinity: bool = False,
    store: Store | None = None,
    weights: Mapping[str, Path] | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> Compared:
    """Return the table of ``compare_images`` and, from the same features, the measures of single classes."""
    a, b = _read(real, store), _read(synthetic, store)
    if a.classes != b.classes:
        raise ValueError(
            f"real classes are {', '.join(a.classes)}, synthetic ones {', '.join(b.classes)}; give the same"
        )
    seen = [
        None if part is None else features(part.images, space, store=store, weights=weights, device=device)
        for part in (a, b, held_out)
    ]
    assert seen[0] is not None
    assert seen[1] is not None
    sets = _Sets(seen[0], a.labels, seen[1], b.labels, seen[2], len(a.classes), seed)
    rows = [_row(name, measure, sets, space_name(space)) for name, measure in _measures(at_infinity)]
    of_classes = _diverse_classes(sets, a.classes, space_name(space))
    if classifier is not None:
        found = _recognised(classifier, b, held_out, store, weights, device)
        named = f"labels of {address(classifier)}"
        rows += _recognition_rows(*found, named)
        of_classes += _recognised_classes(*found, a.classes, named)
    table = _table(rows, len(a), len(b), 0 if held_out is None else len(held_out))
    return Compared(table, of_classes)


# ------------------------------------------------------------------------------------------------------- the measures


def _measures(at_infinity: bool) -> Iterator[tuple[str, Callable[[_Sets], Found]]]:
    yield "Fréchet distance", _both(lambda a, b, seed: frechet_distance(a, b, seed=seed))
    if at_infinity:
        yield (
            "Fréchet distance at infinity",
            _both(lambda a, b, seed: frechet_distance(a, b, at_infinity=True, seed=seed)),
        )
    yield "kernel distance", _both(lambda a, b, seed: kernel_distance(a, b, seed=seed))
    yield "MMD²", lambda s: _tested(maximum_mean_discrepancy(s.real, s.synthetic, seed=s.seed))
    yield (
        "MMD² within class",
        lambda s: _tested(class_discrepancy(s.real, s.real_labels, s.synthetic, s.labels, seed=s.seed)),
    )
    yield "precision (k = 3)", _near(3, lambda found: found.precision)
    yield "recall (k = 3)", _near(3, lambda found: found.recall)
    yield "density (k = 5)", _near(5, lambda found: found.density)
    yield "coverage (k = 5)", _near(5, lambda found: found.coverage)
    yield "separability (AUC)", _separated
    yield (
        "diversity within class",
        lambda s: (
            diversity(s.synthetic, s.labels, s.classes, seed=s.seed).mean,
            diversity(s.real, s.real_labels, s.classes, seed=s.seed).mean,
            None,
        ),
    )
    yield "copy rate (1 % of fresh)", _copied


def _both(measure: Callable[[np.ndarray, np.ndarray, int], Interval]) -> Callable[[_Sets], Found]:
    """Return a measure of synthetic images beside the same of held-out real ones."""

    def found(sets: _Sets) -> Found:
        value = measure(sets.real, sets.synthetic, sets.seed)
        return value, None if sets.held_out is None else measure(sets.real, sets.held_out, sets.seed), None

    return found


def _near(k: int, measure: Callable[[Overlap], Interval]) -> Callable[[_Sets], Found]:
    def found(sets: _Sets) -> Found:
        synthetic, held_out = sets.near[k]
        return measure(synthetic), None if held_out is None else measure(held_out), None

    return found


def _tested(found: Discrepancy) -> Found:
    return found.value, found.null, found.p_value


def _separated(sets: _Sets) -> Found:
    found = separability(sets.real, sets.synthetic, seed=sets.seed)
    return found.auc, found.null, None


def _copied(sets: _Sets) -> Found:
    found = copies(sets.synthetic, sets.real, sets.held_out)
    return found.rate, Interval(found.null_rate, found.null_rate, found.null_rate), None


def _row(name: str, measure: Callable[[_Sets], Found], sets: _Sets, space: str) -> dict[str, Any]:
    try:
        return _entry(name, measure(sets), space)
    except ValueError as error:  # too few images for this measure: the others can be taken
        return {"measure": name, "space": space, "note": str(error)}


def _entry(name: str, found: Found, space: str) -> dict[str, Any]:
    value, null, p_value = found
    row = {"measure": name, "value": value.point, "low": value.low, "high": value.high, "space": space, "note": ""}
    if null is not None:
        row |= {"null": null.point, "null_low": null.low, "null_high": null.high}
    return row | ({} if p_value is None else {"p_value": p_value})


def _recognised(
    classifier: Trial, made: Samples, held_out: Samples | None, store: Store | None, weights: Any, device: str
) -> tuple[Recognisability, Recognisability | None]:
    """Return how a trial's network recognises synthetic images, and held-out real ones if there are any."""
    from realfake.tasks.feature_networks import trial_features

    if store is None:
        raise ValueError(f"{address(classifier)} is a trial, and its network lies in a store; give store=Store(…)")
    found = []
    for part in (made, held_out):
        if part is not None:
            _, probabilities = trial_features(classifier, part.images, store, weights=weights, device=device)
            found.append(recognisability(probabilities.argmax(1), part.labels, len(part.classes)))
    return found[0], found[1] if len(found) > 1 else None


def _recognition_rows(found: Recognisability, of_real: Recognisability | None, named: str) -> list[dict[str, Any]]:
    return [
        _entry("recognisability (agreement)", (found.agreement, of_real and of_real.agreement, None), named),
        _entry("recognisability (mean F1)", (found.mean_f1, of_real and of_real.mean_f1, None), named),
    ]


# ------------------------------------------------------------------------------------------------------ single classes


def _recognised_classes(
    found: Recognisability, of_real: Recognisability | None, classes: Sequence[str], named: str
) -> list[dict[str, Any]]:
    """Return the F1 of each class that was asked for, beside that of held-out real images."""
    null = of_real.f1 if of_real else (None,) * len(classes)
    return [
        {"class": str(name), **_entry(RECOGNISED, (f1, null[c], None), named)}
        for c, name in enumerate(classes)
        if (f1 := found.f1[c]) is not None
    ]


def _diverse_classes(sets: _Sets, classes: Sequence[str], space: str) -> list[dict[str, Any]]:
    """Return the diversity of each class of four images or more, beside that of the real images."""
    try:
        made, real = (
            diversity(rows, labels, sets.classes, seed=sets.seed).each
            for rows, labels in ((sets.synthetic, sets.labels), (sets.real, sets.real_labels))
        )
    except ValueError:  # no class has four images: nothing to say of any
        return []
    return [
        {"class": str(name), **_entry(DIVERSE, (value, real[c], None), space)}
        for c, name in enumerate(classes)
        if (value := made[c]) is not None
    ]


def _table(rows: list[dict[str, Any]], n_real: int, n_synthetic: int, n_held_out: int) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(rows, columns=[*COLUMNS, "note"])
    at = table.columns.get_loc("note")
    for name, count in (("n_held_out", n_held_out), ("n_synthetic", n_synthetic), ("n_real", n_real)):
        table.insert(at, name, count)  # type: ignore[arg-type]
    return table


def _read(images: Samples | Subset, store: Store | None) -> Samples:
    if isinstance(images, Samples):
        return images
    if store is None:
        raise ValueError(f"{address(images)} is read from a store; give store=Store(…), or its samples")
    return load(store, images)

"""How well a training set represents test detections: train2test distance and its corrections.

The distance is that of arXiv 2408.14559, inherited from PTL (arXiv 2211.01778, equations 1 to 3): Mahalanobis, in the
detector's penultimate features, from the training detections of a class to one test detection. Small means that the
training set represents the detection. The full text of 2408.14559 was not available; what it does not pin is a switch.
A raw distance falls when data are added, whatever the data: a covariance from n detections is too narrow. Therefore
it is to be read beside its ratio to the expected one, beside distances at equal counts, or relative to held-out
detections of the source. And a broader training set brings false positives nearer too: a smaller distance alone is no
better representation.
Here: distances, from arrays. Not here: detectors; whether near detections are right (``closeness``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from realfake.representation.gaussians import Gaussian, finite_rows, gaussian
from realfake.representation.mahalanobis import Covariance, Divisor, Mahalanobis, Switches, mahalanobis


@dataclass(frozen=True)
class Train2Test:
    """Distances of m test detections, and the Gaussian that each was measured to.

    ``distance (m,)`` and ``expected (m,)``: the mean distance of new detections from the training distribution itself,
    NaN where no closed form is known (``mahalanobis.expected_distance``). ``measured`` has a distance for each class;
    without classes its only key is None.
    """

    distance: np.ndarray
    expected: np.ndarray
    measured: Mapping[Any, Mahalanobis]

    @property
    def ratio(self) -> np.ndarray:
        """Distance over expected distance ``(m,)``: 1 on average for detections like the training ones, at any n.

        Raises ValueError where the expectation has no closed form.
        """
        if np.isnan(self.expected).any():
            raise ValueError(
                "the expected distance has no closed form under this covariance, ridge and root; use "
                "relative(distance, held_out_distance), or a full covariance without ridge"
            )
        return self.distance / self.expected


def train2test(
    train_features: np.ndarray,
    test_features: np.ndarray,
    *,
    squared: bool = True,
    covariance: Covariance = "full",
    ridge: float = 0.0,
    divisor: Divisor = "n",
    components: int | None = None,
    train_classes: np.ndarray | None = None,
    test_classes: np.ndarray | None = None,
) -> np.ndarray:
    """Return the train2test distance ``(m,)`` of every test detection, float64, without unit.

    ``train_features (n, d)`` are penultimate features of detections on the training images (``population`` says which),
    ``test_features (m, d)`` of detections on the test images, or ``(s, m, d)`` of the same detections at s sizes, of
    which the nearest counts (PTL, equation 4). With classes, ``(n,)`` and ``(m,)``, every class has its own Gaussian
    and a detection is measured to that of its own. ``squared=False`` takes the root. ``covariance`` is "full",
    "ledoit-wolf" (shrunk to a sphere), "diagonal", "pseudo-inverse", or "principal" (the ``components`` directions of
    greatest variance); ``divisor`` is "n" (PTL, equation 2) or "n-1"; ``ridge`` adds that share of the mean variance
    to every variance. ``measure`` gives the same with expectation, condition number and shrinkage.

    Raises ValueError for shapes that do not fit, values that are not finite, a class without training detections, and,
    unless regularised, for n ≤ d + 2 or a singular covariance.
    """
    switches = Switches(squared=squared, covariance=covariance, divisor=divisor, ridge=ridge, components=components)
    train = train_features if train_classes is None else by_class(train_features, train_classes)
    return measure(train, test_features, switches=switches, test_classes=test_classes).distance


def measure(
    train: np.ndarray | Gaussian | Mapping[Any, Gaussian],
    test_features: np.ndarray,
    *,
    switches: Switches | None = None,
    test_classes: np.ndarray | None = None,
) -> Train2Test:
    """Return distances with all that is needed to judge them; see ``train2test`` for shapes and errors.

    ``train`` is features ``(n, d)``, a Gaussian merged from shards (``gaussians.merged``), or one for each class.
    """
    fitted = train if isinstance(train, Mapping) else {None: train if isinstance(train, Gaussian) else _fit(train)}
    if (test_classes is None) != (not isinstance(train, Mapping)):
        raise ValueError(
            "classes are known of one side only, and a distance is measured within a class; "
            "give train_classes and test_classes, or neither"
        )
    sizes = np.asarray(test_features)
    sizes = sizes if sizes.ndim == 3 else finite_rows(sizes, "test_features")[None]
    labels = np.full(sizes.shape[1], None) if test_classes is None else np.asarray(test_classes)
    _one_each(labels, sizes.shape[1], "test_classes", "test detections")
    distance, expected = np.empty(len(labels)), np.empty(len(labels))
    measured = {}
    for label in [None] if test_classes is None else np.unique(labels).tolist():
        if label not in fitted:
            raise ValueError(f"class {label!r} has test detections but no training ones; leave its detections out")
        measured[label] = mahalanobis(fitted[label], switches)
        rows = np.full(len(labels), True) if label is None else labels == label
        distance[rows] = np.min([measured[label](size[rows]) for size in sizes], axis=0)
        expected[rows] = measured[label].expected
    return Train2Test(distance, expected, measured)


def by_class(features: np.ndarray, classes: np.ndarray) -> dict[Any, Gaussian]:
    """Return the Gaussian of every class of features ``(n, d)`` with classes ``(n,)``; errors as in ``train2test``."""
    rows, labels = finite_rows(features, "train_features"), np.asarray(classes)
    _one_each(labels, len(rows), "train_classes", "training detections")
    return {label: gaussian(rows[labels == label]) for label in np.unique(labels).tolist()}


def population(
    score: np.ndarray,
    iou: np.ndarray,
    truth: np.ndarray,
    *,
    least_score: float = 0.05,
    above_iou: float = 0.5,
    one_per_truth: bool = True,
    real: np.ndarray | None = None,
) -> np.ndarray:
    """Return which detections ``(n,)`` bool on the training images the Gaussian is fitted to.

    ``score (n,)`` in [0, 1]; ``truth (n,)`` numbers the ground truth, over all images, that a detection overlaps most,
    and ``iou (n,)`` says how much. Kept are those of at least ``least_score`` that overlap *more* than ``above_iou``
    (PTL, under equation 2), and of those the best scored for each ground truth, the first if scores are equal; with
    ``one_per_truth=False`` all of them, as PTL's words say. ``real (n,)`` bool leaves out detections on other
    images, which isolates what synthetic images add. ``least_score`` is ours: no source gives it.
    """
    kept = (np.asarray(score) >= least_score) & (np.asarray(iou) > above_iou)
    if real is not None:
        kept &= np.asarray(real, dtype=bool)
    if one_per_truth:
        rows = np.flatnonzero(kept)
        rows = rows[np.argsort(-np.asarray(score)[rows], kind="stable")]
        best = rows[np.unique(np.asarray(truth)[rows], return_index=True)[1]]
        kept = np.isin(np.arange(len(kept)), best)
    return kept


# --------------------------------------------------------------------------------------- distances that can be compared


def at_equal_counts(
    train_sets: Mapping[str, np.ndarray],
    test_features: np.ndarray,
    *,
    count: int | None = None,
    repeats: int = 20,
    seed: int = 0,
    switches: Switches | None = None,
) -> dict[str, np.ndarray]:
    """Return for every training set the distances ``(m,)`` when each is cut to the same number of detections.

    ``train_sets`` are features ``(n, d)``; ``count`` is the smallest n unless given, and may not be more. A larger set
    is cut ``repeats`` times, at random without replacement, and its distances are averaged over the cuts; a cut depends
    on ``seed`` and its number only, so other sets beside it change nothing at equal ``count``.
    """
    smallest = min(train_sets, key=lambda name: len(train_sets[name]))
    count = len(train_sets[smallest]) if count is None else count
    if count > len(train_sets[smallest]):
        raise ValueError(
            f"count={count}, but {smallest!r} has {len(train_sets[smallest])} training detections; ask for so many or "
            "fewer"
        )
    answers = {}
    for name, features in train_sets.items():
        cuts = [np.random.default_rng([seed, turn]).permutation(len(features))[:count] for turn in range(repeats)]
        parts = [features] if len(features) == count else [features[cut] for cut in cuts]
        answers[name] = np.mean([measure(part, test_features, switches=switches).distance for part in parts], axis=0)
    return answers


def relative(distance: np.ndarray, held_out_distance: np.ndarray) -> np.ndarray:
    """Return distances ``(m,)`` over the median distance of held-out detections from the source domain: 1 is like them.

    It needs no closed form, so it holds under any regularisation. Raises ValueError if nothing was held out.
    """
    if not len(held_out_distance):
        raise ValueError("there are no held-out detections, and their median is the unit; give some")
    return np.asarray(distance) / float(np.median(held_out_distance))


def distribution_gap(distance: np.ndarray, *, normaliser: float | None = None) -> float:
    """Return the "normalized sum of the Mahalanobis distances of all test data" (arXiv 2405.15203, abstract).

    The sum of distances ``(m,)`` over ``normaliser``, which is m unless given: what the paper divides by was not found.
    """
    if not len(distance):
        raise ValueError("there are no test detections, so there is no gap to them; give distances of one or more")
    return float(np.sum(distance) / (len(distance) if normaliser is None else normaliser))


def _fit(train_features: np.ndarray) -> Gaussian:
    return gaussian(finite_rows(train_features, "train_features"))


def _one_each(values: np.ndarray, count: int, name: str, things: str) -> None:
    if values.shape != (count,):
        raise ValueError(f"{name} has shape {values.shape} for {count} {things}; give one of each")

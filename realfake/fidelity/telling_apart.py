"""How well a classifier tells synthetic images from real ones, beside how well it tells real ones from real ones.

A classifier two-sample test (Lopez-Paz and Oquab 2017, arXiv 1610.06545) by held-out AUC. It answers whether sets
differ in a way that a linear classifier sees, not whether the difference matters for training.
"""

from dataclasses import dataclass

import numpy as np

from realfake.fidelity.resampling import two_sets
from realfake.intervals import COVERAGE, Interval

LEAST = 20  # images of either set: a quarter of them train each classifier


@dataclass(frozen=True)
class Separability:
    """``auc``: of real against synthetic, 0.5 when they cannot be told apart; ``null``: of real against other real
    images, as many and by the same classifier, as the range that one such measurement falls in. Both at ``n_each``
    images a side, half of them for training."""

    auc: Interval
    null: Interval
    n_each: int


def separability(real: np.ndarray, synthetic: np.ndarray, *, repeats: int = 10, seed: int = 0) -> Separability:
    """Return the held-out AUC of a logistic regression on standardised features ``(n, d)`` and ``(m, d)``.

    Each repeat draws one half of the real images, as many synthetic ones (at most half of those), and as many of the
    other real half; a classifier is trained on half of what it is given, tried on the rest, and the other way round.
    The spread over halves is that of the whole sets (the delete-half jackknife), so intervals are over images.
    Raises ValueError for fewer than 20 images of either set or 2 repeats, and for what ``frechet_distance`` refuses.
    """
    a, b = two_sets(real, synthetic, least=LEAST)
    if repeats < 2:
        raise ValueError(f"repeats={repeats} shows no spread; give 2 or more")
    each = min(len(a), len(b)) // 2
    random = np.random.default_rng(seed)
    apart, null = np.empty(repeats), np.empty(repeats)
    for turn in range(repeats):
        order = random.permutation(a)
        half, other = order[:each], order[len(a) - each :]
        apart[turn] = _held_out_auc(half, random.permutation(b)[:each], random)
        null[turn] = _held_out_auc(half, other, random)
    return Separability(_spread(apart), _spread(null), each)


def _spread(found: np.ndarray) -> Interval:
    from scipy.stats import t

    half = float(t.ppf(0.5 + COVERAGE / 2, len(found) - 1) * found.std(ddof=1) * np.sqrt(1 + 1 / len(found)))
    middle = float(found.mean())
    return Interval(middle, max(0.0, middle - half), min(1.0, middle + half))


def _held_out_auc(x: np.ndarray, y: np.ndarray, random: np.random.Generator) -> float:
    """Return the mean AUC over two folds; each holds half of both sets."""
    from sklearn.metrics import roc_auc_score

    rows, labels = np.concatenate([x, y]), np.repeat([0, 1], [len(x), len(y)])
    fold = np.concatenate([random.permutation(len(x)) % 2, random.permutation(len(y)) % 2])
    scores = [_scores(rows[fold != k], labels[fold != k], rows[fold == k]) for k in (0, 1)]
    return float(np.mean([roc_auc_score(labels[fold == k], scores[k]) for k in (0, 1)]))


def _scores(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    mean, scale = train.mean(0), train.std(0)
    scale[scale == 0] = 1  # such as a pixel that is always black
    classifier = LogisticRegression(C=0.1, max_iter=200).fit((train - mean) / scale, labels)
    return ((test - mean) / scale) @ classifier.coef_[0]

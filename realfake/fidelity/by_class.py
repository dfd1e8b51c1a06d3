"""Class by class: do synthetic images show what was asked for, and how much do they vary?

Both are as Fan et al. 2024 (arXiv 2312.04567) are reported to define them: recognisability as the F1 of a classifier of
each class, diversity as the standard deviation of features in each class. Their code for these was not released; what
is ours is said where it is. Distances between real and synthetic images of a class are in ``kernels``.
"""

from dataclasses import dataclass

import numpy as np

from realfake.fidelity.resampling import BLOCKS, block_count, blocks_of, feature_rows, jackknife, share_interval
from realfake.intervals import Interval


@dataclass(frozen=True)
class Recognisability:
    """``agreement``: share of images that a classifier gives the label they were asked for, of all and of each class.

    ``f1``: of each class, 2 · true positives / (images asked + images given the label), and their mean as ``mean_f1``.
    Classes come in the order of their labels; one that was never asked for is ``None``.
    """

    agreement: Interval
    mean_f1: Interval
    class_agreement: tuple[Interval | None, ...]
    f1: tuple[Interval | None, ...]


@dataclass(frozen=True)
class Diversity:
    """``each``: the standard deviation within a class, averaged over features, None for a class of fewer than 4
    images; ``mean``: over classes."""

    mean: Interval
    each: tuple[Interval | None, ...]


def recognisability(
    predicted: np.ndarray, asked: np.ndarray, classes: int, *, blocks: int = BLOCKS, seed: int = 0
) -> Recognisability:
    """Return how a classifier's labels ``predicted (m,)`` agree with the labels ``asked (m,)`` of synthetic images.

    Both are 0 … ``classes`` − 1. A classifier that learned from real images makes it a measure of images; one that
    learned from these makes it none. Raises ValueError for labels that do not fit.
    """
    predicted, asked = np.asarray(predicted), np.asarray(asked)
    if predicted.shape != asked.shape or predicted.ndim != 1 or len(asked) < 2:
        raise ValueError(f"predicted is {predicted.shape} and asked {asked.shape}; give a label of each for 2 images")
    if min(predicted.min(), asked.min()) < 0 or max(predicted.max(), asked.max()) >= classes:
        raise ValueError(f"labels lie outside 0 … {classes - 1}; give classes={max(predicted.max(), asked.max()) + 1}")
    g = block_count(blocks, len(asked))
    block = blocks_of(len(asked), g, seed)
    tables = np.zeros((g, classes, classes))
    np.add.at(tables, (block, asked, predicted), 1)
    whole = tables.sum(0)
    f1 = np.stack([_f1(whole), *(_f1(whole - tables[k]) for k in range(g))])
    counts, there = whole.sum(1), whole.sum(1) > 0
    shares = [share_interval(whole[c, c], int(counts[c])) if there[c] else None for c in range(classes)]
    return Recognisability(
        agreement=share_interval(np.trace(whole), len(asked)),
        mean_f1=jackknife(f1[0, there].mean(), f1[1:, there].mean(1), 0, 1),
        class_agreement=tuple(shares),
        f1=tuple(jackknife(f1[0, c], f1[1:, c], 0, 1) if there[c] else None for c in range(classes)),
    )


def diversity(
    features: np.ndarray, labels: np.ndarray, classes: int, *, blocks: int = BLOCKS, seed: int = 0
) -> Diversity:
    """Return how much features ``(n, d)`` vary within each of ``classes`` labels ``(n,)``, with intervals over images.

    Standard deviations over n − 1, averaged over features (ours: the order of the two is not reported). In units of
    the features, so compare with the diversity of real images in the same space. Raises ValueError when no class has 4.
    """
    rows, labels = feature_rows(features, "features", 4), np.asarray(labels)
    each: list[Interval | None] = []
    points, spreads = [], []
    for c in range(classes):
        of_class = rows[labels == c]
        if len(of_class) < 4:
            each.append(None)
            continue
        g = block_count(blocks, len(of_class) // 2)
        block = blocks_of(len(of_class), g, seed)
        left_out = np.array([of_class[block != k].std(0, ddof=1).mean() for k in range(g)])
        found = jackknife(of_class.std(0, ddof=1).mean(), left_out, low=0)
        each.append(found)
        points.append(found.point)
        spreads.append((found.high - found.point) ** 2)
    if not points:
        raise ValueError(f"none of {classes} classes has 4 images, so nothing varies; give more images")
    half = float(np.sqrt(np.sum(spreads))) / len(points)  # classes are independent
    mean = float(np.mean(points))
    return Diversity(Interval(mean, max(0.0, mean - half), mean + half), tuple(each))


def _f1(table: np.ndarray) -> np.ndarray:
    """Return the F1 of each class ``(k,)`` from a table of asked (rows) against predicted labels; 0 without images."""
    both = table.sum(0) + table.sum(1)
    return 2 * np.diag(table) / np.maximum(both, 1)

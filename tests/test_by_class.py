"""What synthetic images are worth to each class."""

import numpy as np
import pytest

from realfake.intervals import Interval
from realfake.statistics.by_class import by_class
from tests.simulated import SMALL, rng, table

WORTH = (0.9, 0.0)  # what one synthetic image is worth to either class, in real images


def two_classes(seed=0):
    """A table, single results and labels: images of class 0 gain from synthetic images, those of class 1 do not."""
    rows = table(noise=0.0, **SMALL)
    labels = np.repeat([0, 1], 150)
    images, random = {}, rng(seed)
    hard = np.exp(random.normal(0, 0.3, len(labels)))
    for row in rows.itertuples():
        size = row.n_real + np.array(WORTH)[labels] * row.n_synthetic
        drawn = np.exp(random.normal(0, 0.02))
        images[row.address] = {"cross_entropy": (0.03 + 6.0 * size**-0.45) * hard * drawn}
    means = [float(images[name]["cross_entropy"].mean()) for name in rows["address"]]
    return rows.assign(cross_entropy=means), images, labels


def test_each_class_has_its_own_worth():
    rows, images, labels = two_classes()
    found = by_class(rows, images, labels, ("gains", "does not"))
    at = {(row["class"], row["n_real"]): Interval.from_json(row["equivalent"]) for row in found}
    assert at["gains", 1000].low < 0.9 * 16_000 < at["gains", 1000].high
    assert at["gains", 1000].point == pytest.approx(0.9 * 16_000, rel=0.15)
    assert at["does not", 1000].low < 0 < at["does not", 1000].high


def test_rows_name_their_operating_point():
    found = by_class(*two_classes(), ("a", "b"))
    assert {row["n_test"] for row in found} == {150}
    assert {(row["n_real"], row["n_synthetic"]) for row in found} == {(n, 16 * n) for n in SMALL["bases"]}
    assert {row["arm"] for row in found} == {"closed-set"}


def test_a_class_without_test_images_says_so():
    found = by_class(*two_classes(), ("a", "b", "absent"))
    absent = [Interval.from_json(row["equivalent"]) for row in found if row["class"] == "absent"]
    assert [answer.reason for answer in absent] == ["the test set has no image of this class"]

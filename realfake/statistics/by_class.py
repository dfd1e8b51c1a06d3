"""What synthetic images are worth to each class: its own test images, its own real-only ladder.

A class has few test images, so its numbers are wide, and no law over volumes is asked of them: each cell is read off
the ladder of its class (`inversion`). Here: this table. Not here: where the results of single images come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from realfake.intervals import withheld
from realfake.laws import Array
from realfake.statistics.fits import gather
from realfake.statistics.inversion import invert, real_curve
from realfake.statistics.trial_table import REAL_ONLY, FitError, Frame, normalised, select

PerImage = Mapping[str, Mapping[str, Array]]
DRAWS = 200


def by_class(
    table: Frame, per_image: PerImage, labels: Array, classes: Sequence[str], *, response: str = "cross_entropy"
) -> list[dict[str, Any]]:
    """A row for every recipe, arm, real size and class, at the largest volume there: its equivalent, read off.

    `labels` (n_test,) are the classes of the test images, the same for every trial; `per_image` as in `fit`. A class
    whose table cannot be read (a class without test images, a constant response) has its reason instead of a number.
    """
    rows, found = normalised(table), []
    for number, name in enumerate(classes):
        of_class = labels == number
        try:
            asked, images = of_class_alone(rows, per_image, of_class, response)
            pairs = asked[asked["arm"] != REAL_ONLY][["recipe", "arm"]].drop_duplicates().itertuples(index=False)
            for recipe, arm in pairs:
                trials = select(asked, response=response, arm=arm, recipe=recipe)
                evidence = gather(trials, bootstrap=DRAWS, seed=0, per_image=images)
                found += _largest(name, int(of_class.sum()), evidence)
        except FitError as error:
            found.append({"class": name, "n_test": int(of_class.sum()), "equivalent": withheld(str(error)).to_json()})
    return found


def of_class_alone(rows: Frame, per_image: PerImage, of_class: Array, response: str) -> tuple[Frame, PerImage]:
    """The table and single results as if the test set held this class alone. Raises FitError where it holds none."""
    if not of_class.any():
        raise FitError("the test set has no image of this class")
    images = {name: {response: np.asarray(given[response])[of_class]} for name, given in per_image.items()}
    known = rows[rows["address"].isin(images)].copy()
    known[response] = [float(images[name][response].mean()) for name in known["address"]]
    return known.assign(n_test=int(of_class.sum())), images


def _largest(name: str, n_test: int, evidence: Any) -> list[dict[str, Any]]:
    """The cells of the largest volume at each real size, inverted."""
    trials, read = evidence.trials, invert(evidence, real_curve(evidence))
    cells, rows = trials.cells, []
    for n in np.unique(cells.n[~trials.ladder]):
        at = int(np.argmax(np.where((cells.n == n) & ~trials.ladder, cells.m, -1)))
        sizes = {"n_real": int(n), "n_synthetic": int(cells.m[at]), "n_generator": int(cells.n_generator[at])}
        of = {"class": name, "arm": trials.arm, "recipe": trials.recipe, "response": trials.response, "n_test": n_test}
        rows.append({**of, **sizes, "equivalent": read[at].to_json()})
    return rows

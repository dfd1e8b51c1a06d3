"""Validation images for sets that have none: some of the train split, held out, each class in proportion.

Which they are depends on the source's name, on their number and on positions in the source, so that they are the same
whatever is drawn from the rest. A larger number holds a smaller one. What is chosen on them is in ``spec.Choice``.
"""

from dataclasses import replace

import numpy as np

from realfake.samples import seed_of, stratified_order
from realfake.sources import DatasetError, Source
from realfake.spec import Dataset


def held_out(dataset: Dataset, source: Source) -> Source:
    """Return the source with ``dataset.holdout`` of its train images as validation images.

    Raises DatasetError for a source that has validation images of its own, and where no more train images are left.
    """
    if not dataset.holdout:
        return source
    if source.of("validation"):
        raise DatasetError(
            f"Dataset.holdout={dataset.holdout}: {dataset.name!r} has a validation split of its own; leave holdout out"
        )
    train = source.of("train")
    if dataset.holdout >= len(train):
        raise DatasetError(
            f"Dataset.holdout={dataset.holdout}: {dataset.name!r} has {len(train):,} train images, and some of them "
            "must be left to train on; give fewer"
        )
    keys = np.array([seed_of("holdout", dataset.name, entry.id) for entry in train])
    first = stratified_order(np.array([entry.label for entry in train]), keys)[: dataset.holdout]
    chosen = {train[i].id for i in first}
    moved = (
        replace(entry, split="validation") if entry.split == "train" and entry.id in chosen else entry
        for entry in source.entries
    )
    return replace(source, entries=tuple(moved))

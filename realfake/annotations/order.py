"""Which images make a subset: a seeded order of images of which every prefix is one, so that 20 ⊂ 50 ⊂ 100.

The order depends on the seed and on each image's id alone: neither on the order of files nor on other images. By
sequence, whole sequences stay together, and a cut at one of ``ends`` splits none: frames of one video are nearly
equal, so a test set that shares a video with its training set is no test.
"""

from typing import Literal

import numpy as np

from realfake.annotations.table import Annotations
from realfake.samples import seed_of
from realfake.sources import DatasetError


def image_order(annotations: Annotations, seed: int, by: Literal["image", "sequence"] = "image") -> np.ndarray:
    """Return all rows of images ``(images,)`` in a seeded order: the first n are the subset of size n.

    By sequence, sequences come in a seeded order and their images in one too; an image without a sequence is one of
    its own. ``annotations.take(image_order(annotations, seed)[:50])`` is a subset of 50.
    """
    ids = annotations.images["id"].to_pylist()
    keys = np.array([seed_of("images", seed, name) for name in ids], np.int64)
    if by == "image":
        return np.lexsort((np.array(ids, object).astype(str), keys))
    names = _sequences(annotations)
    firsts = {name: seed_of("sequences", seed, *name) for name in set(names)}
    return np.array(sorted(range(len(ids)), key=lambda i: (firsts[names[i]], names[i], keys[i], ids[i])), np.int64)


def ends(annotations: Annotations, order: np.ndarray) -> np.ndarray:
    """Return the sizes at which a prefix of an order splits no sequence, ascending; the last one is all images."""
    names = _sequences(annotations)
    last = {names[row]: place for place, row in enumerate(order)}
    furthest = np.maximum.accumulate(np.array([last[names[row]] for row in order], np.int64))
    return np.flatnonzero(furthest == np.arange(len(order))) + 1


def split(annotations: Annotations, share: float, seed: int) -> tuple[Annotations, Annotations]:
    """Return a training and a test set without a common sequence, the test set of ``share`` of the images or more.

    For sets of which no test set is public. Raises DatasetError if whole sequences leave one of the two empty.
    """
    if not 0 < share < 1:
        raise ValueError(f"split: a share of {share} leaves one part empty; give one between 0 and 1")
    order = image_order(annotations, seed, by="sequence")
    sizes = ends(annotations, order)
    size = int(sizes[np.searchsorted(sizes, share * len(order))])
    if size == len(order):
        raise DatasetError(
            f"{annotations.origin}: a test set of {share:.0%} that splits no sequence takes all {len(order)} images; "
            "ask for a smaller share or another seed"
        )
    return annotations.take(np.sort(order[size:])), annotations.take(np.sort(order[:size]))


def _sequences(annotations: Annotations) -> list[tuple[str, str]]:
    """Return what each image's sequence is called: its name, or the image's id, and never one for the other."""
    columns = (annotations.images[name].to_pylist() for name in ("sequence", "id"))
    return [("sequence", name) if name is not None else ("image", own) for name, own in zip(*columns, strict=True)]

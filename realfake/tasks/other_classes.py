"""A classifier on a test set whose classes are not its own: judged on those that both have, in two ways.

*Masked*: the most probable of the shared classes, the usual protocol of ImageNet-R and -A (200 of 1,000). *Full*: the
most probable of all classes of the model, so that one of another class is an error. Not here: the model, and its
predictions (``classification``); which classes two sets share (``classes``).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from realfake.classes import restricted, shared
from realfake.samples import Samples

Metrics = Callable[[np.ndarray, np.ndarray], dict[str, Any]]


def known_images(on: Samples, own: tuple[str, ...]) -> Samples:
    """Return the images of classes that the model has, with labels among the model's ``own`` classes."""
    both = shared(own, on.classes)
    to_model = np.full(len(on.classes), -1)
    to_model[both.of_test] = both.of_model
    labels = to_model[on.labels]
    kept = labels >= 0
    return Samples(on.images[kept], labels[kept], on.ids[kept], own)


def judged(
    probabilities: np.ndarray, seen: Samples, on: Samples, made: Path, metrics: Metrics
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Return what came out, and probabilities ``(n, k)`` and labels ``(n,)`` over the k shared classes.

    ``probabilities (n, c)`` are over all classes of the model for the images ``seen``, those of the test set ``on``
    that ``known_images`` left. ``error`` and ``cross_entropy`` are those over the shared classes; ``error_masked`` is
    that error and ``error_full`` the one over all classes; ``error_own_masked`` is the error of the trial's own test
    images (in its folder ``made``) of the shared classes, masked alike; ``n_left_out`` counts images of other classes.
    """
    both = shared(seen.classes, on.classes)
    masked, labels = restricted(probabilities, seen.labels, both.of_model)
    found = metrics(masked, labels)
    return (
        {
            **found,
            "n_classes_shared": len(both.names),
            "n_classes_own": len(seen.classes),
            "n_left_out": len(on) - len(seen),
            "error_masked": found["error"],
            "error_full": float((probabilities.argmax(axis=1) != seen.labels).mean()),
            "error_own_masked": _own_error(made, both.of_model),
        },
        masked,
        labels,
    )


def _own_error(made: Path, kept: np.ndarray) -> float | None:
    """Return the error on the trial's own test images of the kept classes, among them alone; None where it has none."""
    import pyarrow.parquet as pq

    table = pq.read_table(made / "predictions.parquet")
    labels = table["label"].to_numpy().astype(np.int64)
    column = table["probabilities"].combine_chunks()
    probabilities = column.flatten().to_numpy(zero_copy_only=False).reshape(len(labels), -1)
    own, among = restricted(probabilities, labels, kept)
    return float((own.argmax(axis=1) != among).mean()) if len(among) else None

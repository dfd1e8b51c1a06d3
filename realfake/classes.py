"""Classes that two sets share, by name: what a model of one set can be tried on of the other.

Here: which they are, and what predictions over them say. Not here: where class names come from (``datasets``).
"""

from typing import Any, NamedTuple

import numpy as np

from realfake.values import SpecError

SHOWN = 4  # class names in a message


class Shared(NamedTuple):
    """Classes in both sets, in the order of the model's: their places among the model's and among the test set's."""

    names: tuple[str, ...]
    of_model: np.ndarray  # (k,) int
    of_test: np.ndarray  # (k,) int


def shared(own: tuple[str, ...], test: tuple[str, ...], whose: str = "the trial", name: str = "this set") -> Shared:
    """Return the classes that a model and a test set share; raises SpecError for fewer than two.

    ``whose`` and ``name`` say in that message whose model and which set it is.
    """
    place = {c: i for i, c in enumerate(test)}
    both = [(i, place[c]) for i, c in enumerate(own) if c in place]
    if len(both) < 2:
        raise SpecError(
            f"{whose}: {name} has the classes {_told(test)}, and the trial was tested on {_told(own)}: they share "
            f"{len(both)}, and telling classes apart takes two; evaluate it on a dataset with some of its own classes"
        )
    of_model, of_test = np.array(both).T
    return Shared(tuple(own[i] for i in of_model), of_model, of_test)


def restricted(probabilities: np.ndarray, labels: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities over the kept classes alone, summing to 1, and labels among them: ``(m, k)`` and ``(m,)``.

    ``probabilities (n, c)`` and ``labels (n,)`` are over all classes of the model; m images are of the ``kept (k,)``
    ones. That is the softmax over the kept logits, so its argmax is theirs.
    """
    there = np.isin(labels, kept)
    own = probabilities[there][:, kept].astype(np.float64)
    total = own.sum(axis=1, keepdims=True)
    even = np.full_like(own, 1 / len(kept))  # all that is kept underflowed: nothing is known
    own = np.where(total > 0, own / np.where(total > 0, total, 1), even)
    where = np.zeros(probabilities.shape[1], np.int64)
    where[kept] = np.arange(len(kept))
    return own.astype(np.float32), where[labels[there]]


def _told(names: tuple[Any, ...]) -> str:
    first = ", ".join(map(str, names[:SHOWN]))
    return f"{first}, … ({len(names)} in all)" if len(names) > SHOWN else first

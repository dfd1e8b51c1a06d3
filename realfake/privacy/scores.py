"""What an attack looks at: one number for an example under a model; and the halves of the released Real-Fake trainer.

How numbers of many models become a guess of membership is in ``attacks``.
"""

import numpy as np

TINY = 1e-45  # what tensorflow/privacy adds before it takes logarithms: the least float32 above 0


def score(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return φ = log p_y − log Σ_{j≠y} p_j of examples: ``(n,)`` or ``(n, q)``.

    ``probabilities`` are ``(n, k)``, or ``(n, q, k)`` for q queries an example (such as its mirror image); ``labels
    (n,)`` are the classes that the examples have in training, a canary's wrong one included. The sum leaves p_y out
    instead of taking it from 1, so φ does not saturate where p_y rounds to 1. After Carlini et al. 2022 (2112.03570),
    as ``score.py`` of tensorflow/privacy's ``mi_lira_2021`` computes it.
    Raises ValueError for labels that are no class, and for what is no probability.
    """
    p, labels = np.array(probabilities, dtype=np.float64), np.asarray(labels)
    if p.ndim < 2 or len(labels) != len(p) or labels.min(initial=0) < 0 or labels.max(initial=0) >= p.shape[-1]:
        raise ValueError(
            f"score: probabilities {p.shape} and labels {labels.shape} do not fit; give (n, k) or (n, q, k), and (n,) "
            "classes below k"
        )
    if not (np.isfinite(p).all() and (p >= 0).all()):
        raise ValueError("score: probabilities are finite and not negative; give a softmax, not logits")
    rows = np.arange(len(p))
    of_label = p[rows, ..., labels]
    p[rows, ..., labels] = 0
    return np.log(of_label + TINY) - np.log(p.sum(axis=-1) + TINY)


def released_halves(examples: int, models: int = 10, seed: int = 0) -> np.ndarray:
    """Return which examples each model is trained on, ``(models, examples)`` bool, by the rule of the released code.

    Real-Fake's trainer holds it, unconditionally, and took it from ``train.py`` of tensorflow/privacy's
    ``mi_lira_2021``: uniform numbers, argsort down every column, those below half of the models are kept. Every example
    is in exactly half of the models; how many a model keeps varies.
    """
    drawn = np.random.RandomState(seed).uniform(0, 1, size=(models, examples))
    return drawn.argsort(axis=0) < models // 2

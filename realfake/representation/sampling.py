"""A bounded number of training detections, drawn at random as they pass: what distances at equal counts need.

Gaussians cannot be cut to fewer detections afterwards, so some of their features are kept beside them. Cutting and
measuring is ``distances.at_equal_counts``.
"""

import numpy as np


class Sampled:
    """At most ``most`` of all rows ``(n, d)`` that are added, every one with the same chance; all while n is fewer.

    The same rows for a seed, however they are divided into parts.
    """

    def __init__(self, most: int, dimension: int, seed: int = 0) -> None:
        self._random = np.random.default_rng([seed, dimension])
        self._most, self._keys = most, np.empty(0)
        self.rows = np.empty((0, dimension), np.float32)

    def add(self, rows: np.ndarray) -> None:
        """Add rows ``(k, d)``."""
        keys = np.concatenate([self._keys, self._random.random(len(rows))])
        kept = np.argsort(keys, kind="stable")[: self._most]
        self._keys, self.rows = keys[kept], np.concatenate([self.rows, rows.astype(np.float32)])[kept]

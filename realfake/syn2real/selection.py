"""Weighted draws without replacement that no partition changes: which virtual images a round takes.

PTL (arXiv 2211.01778) draws n images with weights exp(−d/τ). Item i gets the key −d_i/τ + G_i with G_i standard Gumbel;
the n largest keys are such a draw, one item after the other without replacement, exactly (Gumbel-top-n: Vieira 2014;
Kool et al. 2019, arXiv 1903.06059, eq. 6), with no weight that underflows. The noise belongs to (seed, id) alone, so
any sharding, order and later round see the same keys. What a distance is, is not decided here (``representation``).
"""

from collections.abc import Iterable

import numpy as np

from realfake.samples import seed_of

MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)  # Philox 4×64 (Salmon et al. 2011, table 2)
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
ROUNDS = 10
HALF = np.uint64(32)
LOW = np.uint64(0xFFFFFFFF)


def keys(ids: np.ndarray, distance: np.ndarray, temperature: float, seed: int) -> np.ndarray:
    """Return the keys ``(n,)`` float64 of items with these ids ``(n,)`` (integers) and distances ``(n,)``.

    ``temperature`` is τ > 0; infinite, every item is as likely. Raises ValueError for a distance that is not finite,
    for shapes that differ, and for a τ that is not positive or so small that d/τ overflows.
    """
    ids, distance = _integers(ids), np.asarray(distance, np.float64)
    if ids.shape != distance.shape or ids.ndim != 1:
        raise ValueError(f"{ids.shape} ids and {distance.shape} distances do not pair up; give one distance an id")
    if wrong := int((~np.isfinite(distance)).sum()):
        raise ValueError(
            f"{wrong} of {len(distance)} distances are not finite, so they give no weight; leave those images out"
        )
    if not temperature > 0:
        raise ValueError(
            f"temperature={temperature} gives no weights exp(−d/τ); use a positive number (PTL: 5), 1e-6 for the "
            "nearest, math.inf for equal weights"
        )
    with np.errstate(over="ignore"):
        scaled = distance / temperature
    if not np.isfinite(scaled).all():
        raise ValueError(f"temperature={temperature} is too small to divide distances by; use 1e-6 for the nearest")
    return gumbel(ids, seed) - scaled


def order(ids: np.ndarray, keys: np.ndarray, without: Iterable[int] = ()) -> np.ndarray:
    """Return the ids ``(n − taken,)`` int64 by descending key, ties by id, leaving out ``without``.

    Any prefix is a draw of that many; what is left out is left out of the draw. Raises ValueError for ids that occur
    twice, keys that are NaN, and lengths that differ.
    """
    ids, keys = _integers(ids), np.asarray(keys, np.float64)
    if ids.shape != keys.shape or ids.ndim != 1:
        raise ValueError(f"{ids.shape} ids and {keys.shape} keys do not pair up; give one key an id")
    if np.isnan(keys).any():
        raise ValueError(f"{int(np.isnan(keys).sum())} keys are NaN, so they have no order; make them with keys()")
    if len(np.unique(ids)) < len(ids):
        raise ValueError("an id occurs twice, so one image could be drawn twice; give each image once")
    sequence = ids[np.lexsort((ids, -keys))].astype(np.int64)
    taken = np.fromiter(without, np.int64)
    return sequence[~np.isin(sequence, taken)]


def gumbel(ids: np.ndarray, seed: int) -> np.ndarray:
    """Return standard Gumbel noise ``(n,)`` that belongs to (seed, id): −ln(−ln u), with u from 52 random bits."""
    bits = philox(_integers(ids), seed_of("gumbel", seed), seed_of("gumbel", "high", seed))
    u = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52  # never 0, never 1
    return -np.log(-np.log(u))


def philox(counters: np.ndarray, key: int, high_key: int = 0) -> np.ndarray:
    """Return the first word ``(n,)`` uint64 of Philox 4×64-10 for each counter (c, 0, 0, 0), all at once."""
    zero = np.zeros(len(counters), np.uint64)
    x = [counters.astype(np.uint64), zero, zero, zero]
    key_0, key_1 = key, high_key
    for _ in range(ROUNDS):
        high_0, low_0 = _product(MULTIPLIERS[0], x[0])
        high_1, low_1 = _product(MULTIPLIERS[1], x[2])
        x = [high_1 ^ x[1] ^ np.uint64(key_0), low_1, high_0 ^ x[3] ^ np.uint64(key_1), low_0]
        key_0, key_1 = (key_0 + WEYL[0]) % 2**64, (key_1 + WEYL[1]) % 2**64
    return x[0]


def _product(factor: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the high and the low 64 bits of factor · x, from products of halves."""
    a, b = np.uint64(factor >> 32), np.uint64(factor & 0xFFFFFFFF)
    c, d = x >> HALF, x & LOW
    middle = a * d + (b * d >> HALF)  # at most (2³²−1)² + 2³² − 1: no overflow
    lower = b * c + (middle & LOW)
    return a * c + (middle >> HALF) + (lower >> HALF), np.uint64(factor) * x


def _integers(ids: np.ndarray) -> np.ndarray:
    ids = np.asarray(ids)
    if ids.size == 0:
        return ids.astype(np.int64)
    if ids.dtype.kind not in "iu":
        raise ValueError(f"ids are {ids.dtype}, and noise belongs to whole numbers; give the images' ids")
    return ids

"""Simulated tables of trials whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from realfake.laws import LAWS
from realfake.statistics import choice
from realfake.statistics.fits import gather
from realfake.statistics.trial_table import normalised, select

PEAKED_TRUTH = (0.03, 6.0, 0.45, 0.4, 2.0, 1.0, 0.02)
WANG_TRUTH = (0.03, 6.0, 0.45, 2e-5, 1.3)
TRUTHS = {
    "power": (0.03, 6.0, 0.45),
    "hyperbolic": (0.03, 6.0, 0.45, 0.4, 8000.0),
    "scaled": (0.03, 6.0, 0.45, 0.4, 2.0),
    "peaked": PEAKED_TRUTH,
    "wang": WANG_TRUTH,
    "power_ratio": (0.03, 6.0, 0.45, 300.0, 0.8, 20_000.0),
    "additive": (0.02, 6.0, 0.45, 0.05, 0.3),
    "transferred": (0.03, 6.0, 0.45, 250.0, 0.3, 0.4),
    "syn2real": (0.03, 6.0, 0.45, 0.5, 3000.0, 0.6),
    "exponential": (0.03, 6.0, 0.45, 0.4, 2.0),
    "m4": (0.03, 0.85, 0.9, 1500.0, 0.7, 0.4, 2.0, 0.8),
    "rectified": (0.03, 6.0, 0.6, 40.0, 0.4, 2.0, 0.8),
    "broken": (0.03, 6.0, 0.3, 2.5, 8000.0, 0.3, 0.4, 2.0, 0.8),
}
LADDER = (1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 200_000)
BASES = (1000, 2500, 5000, 10_000)
RATIOS = (1, 2, 4, 8, 16)
SMALL = {"ladder": (1000, 2500, 5000, 10_000, 25_000, 50_000), "bases": (1000, 2500, 5000), "ratios": (1, 4, 16)}


def table(
    truth=PEAKED_TRUTH,
    *,
    law="peaked",
    seeds=3,
    noise=0.02,
    shared=0.0,
    by_size=0.0,
    ladder=LADDER,
    bases=BASES,
    ratios=RATIOS,
    response=None,
    rng=None,
    responses=("cross_entropy",),
):
    """A trial table from a law (or `response(n, m, n_generator)`), with log-normal noise.

    `shared` is the SD of what all trials of a subset draw share, `by_size` of what those of a draw at a size share.
    """
    rng = rng or np.random.default_rng(0)
    truth = np.array(truth)
    error = response or (lambda n, m, generator: LAWS[law].error(truth, n, m, generator))
    cells = [(n, 0) for n in ladder] + [(n, ratio * n) for n in bases for ratio in ratios]
    rows = []
    for seed in range(seeds):
        of_draw, of_size = rng.normal(0, 1), {n: rng.normal(0, 1) for n, _ in cells}
        for n, m in cells:
            own = {name: rng.normal(0, 1) for name in responses}
            logs = {name: shared * of_draw + by_size * of_size[n] + noise * own[name] for name in responses}
            value = float(error(np.array(float(n)), np.array(float(m)), np.array(float(n))))
            measured = {name: value * np.exp(log) for name, log in logs.items()}
            sizes = {"n_real": n, "n_synthetic": m, "n_generator": n, "subset_seed": seed}
            rows.append(
                {**sizes, "arm": "closed-set" if m else "real-only", "address": f"trial-{seed}-{n}-{m}", **measured}
            )
    return pd.DataFrame(rows)


def rng(seed):
    return np.random.default_rng(seed)


def small(**more):
    return table(**{"seeds": 2, **SMALL, **more})


def fit(rows, law="peaked", **given):
    """A fit of one named law: most tests do not ask which."""
    return choice.fit(rows, law=law, **given)


def mixtures_of(rows):
    return rows["n_synthetic"] > 0


def evidence_of(rows, arm=None, bootstrap=200, response="cross_entropy", **more):
    return gather(select(normalised(rows), response=response, arm=arm), bootstrap=bootstrap, seed=0, **more)


def several_arms(seeds=3, **more):
    """A strict arm, a leaky one whose generator saw 50,000 images, and synthetic images alone."""
    strict = table(seeds=seeds, noise=0.03, shared=0.02, by_size=0.01, **SMALL, **more)
    leaky, alone = strict[mixtures_of(strict)].copy(), strict[mixtures_of(strict)].copy()
    jitter = np.exp(rng(5).normal(0, 0.03, (2, len(leaky))))
    leaky = leaky.assign(
        arm="leaky",
        n_generator=50_000,
        cross_entropy=leaky["cross_entropy"] * 0.8 * jitter[0],
        address=leaky["address"] + "-leaky",
    )
    alone = alone.assign(
        arm="alone", n_real=0, cross_entropy=alone["cross_entropy"] * 1.2 * jitter[1], address=alone["address"] + "-0"
    )
    return pd.concat([strict, leaky, alone], ignore_index=True)

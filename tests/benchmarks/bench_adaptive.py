"""A fixed grid against a study in rounds that aims at one interval with a third of the trials, in simulation.

    python -m tests.benchmarks.bench_adaptive --studies 100

The truth is a law with saturation and harm. Log responses have noise that a subset draw shares, that it shares at one
real size, and of their own, in the proportions that the quickstart was measured to have. All designs are fitted by the
law of the truth and give the interval of the effective size n + a at operating points declared before: the largest
mixture and one inside the grid. Beside the fixed grid and the study in rounds there is one that spends as few trials
evenly on the cells of the pilot, so that it shows what choosing them adds.

Prints one JSON document: for each operating point and design the median width of the (logarithmic) interval, the median
of its ratio to the fixed grid's in the same simulated world, and the share of intervals that cover the truth.
"""

import argparse
import json
import math
import time

import numpy as np
import pandas as pd

from realfake.laws import LAWS
from realfake.statistics.equivalence import Fit
from realfake.statistics.fits import fit_evidence, gather
from realfake.statistics.trial_table import normalised, select
from tests.rounds import rounds

LAW, TRUTH = LAWS["peaked"], (0.03, 6.0, 0.45, 0.4, 2.0, 1.0, 0.02)
OWN, SHARED, AT_SIZE = 0.03, 0.01, 0.016  # SDs of log responses
LADDER, BASES, RATIOS, SEEDS = (500, 1000, 2500, 5000, 10_000, 25_000, 50_000), (1000, 2500, 5000), (1, 2, 4, 8, 16), 3
GRID = [(n, 0) for n in LADDER] + [(n, ratio * n) for n in BASES for ratio in RATIOS]
PILOT = [(n, 0) for n in (500, 5000, 50_000)] + [(1000, 1000), (1000, 16_000)] + [(5000, 5000 * r) for r in (1, 4, 16)]
POINTS = ((5000, 80_000), (5000, 20_000))
TOTAL, BATCH, BOOTSTRAP = len(GRID) * SEEDS // 3, 7, 200


class World:
    """A simulated place where trials can be run; a trial gives the same response whatever else is run."""

    def __init__(self, seed):
        self.seed = seed

    def effect(self, *name):
        """A standard normal number that the name fixes."""
        return np.random.default_rng([self.seed, *map(int, name)]).normal()

    def row(self, n, m, replicate):
        """One trial; the generator is fitted on the trial's own real images."""
        log = SHARED * self.effect(0, replicate) + AT_SIZE * self.effect(1, replicate, n)
        log += OWN * self.effect(2, replicate, n, m)
        response = float(LAW.error(TRUTH, float(n), float(m), float(n))) * math.exp(log)
        sizes = {"n_real": n, "n_synthetic": m, "subset_seed": replicate}
        return {**sizes, "arm": "closed-set" if m else "real-only", "cross_entropy": response}

    def table(self, trials):
        """Trials (n, m, replicate) as a table."""
        return pd.DataFrame([self.row(*trial) for trial in trials])

    def measure(self, chosen):
        """The rows of chosen trials."""
        candidates = [choice.candidate for choice in chosen]
        return self.table((c.n_real, c.n_synthetic, c.replicate) for c in candidates)


def fitted(table) -> Fit:
    """The law of the truth fitted to a table."""
    evidence = gather(select(normalised(table), response="cross_entropy"), bootstrap=BOOTSTRAP, seed=0)
    return fit_evidence(evidence, law=LAW.name)


def answer(fit, n, m):
    """(width of the logarithm, whether the truth is inside) of the interval of n + a."""
    interval = fit.effective(n, m)
    low, high = max(interval.low, 1e-9), interval.high
    truth = n + float(LAW.equivalent(TRUTH, float(n), float(m), float(n)))
    return math.log(high / low), low <= truth <= high


def one_world(seed):
    """The answers of every design at every operating point."""
    world = World(seed)
    grid = fitted(world.table((*cell, replicate) for replicate in range(SEEDS) for cell in GRID))
    evenly = [(*cell, replicate) for replicate in range(SEEDS) for cell in PILOT][:TOTAL]
    few = fitted(world.table(evenly))
    found = {}
    for at in POINTS:
        pilot = world.table((*cell, 0) for cell in PILOT)
        *_, last = rounds(pilot, world.measure, at=at, total=TOTAL, batch=BATCH, law=LAW.name, bootstrap=BOOTSTRAP)
        assert len(last.table) == TOTAL
        fits = {"fixed grid": grid, "evenly": few, "rounds": last.fit}
        found[at] = {name: answer(fit, *at) for name, fit in fits.items()}
    return found


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=100)
    studies, started = parser.parse_args().studies, time.monotonic()
    worlds = [one_world(seed) for seed in range(studies)]
    trials = {"fixed grid": len(GRID) * SEEDS, "evenly": TOTAL, "rounds": TOTAL}
    printed = []
    for at in POINTS:
        fixed = np.array([world[at]["fixed grid"][0] for world in worlds])
        for name, count in trials.items():
            width, covers = np.array([world[at][name] for world in worlds], dtype=float).T
            ratio = {"median_width": np.median(width), "median_ratio": np.median(width / fixed)}
            rounded = {key: round(float(value), 3) for key, value in {**ratio, "coverage": covers.mean()}.items()}
            printed.append({"at": at, "design": name, "trials": count, **rounded})
    seconds = round(time.monotonic() - started)
    print(json.dumps({"studies": studies, "seconds": seconds, "designs": printed}, indent=1))


if __name__ == "__main__":
    main()

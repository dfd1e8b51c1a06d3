"""How often a cell's equivalent holds the truth where a law may or may not fit: by a hard switch, and by both together.

    python tests/benchmarks/bench_doubt.py --studies 20

Simulated studies about the scaled law, and about it with a dip at middle volumes that no law has, three replicates.
The hard switch takes the law's answer where p of its lack-of-fit test is at least 0.05 and the ladder's below; the soft
one is `Fit.answered_by`. Both are read off the same fits, so that the soft one is never narrower. Prints a line a dip.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np

from realfake.intervals import Interval, spanning
from realfake.laws import LAWS, real_error
from realfake.statistics.choice import choose
from realfake.statistics.equivalence import INVERSION, LAW
from realfake.statistics.fits import gather
from realfake.statistics.inversion import invert, real_curve
from realfake.statistics.trial_table import normalised, select
from tests.simulated import SMALL, TRUTHS, table

TRUTH = np.array(TRUTHS["scaled"])
LAWS_TRIED = ("hyperbolic", "scaled", "peaked")
CELLS = ((1000, 4000), (2500, 10_000), (5000, 20_000))
DIPS = (0.0, 0.03, 0.045)  # relative, at a ratio of 4


@dataclass(frozen=True)
class Found:
    """One cell of one study."""

    truth: float
    n: float
    hard: Interval
    soft: Interval
    doubtful: bool

    def held(self, answer: Interval) -> bool:
        return answer.low <= self.truth <= answer.high

    def width(self, answer: Interval) -> float:
        """Relative to the effective size."""
        return (answer.high - answer.low) / (self.n + self.truth)


def dipped(depth):
    """The response of the scaled law, lower by `depth` where the ratio of synthetic to real images is about 4."""

    def response(n, m, generator):
        ratio = np.log(np.maximum(m, 1) / n / 4)
        return LAWS["scaled"].error(TRUTH, n, m, generator) * (1 - depth * np.exp(-2 * ratio**2) * (m > 0))

    return response


def truth(depth, n, m):
    """The added real equivalent by that response, read off the true real-only curve."""
    floor, amplitude, exponent = TRUTH[:3]
    assert np.isclose(real_error(TRUTH, float(n)), floor + amplitude * n**-exponent)
    response = float(dipped(depth)(np.array(float(n)), np.array(float(m)), np.array(float(n))))
    return ((response - floor) / amplitude) ** (-1 / exponent) - n


def study(depth, seed, bootstrap):
    """Every cell of one simulated study."""
    noise = {"noise": 0.02, "shared": 0.01, "by_size": 0.01, "seeds": 3, "rng": np.random.default_rng(1000 + seed)}
    rows = table(response=dipped(depth), **noise, **SMALL)
    evidence = gather(select(normalised(rows)), bootstrap=bootstrap, seed=seed)
    fit, cells = choose(evidence, laws=LAWS_TRIED).fit, evidence.trials.cells
    read_off = invert(evidence, real_curve(evidence))
    for n, m in CELLS:
        inversion = read_off[int(np.flatnonzero((cells.n == n) & (cells.m == m))[0])]
        said = {LAW: fit.without_refused().equivalent(n, m), INVERSION: inversion}
        hard = inversion if fit.rejected else fit.equivalent(n, m)
        soft = spanning([said[source] for source in fit.answered_by])
        yield Found(truth(depth, n, m), n, hard, soft, len(fit.answered_by) > 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--bootstrap", type=int, default=200)
    given, start = parser.parse_args(), time.process_time()
    for depth in DIPS:
        found = [cell for seed in range(given.studies) for cell in study(depth, seed, given.bootstrap)]
        held = [np.mean([one.held(getattr(one, by)) for one in found]) for by in ("hard", "soft")]
        width = [np.median([one.width(getattr(one, by)) for one in found]) for by in ("hard", "soft")]
        doubtful = np.mean([one.doubtful for one in found])
        print(
            f"dip {depth:.3f}: {given.studies} studies, {doubtful:.2f} in doubt; held by a hard switch {held[0]:.3f}, "
            f"by both together {held[1]:.3f}; median width {width[0]:.3f}, {width[1]:.3f}"
        )
    print(f"{time.process_time() - start:.0f} s of CPU")


if __name__ == "__main__":
    main()

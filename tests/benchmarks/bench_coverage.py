"""How often nominal 95 % intervals of the added real equivalent hold the truth, in simulated studies.

    python -m tests.benchmarks.bench_coverage [--studies 200] [--bootstrap 200] [--only NUMBER ...]

Twelve settings span noise (independent; correlated within a subset draw; counts of errors on a small test set, shared
draws), truth (hyperbolic, scaled by the generator's real images, peaked, M4), whether the law is known or chosen, and
whether the ladder ends short of the truth (censored), with 3 and 5 draws. Prints a table, the worst setting first.
"""

import argparse
import json
import multiprocessing
import os
import time
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from realfake.laws import LAWS
from realfake.statistics.choice import choose
from realfake.statistics.fits import fit_evidence, gather
from realfake.statistics.trial_table import normalised, select

LADDER = (25, 50, 100, 200, 400, 800, 1600)
SHORT_LADDER = (25, 50, 100, 150, 200, 300)
BASES, RATIOS = (50, 100, 200), (1, 4, 16)
TRUTHS = {
    "hyperbolic": {"floor": 0.03, "amplitude": 3.0, "exponent": 0.5, "rate": 0.3, "half": 1500.0},
    "scaled": {"floor": 0.03, "amplitude": 3.0, "exponent": 0.5, "rate": 0.3, "half": 6.0},
    "peaked": {
        **{"floor": 0.03, "amplitude": 3.0, "exponent": 0.5, "rate": 0.4, "half": 8.0},
        **{"generator_exponent": 1.0, "harm": 0.04},
    },
    "m4": {
        **{"floor": 0.02, "amplitude": 0.88, "exponent": 0.8, "onset": 60.0, "bend": 1.0},
        **{"rate": 0.3, "half": 6.0, "generator_exponent": 1.0},
    },
}
# SDs of the log response: shared by a draw, shared by a draw at one size, the trial's own.
SDS = {"independent": (0.0, 0.0, 0.04), "correlated": (0.04, 0.02, 0.02), "counts": (0.03, 0.0, 0.01)}
N_TEST = 1000


@dataclass(frozen=True)
class Setting:
    noise: str
    truth: str
    chosen: bool
    censored: bool
    seeds: int

    def __str__(self) -> str:
        law, ladder = ("chosen" if self.chosen else "known"), ("short" if self.censored else "full")
        return f"{self.noise:<12}{self.truth:<12}{law:<8}{ladder:<7}{self.seeds}"


SETTINGS = (
    Setting("independent", "hyperbolic", False, False, 3),
    Setting("independent", "scaled", True, False, 3),
    Setting("correlated", "hyperbolic", True, False, 3),
    Setting("correlated", "scaled", False, False, 3),
    Setting("correlated", "peaked", True, False, 3),
    Setting("correlated", "peaked", False, True, 5),
    Setting("correlated", "m4", True, False, 3),
    Setting("counts", "m4", False, False, 5),
    Setting("counts", "hyperbolic", True, True, 3),
    Setting("counts", "scaled", True, False, 5),
    Setting("independent", "peaked", True, True, 5),
    Setting("correlated", "scaled", True, True, 3),
)


def truth_of(name: str) -> np.ndarray:
    """The true parameters in the order of the law."""
    return np.array([TRUTHS[name][parameter] for parameter in LAWS[name].parameter_names])


def simulated(setting: Setting, seed: int) -> pd.DataFrame:
    """One study's table of trials."""
    rng, law, parameters = np.random.default_rng(seed), LAWS[setting.truth], truth_of(setting.truth)
    ladder = SHORT_LADDER if setting.censored else LADDER
    cells = [(n, 0) for n in ladder] + [(n, ratio * n) for n in BASES for ratio in RATIOS]
    of_draw, of_size, own = SDS[setting.noise]
    rows = []
    for draw in range(setting.seeds):
        shared, sized = rng.normal(0, of_draw), {n: rng.normal(0, of_size) for n, _ in cells}
        for n, m in cells:
            mean = float(law.error(parameters, float(n), float(m), float(n)))
            error = min(mean * np.exp(shared + sized[n] + rng.normal(0, own)), 1.0)
            if setting.noise == "counts":
                error = rng.binomial(N_TEST, error) / N_TEST
            sizes = {"n_real": n, "n_synthetic": m, "n_generator": n, "subset_seed": draw, "n_test": N_TEST}
            arm = "closed-set" if m else "real-only"
            rows.append({**sizes, "arm": arm, "address": f"trial-{draw}-{n}-{m}", "error": error})
    return pd.DataFrame(rows)


def study(given: tuple[Setting, int, int]) -> dict:
    """Analyse one simulated study: at every mixed cell, whether the interval holds the truth and how wide it is."""
    setting, seed, bootstrap = given
    trials = select(normalised(simulated(setting, seed)), response="error")
    evidence = gather(trials, bootstrap=bootstrap, seed=seed)
    fit = choose(evidence).fit if setting.chosen else fit_evidence(evidence, law=setting.truth)
    law, parameters = LAWS[setting.truth], truth_of(setting.truth)
    cells = [(n, ratio * n) for n in BASES for ratio in RATIOS]
    held, widths, off, bounds = [], [], [], 0
    for n, m in cells:
        true = float(law.equivalent(parameters, float(n), float(m), float(n)))
        answer = fit.equivalent(n, m)
        held.append(bool(answer.low <= true <= answer.high))
        bounds += bool(answer.censored) or not np.isfinite(answer.high - answer.low)
        if np.isfinite(answer.high - answer.low) and not answer.censored:
            widths.append((answer.high - answer.low) / (n + true))
            off.append(abs(answer.point - true) / (n + true))
    found = {"held": held, "widths": widths, "off": off, "bounds": bounds}
    return {**found, "law": fit.law, "set": 1 + len(fit.alternatives)}


def measured(setting: Setting, studies: int, bootstrap: int, pool) -> dict:
    """The row of one setting."""
    found = pool.map(study, [(setting, 1000 + seed, bootstrap) for seed in range(studies)], chunksize=4)
    held = np.array([one["held"] for one in found])
    per_study = held.mean(axis=1)
    widths, off = (np.concatenate([one[key] for one in found]) for key in ("widths", "off"))
    return {
        "setting": str(setting),
        "coverage": float(held.mean()),
        "standard_error": float(per_study.std(ddof=1) / np.sqrt(studies)),
        "worst_cell": float(held.mean(axis=0).min()),
        "median_width": float(np.median(widths)) if len(widths) else None,  # of the effective size, relative
        "median_error": float(np.median(off)) if len(off) else None,
        "bounds": float(np.mean([one["bounds"] for one in found]) / held.shape[1]),
        "first_law_true": float(np.mean([one["law"] == setting.truth for one in found])),
        "laws_in_set": float(np.mean([one["set"] for one in found])),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--bootstrap", type=int, default=200)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of settings, from 0")
    asked = parser.parse_args()
    chosen = SETTINGS if not asked.only else [SETTINGS[number] for number in asked.only]
    rows, started = [], time.monotonic()
    with multiprocessing.Pool(os.cpu_count()) as pool:
        for setting in chosen:
            rows.append(measured(setting, asked.studies, asked.bootstrap, pool))
            print(json.dumps(rows[-1]), flush=True)
    print(f"\n{asked.studies} studies a row, {time.monotonic() - started:.0f} s, the worst first\n")
    print(f"{'noise':<12}{'truth':<12}{'law':<8}{'ladder':<7}draws  coverage       worst cell  width  bounds  laws")
    for row in sorted(rows, key=lambda row: row["coverage"]):
        width = "–" if row["median_width"] is None else f"{row['median_width']:.2f}"
        print(
            f"{row['setting']:<45}{row['coverage']:.3f} ± {row['standard_error']:.3f}  {row['worst_cell']:>10.3f}  "
            f"{width:>5}  {row['bounds']:>6.2f}  {row['laws_in_set']:.1f}"
        )


if __name__ == "__main__":
    main()

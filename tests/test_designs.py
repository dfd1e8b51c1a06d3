"""Next trials: the variance against dense generalised least squares, the choice by brute force, rounds, specs."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api
from scipy.stats import t as student

from realfake import records
from realfake.laws import LAWS
from realfake.planning import designs
from realfake.planning.designs import (
    Candidate,
    candidates,
    gradient,
    half_width_now,
    information,
    next_trials,
    trial_rows,
)
from realfake.planning.proposals import next_specs
from realfake.spec import ClosedSet, Dataset, Pool, Recipe, Repeat, Study, Subset, Trial, address
from realfake.statistics.fits import fit_evidence
from realfake.statistics.regression import coordinate_bounds
from realfake.statistics.trial_table import FitError
from tests.rounds import rounds
from tests.simulated import SMALL, evidence_of, table

LAW = LAWS["peaked"]
AT = (5000, 20_000)


@pytest.fixture(scope="module")
def noisy():
    """(evidence, fit) of three draws with noise at every level."""
    evidence = evidence_of(table(noise=0.02, shared=0.03, by_size=0.02, seeds=3, **SMALL), bootstrap=100)
    return evidence, fit_evidence(evidence, law="peaked")


# The same linear model, written anew and dense.


def log_scaled(parameters):
    named = zip(LAW.parameter_names, parameters, strict=True)
    return np.array([np.log(v) if name in LAW.log_scaled else v for name, v in named])


def natural(coordinates):
    named = zip(LAW.parameter_names, coordinates, strict=True)
    return np.array([np.exp(v) if name in LAW.log_scaled else v for name, v in named])


def central(function, at, free):
    """Central differences of a function of the coordinates, for the free ones."""
    columns = []
    for position in np.flatnonzero(free):
        step = np.zeros(len(at))
        step[position] = 1e-5 * max(1.0, abs(at[position]))
        columns.append((function(at + step) - function(at - step)) / (2 * step[position]))
    return np.stack(columns, axis=-1)


def dense_variance(fit, evidence, extra=()):
    """Var(q) at AT by statsmodels' GLS on all trials and `extra` candidates, the prior as further observations."""
    trials, cells = evidence.trials, evidence.trials.cells
    measured = zip(cells.of_trial, trials.replicate, strict=True)
    names = [(cells.n[c], cells.m[c], cells.n_generator[c], r) for c, r in measured]
    names += [(c.n_real, c.n_synthetic, c.n_generator, c.replicate) for c in extra]
    n, m, g, replicate = np.array(names, dtype=float).T
    levels = {level.name: v for level, v in zip(evidence.noise.levels, evidence.noise.variances(), strict=True)}
    scale = designs.candidate_rows(fit, evidence, list(extra)).scale if extra else np.array([])
    scale = np.concatenate([evidence.noise.scale, scale])
    noise = np.zeros((len(n), len(n)))
    for i, j in itertools.product(range(len(n)), repeat=2):
        if replicate[i] == replicate[j]:
            noise[i, j] += levels["subset draw"] + levels["subset draw at a size"] * (n[i] == n[j])
        noise[i, j] += levels["trial"] * (i == j)
        noise[i, j] *= scale[i] * scale[j]
    at, free = log_scaled(fit.point), np.ptp(np.array(fit.draws), axis=0) > 0
    jacobian = central(lambda c: np.log(LAW.error(natural(c), n, m, g)), at, free)
    low, high = coordinate_bounds(LAW)
    prior_sd = ((high - low) / 4)[free]
    size = len(n) + len(prior_sd)
    sigma = np.eye(size)
    sigma[: len(n), : len(n)] = noise
    design = np.vstack([jacobian, np.diag(1 / prior_sd)])
    found = statsmodels.api.GLS(np.zeros(size), design, sigma=sigma).fit()
    direction = central(lambda c: np.log(AT[0] + LAW.equivalent(natural(c), *map(float, AT), float(AT[0]))), at, free)
    return float(direction @ found.normalized_cov_params @ direction)


def our_variance(fit, evidence):
    precision = information(trial_rows(fit, evidence), designs.noise_variances(evidence)) + designs._prior(fit)
    direction = gradient(fit, *AT)
    return float(direction @ np.linalg.solve(precision, direction))


def test_the_variance_is_that_of_a_dense_generalised_least_squares(noisy):
    evidence, fit = noisy
    assert all(variance > 0 for variance in evidence.noise.variances())
    assert our_variance(fit, evidence) == pytest.approx(dense_variance(fit, evidence), rel=1e-5)


def test_the_choice_is_the_one_that_a_search_through_all_candidates_makes(noisy):
    evidence, fit = noisy
    cells = [(5000, 0, 5000), (50_000, 0, 50_000), (1000, 16_000, 1000), (5000, 40_000, 5000), (5000, 20_000, 5000)]
    offered = candidates(evidence.trials, cells, new=2)
    cells_now, freedom = len(evidence.trials.cells.n), len(evidence.trials.values) - len(evidence.trials.cells.n)
    assert cells_now == 15
    now = student.ppf(0.975, freedom) * np.sqrt(dense_variance(fit, evidence))
    half_width = np.log(fit.effective(*AT).high / fit.effective(*AT).low) / 2
    chosen: list[Candidate] = []
    for choice in next_trials(fit, evidence, offered, 2, at=AT):
        widths = {}
        for candidate in set(offered) - set(chosen):
            more = (*chosen, candidate)
            repeats = len(more) - any(c.n_synthetic == 40_000 for c in more)  # the first of that cell is no repeat
            widths[candidate] = student.ppf(0.975, freedom + repeats) * np.sqrt(dense_variance(fit, evidence, more))
        assert widths[choice.candidate] == pytest.approx(min(widths.values()), rel=1e-5)
        assert choice.half_width == pytest.approx(half_width * widths[choice.candidate] / now, rel=1e-5)
        chosen.append(choice.candidate)


def test_what_is_measured_is_not_offered_again_and_candidates_run_out(noisy):
    evidence, fit = noisy
    cells = [(5000, 20_000, 5000)]
    assert candidates(evidence.trials, cells, new=0) == []
    offered = [Candidate(5000.0, 20_000.0, 5000.0, replicate) for replicate in range(5)]
    chosen = next_trials(fit, evidence, offered, 9, at=AT)
    assert [choice.candidate.replicate for choice in chosen] == [3, 4]
    assert chosen[1].half_width < chosen[0].half_width < half_width_now(fit, evidence, *AT)
    assert next_trials(fit, evidence, offered[:3], 2) == []


def test_a_table_without_mixtures_beside_real_images_has_nothing_to_narrow(noisy):
    evidence, fit = noisy
    with pytest.raises(FitError, match="no mixture beside real images"):
        next_trials(fit, evidence.ladder, [Candidate(7.0, 7.0, 7.0, 0)], 1)


# Rounds.


def simulated(rng):
    """Run chosen trials: the truth with noise."""

    def measure(chosen):
        rows = []
        for c in (choice.candidate for choice in chosen):
            value = float(LAW.error((0.03, 6.0, 0.45, 0.4, 2.0, 1.0, 0.02), c.n_real, c.n_synthetic, c.n_real))
            sizes = {"n_real": c.n_real, "n_synthetic": c.n_synthetic, "subset_seed": c.replicate}
            arm = "closed-set" if c.n_synthetic else "real-only"
            rows.append({**sizes, "arm": arm, "cross_entropy": value * np.exp(rng.normal(0, 0.02))})
        return pd.DataFrame(rows)

    return measure


def test_rounds_end_at_the_total_repeat_nothing_and_narrow_the_interval():
    pilot = table(seeds=1, ladder=(1000, 5000, 50_000), bases=(1000, 5000), ratios=(1, 4, 16))
    pilot = pilot.drop(columns=["address", "n_generator"])
    options = {"at": AT, "total": 20, "batch": 6, "law": "peaked", "bootstrap": 60}
    found = list(rounds(pilot, simulated(np.random.default_rng(0)), **options))
    assert [len(one.table) for one in found] == [9, 15, 20]
    assert [len(one.chosen) for one in found] == [6, 5, 0]
    final = found[-1].table
    assert not final.duplicated(["n_real", "n_synthetic", "subset_seed"]).any()
    assert final.groupby(["n_real", "n_synthetic"]).ngroups == 9
    widths = [one.fit.effective(*AT).high - one.fit.effective(*AT).low for one in found]
    assert widths[-1] < widths[0]


# Specs.

TRAIN, TEST = Dataset(name="digits"), Dataset(name="digits", split="test")
RECIPE = Recipe(examples_seen=100)


def trial(n, seed, m=0, generator=None, pool_seed=0):
    real = Subset(of=TRAIN, size=n, seed=seed)
    made = generator or ClosedSet(real=real, steps=10 * n, seed=seed)
    synthetic = (Subset(of=Pool(generator=made, guidance=2.0, seed=pool_seed), size=m),) if m else ()
    return Trial(real=real, synthetic=synthetic, test=TEST, recipe=RECIPE, seed=seed)


def study(**more):
    sizes = [(n, 0) for n in (25, 50, 100, 200, 400, 800)] + [(n, r * n) for n in (50, 100, 200) for r in (1, 4, 16)]
    return Study(
        name="specs", trials=tuple(trial(n, seed, m, **(more if m else {})) for n, m in sizes for seed in (0, 1))
    )


def fitted(of, keep=lambda spec: True):
    """(fit, evidence) of simulated responses to the trials of a study."""
    rng, rows = np.random.default_rng(0), []
    for spec in filter(keep, of.trials):
        sizes = records.sizes(spec)
        arm = records.arms(of.trials)[address(spec)]
        value = float(LAW.error((0.05, 3.0, 0.5, 0.4, 4.0, 1.0, 0.0), spec.n_real, spec.n_synthetic, spec.n_real))
        named = {"arm": arm, "address": address(spec), "cross_entropy": value * np.exp(rng.normal(0, 0.03))}
        rows.append({**sizes, **named})
    evidence = evidence_of(pd.DataFrame(rows), bootstrap=60)
    return fit_evidence(evidence, law="scaled"), evidence


def test_proposed_specs_are_new_trials_of_the_same_arm_that_can_be_added():
    asked = study()
    fit, evidence = fitted(asked)
    proposals = next_specs(asked, fit, evidence, 8)
    new = [proposal.trial for proposal in proposals]
    whole = Study(name="more", trials=(*asked.trials, *new))
    assert len(whole.trials) == len(asked.trials) + 8
    names = records.arms(whole.trials)
    assert {names[address(spec)] for spec in new if spec.synthetic} == {"closed-set"}
    assert len(set(records.recipes(whole.trials).values())) == 1
    for spec in new:
        sizes = records.sizes(spec)
        seeds = {sizes["subset_seed"], sizes["trial_seed"], *([sizes["generator_seed"]] if spec.synthetic else [])}
        assert len(seeds) == 1
        if spec.synthetic:
            assert sizes["n_generator"] == sizes["n_real"]
            pool = records.pools_of(spec)[0]
            assert (pool.guidance, pool.seed) == (2.0, 0)  # what no trial varies stays
            assert pool.generator.steps == 10 * sizes["n_real"]  # what follows the size follows it
    widths = [proposal.half_width for proposal in proposals]
    assert widths[-1] < widths[0] < half_width_now(fit, evidence, 200, 3200)


def test_what_the_study_holds_already_is_not_proposed():
    """A trial that is not made yet, or that diverged, is in the study and not in the fit."""
    asked = study()
    first = next_specs(asked, *fitted(asked), 1)[0].trial
    more = Study(name="specs", trials=(*asked.trials, first))
    again = next_specs(more, *fitted(more, keep=lambda spec: spec != first), 3)
    assert first not in [proposal.trial for proposal in again]


def test_a_generator_that_saw_other_images_stays_what_it_is():
    everything = ClosedSet(real=Subset(of=TRAIN, size=1000, seed=9), seed=5)
    asked = study(generator=everything, pool_seed=3)
    for proposal in next_specs(asked, *fitted(asked), 6):
        for pool in records.pools_of(proposal.trial):
            assert (pool.generator, pool.seed) == (everything, 3)


def test_a_control_repeats_the_images_of_the_new_draw():
    asked = Study(
        name="control",
        trials=tuple(
            trial(spec.n_real, spec.seed, spec.n_synthetic, Repeat(real=spec.real)) if spec.synthetic else spec
            for spec in study().trials
        ),
    )
    mixed = [p.trial for p in next_specs(asked, *fitted(asked), 8) if p.trial.synthetic]
    assert mixed
    for spec in mixed:
        assert records.pools_of(spec)[0].generator == Repeat(real=spec.real)


def test_evidence_from_elsewhere_is_refused():
    asked = study()
    fit, evidence = fitted(asked)
    foreign = replace(evidence, trials=replace(evidence.trials, address=("trial-x", *evidence.trials.address[1:])))
    with pytest.raises(FitError, match="the trial 'trial-x' of the fit is not in the study 'specs'"):
        next_specs(asked, fit, foreign, 1)

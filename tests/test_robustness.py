"""Effective robustness and corruption errors on tables whose truth is known, and a whole study with corruptions."""

import dataclasses
import functools
import json
import math

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from realfake import cli
from realfake.intervals import Interval
from realfake.report import robustness as report
from realfake.statistics.analysis import analyse
from realfake.statistics.away import over_seeds, paired
from realfake.statistics.corrupted import corruption_of, mean_corruption_error, mean_error
from realfake.statistics.robustness import Line, effective_robustness, fit_line, logit, looks, robustness
from realfake.statistics.trial_table import FitError

TRUTH = Line(intercept=-0.8, slope=0.9)
LADDER, SEEDS = (50, 100, 200, 400, 800), (0, 1, 2, 3)


def row(test, error, n_real, m=0, seed=0, arm="real-only", **more):
    seeds = dict.fromkeys(("subset_seed", "generator_seed", "pool_seed", "trial_seed"), seed)
    where = "trial" if test == "home" else "evaluation"
    name = f"{where}-{test}-{arm}-{n_real}-{m}-{seed}"
    sizes = {"n_real": n_real, "n_synthetic": m, "n_generator": n_real if m else 0}
    known = {"arm": arm, "recipe": f"net on {test}", "test": test, "error": error, "n_test": 10**9, "status": "ok"}
    return {**sizes, **seeds, **known, "address": name, **more}


def table(excess=0.0, noise=0.0, seeds=SEEDS, rng=None, tests=("park",), ladder=LADDER, better=0.02):
    """Real-only trials on the true line, and synthetic ones `excess` above it; noise is of logits, away."""
    rng = rng or np.random.default_rng(0)
    rows = []
    for seed in seeds:
        for n, m, arm in (*((n, 0, "real-only") for n in ladder), (100, 400, "made"), (200, 800, "made")):
            home = 0.9 - 2.5 / np.sqrt(n) + (better if m else 0) + 0.004 * rng.normal()
            rows.append(row("home", 1 - home, n, m, seed, arm))
            for test in tests:
                away = TRUTH.expected(np.array(home)) + (excess if m else 0)
                away = 1 / (1 + np.exp(-(logit(away) + noise * rng.normal())))
                rows.append(row(test, 1 - float(away), n, m, seed, arm))
    return pd.DataFrame(rows)


def estimates(data):
    return {(r["test"], r["n_real"]): Interval.from_json(r["robustness"]) for r in robustness(data)["effective"]}


# ------------------------------------------------------------------------------------------------- effective robustness


@pytest.mark.parametrize("excess", [0.0, 0.05, -0.1])
def test_on_exact_logit_linear_data_it_is_what_was_put_in(excess):
    found = robustness(table(excess))
    line = found["lines"][0]
    assert (line["intercept"], line["slope"]) == (pytest.approx(-0.8), pytest.approx(0.9))
    assert (line["trials"], line["home"]) == (20, "home")
    assert len(found["effective"]) == 2
    for each in found["effective"]:
        value = Interval.from_json(each["robustness"])
        assert (value.point, value.low, value.high) == pytest.approx((excess, excess, excess), abs=1e-9)
        assert each["expected_error"] - each["error"] == pytest.approx(excess)
        assert each["replicates"] == 4
    json.dumps(found, allow_nan=False)


def test_its_intervals_hold_the_truth_as_often_as_they_say():
    rng, hits = np.random.default_rng(1), []
    clean = looks(paired(table(0.03, seeds=(0, 1, 2))))
    for _ in range(400):
        away = 1 / (1 + np.exp(-(logit(clean.away) + 0.1 * rng.normal(size=len(clean.away)))))
        value = effective_robustness(dataclasses.replace(clean, away=away), ~clean.baseline & (clean.n_real == 200))
        hits.append(value.low <= 0.03 <= value.high)
    assert 0.92 <= np.mean(hits) <= 0.98


def test_the_line_is_that_of_numpy():
    data = looks(paired(table(noise=0.3)))
    line = fit_line(data)
    own = data.taken(data.baseline)
    assert (line.slope, line.intercept) == pytest.approx(tuple(np.polyfit(logit(own.home), logit(own.away), 1)))


def test_a_ladder_that_is_too_short_promises_nothing():
    found = robustness(table(ladder=(100, 400)))
    assert found["effective"] == []
    assert "has 2 sizes on this test set" in found["lines"][0]["reason"]
    with pytest.raises(FitError, match="takes 3; evaluate real-only trials of more sizes on it"):
        fit_line(looks(paired(table(ladder=(100, 400)))))


def test_beyond_the_ladder_nothing_is_said_and_one_seed_has_no_interval():
    found = estimates(table(better=0.15))
    assert [value.censored for value in found.values()] == ["", "withheld"]
    assert "is beyond that of real images alone" in found["park", 200].reason
    (value, *_) = estimates(table(0.05, seeds=(0,))).values()
    assert value.point == pytest.approx(0.05)
    assert (value.low, value.high) == (-math.inf, math.inf)


def test_the_interval_of_a_mean_over_seeds_is_that_of_students_t():
    from scipy import stats

    values = np.random.default_rng(0).normal(size=5)
    found = over_seeds(lambda kept: float(values[kept].mean()), np.arange(5), np.ones(5, bool))
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert (found.point, found.low, found.high) == pytest.approx((values.mean(), low, high))


def test_sets_of_other_classes_are_compared_with_the_same_classes_at_home():
    data = table(0.05)
    away = data["test"] == "park"
    home = data.set_index("address")["error"]
    data.loc[away, "n_classes_shared"] = 7
    data.loc[away, "error_masked"] = data.loc[away, "error"]
    data.loc[away, "error_full"] = data.loc[away, "error"] + 0.1
    data.loc[away, "error_own_masked"] = [
        home[name.replace("evaluation-park", "trial-home")] for name in data["address"][away]
    ]
    data.loc[~away, "error"] = 0.5  # at home among all classes, which is another question
    found = robustness(data)
    assert [Interval.from_json(r["robustness"]).point for r in found["effective"]] == pytest.approx([0.05, 0.05])
    assert len(found["subsets"]) == 7
    first = found["subsets"][0]
    assert first["n_classes_shared"] == 7
    assert first["error_full"]["point"] - first["error_masked"]["point"] == pytest.approx(0.1)


def test_a_table_of_one_test_set_or_of_a_user_says_nothing():
    assert not any(robustness(table(tests=())).values())
    assert not any(robustness(pd.DataFrame({"n_real": [1], "n_synthetic": [0], "error": [0.5]})).values())


# -------------------------------------------------------------------------------------------------------- corruptions


def errors(**of_kind):
    rows = [(kind, s, e, 0.1) for kind, values in of_kind.items() for s, e in enumerate(values, 1)]
    return pd.DataFrame(rows, columns=["kind", "severity", "error", "home_error"])


def test_mce_is_the_mean_over_corruptions_of_ratios_of_sums():
    own, other = errors(jpeg=[0.2, 0.4], contrast=[0.3, 0.3]), errors(jpeg=[0.4, 0.8], contrast=[0.2, 0.2])
    assert mean_corruption_error(own, other) == pytest.approx((0.6 / 1.2 + 0.6 / 0.4) / 2)
    assert mean_corruption_error(own, other, relative=True) == pytest.approx((0.4 / 1.0 + 0.4 / 0.2) / 2)
    assert mean_corruption_error(other, other) == 1
    assert mean_error(own) == pytest.approx((0.3 + 0.3) / 2)
    assert math.isnan(mean_corruption_error(own, errors(jpeg=[0.4, 0.8])))
    assert corruption_of("digits gaussian-noise-3") == ("gaussian-noise", 3)
    assert [corruption_of(name) for name in ("digits", "park zoom-blur", "a b-3")] == [None, None, None]


def test_corruption_errors_are_relative_to_as_many_real_images():
    found = robustness(table(0.05, tests=("home jpeg-1", "home jpeg-3", "home contrast-2")))["corruptions"]
    by = {(each["arm"], each["n_real"]): each for each in found}
    assert {(each["corruptions"], each["sets"], each["replicates"]) for each in found} == {(2, 3, 4)}
    mixed = Interval.from_json(by["made", 100]["mce"])
    alone, made = (by[arm, 100]["mean_error"]["point"] for arm in ("real-only", "made"))
    assert mixed.point == pytest.approx(made / alone, rel=1e-6)  # here all sets are equally hard
    assert mixed.point < 0.95
    assert mixed.low < mixed.point < mixed.high
    assert Interval.from_json(by["real-only", 200]["mce"]).point == 1


# -------------------------------------------------------------------------------------------------- the whole way round

STUDY = '''"""Do repeated digits help on spoilt ones?"""
import dataclasses
from realfake import Dataset, Evaluation, Pool, Recipe, Repeat, Study, Subset, Trial

train, test = Dataset(name="digits"), Dataset(name="digits", split="test")
recipe = Recipe(model="test_resnet", examples_seen=960, augment="none")
spoilt = (dataclasses.replace(test, corruption="contrast-5"),)

def trial(size, seed, volume=0):
    real = Subset(of=train, size=size, seed=seed)
    synthetic = (Subset(of=Pool(generator=Repeat(real=real), seed=seed), size=volume),) if volume else ()
    return Trial(real=real, synthetic=synthetic, test=test, recipe=recipe, seed=seed)

ladder = tuple(trial(n, s) for n in (20, 60, 200) for s in (0, 1))
mixed = tuple(trial(60, s, 60) for s in (0, 1))
tried = tuple(Evaluation(of=t, on=on) for t in (*ladder, *mixed) for on in spoilt)
study = Study(name="spoilt", trials=(*ladder, *mixed), evaluations=tried)
'''


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The study, run by the command in this process, without Ray; its fits take few draws."""
    folder = tmp_path_factory.mktemp("spoilt")
    (folder / "spoilt.py").write_text(STUDY)
    (folder / "here.toml").write_text(f'store = "{folder / "store"}"\n[cluster]\naddress = "none"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("realfake.statistics.analysis.analyse", functools.partial(analyse, bootstrap=40))
        done = CliRunner().invoke(cli.main, ["run", str(folder / "spoilt.py"), "--on", str(folder / "here.toml")])
    assert done.exit_code == 0, done.output
    return folder


@pytest.mark.benchmark  # by hand: fits of two test sets take minutes beside other work
def test_equivalence_is_read_on_corrupted_sets_and_found_again_in_mlflow(made):
    kept = json.loads((made / "store/studies/spoilt/fits.json").read_text())["analysis"]
    recipes = ["test_resnet on digits", "test_resnet on digits contrast-5"]
    assert [cell["recipe"] for cell in kept["cells"]] == recipes
    assert all(cell["equivalent"]["cross_entropy"] for cell in kept["cells"])
    assert [line["test"] for line in kept["robustness"]["lines"]] == ["digits contrast-5"]
    asked = ["curves", "--study", "spoilt", "--json", "--on", str(made / "here.toml")]
    found = CliRunner().invoke(cli.main, asked)
    assert found.exit_code == 0, found.output
    assert all(f'"{name}"' in found.output for name in recipes)


@pytest.mark.benchmark  # by hand: fits of two test sets take minutes beside other work
def test_the_report_has_a_table_of_arms_by_test_sets_and_files_beside_it(made):
    page = (made / "store/studies/spoilt/report.html").read_text()
    for title in ("Errors on every test set", "Effective robustness", "Corruptions"):
        assert title in page
    figures = made / "store/studies/spoilt/figures"
    errors = pd.read_csv(figures / "test_sets.csv")
    assert len(errors) == 2 * 4
    by = errors.set_index(["test", "arm", "n_real"])["error"]
    assert by["digits contrast-5", "real-only", 200] > by["digits", "real-only", 200]
    assert len(pd.read_csv(figures / "robustness.csv")) == 8
    assert set(pd.read_csv(figures / "corruptions.csv")["arm"]) == {"real-only", "repeat"}
    assert len(list((made / "store").glob("dataset-*"))) == 3


def test_a_report_of_one_test_set_has_no_such_sections(tmp_path):
    assert report.sections(table(tests=()), {"robustness": robustness(table(tests=()))}, tmp_path).source == ""
    assert not list(tmp_path.iterdir())

"""Scaling slopes: exact laws, scipy's regression, coverage by simulation, single classes, and the report's sections."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress, t

from realfake.intervals import Interval, withheld
from realfake.report import class_slopes as class_section
from realfake.report import slopes as section
from realfake.statistics.class_slopes import class_correlations, class_slopes, class_type, measured_by_class
from realfake.statistics.lines import Line
from realfake.statistics.slopes import scaling_slopes, sentences

REAL, SYNTHETIC = (100, 200, 400, 800, 1600, 3200), (400, 800, 1600, 3200, 6400)


def trials(k=(0.5, 0.2), *, seeds=3, noise=0.0, shared=0.0, bend=0.0, volumes=SYNTHETIC, random=None):
    """Real-only trials with L = 6·D^−k[0], and synthetic-only ones with L = 4·D^−k[1] and a parabola's bend."""
    random = random or np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        draw = random.normal(0, 1) * shared
        for n, m in [*((n, 0) for n in REAL), *((0, m) for m in volumes)]:
            log = np.log(6) - k[0] * np.log(n) if n else np.log(4) - k[1] * np.log(m) + bend * np.log(m / 1600) ** 2
            value = float(np.exp(log + draw + noise * random.normal()))
            named = {"arm": "closed-set" if m else "real-only", "address": f"trial-{seed}-{n}-{m}"}
            rows.append({"n_real": n, "n_synthetic": m, "n_generator": n or 200, "subset_seed": seed, **named})
            rows[-1]["cross_entropy"] = value
    return pd.DataFrame(rows)


def lines(table, **more):
    """The real-only line and the synthetic one."""
    real, synthetic = scaling_slopes(table, bootstrap=100, **more)
    return real, synthetic


def read(row, name):
    return Interval.from_json(row[name])


def holds(interval, value):
    return interval.low <= value <= interval.high


@pytest.mark.parametrize("seeds", [1, 3])
def test_an_exact_power_law_gives_its_exponent_and_scale(seeds):
    real, synthetic = lines(trials(seeds=seeds))
    assert (real["arm"], synthetic["arm"], synthetic["n_generator"]) == ("real-only", "closed-set", 200)
    assert read(real, "slope").point == pytest.approx(0.5)
    assert read(synthetic, "slope").point == pytest.approx(0.2)
    assert read(synthetic, "scale").point == pytest.approx(4.0)
    assert read(synthetic, "bend").point == pytest.approx(0.0, abs=1e-9)
    assert real["straight"]
    assert synthetic["straight"]
    assert read(synthetic["beside_real"], "ratio").point == pytest.approx(0.4)
    assert read(synthetic["beside_real"], "difference").point == pytest.approx(-0.3)


def test_a_single_seed_has_the_interval_of_scipys_regression():
    table = trials(seeds=1, noise=0.05)
    _, synthetic = lines(table)
    own = table[table["n_synthetic"] > 0]
    found = linregress(np.log(own["n_synthetic"]), np.log(own["cross_entropy"]))
    slope, half = read(synthetic, "slope"), t.ppf(0.975, len(own) - 2) * found.stderr
    assert (slope.point, slope.low, slope.high) == pytest.approx(
        (-found.slope, -found.slope - half, -found.slope + half)
    )
    scale, half = read(synthetic, "scale"), t.ppf(0.975, len(own) - 2) * found.intercept_stderr
    assert np.log([scale.point, scale.high]) == pytest.approx([found.intercept, found.intercept + half])
    assert synthetic["lack_of_fit"] is None
    assert slope.reason == "one seed"


def test_a_bend_is_that_of_a_parabola_and_a_bent_line_is_rejected():
    table = trials(noise=0.01, bend=0.05)
    _, synthetic = lines(table)
    own = table[table["n_synthetic"] > 0].assign(log=np.log(table["cross_entropy"]))
    means = own.groupby("n_synthetic")["log"].mean()
    curvature = np.polyfit(np.log(means.index), means, 2)[0]
    assert read(synthetic, "bend").point == pytest.approx(-2 * np.log(10) * curvature)
    assert read(synthetic, "bend").high < 0  # the gain dries up
    assert not synthetic["straight"]


def test_a_zigzag_that_no_parabola_sees_fails_by_its_lack_of_fit():
    random = np.random.default_rng(0)
    sizes = np.array([1.0, 2, 4, 8, 16, 32])
    zigzag = np.array([1, -1, -1, 1, 1, -1]) * 0.1
    noise = random.normal(0, 0.01, (400, 6))
    assert Line(sizes, -0.3 * np.log(sizes), noise).straight
    assert Line(sizes, -0.3 * np.log(sizes) + zigzag, noise).lack_of_fit == pytest.approx(1 / 401)


def test_students_interval_covers_as_often_as_it_says():
    random, sizes = np.random.default_rng(1), np.array([400.0, 800, 1600, 3200])
    fits = [Line(sizes, -0.2 * np.log(sizes) + random.normal(0, 0.05, 4)) for _ in range(400)]
    assert np.mean([holds(line.slope, 0.2) for line in fits]) == pytest.approx(0.95, abs=0.03)
    assert np.mean([line.straight for line in fits]) == pytest.approx(0.95, abs=0.03)


def test_the_interval_over_replicates_covers_slopes_and_their_ratio():
    hits = np.zeros(4)
    for seed in range(40):
        _, row = lines(trials(noise=0.03, shared=0.02, random=np.random.default_rng(seed)))
        beside = row["beside_real"]
        told = (row["slope"], 0.2), (beside["ratio"], 0.4), (beside["difference"], -0.3), (row["bend"], 0.0)
        hits += [holds(Interval.from_json(value), truth) for value, truth in told]
    assert (hits >= 34).all()  # of 40: three in a thousand fall short at 0.95


def test_two_lines_are_compared_over_the_sizes_of_both():
    _, synthetic = lines(trials())
    assert synthetic["beside_real"]["over"] == [[400, 3200], [400, 3200]]
    _, apart = lines(trials(volumes=(1600, 12_800, 102_400)))
    assert not apart["beside_real"]["same_range"]
    assert apart["beside_real"]["over"] == [[1600, 102_400], [100, 3200]]


def test_what_has_no_line_says_why_and_other_studies_have_one_row():
    _, few = lines(trials(volumes=(400, 800)))
    assert few["reason"].startswith("2 sizes")
    assert len(scaling_slopes(trials(volumes=(400,)))) == 1
    (only,) = scaling_slopes(trials(volumes=()))
    assert only["arm"] == "real-only"
    flat = trials(k=(0.0, 0.2), noise=0.05)
    _, synthetic = lines(flat)
    assert read(synthetic["beside_real"], "ratio").censored == "withheld"


def test_cells_of_several_recipes_and_generators_have_lines_of_their_own():
    table = trials()
    more = table[table["n_synthetic"] > 0].assign(n_generator=800, address=lambda rows: rows["address"] + "-more")
    both = pd.concat([table, more]).assign(recipe="a")
    other = both.assign(recipe="b", address=both["address"] + "-b", cross_entropy=both["cross_entropy"] ** 2)
    found = {(row["recipe"], row["n_generator"]): row for row in scaling_slopes(pd.concat([both, other]))}
    assert set(found) == {(r, g) for r in "ab" for g in (None, 200, 800)}
    assert read(found["b", 800], "slope").point == pytest.approx(0.4)


def test_a_sentence_names_the_range_and_a_rejected_line():
    (text,) = sentences(scaling_slopes(trials(noise=0.01, bend=0.05)), "cross_entropy")
    assert text.startswith("Images from closed-set, fitted on 200, alone: cross-entropy falls as D^−k with k = 0.2")
    assert "from 400 to 6,400 images, an average, for a straight line is rejected" in text
    assert "k over that of real images, from 400 to 3,200: 0.4" in text
    assert not sentences(scaling_slopes(trials(volumes=())), "cross_entropy")


# --------------------------------------------------------------------------------------------------------- by class

KINDS = {"easy": (0.05, 0.3), "scaling": (0.6, 0.3), "poor": (0.6, 0.0)}  # last error, slope of synthetic images


def classes(images=60):
    """A table, single results and labels of three classes, each of the type of its name."""
    table, random = trials(noise=0.02), np.random.default_rng(2)
    labels, kept = np.repeat(np.arange(3), images), {}
    for row in table.itertuples():
        log = np.empty(len(labels))
        wrong = np.zeros(len(labels))
        for number, (error, k) in enumerate(KINDS.values()):
            of = labels == number
            log[of] = -0.5 * np.log(row.n_real) if row.n_real else -k * np.log(row.n_synthetic)
            wrong[of] = np.arange(images) < error * images
        kept[row.address] = {"cross_entropy": np.exp(log + 0.02 * random.normal()), "error": wrong}
    means = [kept[name]["cross_entropy"].mean() for name in table["address"]]
    return table.assign(cross_entropy=means, n_test=len(labels)), kept, labels


def test_classes_are_easy_scaling_or_poor():
    rows = class_slopes(*classes(), list(KINDS))
    assert [row["type"] for row in rows] == list(KINDS)
    assert [read(row, "slope").point for row in rows] == pytest.approx([0.3, 0.3, 0.0], abs=0.03)
    assert [row["error"]["point"] for row in rows] == pytest.approx([0.05, 0.6, 0.6])
    assert {(row["n_test"], row["n_synthetic"], row["n_generator"]) for row in rows} == {(60, 6400, 200)}
    none = class_slopes(*classes(), [*KINDS, "absent"])[-1]
    assert none["reason"] == "the test set has no image of this class"


def test_a_type_needs_evidence():
    wide, real = Interval(0.1, -0.5, 0.7), Interval(0.5, 0.4, 0.6)
    assert class_type(0.3, wide, real) == "undecided"
    assert class_type(0.1, wide, real) == "easy"
    assert class_type(0.3, Interval(0.0, -0.1, 0.1), real) == "poor"
    assert class_type(0.3, Interval(0.0, -0.1, 0.1), Interval(0.2, -0.5, 0.9)) == "undecided"
    assert class_type(0.3, wide, withheld("the ladder is too short")) == "undecided"


def test_slopes_are_ranked_with_what_was_measured_of_each_class():
    names = list("abcdef")
    place = {"recipe": "", "arm": "x", "n_generator": 9}
    slopes = [{**place, "class": c, "slope": Interval(k, k, k).to_json()} for k, c in enumerate(names)]
    values = {"recognisability (F1)": range(6), "diversity": (0, 2, 1, 3, 4, 5)}
    kept = [
        {"class": c, "measure": name, "space": "pixels", "value": float(v) + pool}
        for name, of in values.items()
        for c, v in zip(names, of, strict=True)
        for pool in (0, 1)
    ]
    measured = measured_by_class([{"arm": "x", "n_generator": 9, "classes": kept}])
    assert {(row["pools"], row["value"]) for row in measured if row["class"] == "f"} == {(2, 5.5)}
    found = {row["measure"]: row for row in class_correlations(slopes, measured)}
    assert found["recognisability (F1)"]["correlation"]["point"] == pytest.approx(1)
    assert found["diversity"]["correlation"]["point"] == pytest.approx(1 - 6 * 2 / (6 * 35))  # 1 − 6·Σd²/(n·(n² − 1))
    assert found["diversity"]["classes"] == 6


# ------------------------------------------------------------------------------------------------------- the report


def analysis(table):
    rows = scaling_slopes(table, bootstrap=50)
    return {"slopes": rows, "settings": {"responses": ["cross_entropy"]}}


def test_the_report_draws_the_lines_and_tables_them(tmp_path):
    page = section.sections(analysis(trials(noise=0.02, bend=0.05)), tmp_path).source.replace("\N{NO-BREAK SPACE}", " ")
    assert "Scaling laws" in page
    assert "closed-set alone, fitted on 200" in page
    assert "not rejected" in page
    assert ">rejected<" in page
    assert "<svg" in page
    table = pd.read_csv(tmp_path / "scaling_slopes.csv")
    assert table["arm"].tolist() == ["real-only", "closed-set"]
    assert table["ratio"].notna().tolist() == [False, True]
    points = pd.read_csv(tmp_path / "slopes.csv")
    assert points.groupby(["arm", "kind"]).size()["closed-set", "cell"] == len(SYNTHETIC)


def test_a_study_without_synthetic_only_trials_has_one_line_and_no_figure(tmp_path):
    page = section.sections(analysis(trials(volumes=())), tmp_path).source
    assert "Scaling with real images" in page
    assert page.count("<tr>") == 2
    assert not (tmp_path / "slopes.svg").exists()
    assert not section.sections({"slopes": []}, tmp_path).source


def test_the_report_tells_classes_with_their_measures(tmp_path):
    rows = class_slopes(*classes(), list(KINDS))
    kept = [{"class": c, "measure": "diversity", "space": "pixels", "value": 0.25} for c in KINDS]
    measured = measured_by_class([{"arm": "closed-set", "n_generator": 200, "classes": kept}])
    found = {"slopes": rows, "measures": measured, "correlations": class_correlations(rows, measured)}
    page = class_section.sections({"class_slopes": found}, tmp_path).source
    assert "1 easy, 1 poor, 1 scaling" in page
    assert "0.25" in page
    assert pd.read_csv(tmp_path / "class_slopes.csv")["diversity (pixels)"].tolist() == [0.25] * 3
    assert not class_section.sections({}, tmp_path).source

"""Figures and pages of fitted laws: every number drawn is what the fit answers, and everything drawn can be read."""

import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest

from realfake import report
from realfake.intervals import Interval
from realfake.report import axes, cell_rows, drawing, figures, fitted, layout, method
from realfake.statistics.analysis import analyse
from realfake.statistics.choice import fit as fit_law
from realfake.statistics.equivalence import Fit, LackOfFit
from tests.simulated import SMALL, several_arms, table

PRINTED_WIDTH = (210 - 2 * 16) / 25.4  # inches of A4 between the margins of page.css
NAMES = ["equivalent", "response", "value", "contours", "laws", "residuals", "ladder"]


@pytest.fixture(scope="module")
def trials() -> pd.DataFrame:
    rows = table(seeds=3, noise=0.02, shared=0.02, **SMALL)
    return rows.assign(recipe="r", status="ok", real_budget=rows["n_real"], error=rows["cross_entropy"] / 4)


@pytest.fixture(scope="module")
def analysis(trials) -> dict:
    return analyse(trials, bootstrap=60)


@pytest.fixture(scope="module")
def found(trials, analysis) -> dict:
    return figures.figure_tables(trials, analysis)


@pytest.fixture(scope="module")
def fits(analysis) -> dict[str, Fit]:
    return {values["response"]: Fit.from_json(values) for values in analysis["fits"]}


@pytest.fixture(scope="module")
def peaked(trials) -> Fit:
    return fit_law(trials, law="peaked", bootstrap=20)


def bent(rows: pd.DataFrame) -> pd.DataFrame:
    """A table that no law fits."""
    off = 1 - 0.5 * np.sin(np.log1p(rows["n_synthetic"])) * (rows["n_synthetic"] > 0)
    return rows.assign(cross_entropy=rows["cross_entropy"] * off).drop(columns="error")


# ------------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("name", ["response", "equivalent", "value", "ladder"])
def test_a_band_is_what_the_fit_answers(found, fits, name):
    law = found[name].query("kind == 'law'")
    assert len(law)
    for _, row in law.iloc[::7].iterrows():
        fit = fits[row["quantity"].split(".")[-1] if row["quantity"] != "value" else "cross_entropy"]
        ask = {"equivalent": fit.equivalent, "value": fit.value}.get(row["quantity"].split(".")[0], fit.error)
        answer = ask(row["n_real"], row["n_synthetic"], row["n_generator"])
        shown = Interval.from_json(answer.to_json() | {"floor": None, "ceiling": None})
        held = [row["point"], row["low"], row["high"]]
        expected = [shown.point, shown.low, shown.high]
        np.testing.assert_allclose(held, [x if np.isfinite(x) else np.nan for x in expected])
        assert not row["low"] > row["point"]
        assert not row["high"] < row["point"]


def test_a_band_spans_the_laws_that_predict_as_well(analysis, fits):
    fit = fits["cross_entropy"]
    assert fit.alternatives, "the table no longer leaves two laws in the set; choose another"
    cells = [cell for cell in analysis["cells"] if cell["n_real"] == 5000]
    whole = pd.DataFrame(fitted.bands(fit, "cross_entropy", "x", cells))
    for single in (replace(fit, alternatives=()), *fit.alternatives):
        own = pd.DataFrame(fitted.bands(single, "cross_entropy", "x", cells))
        assert (whole["low"] <= own["low"] + 1e-12).all()
        assert (whole["high"] >= own["high"] - 1e-12).all()


def test_a_curve_stays_within_the_volumes_that_were_measured(found, trials):
    law = found["response"].query("kind == 'law' and quantity == 'error'")
    mixed = trials[trials["n_synthetic"] > 0]
    for n_real, own in law.groupby("n_real"):
        measured = mixed.loc[mixed["n_real"] == n_real, "n_synthetic"]
        assert (own["n_synthetic"].min(), own["n_synthetic"].max()) == (measured.min(), measured.max())
    assert law.groupby("n_real").size().tolist() == [fitted.POINTS] * 3


def test_a_cell_lies_on_the_curve_of_its_law(found, analysis):
    cells = found["equivalent"].query("kind == 'mean' and quantity == 'equivalent.cross_entropy'")
    law = found["equivalent"].query("kind == 'law' and quantity == 'equivalent.cross_entropy'")
    ends = cells.merge(law, on=["n_real", "n_synthetic"], suffixes=("", "_law"))
    assert len(ends) >= 3
    np.testing.assert_allclose(ends["point"], ends["point_law"])
    read_off = found["equivalent"].query("kind == 'inversion' and quantity == 'equivalent.cross_entropy'")
    wanted = [cell["inversion"]["cross_entropy"]["point"] for cell in analysis["cells"]]
    np.testing.assert_allclose(np.nan_to_num(read_off["point"], nan=0), np.where(read_off["point"].isna(), 0, wanted))


def test_residuals_are_per_cent_of_the_law_in_closed_form(trials, analysis, peaked):
    floor, amplitude, exponent, rate, half, growth, harm = peaked.point
    held = {**analysis, "fits": [replace(peaked, recipe="r").to_json()]}
    data = figures.residuals(trials, held, fitted.fits_of(held)).query("kind == 'mean'")
    assert len(data) == 6 + 9
    for _, row in data.iterrows():
        n, m = row["n_real"], row["n_synthetic"]
        effective = n + rate * m / (1 + m / (half * n**growth))
        law = floor + amplitude * effective**-exponent + harm * (m / (n + m)) ** 2
        mean = trials.query("n_real == @n and n_synthetic == @m")["cross_entropy"].mean()
        assert row["point"] == pytest.approx(100 * (mean / law - 1))
        assert row["low"] < row["point"] < row["high"]


def test_a_residual_of_a_trial_is_measured_against_the_same_law(found, trials):
    data = found["residuals"]
    means = data.query("kind == 'mean'").set_index(["n_real", "n_synthetic"])["point"]
    single = data.query("kind == 'trial'").groupby(["n_real", "n_synthetic"])["point"].mean()
    pd.testing.assert_series_equal(means.sort_index(), single.sort_index(), check_names=False)
    assert (data["kind"] == "trial").sum() == len(trials)


def test_a_contour_joins_mixtures_of_one_response(found, fits):
    fit = fits["cross_entropy"]
    lines = found["contours"].query("kind == 'contour'").dropna(subset="n_real")
    assert lines["point"].nunique() >= 3
    inside = lines[lines["n_real"].between(fit.measured.n_min * 1.01, fit.measured.n_max * 0.99)]
    y = [fit.formula.error(fit.point, row.n_real, row.n_synthetic, row.n_real) for row in inside.itertuples()]
    np.testing.assert_allclose(y, inside["point"], rtol=2e-3)
    banded = inside.dropna(subset=["n_real_low", "n_real_high"])
    assert len(banded) > len(inside) / 2
    assert ((banded["n_real_low"] <= banded["n_real"]) & (banded["n_real"] <= banded["n_real_high"])).all()


def test_a_budget_line_costs_the_same_everywhere_and_nothing_cheaper_reaches_its_mark(found, fits):
    fit, data = fits["cross_entropy"], found["contours"]
    for price in fitted.PRICES:
        line = data.query("kind == 'budget' and price == @price").dropna(subset="n_real")
        np.testing.assert_allclose(line["n_real"] + price * line["n_synthetic"], line["point"], rtol=1e-6)
        best = data.query("kind == 'cheapest' and price == @price").iloc[0]
        assert best["n_real"] + price * best["n_synthetic"] == pytest.approx(line["point"].iloc[0], rel=1e-3)
        reached = fit.formula.error(fit.point, best["n_real"], best["n_synthetic"], best["n_real"])
        assert reached == pytest.approx(best["point"], rel=2e-3)
        same = data.query("kind == 'contour' and point == @best.point").dropna(subset="n_real")
        assert (same["n_real"] + price * same["n_synthetic"]).min() >= line["point"].iloc[0] * 0.998


def test_laws_are_shown_with_their_own_answers_and_what_the_set_spans(found, analysis, fits):
    data = found["laws"]
    comparison = next(one for one in analysis["comparisons"] if one["response"] == "cross_entropy")
    assert data.query("kind == 'in the set'")["law"].tolist() == [x["law"] for x in comparison["laws"] if x["in_set"]]
    set_ = data.query("kind == 'set'").iloc[0]
    members = data.query("kind == 'in the set'")
    assert (set_["low"], set_["high"]) == pytest.approx((members["low"].min(), members["high"].max()))
    assert set_["point"] == pytest.approx(fits["cross_entropy"].equivalent(*comparison["at"]).point)


def test_a_rejected_law_keeps_its_curve_and_loses_its_band(trials):
    rows = bent(trials)
    held = analyse(rows, bootstrap=60)
    assert all(Fit.from_json(values).lack_of_fit.fails for values in held["fits"])
    data = figures.figure_tables(rows, held)
    for name in ("equivalent", "response"):
        law = data[name].query("kind == 'law'")
        assert law["point"].notna().any()
        assert law[["low", "high"]].isna().all(axis=None)
        assert (law["reason"] == fitted.REJECTED).all()
    assert data["contours"][["n_real_low", "n_real_high", "price"]].isna().all(axis=None)
    assert not (data["value"]["kind"] == "law").any()


def test_a_law_is_rejected_by_its_test_alone(peaked):
    assert not fitted.rejected(replace(peaked, lack_of_fit=None))
    assert fitted.rejected(replace(peaked, lack_of_fit=LackOfFit(9.0, (4, 20), 0.01)))


def test_a_study_of_synthetic_images_alone_and_of_leaky_generators_has_its_figures():
    rows = several_arms(seeds=2).query("arm != 'closed-set'").assign(status="ok")
    data = figures.figure_tables(rows, analyse(rows, bootstrap=20))
    alone = data["response"].query("kind == 'law' and n_real == 0")
    assert alone.groupby("n_generator").size().tolist() == [fitted.POINTS] * 3
    assert "alone" not in set(data["contours"]["series"])
    for name in ("equivalent", "contours", "residuals"):
        ElementTree.fromstring(drawing.svg(drawing.draw(name, data[name])))


# ---------------------------------------------------------------------------------------------------------------- page


@pytest.fixture(scope="module")
def page(tmp_path_factory, trials, analysis):
    folder = tmp_path_factory.mktemp("report")
    facts = {"study": "simulated", "question": "Are they worth it?"}
    return report.write(folder, trials, analysis, facts)


def test_the_page_holds_every_figure_and_loads_nothing(page):
    source = page.read_text("utf-8")
    assert source.count("<svg") == source.count('role="img"') == source.count("aria-label=") == len(NAMES)
    assert sorted(path.stem for path in page.parent.glob("figures/*.svg")) == sorted(NAMES)
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", source)
    assert not re.search(r"@import|url\((?!#)|<script|<link", source)


def test_the_numbers_beside_a_figure_are_its_table(page, found):
    for name, data in found.items():
        read = pd.read_csv(page.parent / "figures" / f"{name}.csv", keep_default_na=False, na_values=[""])
        assert set(read) <= set(cell_rows.COLUMNS)
        texts = [column for column in read if column in cell_rows.TEXTS]
        pd.testing.assert_frame_equal(read.fillna(dict.fromkeys(texts, "")), data[list(read)], check_dtype=False)
        dropped = data[[column for column in data if column not in read]]
        assert (dropped.isna() | (dropped == "")).all(axis=None)


def test_the_page_says_how_its_numbers_were_made(page, analysis):
    text = " ".join(re.sub(r"<[^>]+>", " ", page.read_text("utf-8")).split())
    assert "the expected response when n images are drawn from this data set" in text
    assert "over 60 simulated tables (seed 0)" in text
    assert "The choice of test images is not in the intervals" in text
    assert f"noise: {analysis['fits'][0]['noise']}" in text
    assert f"{analysis['fits'][0]['n_trials']} trials in 3 replicates" in text
    with_images = {**analysis["settings"], "test_images": True}
    assert "among what they differ in" in method.made({**analysis, "settings": with_images}).source


def test_the_laws_that_were_tried_are_listed_with_their_errors(page, analysis):
    text = " ".join(re.sub(r"<[^>]+>", " ", page.read_text("utf-8")).split())
    (comparison,) = [one for one in analysis["comparisons"] if one["response"] == "cross_entropy"]
    last = [law for law in comparison["laws"] if law["behind"]][-1]
    assert f"{last['law']} {100 * last['held_out_error']:.1f} {1e4 * last['behind']:.0f} ± " in text
    assert "hyperbolic: y = E + A·(n + ρ·m/(1 + m/κ))^-α" in text
    assert text.count("which law, by") == 2


def test_an_analysis_of_an_earlier_version_still_has_its_page(tmp_path, trials, analysis):
    kept = ("schema", "digest", "cells", "ladder", "sentences", "warnings", "controls")
    bare = [{k: v for k, v in one.items() if k not in ("draws", "alternatives", "noise")} for one in analysis["fits"]]
    cells = [{k: v for k, v in cell.items() if k not in ("inversion", "signs")} for cell in analysis["cells"]]
    old = {**{name: analysis[name] for name in kept}, "cells": cells, "fits": bare, "settings": {}}
    source = report.write(tmp_path, trials, old, {"study": "old", "question": ""}).read_text("utf-8")
    assert source.count("<svg") == 4
    assert "peaked" in source or "law of" in source
    assert fitted.fits_of({"fits": [{"law": "a law of another version"}]}) == []


# -------------------------------------------------------------------------------------------------------- legibility


def test_words_have_eight_points_when_the_page_is_printed(found):
    for name, data in found.items():
        figure = drawing.draw(name, data)
        shrunk = min(1.0, PRINTED_WIDTH / figure.get_size_inches()[0])
        sizes = [float(size) for size in re.findall(r"font(?:-size)?: (?:bold )?([\d.]+)px", drawing.svg(figure))]
        assert sizes
        assert min(sizes) * shrunk >= 8


@pytest.mark.parametrize(
    "volumes", [(50, 200, 800), (1000, 2000, 4000, 8000, 16_000), (7500, 30_000, 120_000, 480_000)]
)
@pytest.mark.parametrize("panels", [1, 2, 3])
def test_labels_of_volumes_do_not_touch(volumes, panels):
    with matplotlib.rc_context(layout.SETTINGS):
        figure, (axs,) = layout.panels(panels)
        for ax in axs:
            axes.volume_axis(ax, pd.Series(volumes, dtype=float))
            ax.set_yticks([0, 10_000], ["0", "−10,000"])
        axs[0].set_ylabel("two lines\nof words")
        figure.draw_without_rendering()
    for ax in axs:
        boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
        assert len(boxes) >= 2
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


@pytest.mark.parametrize(("number", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (7, 3)])
def test_panels_fill_rows_of_three_at_most(number, columns):
    figure, blocks = layout.panels(number, blocks=2)
    assert layout.columns_of(number) == columns
    assert [len(block) for block in blocks] == [number, number]
    assert figure.get_size_inches()[0] <= layout.FIGURE_WIDTH + 1e-9
    assert sum(layout.lowest(index, number) for index in range(number)) == min(number, columns)


def test_series_can_be_told_apart_when_colours_come_round_again():
    looks = list(layout.styles(map(str, range(30))).values())
    assert len(set(looks)) == 30
    assert len({color for color, _, _ in looks[:6]}) == len({marker for _, marker, _ in looks[:6]}) == 6


def test_a_long_legend_takes_nothing_from_the_panels():
    short, long = (layout.panels(3, titles=["a name" * 12] * lines)[0] for lines in (1, 8))
    assert long.get_size_inches()[1] - short.get_size_inches()[1] == pytest.approx(7 * layout.LINE_HEIGHT)

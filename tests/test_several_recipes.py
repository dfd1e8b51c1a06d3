"""A study with several test sets and currencies: all said once, no currency mistaken, a panel each."""

import re
import textwrap

import pandas as pd
import pytest

from realfake import headline, tables
from realfake.intervals import Interval
from realfake.report import figures, render
from realfake.report.drawing import draw
from realfake.report.layout import STYLES
from realfake.report.page import Html
from realfake.statistics.analysis import analyse
from realfake.statistics.currencies import setting
from realfake.statistics.warned import warned
from realfake.tables import terminal

PARK, URBAN = "fpn-tiny on park", "fpn-tiny on urban"
OWN = f"{PARK} in its own images beside 20"


def table() -> pd.DataFrame:
    rows = []
    for recipe in (PARK, URBAN, OWN):
        for seed in (0, 1):
            for n in (10, 20, 40, 80) if recipe != OWN else (20, 30, 60):
                rows.append(row(recipe, "", n, 0, seed, 2 / n**0.5))
            for arm in ("PTL", "rendered"):
                rows.append(row(recipe, arm, 20, 40, seed, 0.4 + 0.01 * len(arm)))
    return pd.DataFrame(rows)


def row(recipe: str, arm: str, n: int, m: int, seed: int, y: float) -> dict:
    same = {"subset_seed": seed, "generator_seed": seed, "pool_seed": seed, "trial_seed": seed, "status": "ok"}
    named = {"recipe": recipe, "arm": arm, "n_real": n, "n_synthetic": m, "real_budget": n}
    return {**same, **named, "ap50_error": y * (1 + 0.03 * seed), "address": f"{recipe} {arm} {n} {m} {seed}"}


@pytest.fixture(scope="module")
def document() -> dict:
    return analyse(table(), bootstrap=20, context={"data": "urban at 96 px"})


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (URBAN, ("fpn-tiny", "urban", "real images of the trained domain")),
        (OWN, ("fpn-tiny", "park", "labelled images of park")),
        ("resnet lr=0.1", ("resnet lr=0.1", "", "real images")),
    ],
)
def test_the_name_of_a_recipe_says_what_is_counted(recipe, said):
    found = setting(recipe)
    assert (found.recipe, found.test, found.currency) == said


def test_each_warning_is_said_once_with_all_whom_it_concerns(document):
    said = warned(document)
    texts = [text.split(": ", 1)[1] for text in said]
    assert len(document["warnings"]) > 4
    assert len(texts) == len(set(texts))
    few = [text for text in said if "too few for" in text]
    assert len(few) == 1
    assert few[0].startswith("PTL and rendered, 1 − AP50: the arm has 1 mixed cell, too few")


def test_a_warning_of_one_recipe_names_it(document):
    told = {**document, "warnings": [f"PTL, ap50_error, {OWN}: odd", f"rendered, ap50_error, {URBAN}: odd", "alone"]}
    assert warned(told) == ["PTL, 1 − AP50 (on park in its own images); rendered, 1 − AP50 (on urban): odd", "alone"]


def test_sentences_name_test_set_and_currency(document):
    told = dict(headline.grouped(document))
    assert list(told) == [
        "On park, in real images of the trained domain",
        "On park, in labelled images of park",
        "On urban, in real images of the trained domain",
    ]
    for text in told["On park, in labelled images of park"]:
        assert "more labelled images of park" in text
        assert "more real images" not in text
    assert all("tested on urban" in text for text in told["On urban, in real images of the trained domain"])


def test_the_headline_has_the_equivalents_of_the_cells(document):
    across, rows = headline.header(document)[1:], headline.rows(document)
    assert [row[0] for row in rows] == ["40 from PTL beside 20", "40 from rendered beside 20"]
    for cell in document["cells"]:
        place = across.index(headline.title(cell["recipe"], document)) + 1
        written = next(row[place] for row in rows if f"from {cell['arm']} " in row[0])
        assert written == f"{Interval.from_json(cell['equivalent']['ap50_error'])}*"


def test_the_terminal_says_once_what_is_withheld_throughout_of_several_arms(document):
    shared = tables._shared_notes(document)
    text = " ".join(terminal(document, {"study": "s", "question": "q"}, 120).split())
    assert shared
    for note, said in shared.items():
        assert note not in text
        assert text.count(said) == 1
        assert re.search(r"withheld throughout in \d+ of the \d+ arms above: ", said)


def test_the_terminal_and_the_page_lead_with_it(document):
    text = terminal(document, {"study": "s", "question": "q"}, 120)
    assert text.count("too few for the") <= 1 + text.count("Value withheld")
    assert text.index("At the largest volume") < text.index("On urban at 96 px")
    page = render(table(), document, {"study": "s", "question": "q"}, {}, Html(""), Html(""))
    assert page.index("40 from PTL beside 20") < page.index("On park, in labelled images of park")
    assert "Not fitted throughout: the arm has 1 mixed cell" in page


def test_every_recipe_has_its_panel_and_every_arm_one_colour(document):
    data = figures.figure_tables(table(), document)["equivalent"]
    figure = draw("equivalent", data)
    titles = [" ".join(ax.get_title().split()) for ax in figure.axes]
    assert [title.removesuffix(" beside 20 real images") for title in titles] == [
        setting(recipe).title for recipe in (PARK, OWN, URBAN)
    ]
    looks = [
        {(line.get_marker(), line.get_color()) for line in ax.lines if line.get_marker() in "os"} for ax in figure.axes
    ]
    assert set().union(*looks) == {(marker, color) for color, marker, _ in STYLES[:2]}


@pytest.mark.parametrize("number", [1, 2, 9])
@pytest.mark.parametrize("name", ["few", "a rather long name of an arm, which says how it was translated and chosen, "])
def test_a_legend_is_never_cut_off(document, number, name):
    data = figures.figure_tables(table(), document)["equivalent"]
    one = data[(data["series"] == "PTL") & (data["recipe"] == PARK)]
    figure = draw("equivalent", pd.concat([one.assign(series=f"{name}{k}", recipe="") for k in range(number)]))
    figure.draw_without_rendering()
    box, whole = figure.legends[0].get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0
    assert box.x1 <= whole.x1
    assert whole.y0 <= box.y0
    assert box.y1 <= whole.y1
    assert box.y0 >= max(ax.get_window_extent().y1 for ax in figure.axes)
    written = " ".join(text.get_text() for text in figure.legends[0].get_texts())
    assert all(f"{name}{k}".strip() in textwrap.fill(" ".join(written.split()), 10**6) for k in range(number))


def test_where_there_are_many_sentences_the_table_is_the_answer_and_they_unfold(document, monkeypatch):
    monkeypatch.setattr(headline, "MANY", len(document["sentences"]) - 1)
    text = terminal(document, {"study": "s", "question": "q"}, 120)
    assert f"each of these {len(document['sentences'])} answers in a sentence" in text
    assert "At the largest volume:" in text
    assert " ".join(document["sentences"][0].split()) not in " ".join(text.split())
    page = render(table(), document, {"study": "s", "question": "q"}, {}, Html(""), Html(""))
    assert page.count("<details><summary>") >= 3
    assert "On park, in labelled images of park, in " in page
    assert "more labelled images of park" in page

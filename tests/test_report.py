"""A hand-made analysis with every kind of cell: its tables, figures and page say what it says, and nothing more."""

import csv
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from realfake import report, samples, tables
from realfake.flat_rows import csv_rows
from realfake.intervals import Interval, withheld
from realfake.report import appendix, axes, drawing, figures, page

CLOSED, CONTROL, RECIPE = "closed-set", "repeat", "test_resnet"
LADDER = {25: 1.9, 50: 1.4, 100: 1.0, 200: 0.7, 400: 0.5, 800: 0.36}


def around(point: float, half: float, **more) -> dict:
    return Interval(point, point - half, point + half, **more).to_json()


def worth(n: int, point: float, half: float) -> Interval:
    return Interval(point, point - half, point + half, floor=25 - n, ceiling=800 - n)


def cell(n: int, m: int, response: float, equivalent: Interval, arm: str = CLOSED, **more) -> dict:
    replicates = more.pop("replicates", 3)
    one = Interval(response, -np.inf, np.inf, reason="one seed").to_json()
    many = around(response, response / 12)
    return {
        "arm": arm,
        "recipe": RECIPE,
        "n_real": n,
        "n_synthetic": m,
        "n_generator": n,
        "replicates": replicates,
        "diverged": 0,
        "cross_entropy": one if replicates == 1 else many,
        "error": Interval.from_json(one).scaled(0.2).to_json()
        if replicates == 1
        else around(response / 5, response / 60),
        "equivalent": {"cross_entropy": equivalent.to_json(), "error": equivalent.to_json()},
        "equivalent_by": "law",
        "value": around(0.051, 0.012),
        "average_value": around(0.1, 0.02),
        "resolution": Interval(14.0, -np.inf, np.inf).to_json(),
        **more,
    }


def cells() -> list[dict]:
    slope = withheld("the law does not fit (p = 0.01)").to_json()
    inversion = {"equivalent_by": "inversion", "value": slope}
    return [
        cell(50, 50, 1.2, worth(50, 21, 9)),
        cell(50, 200, 1.05, Interval(38, 12, np.inf, floor=-25, ceiling=750)),
        cell(50, 800, 1.5, worth(50, -11, 7), diverged=1, replicates=2),
        cell(200, 200, 0.52, worth(200, 170, 80)),
        cell(200, 800, 0.33, Interval(600, 420, np.inf, "above", floor=-175, ceiling=600)),
        cell(200, 3200, 0.6, withheld("no trial with <3,200> & more is finished"), replicates=1),
        cell(50, 200, 1.35, worth(50, 3, 8), CONTROL, **inversion),
        cell(200, 800, 0.69, Interval(-175, -np.inf, 4, "below", floor=-175, ceiling=600), CONTROL, **inversion),
    ]


def fit(arm: str, p: float) -> dict:
    parameters = {"floor": around(0.1, 0.05), "amplitude": around(12.0, 3.0), "exponent": around(0.58, 0.06)}
    parameters |= {"rate": around(0.4, 0.2), "half": Interval(1e9, 40, np.inf, "above").to_json()}
    common = {"arm": arm, "recipe": RECIPE, "response": "cross_entropy", "law": "peaked"}
    return {
        **common,
        "parameters": parameters,
        "status": "at a bound",
        "reason": "harm is 0",
        "lack_of_fit": {"F": 3.1, "df": [4, 22], "p": p},
    }


@pytest.fixture
def analysis() -> dict:
    ladder = [
        {"recipe": RECIPE, "n_real": n, "replicates": 3, "diverged": 0}
        | {"cross_entropy": around(y, y / 15), "error": around(y / 5, y / 70)}
        for n, y in LADDER.items()
    ]
    return {
        "schema": 1,
        "digest": "0" * 64,
        "settings": {"responses": ["cross_entropy", "error"]},
        "cells": cells(),
        "ladder": ladder,
        "fits": [fit(CLOSED, 0.41), fit(CONTROL, 0.01)],
        "wang": [{"arm": CLOSED, "recipe": RECIPE, "response": "error", "c2": around(3.0, 1.0), "status": "converged"}],
        "controls": ["control 'repeat', 200 beside 50: worth 3 [-5, 11]; it repeats real images"],
        "sentences": [
            "On digits at 8 px with test_resnet from scratch, 800 images from closed-set, fitted on 200, beside 200 "
            "real ones were worth > 600 more real images, beyond the ladder (3 replicates, law, measured to 800).",
            "On digits at 8 px, 800 images from closed-set beside 50 real ones were worse than none: -11 [-18, -4].",
        ],
        "warnings": ["closed-set, error: <1> & 'only' a law"],
    }


@pytest.fixture
def trials() -> pd.DataFrame:
    rows = [{"arm": "real-only", "n_real": n, "n_synthetic": 0, "y": y, "replicates": 3} for n, y in LADDER.items()]
    rows += [
        {**c, "y": c["cross_entropy"]["point"], "real_budget": 1200 if c["arm"] == CONTROL else None} for c in cells()
    ]
    found = []
    for row in rows:
        for seed in range(row["replicates"]):
            y = row["y"] * (1 + 0.05 * (seed - 1))
            found.append(_trial(row, seed, "finished") | {"cross_entropy": y, "error": y / 5})
        found += [_trial(row, 9, "diverged") for _ in range(row.get("diverged", 0))]
    return pd.DataFrame(found).assign(address=lambda t: [f"trial-{i:012x}" for i in range(len(t))])


def _trial(row: dict, seed: int, status: str) -> dict:
    kept = {name: row[name] for name in ("arm", "n_real", "n_synthetic")}
    return {
        **kept,
        "recipe": RECIPE,
        "trial_seed": seed,
        "status": status,
        "real_budget": row.get("real_budget") or row["n_real"],
    }


@pytest.fixture
def facts() -> dict:
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 255, (10, 24)), np.ones((8, 8))).astype(np.uint8)
    problems = {"unreadable": 2, "duplicates": 0}
    return {
        "study": "example",
        "question": "How many synthetic digits is one real digit worth, & is it <more> than none?",
        "data": [
            {
                "name": "digits",
                "split": "train",
                "n": 1200,
                "licence": "CC BY 4.0",
                "source": "https://example.org/digits.",
                "problems": problems,
            },
            {"name": "digits", "split": "test", "n": 597, "licence": None, "source": None, "problems": {}},
        ],
        "copy_rates": [
            {
                "arm": CLOSED,
                "n_real": n,
                "seed": s,
                "copy_rate": 0.3 - n / 1000 + s / 100,
                "null_rate": 0.05,
                "n_synthetic": 256,
            }
            for n, seeds in ((50, 3), (200, 1))
            for s in range(seeds)
        ],
        "contact_sheet": samples.encode(blocks[..., None]),
        "environments": [
            {"device": "cpu", "torch": "2.9", "trials": 30, "arms": [CLOSED, "real-only"]},
            {"device": "cuda", "torch": "2.9", "trials": 6, "arms": [CONTROL]},
        ],
        "stages": [
            {"stage": "trials", "things": 36, "seconds": 212.4},
            {"stage": "shards", "things": 12, "seconds": 7.25},
        ],
        "missing": 2,
        "commands": {"again": "realfake run studies/example.py", "curves": "realfake curves --study example"},
    }


class Page(HTMLParser):
    """Text, attributes and nesting of a page; a tag closed out of turn fails the test."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in page.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return plain(" ".join(self.words))


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("−", "-"))


@pytest.fixture
def written(tmp_path, trials, analysis, facts):
    path = report.write(tmp_path / "example", trials, analysis, facts)
    return path, Page(path.read_text("utf-8"))


# ------------------------------------------------------------------------------------------------------------- tables


def test_a_number_is_shown_with_its_interval_its_bound_or_the_words_one_seed():
    bare = Interval(0.1234, -np.inf, np.inf)
    assert tables.shown(Interval(120, 80, 190)) == "120 [80, 190]"
    assert tables.shown(Interval(800, 500, np.inf, "above", ceiling=800), 3) == "> 800 [500, > 800]"
    assert tables.shown(Interval(800, 800, np.inf, "above", ceiling=800), 3) == "> 800"
    assert tables.shown(Interval(120, 80, np.inf, ceiling=800), 1) == "120 [80, > 800]"
    assert tables.shown(bare, 1) == "0.123 (one seed)"
    assert tables.shown(bare, 3) == "0.123 (no interval)"
    assert tables.shown(withheld("why"), 3) == "withheld"
    assert tables.shown(None, 3) == "–"


@pytest.mark.parametrize("width", [100, 120])
def test_the_terminal_prints_every_cell_within_its_width(analysis, facts, width):
    text = tables.terminal(analysis, facts, width)
    assert max(map(len, text.splitlines())) <= width
    joined = plain(text)
    for sentence in (*analysis["sentences"], *analysis["warnings"]):
        assert plain(sentence) in joined
    for words in (
        "> 600",
        "[420, > 600]",
        "< -175",
        "[< -175, 4]*",
        "-11",
        "[-18.0, -4.0]",
        "(one seed)",
        "withheld",
        "[12, > 750]",
        "0.051",
    ):
        assert words in text
    assert "Equivalent withheld at 200 + 3,200: no trial with <3,200> & more is finished." in joined
    assert "Value withheld throughout: the law does not fit (p = 0.01)." in joined
    assert "told from 0: 14.0 beside 50, 14.0 beside 200." in joined
    assert "Diverged trials, left out of the numbers: 1 at 50 + 800." in joined
    assert "* by inversion of the real-only ladder" in joined


def test_a_wide_terminal_keeps_an_interval_on_the_line_of_its_number(analysis, facts):
    text = tables.terminal(analysis, facts, 120)
    assert re.search(r"^ +800 +2 .*  -11\.0 \[-18\.0, -4\.0\]  +0\.051 \[0\.039, 0\.063\]", text, re.M)


def test_without_synthetic_images_the_terminal_shows_the_ladder(analysis, facts):
    text = tables.terminal({**analysis, "cells": []}, facts, 100)
    assert all(re.search(rf"^ *{n}  +3 ", text, re.M) for n in LADDER)


def test_flat_rows_hold_every_cell_and_no_censored_number(analysis):
    rows = csv_rows(analysis)
    assert len(rows) == len(LADDER) + len(analysis["cells"])
    assert {row["arm"] for row in rows} == {"real-only", CLOSED, CONTROL}
    above = next(row for row in rows if row["equivalent_cross_entropy_censored"] == "above")
    assert above["equivalent_cross_entropy"] is None
    assert (above["equivalent_cross_entropy_bound"], above["equivalent_cross_entropy_low"]) == (600, 420)
    negative = next(row for row in rows if (row["n_real"], row["n_synthetic"]) == (50, 800))
    assert negative["equivalent_cross_entropy"] == -11
    assert len({tuple(row) for row in rows}) == 1


# ------------------------------------------------------------------------------------------------------------ figures


def test_figure_tables_hold_the_numbers_of_the_cells_and_every_trial(trials, analysis):
    found = figures.figure_tables(trials, analysis)
    assert list(found) == ["equivalent", "response", "value", "ladder"]
    response = found["response"].query("quantity == 'cross_entropy' and series == @CLOSED and n_real == 50")
    means = response.query("kind == 'mean'").set_index("n_synthetic")
    assert means["point"].to_dict() == {50: 1.2, 200: 1.05, 800: 1.5}
    assert response["kind"].value_counts().to_dict() == {"trial": 8, "mean": 3, "diverged": 1}
    assert found["ladder"].query("kind == 'mean' and quantity == 'error'")["n_real"].tolist() == list(LADDER)
    assert not any((data["kind"] == "law").any() for data in found.values())  # an older analysis has no draws


def test_a_censored_equivalent_is_a_bound_and_never_a_point(trials, analysis):
    data = figures.equivalents(trials, analysis, []).query("quantity == 'equivalent.cross_entropy'")
    above, below = data.query("censored == 'above'").iloc[0], data.query("censored == 'below'").iloc[0]
    assert np.isnan(above["point"])
    assert np.isnan(below["point"])
    assert (above["bound"], below["bound"]) == (600, -175)
    assert data.query("censored == 'withheld'")[["point", "bound"]].isna().all(axis=None)
    assert data.query("n_real == 50")[["floor", "ceiling"]].drop_duplicates().values.tolist() == [[-25, 750]]


def test_the_real_budget_of_a_generator_is_named(trials, analysis):
    data = figures.equivalents(trials, analysis, [])
    assert data.query("series == @CONTROL")["real_budget"].unique().tolist() == [1200]
    labels = "".join(ElementTree.fromstring(drawing.svg(drawing.draw("equivalent", data))).itertext())
    assert "repeat (real budget 1,200)" in labels
    assert "closed-set (real budget: the real images beside it)" in labels


def test_figures_are_svg_that_parse_and_do_not_change(trials, analysis):
    for name, data in figures.figure_tables(trials, analysis).items():
        once, again = (drawing.svg(drawing.draw(name, data)) for _ in range(2))
        assert once == again
        texts = [
            "".join(text.itertext()) for text in ElementTree.fromstring(once).iter("{http://www.w3.org/2000/svg}text")
        ]
        assert texts
        assert not any("$" in text or "e+" in text for text in texts)  # plain numbers, no powers


def test_ticks_are_plain_numbers():
    assert [axes.plain(v) for v in (1600, 0.05, -20, 100, 0.30000000000000004)] == [
        "1,600",
        "0.05",
        "−20",
        "100",
        "0.3",
    ]


# --------------------------------------------------------------------------------------------------------------- page


def test_the_page_says_all_and_is_well_formed(written, analysis, facts):
    _, found = written
    assert found.open == []
    for text in (*analysis["sentences"], *analysis["warnings"], facts["question"], *facts["commands"].values()):
        assert plain(text) in found.text
    for words in (
        "> 600",
        "* < -175",
        "-11.0 [-18.0, -4.0]",
        "0.600 (one seed)",
        "withheld",
        "CC BY 4.0",
        "unreadable: 2",
    ):
        assert words in found.text
    assert "26.0 [25.0, 27.0]" in found.text  # copies over three seeds
    assert "10.0 (one seed)" in found.text
    assert "No lack of fit was found" in found.text
    assert "The law does not fit" in found.text
    assert "The environment differs along with the arm" in found.text
    assert "2 trials of this study not made yet" in found.text


def test_the_answer_comes_before_everything_but_the_question(written, analysis, facts):
    text = written[1].text[written[1].text.rindex("realfake study:") :]
    order = [facts["question"], analysis["sentences"][0], "Every cell", "Copies of real", "The laws", "Run it again"]
    assert (places := [text.index(plain(words)) for words in order]) == sorted(places)


def test_every_picture_has_words_in_its_place(written):
    pictures = [attributes for tag, attributes in written[1].seen if attributes.get("role") == "img"]
    assert len(pictures) == [tag for tag, _ in written[1].seen].count("svg") == 4
    assert all(len(attributes["aria-label"]) > 40 for attributes in pictures)
    assert all(attributes["alt"] for tag, attributes in written[1].seen if tag == "img")


def test_trials_that_ended_well_are_no_trouble(trials):
    well = trials.query("status == 'finished'")
    for word in ("finished", "ok"):  # of a table from elsewhere, of a record
        said = appendix.diverged_and_missing(well.assign(status=word), {}).source
        assert said == f"<p>None: all {len(well)} trials finished.</p>"


def test_the_page_loads_nothing_from_elsewhere(written):
    path, found = written
    tags = [tag for tag, _ in found.seen]
    assert not {"script", "link", "iframe", "object", "embed"} & set(tags)
    for tag, attributes in found.seen:
        for name in ("src", "href", "xlink:href"):
            where = attributes.get(name) or "#"
            assert where.startswith(("#", "data:")) or (tag == "a" and name == "href")
    source = path.read_text("utf-8")
    assert not re.search(r"@import|url\((?!#)", source)
    assert tags.count("svg") == 4
    ids = [attributes["id"] for _, attributes in found.seen if attributes.get("id")]
    assert len(ids) == len(set(ids))


def test_no_censored_cell_is_a_number_in_the_page(written):
    assert not re.search(r"(?<!> )\b600 \[", written[1].text)


def test_files_lie_beside_the_page(written, trials, analysis):
    folder = written[0].parent
    for name in ("equivalent", "response", "value", "ladder"):
        assert (folder / "figures" / f"{name}.svg").is_file()
        assert len(pd.read_csv(folder / "figures" / f"{name}.csv"))
    assert len(pd.read_csv(folder / "trials.csv")) == len(trials)
    with (folder / "cells.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(csv_rows(analysis))


def test_a_study_without_synthetic_images_has_a_page(tmp_path, trials, analysis):
    real = trials.query("n_synthetic == 0")
    bare = {**analysis, "cells": [], "fits": [], "wang": [], "controls": [], "sentences": [], "warnings": []}
    path = report.write(tmp_path, real, bare, {"study": "real", "question": ""})
    found = Page(path.read_text("utf-8"))
    assert found.open == []
    assert "no answer yet" in found.text
    assert [p.name for p in (tmp_path / "figures").glob("*.svg")] == ["ladder.svg"]


def test_text_is_escaped_and_typeset():
    assert page.tag("p", "<b> & -3 [1, 2]", title='"').source == (
        '<p title="&quot;">&lt;b&gt; &amp; −3 [1,\u00a02]</p>'
    )
    assert page.linked("see http://a.org/x.").source == 'see <a href="http://a.org/x">http://a.org/x</a>.'
    assert page.verbatim("a --n -3 <b>").source == "<pre><code>a --n -3 &lt;b&gt;</code></pre>"
    assert page.typeset("with 95 % intervals") == "with 95\u00a0% intervals"
    assert page.typeset("2026-11-21 CC-BY-4.0 [-∞, 3]") == "2026-11-21 CC-BY-4.0 [−∞,\u00a03]"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.42, "0.4 s"), (41, "41 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_durations_are_words(seconds, words):
    assert appendix.duration(seconds) == words


def test_the_classes_have_a_table_where_they_were_measured():
    worth = Interval(12.0, 3.0, 20.0).to_json()
    rows = [
        {"class": name, "arm": "closed-set", "recipe": "", "n_test": 150, "n_real": 50, "n_synthetic": 800}
        | {"equivalent": worth}
        for name in ("cat", "dog")
    ]
    absent = {"class": "absent", "n_test": 0, "equivalent": withheld("none").to_json()}
    text = appendix.by_class({"by_class": [*rows, absent]}).source
    assert all(said in text for said in ("cat", "dog", "800 beside 50", "[3.0,\xa020.0]"))
    assert appendix.by_class({}).source == ""

"""One page that answers a study's question: sentences first, then figures, tables and what they rest on.

Here: what the report says and in which order, and the files beside it. Not here: estimates (`fits`), the numbers behind
figures (`figures`), how they are drawn (`drawing`), standing words (`captions`), markup (`page`).
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from realfake import headline
from realfake.flat_rows import csv_rows
from realfake.report import class_slopes, components, detectors, fidelity, pools, privacy, robustness, slopes, timeline
from realfake.report.appendix import (
    by_class,
    claims,
    copy_rates,
    data_sets,
    diverged_and_missing,
    environments,
    fits,
    stages,
)
from realfake.report.captions import CAPTIONS, DEFINITIONS, READING
from realfake.report.drawing import draw, svg
from realfake.report.figures import Frame, figure_tables
from realfake.report.layout import INK
from realfake.report.method import comparisons, made
from realfake.report.page import (
    Html,
    Part,
    bullets,
    estimate,
    figure,
    inline,
    join,
    paragraphs,
    png,
    section,
    table,
    tag,
    verbatim,
    words,
)
from realfake.report.page import (
    page as whole_page,
)
from realfake.statistics.warned import warned
from realfake.tables import (
    NOTHING,
    RESPONSES,
    Arm,
    arms,
    columns,
    count,
    counted_in,
    fitted_on,
    interval,
    inverted,
    ladder,
    ladder_header,
    ladder_rows,
    main_response,
    mark,
    notes,
    recipes,
    responses,
    shown,
    shown_response,
)

NO_ANSWER = "This study has no answer yet: no trial with synthetic images is finished."
AT_A_GLANCE = (
    "Added real equivalent in {response}, with its 95 % interval, of each arm at its largest volume: test sets across, "
    "and in whose images it is counted. * by inversion of the real-only ladder, † by the law and by inversion."
)
STARRED = "* read off the real-only ladder, cell by cell, because the law does not fit this response."


def write(folder: Path, table: Frame, analysis: dict[str, Any], facts: dict[str, Any]) -> Path:
    """Write report.html, trials.csv, cells.csv and figures/ (drawings and their numbers), and return the page's path.

    `table` has a row a trial, `analysis` is what the fits left behind, and `facts` holds what is known about the study
    otherwise: "study" and "question", and where known "data", "copy_rates", "drawn", "fidelity", "contact_sheet" (PNG
    bytes), "detections" (`looks.DetectionFacts`), "environments", "stages", "runs" (`lanes.account`) and "commands".
    The page holds what it shows and loads nothing.
    """
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    drawings: dict[str, str] = {}
    for name, data in figure_tables(table, analysis).items():
        data.loc[:, (data.notna() & (data != "")).any()].to_csv(folder / "figures" / f"{name}.csv", index=False)
        drawings[name] = svg(draw(name, data))
        (folder / "figures" / f"{name}.svg").write_text(drawings[name], "utf-8")
    table.to_csv(folder / "trials.csv", index=False)
    _write_rows(folder / "cells.csv", csv_rows(analysis))
    path = folder / "report.html"
    found = detectors.sections(facts["detections"], folder / "figures") if facts.get("detections") else Html("")
    away = robustness.sections(table, analysis, folder / "figures")
    members = privacy.sections(facts.get("membership"), folder / "figures")
    likeness = fidelity.sections(facts.get("fidelity"), folder / "figures", analysis.get("pools"))
    scaling = join(part.sections(analysis, folder / "figures") for part in (slopes, class_slopes))
    went = timeline.sections(facts.get("runs"), folder / "figures")
    path.write_text(
        render(table, analysis, facts, drawings, join([scaling, likeness, away, found, members]), went), "utf-8"
    )
    return path


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def render(
    table: Frame, analysis: dict[str, Any], facts: dict[str, Any], drawings: dict[str, str], found: Html, went: Html
) -> str:
    """The page as HTML; `drawings` holds the SVG of every figure there is, by name, `found` further sections, `went`
    how the runs went.
    """

    def drawn(name: str) -> Html:
        return _figure(name, drawings, analysis) if name in drawings else Html("")

    parts = (
        _head(analysis, facts),
        section("Claims of the study", claims(analysis)),
        drawn("equivalent"),
        section("Every cell", *(_arm_table(analysis, arm) for arm in arms(analysis))),
        section("Real beside synthetic", _contact_sheet(facts)),
        section("Copies of real images", copy_rates(facts)),
        pools.drawn(facts),
        section("Response against volume", drawn("response")),
        section("Value of one more image", drawn("value")),
        section("What each class gained", by_class(analysis)),
        components.sections(analysis),
        section("What reaches the same response", drawn("contours")),
        section(
            "The laws, and how well they hold",
            *(drawn("laws"), comparisons(analysis), drawn("residuals"), fits(analysis)),
        ),
        section("Real images only", drawn("ladder"), *(_ladder_table(analysis, name) for name in recipes(analysis))),
        found,
        section("What was measured", _definitions()),
        section("How these numbers were made", made(analysis)),
        section("Data and licences", data_sets(facts)),
        section("Missing and diverged trials", diverged_and_missing(table, facts)),
        section("Where it was computed", environments(facts), stages(facts)),
        went,
        section("Run it again", _commands(facts)),
    )
    return whole_page(": ".join(filter(None, (facts["study"], facts["question"]))), *parts)


def _head(analysis: dict[str, Any], facts: dict[str, Any]) -> Html:
    """The question, the answer in sentences, and what to be wary of."""
    warnings = [tag("div", bullets(warned(analysis)), class_="warning")] if analysis["warnings"] else []
    return tag(
        "header",
        tag("p", f"realfake study: {facts['study']}", class_="eyebrow"),
        tag("h1", facts["question"] or facts["study"]),
        *_answer(analysis),
        bullets(f"{note[:1].upper()}{note[1:]}." for note in analysis.get("controls") or ()),
        *warnings,
    )


def _answer(analysis: dict[str, Any]) -> list[Html]:
    """The sentences; with several recipes a table leads, and each recipe has its heading."""
    if not analysis["sentences"]:
        return [tag("div", paragraphs([NO_ANSWER]), class_="answer")]
    rows: list[list[Part]] = [[words(row[0]), *map(estimate, row[1:])] for row in headline.rows(analysis)]
    response = RESPONSES[main_response(analysis)]
    below = tag("p", AT_A_GLANCE.format(response=response), class_="note")
    leads = [table(headline.header(analysis), rows), below] if rows else []
    folded = headline.many(analysis)
    told = [_told(title, texts, folded) for title, texts in headline.grouped(analysis)]
    return [*leads, tag("div", *told, class_="answer grouped" if rows else "answer")]


def _told(title: str, texts: list[str], folded: bool) -> Html:
    """The sentences of one recipe under its heading; many of them unfold when it is clicked."""
    if folded:
        return tag("details", tag("summary", f"{title}, in {count(len(texts), 'sentence')}"), paragraphs(texts))
    return join([*([tag("h3", title)] if title else []), paragraphs(texts)])


def _figure(name: str, drawings: dict[str, str], analysis: dict[str, Any]) -> Html:
    response = RESPONSES[main_response(analysis)]
    every = " and ".join(RESPONSES[one] for one in columns(analysis))
    shows = CAPTIONS[name].format(response=response, responses=f"{every[:1].upper()}{every[1:]}")
    reading = READING if name == next(iter(drawings)) else ""
    caption = f"{shows}{reading}Numbers: figures/{name}.csv."
    return figure(inline(drawings[name], name, INK), caption, label=shows.strip())


def _arm_table(analysis: dict[str, Any], arm: Arm) -> Html:
    real = {row["n_real"]: {**row, "n_synthetic": 0} for row in ladder(analysis, arm.recipe)}
    rows: list[list[Part]] = []
    for n_real in dict.fromkeys(cell["n_real"] for cell in arm.cells):
        own = [cell for cell in arm.cells if cell["n_real"] == n_real]
        rows += [_cell_row(cell, analysis) for cell in (*([real[n_real]] if n_real in real else []), *own)]
    main = main_response(analysis)
    others = [response for response in responses(analysis) if response != main]
    mixed = any(inverted(cell, response) and not inverted(cell, main) for cell in arm.cells for response in others)
    below = [tag("p", note, class_="note") for note in (*notes(arm, main), *([STARRED] if mixed else []))]
    return join([tag("h3", arm.title), table(_header(analysis), rows, _about(arm)), *below])


def _about(arm: Arm) -> str:
    counted = counted_in(arm).removeprefix(", ")
    said = [f"{fitted_on(arm).capitalize()}.", *([f"Equivalents and values {counted}."] if counted else [])]
    return " ".join(said)


def _header(analysis: dict[str, Any]) -> tuple[str, ...]:
    worths = (f"added real equivalent ({RESPONSES[name]})" for name in responses(analysis))
    measured = ladder_header(analysis)[1:]
    return ("real", "synthetic", *measured, *worths, "value of one more", "average value", "resolution")


def _cell_row(cell: dict[str, Any], analysis: dict[str, Any]) -> list[Part]:
    replicates = cell["replicates"]

    def text(quantity: str, seeds: int | None = replicates) -> str:
        return shown(interval(cell, quantity), seeds)

    def worth(response: str) -> str:
        value = text(f"equivalent.{response}")
        sign = mark(cell, response) if value != NOTHING else ""
        return f"{sign}\u2009{value}" if sign else value

    estimates = (
        *(shown_response(cell, response) for response in columns(analysis)),
        *map(worth, responses(analysis)),
        text("value"),
        text("average_value"),
        text("resolution", None),
    )
    return [
        count(cell["n_real"]),
        count(cell["n_synthetic"]),
        count(replicates),
        *map(estimate, estimates),
    ]


def _ladder_table(analysis: dict[str, Any], recipe: str) -> Html:
    rows = ladder_rows(analysis, recipe)
    return table(ladder_header(analysis), rows, recipe) if rows else Html("")


def _contact_sheet(facts: dict[str, Any]) -> Html:
    data = facts.get("contact_sheet")
    return tag("figure", png(data, "real images beside synthetic ones")) if data else Html("")


def _definitions() -> Html:
    first = tag(
        "p",
        "f(n) is the expected response of real-only training with the same recipe on n images drawn from this data "
        "set, on a test set on which nothing was chosen. Intervals are 95 %.",
    )
    return join([first, tag("dl", *(join([tag("dt", word), tag("dd", text)]) for word, text in DEFINITIONS))])


def _commands(facts: dict[str, Any]) -> Html:
    titles = {"again": "The same study (what is made is not made again)", "curves": "The curves, from MLflow"}
    commands: dict[str, str] = facts.get("commands") or {}
    return join(part for name, text in commands.items() for part in (tag("p", titles.get(name, name)), verbatim(text)))

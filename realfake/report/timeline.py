"""How the runs of a study went: a drawing of every lane, and tables of how busy they were and how long stages took.

Here: this section, its words, and its numbers as CSV. Not here: what is measured (`realfake.lanes`), how it was kept
(`realfake.timelines`).
"""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realfake.report.appendix import duration
from realfake.report.axes import MUTED
from realfake.report.drawing import svg
from realfake.report.layout import FIGURE_WIDTH, INK, SETTINGS, STYLES, key
from realfake.report.page import Html, Part, figure, inline, join, section, table, tag
from realfake.tables import count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = {  # of the lines of a timeline: how it is called, its colour
    "fit": ("fitting generators", STYLES[0][0]),
    "images": ("making images", STYLES[4][0]),
    "distances": ("measuring distances", STYLES[5][0]),
    "trial": ("training trials", STYLES[2][0]),
    "evaluation": ("evaluating", STYLES[3][0]),
}
ROW_HEIGHT, LEAST_HEIGHT, MOST_HEIGHT = 0.24, 0.7, 6.0  # inches
MOST_NAMED = 30  # lanes with names beside the drawing
MOST_GENERATORS = 12  # rows of the table
CAPTION = (
    "Every process of the run that began on {date}: a bar is one thing that it made. Broken line: when the lanes could "
    "first be asked for work. Numbers: figures/timeline.csv."
)
LANE_HEADER = ("process", "", "things", "busy", "busy, of the run", "busy, of its life", "idle while work was ready")
NOTE = (
    "Busy: the share of the time from the start of the run to its end, and from the first thing that a process made to "
    "the end of its last. The first thing of a process includes its start-up, imports above all. Idle while work was "
    "ready: seconds in which a process made nothing although something of its kind could have been begun; at the "
    "beginning that is the time in which it started."
)


def sections(runs: list[dict[str, Any]] | None, folder: Path) -> Html:
    """Return the section on the runs of a study (of `lanes.account`), and write its drawings and numbers into `folder`.

    Nothing comes of a store without a timeline.
    """
    if not runs:
        return Html("")
    _write(runs, folder / "timeline.csv")
    return section(
        "How the run went", *(part for number, run in enumerate(runs, 1) for part in _run(run, number, folder))
    )


def _run(run: dict[str, Any], number: int, folder: Path) -> list[Html]:
    name = f"timeline-{number}"
    drawing = svg(draw(run))
    (folder / f"{name}.svg").write_text(drawing, "utf-8")
    caption = CAPTION.format(date=_date(run))
    return [
        tag("p", _said(run)),
        figure(inline(drawing, name, INK), caption, label=caption),
        table(LANE_HEADER, [_lane(row) for row in run["lanes"]]),
        tag("p", NOTE, class_="note"),
        table(("stage", "things", "first to last", "time, all processes"), [_stage(row) for row in run["stages"]]),
        _generators(run["generators"]),
    ]


def _date(run: dict[str, Any]) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(run["started"]))


def _said(run: dict[str, Any]) -> str:
    """The run in sentences: how long, how busy its lanes, and whether trials waited for more than their volume."""
    lanes = [row for row in run["lanes"] if row["what"] != "actor"]
    shares = [row["of_life"] for row in lanes]
    ended = "took" if run["complete"] else "was cut short after"
    least, most = (f"{100 * share:.0f}" for share in (min(shares, default=0), max(shares, default=0)))
    busy = f"{least} %" if least == most else f"{least} to {most} %"
    whose = "its lane was" if len(lanes) == 1 else f"its {count(len(lanes))} lanes were"
    whole = (
        f"The run of {_date(run)} {ended} {duration(run['seconds'])}; {whose} busy for {busy} of their lives."
        if lanes
        else ""
    )
    return f"{whole} {_overlap(run['overlap'])}".strip()


def _overlap(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    began = f"The first trial on synthetic images began after {duration(found['first_trial'])}"
    last = f"the last image was made after {duration(found['last_image'])}"
    early = f"{count(found['before_last_image'])} of {count(found['trials'], 'such trial')} began before that"
    wrong = found["too_early"]
    each = (
        f"each once its own volume was there (at the median {found['waited']:.1f} s after)"
        if not wrong
        else f"{count(wrong)} before its own volume was there, if the clocks of the machines agree"
    )
    return f"{began}, {last}; {early}, {each}."


def _lane(row: dict[str, Any]) -> list[Part]:
    return [
        row["name"],
        row["process"],
        count(row["things"]),
        duration(row["busy"]),
        *(f"{100 * row[name]:.0f} %" for name in ("of_run", "of_life")),
        duration(row["idle_in_vain"]),
    ]


def _stage(row: dict[str, Any]) -> list[Part]:
    return [KINDS[row["stage"]][0], count(row["things"]), duration(row["wall"]), duration(row["seconds"])]


def _generators(rows: list[dict[str, Any]]) -> Html:
    """Images a second of every generator, the small ones together where there are many."""
    told, rest = rows[:MOST_GENERATORS], rows[MOST_GENERATORS:]
    if rest:
        others = {name: sum(row[name] for row in rest) for name in ("images", "seconds")}
        told = [*told, {"generator": f"{count(len(rest))} others", **others}]
    header = ("generator", "images", "time, all actors, loading too", "images a second of one actor")
    cells: list[list[Part]] = [
        [
            row["generator"],
            count(row["images"]),
            duration(row["seconds"]),
            f"{row['images'] / max(row['seconds'], 1e-9):,.0f}",
        ]
        for row in told
    ]
    return table(header, cells) if cells else join(())


def draw(run: dict[str, Any]) -> Figure:
    """Draw a run: a row for each process, its things as bars against the time since the run started."""
    import matplotlib
    from matplotlib.figure import Figure

    rows = run["lanes"]
    unit, name = _unit(run["seconds"])
    gap = run["seconds"] / 1000  # so that each of a few bars is seen
    height = min(max(ROW_HEIGHT * len(rows), LEAST_HEIGHT), MOST_HEIGHT)
    with matplotlib.rc_context(SETTINGS):
        drawn = Figure(figsize=(FIGURE_WIDTH, height + 0.8), layout="constrained")
        ax = drawn.add_subplot()
        for place, row in enumerate(rows):
            for kind in dict.fromkeys(kind for kind, _, _ in row["bars"]):
                own = [(start, end) for of, start, end in row["bars"] if of == kind]
                spans = [(start / unit, max(end - start - gap, gap / 2) / unit) for start, end in own]
                ax.broken_barh(spans, (place - 0.38, 0.76), color=KINDS[kind][1], linewidth=0)
        for begun in run["begun"]:
            ax.axvline(begun / unit, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        few = len(rows) <= MOST_NAMED
        ax.set_yticks(range(len(rows)) if few else [], [row["name"] for row in rows] if few else [])
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_xlim(0, run["seconds"] / unit)
        ax.set_xlabel(f"{name} since the run started")
        ax.set_ylabel("" if few else f"{count(len(rows))} processes")
        there = {kind for row in rows for kind, _, _ in row["bars"]}
        looks = {
            title: {"color": c, "marker": "s", "linestyle": "none"} for k, (title, c) in KINDS.items() if k in there
        }
        key(drawn, looks)
    return drawn


def _unit(seconds: float) -> tuple[float, str]:
    """The unit in which a run of so many seconds is drawn."""
    return (1.0, "seconds") if seconds < 300 else (60.0, "minutes") if seconds < 3 * 3600 else (3600.0, "hours")


def _write(runs: list[dict[str, Any]], path: Path) -> None:
    names = ("run", "name", "process", "things", "busy", "of_run", "of_life", "idle_in_vain")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({"run": run["run"], **row} for run in runs for row in run["lanes"])

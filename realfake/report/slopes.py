"""What a report says of scaling laws: how fast responses fall with real images, and with synthetic ones alone.

Here: this section, its figure, and its numbers as CSV. Not here: the lines (`statistics.slopes`), single classes
(`class_slopes`), equivalents, which need no straight line.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from realfake.intervals import Interval
from realfake.report.axes import MUTED, plain
from realfake.report.drawing import svg
from realfake.report.layout import INK, SETTINGS, key, leftmost, lowest, panels, styles
from realfake.report.page import Html, Part, estimate, figure, inline, paragraphs, section, table, tag, words
from realfake.responses import RESPONSES, SHARES
from realfake.statistics.slopes import sentences
from realfake.tables import NOTHING, REAL_ONLY, count, main_response, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = dict[str, Any]
MOST_PANELS = 9
NOTE = (
    "Straight lines through mean log responses: L = c·D^−k for D training images, real ones alone or synthetic ones "
    "alone, and k is the scaling ability of Fan et al. 2024 (arXiv 2312.04567). The law holds over a range of sizes "
    "only: where the bend (by how much k changes at ten times the size) surely is not 0, or p of the line's lack of "
    "fit is up to 0.01, a straight line is rejected, and k is an average over these sizes. Intervals are 95 %; “one "
    "seed”: from what the line leaves over. Ratio and difference stand on the sizes that both lines have in "
    "common where each has three of them, and otherwise (°) on the whole of each; where both lines hold, what m "
    "synthetic images alone replace grows as m to the power of the ratio. "
)
ALONE = (
    "Lines through mean log responses of real-only trials, L = c·D^−k; no trial of synthetic images alone, so no other."
)
CAPTION = (
    "Response against the number of training images, real ones alone (grey) and synthetic ones alone, both axes "
    "logarithmic: cells with their 95 % intervals, the line L = c·D^−k and its band; dotted where a straight line is "
    "rejected. "
)


def sections(analysis: Row, folder: Path) -> Html:
    """Return the section on scaling, and write its drawing and numbers into `folder`; nothing where no line is."""
    lines = [row for row in analysis.get("slopes") or () if "slope" in row]
    if not lines:
        return Html("")
    _flat_table(lines).to_csv(folder / "scaling_slopes.csv", index=False)
    synthetic = [row for row in lines if row["arm"] != REAL_ONLY]
    if not synthetic:
        main = [row for row in lines if row["response"] == main_response(analysis)]
        return section("Scaling with real images", _table(main), note(ALONE))
    recipes = {row["recipe"] for row in synthetic}
    shown_lines = [row for row in lines if row["recipe"] in recipes]
    untold = [row for row in analysis["slopes"] if "reason" in row and row["recipe"] in recipes]
    reasons = dict.fromkeys(f"No line of {named(row, several=False)}: {row['reason']}." for row in untold)
    parts = [_table(shown_lines), note(NOTE, "Numbers: figures/scaling_slopes.csv."), *map(note, reasons)]
    said = paragraphs(sentences(synthetic, main_response(analysis)))
    return section("Scaling laws", said, _drawing(shown_lines, folder), *parts)


def note(*texts: str) -> Html:
    """What stands in small print."""
    return tag("p", *texts, class_="note")


# -------------------------------------------------------------------------------------------------------------- lines


def _table(lines: list[Row]) -> Html:
    several = len({row["recipe"] for row in lines}) > 1
    beside = any("beside_real" in row for row in lines)
    header = ("images", "response", "sizes", "k", "bend", "lack of fit, p", "straight line")
    rows = [[*_cells(row, several), *(_beside(row.get("beside_real")) if beside else ())] for row in lines]
    return table((*header, *(("k − k of real", "k / k of real") if beside else ())), rows)


def _cells(row: Row, several: bool) -> list[Part]:
    p = row["lack_of_fit"]
    return [
        words(named(row, several)),
        str(RESPONSES.get(row["response"], row["response"])),
        f"{len(row['sizes'])}, {count(row['sizes'][0])} to {count(row['sizes'][-1])}",
        *(estimate(told(row[name])) for name in ("slope", "bend")),
        NOTHING if p is None else f"{p:.2g}",
        "not rejected" if row["straight"] else "rejected",
    ]


def named(row: Row, several: bool) -> str:
    """What images a line is of; with its recipe where there are `several`."""
    saw = f", fitted on {count(row['n_generator'])}" if row.get("n_generator") else ""
    alone = f"{row['arm']} alone{saw}" if row["arm"] != REAL_ONLY else REAL_ONLY
    return ", ".join(filter(None, (alone, row["recipe"] if several else "")))


def _beside(found: Row | None) -> list[Part]:
    if found is None:
        return [NOTHING, NOTHING]
    sign = "" if found["same_range"] else "°\N{THIN SPACE}"
    return [estimate(f"{sign}{told(found[name])}") for name in ("difference", "ratio")]


def told(value: Row) -> str:
    """An interval as words; one without replicates says so."""
    found = Interval.from_json(value)
    return shown(found) + (" (one seed)" if found.reason == "one seed" and math.isfinite(found.low) else "")


def _flat_table(lines: list[Row]) -> pd.DataFrame:
    rows = []
    for row in lines:
        beside = row.get("beside_real") or {}
        place = {name: row[name] for name in ("recipe", "arm", "n_generator", "response", "lack_of_fit", "straight")}
        ends = {"smallest": row["sizes"][0], "largest": row["sizes"][-1], "n_sizes": len(row["sizes"])}
        held = {**{name: row[name] for name in ("slope", "scale", "bend")}, **_compared(beside)}
        rows.append(
            {**place, **ends, "method": row["method"], **flat_ends(held), "same_range": beside.get("same_range")}
        )
    return pd.DataFrame(rows)


def _compared(beside: Row) -> Row:
    return {name: beside[name] for name in ("difference", "ratio") if name in beside}


def flat_ends(held: Row) -> Row:
    """Intervals as three columns each: point, low, high."""
    return {
        f"{name}{end}": value[part]
        for name, value in held.items()
        for end, part in (("", "point"), ("_low", "low"), ("_high", "high"))
    }


# --------------------------------------------------------------------------------------------------------- the figure


def _drawing(lines: list[Row], folder: Path) -> Html:
    rows = [
        {**{name: row[name] for name in ("recipe", "arm", "n_generator", "response")}, "kind": kind, **point}
        for row in lines
        for kind, points in (("cell", row["points"]), ("line", row["band"]))
        for point in points
    ]
    pd.DataFrame(rows).to_csv(folder / "slopes.csv", index=False)
    source = svg(draw(lines))
    (folder / "slopes.svg").write_text(source, "utf-8")
    return figure(inline(source, "slopes", INK), f"{CAPTION}Numbers: figures/slopes.csv.", label=CAPTION.strip())


def draw(lines: list[Row]) -> Figure:
    """A panel for each of the first nine recipes and responses: cells, lines and bands in log-log."""
    import matplotlib

    places = list(dict.fromkeys((row["recipe"], row["response"]) for row in lines))[:MOST_PANELS]
    several = len({recipe for recipe, _ in places}) > 1
    names = list(dict.fromkeys(named(row, several=False) for row in lines if row["arm"] != REAL_ONLY))
    style = {REAL_ONLY: (MUTED, "o", "-"), **styles(names)}
    with matplotlib.rc_context(SETTINGS):
        drawn, (axes,) = panels(len(places), titles=style)
        for place, (ax, (recipe, response)) in enumerate(zip(axes, places, strict=True)):
            own = [row for row in lines if (row["recipe"], row["response"]) == (recipe, response)]
            for row in own:
                _line(ax, row, style[named(row, several=False)])
            title = str(RESPONSES.get(response, response)) + (", %" if response in SHARES else "")
            ax.set_title(f"{title}, {recipe}" if several else title)
            ax.set_xlabel("training images" if lowest(place, len(places)) else "")
            ax.set_ylabel("response" if leftmost(place, len(places)) else "")
            _scales(ax, response)
        key(drawn, {name: {"color": c, "marker": m, "linestyle": "-"} for name, (c, m, _) in style.items()})
    return drawn


def _line(ax: Axes, row: Row, style: tuple[Any, ...]) -> None:
    color, mark, _ = style
    points, band = pd.DataFrame(row["points"]), pd.DataFrame(row["band"])
    ax.vlines(points["size"], points["low"], points["high"], color=color, linewidth=1)
    ax.plot(points["size"], points["value"], mark, color=color, markersize=4)
    ax.plot(band["size"], band["value"], color=color, linewidth=1.1, linestyle="-" if row["straight"] else ":")
    ax.fill_between(band["size"], band["low"], band["high"], color=color, alpha=0.16, linewidth=0)


def _scales(ax: Axes, response: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    scale = 100 if response in SHARES else 1
    ax.set_xscale("log")
    ax.set_yscale("log")
    for axis, factor, subs in ((ax.xaxis, 1, (1.0,)), (ax.yaxis, scale, (1.0, 2.0, 5.0))):
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda v, _, factor=factor: plain(v * factor)))
        axis.set_minor_formatter(NullFormatter())

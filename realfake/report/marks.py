"""Marks: how one row of a figure's table looks on an axis.

A dot with a bar is a cell and its interval, a hollow one a single seed, a small dot one trial, + an equivalent read off
the real-only ladder beside the law's. A censored value is an arrow from its bound into the shaded region that was not
measured; × on the axis is a withheld answer. Here: marks, curves and bands. Not here: panels (`drawing`, `planes`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from realfake.report.figures import Frame
from realfake.report.fitted import REJECTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Style = tuple[Any, ...]
BAND = 0.16  # opacity
REJECTED_WIDTH = 0.8  # of the curve of a law that does not fit


def series(ax: Axes, rows: Frame, x: Frame, style: Style) -> None:
    """All rows of one series: the law's curve and band, or where there is none the cells joined; and every mark."""
    law = rows[rows["kind"] == "law"]
    if len(law):
        for _, own in law.groupby(["n_real", "n_generator"], dropna=False):
            curve(ax, own, x[own.index], style)
    else:
        _joined(ax, rows[(rows["kind"] == "mean") & rows["point"].notna()], x, style)
    each(ax, rows, x, style)


def curve(ax: Axes, rows: Frame, x: Frame, style: Style) -> None:
    """A law's curve with its band; an unbounded side of the band ends where the measured range does."""
    color, _, line = style
    believed = rows["reason"] != REJECTED
    width = 1.3 if believed.all() else REJECTED_WIDTH
    ax.plot(x, rows["point"], color=color, linestyle=line, linewidth=width)
    low, high = rows["low"].fillna(rows["floor"]), rows["high"].fillna(rows["ceiling"])
    known = believed & (rows["censored"] != "withheld") & rows[["low", "high"]].notna().any(axis="columns")
    ax.fill_between(x, low, high, where=known, color=color, alpha=BAND, linewidth=0)


def _joined(ax: Axes, means: Frame, x: Frame, style: Style) -> None:
    """Cells joined where no law was fitted: a guide to the eye."""
    color, _, line = style
    ax.plot(x[means.index], means["point"], color=color, linestyle=line, linewidth=1.1)


def each(ax: Axes, rows: Frame, x: Frame, style: Style) -> None:
    """Cells, trials and bounds of one series at their places."""
    for index, row in rows.iterrows():
        _MARKS.get(_mark_of(row), _nothing)(ax, x[index], row, style)


def _mark_of(row: Frame) -> str:
    return row["kind"] if row["kind"] in ("law", "inversion") else row["censored"] or row["kind"]


def dot(ax: Axes, x: float, row: Frame, style: Style) -> None:
    """A cell: filled with its interval, hollow for a single seed."""
    color, marker, _ = style
    alone = row["replicates"] == 1 and math.isnan(row["low"]) and math.isnan(row["high"])
    face = "none" if alone else color
    ax.plot([x], [row["point"]], marker=marker, color=color, markerfacecolor=face, markersize=5, linestyle="none")
    if not alone:
        _whisker(ax, x, row["point"], row["high"], row["ceiling"], color)
        _whisker(ax, x, row["point"], row["low"], row["floor"], color)


def _whisker(ax: Axes, x: float, start: float, end: float, limit: float, color: str) -> None:
    """A bar to the end of the interval; an unbounded one goes to the end of what was measured and on as an arrow."""
    stop = end if math.isfinite(end) else limit
    if math.isfinite(stop):
        ax.plot([x, x], [start, stop], color=color, linewidth=1.1)
    if not math.isfinite(end) and math.isfinite(limit):
        _arrow(ax, x, limit, color, up=limit > start)


def _arrow(ax: Axes, x: float, y: float, color: str, *, up: bool) -> None:
    shape = {"arrowstyle": "<|-,head_width=0.22,head_length=0.4", "color": color, "linewidth": 1.2}
    shape |= {"shrinkA": 0, "shrinkB": 0}
    ax.annotate("", (x, y), (0, 15 if up else -15), textcoords="offset points", arrowprops=shape, zorder=4)


def _bound(ax: Axes, x: float, row: Frame, style: Style) -> None:
    """A censored value: an arrow that starts at the bound, and a bar for the bounded side of its interval."""
    color, up = style[0], row["censored"] == "above"
    other = row["low"] if up else row["high"]
    ax.plot([x, x], [row["bound"], other], color=color, linewidth=1.1)
    ax.plot([x], [row["bound"]], marker="_", color=color, markersize=8, linestyle="none")
    _arrow(ax, x, row["bound"], color, up=up)


def _trial(ax: Axes, x: float, row: Frame, style: Style) -> None:
    place = _beside(ax, 4)  # the mean's mark would hide it
    ax.plot([x], [row["point"]], marker=".", color=style[0], markersize=3.5, linestyle="none", transform=place)


def _inversion(ax: Axes, x: float, row: Frame, style: Style) -> None:
    place = _beside(ax, 5)
    ax.plot([x], [row["point"]], marker="+", color=style[0], markersize=5, linestyle="none", transform=place)


def _beside(ax: Axes, points: float) -> Any:
    from matplotlib.transforms import ScaledTranslation

    return ax.transData + ScaledTranslation(points / 72, 0, ax.figure.dpi_scale_trans)


def _at_edge(height: float, marker: str) -> Callable[..., None]:
    def mark(ax: Axes, x: float, row: Frame, style: Style) -> None:
        place = ax.get_xaxis_transform()
        ax.plot([x], [height], marker=marker, color=style[0], markersize=5, linestyle="none", transform=place)

    return mark


def _nothing(ax: Axes, x: float, row: Frame, style: Style) -> None:
    """What is drawn as a curve, and not as a mark."""


_MARKS: dict[str, Callable[..., None]] = {
    "mean": dot,
    "trial": _trial,
    "inversion": _inversion,
    "above": _bound,
    "below": _bound,
    "withheld": _at_edge(0.04, "x"),
    "diverged": _at_edge(0.96, "x"),
}

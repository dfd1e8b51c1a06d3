"""Scales, ticks and the unmeasured region of the figures: every axis is labelled in plain numbers.

Here: what an axis looks like. Not here: marks and panels (`drawing`), or the numbers (`figures`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from realfake.report.figures import Frame
from realfake.report.fitted import REJECTED
from realfake.responses import RESPONSES, SHARES
from realfake.statistics.equivalence import FARTHEST_EXTRAPOLATION
from realfake.tables import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MUTED = "#84817b"
CROWDED = 15  # a range of so many typical equivalents makes a linear axis useless
RESPONSE_TICKS = (1, 1.5, 2, 3, 5, 7)
LETTER, LABEL_MARGIN = 0.075, 0.75  # inches: of a digit, of what a panel has beside its axis
LINEAR_PART = 3.0  # of the plane's volumes, as a log distance


def volume_axis(ax: Axes, volumes: Frame) -> None:
    """A log axis whose ticks are the measured volumes, thinned where they would touch, in plain numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    measured = sorted(v for v in volumes.unique() if v > 0)
    ax.set_xscale("log")
    if measured:
        low, high = measured[0] / 1.5, measured[-1] * 1.5
        ax.xaxis.set_major_locator(FixedLocator(_legible(ax, measured, math.log(high / low))))
        ax.set_xlim(low, high)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: plain(v)))


def _legible(ax: Axes, values: list[float], across: float) -> list[float]:
    """Those of the ascending values whose labels do not touch on an axis that spans the log distance `across`."""
    figure: Any = ax.figure
    layout = ax.get_subplotspec()
    columns = layout.get_gridspec().ncols if layout else 1
    inches = figure.get_size_inches()[0] / columns - LABEL_MARGIN
    kept: list[float] = []
    for value in values:
        letters = len(plain(value)) / 2 + (len(plain(kept[-1])) / 2 if kept else 0)
        away = math.log(value / kept[-1]) / across * inches if kept else math.inf
        kept += [value] if away > LETTER * (letters + 1) else []
    return kept


def plane_axes(ax: Axes, cells: Frame) -> None:
    """Real images upwards, logarithmic over the ladder; synthetic ones across, linear from 0 to near the smallest."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    sizes, volumes = sorted(cells["n_real"].unique()), sorted(v for v in cells["n_synthetic"].unique() if v > 0)
    start = volumes[0] / 2
    ax.set_xscale("symlog", linthresh=start, linscale=0.5)
    far = FARTHEST_EXTRAPOLATION * volumes[-1]
    ax.set_xlim(-1.5 * start, far)  # with room for what the lines are worth
    ax.set_yscale("log")
    ax.set_ylim(sizes[0] / 1.08, sizes[-1] * 1.08)
    ax.xaxis.set_major_locator(FixedLocator([0.0, *_legible(ax, volumes, math.log(far / start) + LINEAR_PART)]))
    ax.yaxis.set_major_locator(
        FixedLocator([size for k, size in enumerate(sizes) if not k or size >= 1.25 * sizes[k - 1]])
    )
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda v, _: plain(v)))


def shade_unmixed(ax: Axes, cells: Frame) -> None:
    """Tint where no mixture was measured: beyond their volumes and their real sizes, where only a law speaks."""
    mixed = cells[cells["n_synthetic"] > 0]
    left, right = 0.0, ax.get_xlim()[1]
    bottom, top = ax.get_ylim()
    low, high, last = mixed["n_real"].min(), mixed["n_real"].max(), mixed["n_synthetic"].max()
    for x, y in (((left, right), (high, top)), ((left, right), (bottom, low)), ((last, right), (low, high))):
        ax.fill_between(x, *y, color=MUTED, alpha=0.13, linewidth=0, zorder=0)


def answer_axis(ax: Axes, data: Frame) -> None:
    """Equivalents across; the end of the measured range is marked and hatched where an answer reaches it."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    (low, high), seen = _span(data)
    room = 0.08 * (high - low)
    ax.set_xlim(low - room, high + room)
    for edge, outer, there in zip((low, high), (low - room, high + room), seen, strict=True):
        if there:
            ax.axvspan(edge, outer, facecolor="none", edgecolor=MUTED, hatch="////", linewidth=0, alpha=0.45, zorder=0)
    ax.axvline(0, color=MUTED, linewidth=1)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: plain(v)))


def vertical_scale(ax: Axes, data: Frame, quantity: str, straight: float | None = None) -> None:
    """Responses on a log axis where they span a factor of three, else linear; of equivalents the unmeasured too.

    With `straight`, an axis of equivalents is linear up to there on both sides of 0 and logarithmic beyond.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, SymmetricalLogLocator

    shown = data[["point", "low", "high"]].to_numpy()
    positive = shown[shown > 0]
    response = quantity in RESPONSES
    if response and len(positive) and positive.max() / positive.min() > 3:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=RESPONSE_TICKS))
        ax.yaxis.set_minor_locator(NullLocator())
    if straight is not None:
        ax.set_yscale("symlog", linthresh=straight)
        ax.yaxis.set_major_locator(SymmetricalLogLocator(linthresh=straight, base=10))
        ax.yaxis.set_minor_locator(NullLocator())
    if quantity.startswith("equivalent"):
        _shade_unmeasured(ax, data)
    scale = 100 if quantity in SHARES else 1
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: plain(v * scale)))  # last: a change of scale resets it


def linear_reach(data: Frame) -> float | None:
    """Where the linear part of equivalents' axes ends if the range of any real size dwarfs the answers, else None."""
    answers = data.loc[data["kind"] == "mean", "point"].abs()
    typical = answers[answers > 0].median()
    spans = [_span(panel)[0] for _, panel in data.groupby(["recipe", "n_real"])]
    crowded = any(high - low > CROWDED * typical for low, high in spans)
    return 10.0 ** math.floor(math.log10(typical)) if crowded else None


def _span(data: Frame) -> tuple[tuple[float, float], tuple[bool, bool]]:
    """The lowest and highest equivalent to show, and whether either is the end of what was measured.

    That end is shown where an answer is unbounded on its side, and where it is near.
    """
    floor, ceiling = data["floor"].min(), data["ceiling"].max()
    read_off = data["kind"] == "inversion"  # their intervals are not drawn
    ends = np.concatenate(
        [data.loc[~read_off, ["point", "low", "high", "bound"]].to_numpy().ravel(), data.loc[read_off, "point"]]
    )
    finite = [*ends[~np.isnan(ends)], 0.0]
    top, bottom = max(finite), min(finite)
    answered = data[(data["censored"] != "withheld") & (data["reason"] != REJECTED) & ~read_off]
    at_ceiling = ceiling < (math.inf if answered["high"].isna().any() else 2.5 * top - 1.5 * bottom)
    at_floor = floor > (-math.inf if answered["low"].isna().any() else 1.35 * bottom - 0.35 * top)
    return (floor if at_floor else bottom, ceiling if at_ceiling else max(top, 1.0)), (at_floor, at_ceiling)


def _shade_unmeasured(ax: Axes, data: Frame) -> None:
    """Hatch what lies beyond the real-only ladder, where it is in sight."""
    span, at_ends = _span(data)
    limits = ax.set_ylim(*_with_room(ax, span))
    for edge, limit, seen in zip(span, limits, at_ends, strict=True):
        if seen:
            ax.axhspan(edge, limit, facecolor="none", edgecolor=MUTED, hatch="////", linewidth=0, alpha=0.45, zorder=0)
            ax.axhline(edge, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))


def _with_room(ax: Axes, span: tuple[float, float]) -> np.ndarray:
    """The span with room for arrows at both ends, on whatever scale the axis has."""
    transform = ax.yaxis.get_transform()
    low, high = transform.transform(np.array(span))
    room = 0.17 * (high - low)
    return transform.inverted().transform(np.array([low - room, high + room]))


def plain(value: float) -> str:
    """A tick as people write it: "1,600", "0.05", "−20"."""
    text = count(value) if abs(value) >= 100 else f"{value:.3g}"
    return text.replace("-", "−")

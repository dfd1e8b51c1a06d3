"""Scales, ticks and the unmeasured region of the figures: every axis is labelled in plain numbers.

Here: what an axis looks like. Not here: marks and panels (`drawing`), or the numbers (`figures`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from realfake.figures import Frame
from realfake.tables import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MUTED = "#84817b"
CROWDED = 15  # a range of so many typical equivalents makes a linear axis useless
RESPONSE_TICKS = (1, 1.5, 2, 3, 5, 7)


def volume_axis(ax: Axes, volumes: Frame) -> None:
    """A log axis whose ticks are the measured volumes, thinned where they would touch, in plain numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    measured = sorted(v for v in volumes.unique() if v > 0)
    ax.set_xscale("log")
    if measured:
        apart = max(measured[-1] / measured[0], 1.0) ** (1 / 6)
        ticks: list[float] = []
        for volume in measured:
            ticks += [volume] if not ticks or volume >= ticks[-1] * apart else []
        ax.xaxis.set_major_locator(FixedLocator(ticks))
        ax.set_xlim(measured[0] / 1.5, measured[-1] * 1.5)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: plain(v)))


def vertical_scale(ax: Axes, data: Frame, quantity: str, straight: float | None = None) -> None:
    """Responses on a log axis where they span a factor of three, else linear; of equivalents the unmeasured too.

    With `straight`, an axis of equivalents is linear up to there on both sides of 0 and logarithmic beyond.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, SymmetricalLogLocator

    shown = data[["point", "low", "high"]].to_numpy()
    positive = shown[shown > 0]
    response = quantity in ("error", "cross_entropy")
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
    scale = 100 if quantity == "error" else 1
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: plain(v * scale)))  # last: a change of scale resets it


def linear_reach(data: Frame) -> float | None:
    """Where the linear part of equivalents' axes ends if the range of any real size dwarfs the answers, else None."""
    answers = data["point"].abs()
    typical = answers[answers > 0].median()
    spans = [_span(panel)[0] for _, panel in data.groupby("n_real")]
    crowded = any(high - low > CROWDED * typical for low, high in spans)
    return 10.0 ** math.floor(math.log10(typical)) if crowded else None


def _span(data: Frame) -> tuple[tuple[float, float], tuple[bool, bool]]:
    """The lowest and highest equivalent to show, and whether either is the end of what was measured.

    That end is shown where an answer is unbounded on its side, and where it is near.
    """
    floor, ceiling = data["floor"].min(), data["ceiling"].max()
    ends = data[["point", "low", "high", "bound"]].to_numpy()
    finite = [*ends[~np.isnan(ends)], 0.0]
    top, bottom = max(finite), min(finite)
    answered = data[data["censored"] != "withheld"]
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

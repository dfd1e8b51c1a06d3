"""Figures of detectors: precision and recall, train2test distance, AP_t2t, rounds of translation, what goes with AP.

Here: how the tables of `detection_tables` are drawn, in the colours and lines of `layout`. Not here: pictures
(`scenes`) and captions (`detectors`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from realfake.measures import SHARES, in_per_cent
from realfake.report.axes import MUTED, plain
from realfake.report.detection_tables import BANDS, NORMALISATIONS, band_name
from realfake.report.figures import Frame
from realfake.report.layout import (
    INK,
    SETTINGS,
    STYLES,
    key,
    leftmost,
    lowest,
    panels,
    share_height,
    size_title,
    styles,
)
from realfake.report.looks import numbers
from realfake.report.marks import BAND
from realfake.tables import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Looks = dict[str, tuple[Any, ...]]  # colour, marker and line of each arm
KINDS = {"true": ("true positives", "-"), "false": ("false positives", (0, (4, 2)))}
OF = {"ground truth": "AP_t2t of\nall objects, %", "true positives": "AP_t2t of\nobjects found, %"}
MOST_PANELS = 9
FAR = 3.0  # by how much what is expected may lie beyond all distances and still be shown
ROW = 1.75  # inches of a panel of distances
SCATTERED = ("rho_0.1", "ap_t2t_0.1", "distribution_gap")  # measures that AP is drawn against


def arm_styles(arms: Iterable[str]) -> Looks:
    """A colour, marker and line for each arm of a study, the same in every figure."""
    return styles(dict.fromkeys(arms))


def precision_figure(data: Frame, sizes: list[int], style: Looks) -> Figure:
    """A panel for each real size: interpolated precision at IoU 0.5 against recall, a curve with its band an arm."""
    style = _used(style, data["arm"])
    with _settings():
        figure, (axes,) = panels(len(sizes), titles=style)
        share_height(axes)
        for index, (ax, n_real) in enumerate(zip(axes, sizes, strict=True)):
            _bands(ax, data[data["n_real"] == n_real], "recall", "precision", style)
            ax.set(xlim=(0, 1), ylim=(0, 1.02), title=size_title(n_real))
            ax.set_xlabel("recall, %" if lowest(index, len(sizes)) else "")
            ax.set_ylabel("precision, %" if leftmost(index, len(sizes)) else "")
            _per_cent(ax.xaxis, ax.yaxis)
        _key(figure, style)
        return figure


def closeness_figure(data: Frame, sizes: list[int], style: Looks) -> Figure:
    """A panel for each real size, a block for each normalisation: AP_t2t against the least score."""
    style = _used(style, data["arm"])
    with _settings():
        figure, blocks = panels(len(sizes), blocks=2, titles=style)
        for kind, axes in zip(NORMALISATIONS, blocks, strict=True):
            share_height(axes)
            for index, (ax, n_real) in enumerate(zip(axes, sizes, strict=True)):
                own = data[(data["n_real"] == n_real) & (data["normalisation"] == kind)]
                _bands(ax, own, "threshold", "ap_t2t", style, marked=True)
                _scores(ax)
                ax.set_ylabel(OF[kind] if leftmost(index, len(sizes)) else "")
                _per_cent(ax.yaxis)
            axes[0].set_ylim(bottom=0)
        for index, n_real in enumerate(sizes):
            blocks[0][index].set_title(size_title(n_real))
            blocks[1][index].set_xlabel("least score" if lowest(index, len(sizes)) else "")
        _key(figure, style)
        return figure


def distance_figure(data: Frame, style: Looks) -> Figure:
    """A row of panels for each real size, one for each band of scores: densities of distances, by right and wrong."""
    sizes = sorted(data["n_real"].unique())
    style = _used(style, data["arm"])
    looks = {
        f"{arm}: {told}": {"color": color, "linestyle": line}
        for arm, (color, _, _) in style.items()
        for told, line in KINDS.values()
    }
    looks["expected of a held-out detection"] = {"color": INK, "marker": "^", "linestyle": "none"}
    with _settings():
        figure, blocks = panels(len(BANDS), blocks=len(sizes), titles=looks, height=ROW)
        limits = _reach(data)
        for n_real, axes in zip(sizes, blocks, strict=True):
            for ax, band in zip(axes, BANDS, strict=True):
                own = data[data["n_real"] == n_real]
                _densities(ax, own[own["band"] == band_name(*band)], own[own["kind"] == "expected"], limits, style)
                ax.set_xscale("log")
                ax.set_xlim(*limits)
                _plain_log(ax)
            axes[0].set_ylabel(f"density beside\n{count(n_real)} real" if n_real else "density,\nsynthetic alone")
        for ax, band in zip(blocks[0], BANDS, strict=True):
            ax.set_title(f"score {band_name(*band)}")
        blocks[-1][1].set_xlabel("train2test distance")
        key(figure, looks)
        return figure


def round_figure(data: Frame) -> Figure:
    """Two blocks of panels, one for each arm and real size: distances by iteration, and heights of those taken."""
    groups = [group for _, group in data.groupby(["arm", "n_real"], sort=False)][:MOST_PANELS]
    (left, _, _), (taken, mark, _) = STYLES[0], STYLES[1]
    looks = {"virtual images left: median, middle half and 90 %": {"color": left, "linestyle": "-"}}
    looks["taken: median, middle half and 90 %"] = {"color": taken, "marker": mark, "linestyle": "none"}
    with _settings():
        figure, (above, below) = panels(len(groups), blocks=2, titles=looks)
        share_height(above)
        share_height(below)
        for index, (top, bottom, own) in enumerate(zip(above, below, groups, strict=True)):
            _ribbon(top, own[own["kind"] == "left"], left)
            _whiskers(top, own[own["kind"] == "taken"], taken, mark)
            _heights(bottom, own[own["kind"] == "taken"], taken, mark)
            top.set_title(f"{own['arm'].iloc[0]},\n{count(own['n_real'].iloc[0])} real images")
            top.set_ylabel("train2test distance" if leftmost(index, len(groups)) else "")
            bottom.set_ylabel("median height of\npeople taken, px" if leftmost(index, len(groups)) else "")
            bottom.set_xlabel("iteration" if lowest(index, len(groups)) else "")
        key(figure, looks)
        return figure


def scatter_figure(looks: Frame) -> Figure:
    """A panel for each of three measures: every detector and test set, AP against the measure."""
    style = styles(dict.fromkeys(looks["test"]))
    known = [name for name in SCATTERED if np.isfinite(numbers(looks, name)).any()]
    with _settings():
        figure, (axes,) = panels(len(known), titles=style)
        share_height(axes)
        for index, (ax, name) in enumerate(zip(axes, known, strict=True)):
            for test, (color, marker, _) in style.items():
                own = looks[looks["test"] == test]
                face = [color if synthetic else "none" for synthetic in own["n_synthetic"] > 0]
                x, y = numbers(own, name), numbers(own, "average_precision")
                ax.scatter(x, y, s=20, marker=marker, facecolors=face, edgecolors=color, linewidths=0.9)
            ax.set_xlabel(in_per_cent(name))
            ax.set_ylabel("AP, %" if leftmost(index, len(known)) else "")
            if name in SHARES:
                _per_cent(ax.xaxis)
            elif (numbers(looks, name)[np.isfinite(numbers(looks, name))] > 0).all():
                ax.set_xscale("log")
                _plain_log(ax)
            _per_cent(ax.yaxis)
        dots = {test: {"color": c, "marker": m, "linestyle": "none"} for test, (c, m, _) in style.items()}
        key(figure, dots)
        return figure


# ------------------------------------------------------------------------------------------------------------- pieces


def _settings() -> Any:
    import matplotlib

    return matplotlib.rc_context(SETTINGS)


def _used(style: Looks, arms: Any) -> Looks:
    there = set(arms)
    return {arm: look for arm, look in style.items() if arm in there}


def _key(figure: Figure, style: Looks) -> None:
    key(figure, {arm: {"color": color, "linestyle": line} for arm, (color, _, line) in style.items()})


def _bands(ax: Axes, data: Frame, x: str, y: str, style: Looks, *, marked: bool = False) -> None:
    for arm, (color, marker, line) in style.items():
        own = data[data["arm"] == arm]
        ax.fill_between(own[x], own["low"], own["high"], color=color, alpha=BAND, linewidth=0)
        ax.plot(
            own[x], own[y], color=color, linestyle=line, linewidth=1.3, marker=marker if marked else "", markersize=3
        )


def _densities(ax: Axes, data: Frame, expected: Frame, limits: tuple[float, float], style: Looks) -> None:
    """Curves where there are enough detections, ticks at the foot where there are few."""
    foot = ax.get_xaxis_transform()
    for arm, (color, _, _) in style.items():
        for step, (kind, (_, line)) in enumerate(KINDS.items()):
            own = data[(data["arm"] == arm) & (data["kind"] == kind)]
            few = own["density"].isna()
            ax.plot(own.loc[~few, "distance"], own.loc[~few, "density"], color=color, linestyle=line, linewidth=1.2)
            for distance in own.loc[few, "distance"]:
                ax.plot([distance] * 2, [0.06 * step, 0.06 * step + 0.05], color=color, transform=foot, linewidth=1)
        at = expected.loc[expected["arm"] == arm, "distance"]
        for distance in at[at.between(*limits)]:  # an unclipped line without points would ruin the layout
            ax.plot([distance], [0], "^", color=color, markersize=5, clip_on=False, transform=foot, zorder=4)
    ax.set_ylim(bottom=0)
    ax.set_yticks([])


def _reach(data: Frame) -> tuple[float, float]:
    """The distances to show: all of the densities, and what is expected unless that is far away."""
    expected, known = (
        data.loc[which, "distance"] for which in (data["kind"] == "expected", data["kind"] != "expected")
    )
    low, high = known.min(), known.max()
    near = expected[(expected > low / FAR) & (expected < high * FAR)]
    return min([low, *near]) / 1.1, max([high, *near]) * 1.1


def _ribbon(ax: Axes, own: Frame, color: str) -> None:
    for low, high in (("q05", "q95"), ("q25", "q75")):
        ax.fill_between(own["iteration"], own[low], own[high], color=color, alpha=BAND, linewidth=0)
        ax.vlines(own["iteration"], own[low], own[high], color=color, alpha=2 * BAND, linewidth=4)
    ax.plot(own["iteration"], own["q50"], color=color, linewidth=1.3, marker="o", markersize=4)
    ax.set_yscale("log")
    _plain_log(ax, "y")
    _whole(ax, own["iteration"])


def _whiskers(ax: Axes, own: Frame, color: str, marker: str) -> None:
    at = own["iteration"] + 0.12
    ax.vlines(at, own["q05"], own["q95"], color=color, linewidth=0.9)
    ax.vlines(at, own["q25"], own["q75"], color=color, linewidth=2.6)
    ax.plot(at, own["q50"], marker, color=color, markersize=5)


def _heights(ax: Axes, own: Frame, color: str, marker: str) -> None:
    if "height" in own:
        ax.vlines(own["iteration"], own["height_low"], own["height_high"], color=color, linewidth=1)
        ax.plot(own["iteration"], own["height"], color=color, marker=marker, markersize=5, linewidth=1, linestyle="--")
    _whole(ax, own["iteration"])


def _whole(ax: Axes, iterations: Any) -> None:
    ax.set_xticks(sorted(iterations.unique()))
    ax.set_xlim(iterations.min() - 0.4, iterations.max() + 0.4)


def _scores(ax: Axes) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator([0.01, 0.1, 0.5]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: plain(v)))
    for threshold in (0.01, 0.1, 0.5):
        ax.axvline(threshold, color=MUTED, linewidth=0.5, alpha=0.5, zorder=0)


def _plain_log(ax: Axes, which: str = "x") -> None:
    """Plain numbers on a log axis, at 1, 2 and 5 of a decade unless it spans several."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis = ax.xaxis if which == "x" else ax.yaxis
    low, high = axis.get_view_interval()
    wide = math.log10(high / low) > 2.2 if low > 0 else True
    axis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda v, _: plain(v)))


def _per_cent(*axes: Any) -> None:
    from matplotlib.ticker import FuncFormatter

    for axis in axes:
        axis.set_major_formatter(FuncFormatter(lambda v, _: plain(100 * v)))

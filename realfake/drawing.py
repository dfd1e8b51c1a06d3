"""The figures: tidy tables of `figures` drawn with matplotlib, in colours and marks that everyone can tell apart.

Here: panels, marks, legends. Not here: scales (`axes`), which numbers are drawn (`figures`), captions (`report`).

A dot with a bar is a cell and its interval, a hollow one a single seed, a small dot one trial. A censored value is an
arrow from its bound into the shaded region that was not measured; × on the axis is a withheld answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from io import StringIO
from typing import TYPE_CHECKING, Any

from realfake.axes import MUTED, linear_reach, vertical_scale, volume_axis
from realfake.figures import Frame
from realfake.tables import REAL_ONLY, count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1c1b1a"
STYLES = (  # Okabe & Ito's colours, told apart also by marker and line
    ("#0072b2", "o", "-"),
    ("#d55e00", "s", "--"),
    ("#009e73", "^", "-."),
    ("#cc79a7", "D", ":"),
    ("#e69f00", "v", (0, (5, 1, 1, 1, 1, 1))),
    ("#56b4e9", "P", (0, (3, 3))),
)
LABELS = {
    "error": "error, %",
    "cross_entropy": "cross-entropy, nats",
    "equivalent.cross_entropy": "added real equivalent\n(cross-entropy), images",
    "equivalent.error": "added real equivalent\n(error), images",
    "value": "value of one more\nsynthetic image, real images",
}
FIGURE_WIDTH, PANEL_WIDTHS, PANEL_HEIGHT = 7.8, (2.6, 4.2), 2.5  # inches
SETTINGS: Any = {
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "realfake",
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}


def draw(name: str, data: Frame) -> Figure:
    """The figure of this name ("equivalent", "response", "value", "ladder") from its table."""
    import matplotlib

    with matplotlib.rc_context(SETTINGS):
        return _ladder(data) if name == "ladder" else _against_volume(name, data)


def svg(figure: Figure) -> str:
    """The figure as an SVG element with text as text; equal tables give equal bytes."""
    import matplotlib

    buffer = StringIO()
    with matplotlib.rc_context(SETTINGS):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return buffer.getvalue()


def _against_volume(name: str, data: Frame) -> Figure:
    """A column of panels for every real size, a row for every quantity (of equivalents, the main response only)."""
    quantities = list(dict.fromkeys(data["quantity"]))
    quantities = quantities[:1] if name == "equivalent" else quantities
    sizes = sorted(data["n_real"].unique())
    styles = _styles(series for series in dict.fromkeys(data["series"]) if not series.startswith(REAL_ONLY))
    figure, axes = _panels(len(quantities), len(sizes), share_rows=name != "equivalent")
    for row, quantity in enumerate(quantities):
        whole = data[data["quantity"] == quantity]
        straight = linear_reach(whole) if name == "equivalent" else None
        for column, n_real in enumerate(sizes):
            ax, own = axes[row][column], whole[whole["n_real"] == n_real]
            _volume_panel(ax, own, styles, dodge=1.12)
            ax.set_title(_size_title(n_real) if row == 0 else "")
            ax.set_ylabel(LABELS[quantity] if column == 0 else "")
            ax.set_xlabel("synthetic images" if row == len(quantities) - 1 else "")
            vertical_scale(ax, own if name == "equivalent" else whole, quantity, straight)
    _legend(figure, {series: _budget_title(data, series) for series in styles}, styles)
    return figure


def _ladder(data: Frame) -> Figure:
    """A panel for each response: real-only trials against the real size, with the fitted law."""
    quantities, styles = list(dict.fromkeys(data["quantity"])), _styles(dict.fromkeys(data["series"]))
    figure, axes = _panels(1, len(quantities), share_rows=False)
    for ax, quantity in zip(axes[0], quantities, strict=True):
        own = data[data["quantity"] == quantity]
        for series, style in styles.items():
            rows = own[own["series"] == series]
            law = rows[rows["kind"] == "law"]
            ax.plot(law["n_real"], law["point"], color=style[0], linestyle=style[2], linewidth=1.1)
            _marks(ax, rows, rows["n_real"], style)
        volume_axis(ax, own.loc[own["kind"] == "mean", "n_real"])
        vertical_scale(ax, own, quantity)
        ax.set_ylabel(LABELS[quantity])
        ax.set_xlabel("real images")
    _legend(figure, {series: f"{series} (line: fitted law)" for series in styles}, styles)
    return figure


# ------------------------------------------------------------------------------------------------------------- panels


def _volume_panel(ax: Axes, data: Frame, styles: dict[str, Any], dodge: float) -> None:
    """One real size: every series against volume, the real-only level behind, the unmeasured region shaded."""
    for _, level in data[(data["n_synthetic"] == 0) & (data["kind"] == "mean")].iterrows():
        ax.axhspan(level["low"], level["high"], color=MUTED, alpha=0.2, linewidth=0)
        ax.axhline(level["point"], color=MUTED, linewidth=1)
    if not data["quantity"].isin(("error", "cross_entropy")).any():
        ax.axhline(0, color=MUTED, linewidth=1)
    for index, (series, style) in enumerate(styles.items()):
        rows = data[(data["series"] == series) & (data["n_synthetic"] > 0)]
        _series(ax, rows, rows["n_synthetic"] * dodge ** (index - (len(styles) - 1) / 2), style)
    volume_axis(ax, data.loc[data["n_synthetic"] > 0, "n_synthetic"])


def _series(ax: Axes, rows: Frame, x: Frame, style: tuple[Any, ...]) -> None:
    color, _, line = style
    means = rows[(rows["kind"] == "mean") & rows["point"].notna()]
    ax.plot(x[means.index], means["point"], color=color, linestyle=line, linewidth=1.1)
    low, high = means["low"].fillna(means["floor"]), means["high"].fillna(means["ceiling"])
    ax.fill_between(x[means.index], low, high, color=color, alpha=0.14, linewidth=0)
    _marks(ax, rows, x, style)


def _marks(ax: Axes, rows: Frame, x: Frame, style: tuple[Any, ...]) -> None:
    """Cells, trials and bounds of one series at their places."""
    for index, row in rows.iterrows():
        _MARKS[_mark_of(row)](ax, x[index], row, style)


def _mark_of(row: Frame) -> str:
    return row["censored"] or row["kind"]


def _mean(ax: Axes, x: float, row: Frame, style: tuple[Any, ...]) -> None:
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


def _bound(ax: Axes, x: float, row: Frame, style: tuple[Any, ...]) -> None:
    """A censored value: an arrow that starts at the bound, and a bar for the bounded side of its interval."""
    color, up = style[0], row["censored"] == "above"
    other = row["low"] if up else row["high"]
    ax.plot([x, x], [row["bound"], other], color=color, linewidth=1.1)
    ax.plot([x], [row["bound"]], marker="_", color=color, markersize=8, linestyle="none")
    _arrow(ax, x, row["bound"], color, up=up)


def _trial(ax: Axes, x: float, row: Frame, style: tuple[Any, ...]) -> None:
    from matplotlib.transforms import ScaledTranslation

    beside = ax.transData + ScaledTranslation(4 / 72, 0, ax.figure.dpi_scale_trans)  # the mean's mark would hide it
    ax.plot([x], [row["point"]], marker=".", color=style[0], markersize=3.5, linestyle="none", transform=beside)


def _at_edge(height: float, marker: str) -> Callable[..., None]:
    def mark(ax: Axes, x: float, row: Frame, style: tuple[Any, ...]) -> None:
        place = ax.get_xaxis_transform()
        ax.plot([x], [height], marker=marker, color=style[0], markersize=5, linestyle="none", transform=place)

    return mark


_MARKS: dict[str, Callable[..., None]] = {
    "mean": _mean,
    "trial": _trial,
    "above": _bound,
    "below": _bound,
    "withheld": _at_edge(0.04, "x"),
    "diverged": _at_edge(0.96, "x"),
    "law": lambda ax, x, row, style: None,  # a curve, not a mark
}


# ------------------------------------------------------------------------------------------------- layout and legends


def _panels(rows: int, columns: int, *, share_rows: bool) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    narrowest, widest = PANEL_WIDTHS
    width = columns * min(max(FIGURE_WIDTH / columns, narrowest), widest)
    figure = Figure(figsize=(width, PANEL_HEIGHT * rows + 0.4), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharey="row" if share_rows else False)


def _styles(series: Iterable[str]) -> dict[str, tuple[Any, ...]]:
    return {name: STYLES[index % len(STYLES)] for index, name in enumerate(series)}


def _size_title(n_real: float) -> str:
    return f"beside {count(n_real)} real images" if n_real else "synthetic images alone"


def _budget_title(data: Frame, series: str) -> str:
    """A series with its real budget: every real image that any of its trials saw, through its generator too."""
    rows = data[(data["series"] == series) & data["real_budget"].notna()]
    if not len(rows):
        return f"{series} (real budget unknown)"
    if (rows["real_budget"] == rows["n_real"]).all():
        return f"{series} (real budget: the real images beside it)"
    budgets = sorted(rows["real_budget"].unique())
    return f"{series} (real budget {'–'.join(dict.fromkeys(count(b) for b in (budgets[0], budgets[-1])))})"


def _legend(figure: Figure, titles: dict[str, str], styles: dict[str, tuple[Any, ...]]) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], color=color, marker=marker, linestyle=line, markersize=5, linewidth=1.1)
        for color, marker, line in (styles[series] for series in titles)
    ]
    width = figure.get_size_inches()[0]
    columns = max(1, int(width // (0.075 * max(map(len, titles.values()), default=1) + 0.5)))
    figure.legend(marks, list(titles.values()), loc="outside upper left", ncols=columns, handlelength=3)

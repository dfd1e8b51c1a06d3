"""The figures: tidy tables of `figures` drawn with matplotlib, in colours and marks that everyone can tell apart.

Here: figures of measured cells, against volume and against the real size. Not here: figures of the laws' plane and
answers (`planes`), marks (`marks`), scales (`axes`), layout (`layout`), numbers (`figures`), captions (`report`).
"""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

from realfake.report import marks, planes
from realfake.report.axes import MUTED, linear_reach, vertical_scale, volume_axis
from realfake.report.figures import Frame
from realfake.report.layout import SETTINGS, leftmost, legend, lowest, panels, share_height, size_title, styles
from realfake.responses import RESPONSES, heading
from realfake.tables import REAL_ONLY, count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {
    **{name: heading(name) for name in RESPONSES},
    "cross_entropy": "cross-entropy, nats",
    **{f"equivalent.{name}": f"added real equivalent\n({text}), images" for name, text in RESPONSES.items()},
    "value": "value of one more,\nreal images",
}
DODGE = 1.12  # series stand beside each other


def draw(name: str, data: Frame) -> Figure:
    """The figure of this name (one of `figures.figure_tables`) from its table."""
    import matplotlib

    own = {"ladder": _ladder, "residuals": _residuals, "contours": planes.contours, "laws": planes.laws}
    with matplotlib.rc_context(SETTINGS):
        return own[name](data) if name in own else _against_volume(name, data)


def svg(figure: Figure) -> str:
    """The figure as an SVG element with text as text; equal tables give equal bytes."""
    import matplotlib

    buffer = StringIO()
    with matplotlib.rc_context(SETTINGS):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return buffer.getvalue()


# ----------------------------------------------------------------------------------------------------- against volume


def _against_volume(name: str, data: Frame) -> Figure:
    """A panel for every real size, a block of them for every quantity (of equivalents, the main response only)."""
    quantities = list(dict.fromkeys(data["quantity"]))
    quantities = quantities[:1] if name == "equivalent" else quantities
    sizes = sorted(data["n_real"].unique())
    style = styles(series for series in dict.fromkeys(data["series"]) if not series.startswith(REAL_ONLY))
    titles = {series: _budget_title(data, series) for series in style}
    figure, blocks = panels(len(sizes), blocks=len(quantities), titles=titles.values())
    for quantity, axes in zip(quantities, blocks, strict=True):
        if name != "equivalent":
            share_height(axes)
        _block(axes, data[data["quantity"] == quantity], sizes, style)
        axes[0].figure.align_ylabels(axes)
    for index, n_real in enumerate(sizes):
        blocks[0][index].set_title(size_title(n_real))
        blocks[-1][index].set_xlabel("synthetic images" if lowest(index, len(sizes)) else "")
    legend(figure, titles, style)
    return figure


def _block(axes: list[Axes], data: Frame, sizes: list[float], style: dict[str, Any]) -> None:
    """One quantity beside every real size; equivalents have a scale for each size, for the ladder ends elsewhere."""
    quantity = data["quantity"].iloc[0]
    apart = quantity.startswith("equivalent")
    straight = linear_reach(data) if apart else None
    for index, (ax, n_real) in enumerate(zip(axes, sizes, strict=True)):
        own = data[data["n_real"] == n_real]
        _volume_panel(ax, own, style)
        vertical_scale(ax, own if apart else data, quantity, straight)
        ax.set_ylabel(LABELS[quantity] if leftmost(index, len(axes)) else "")


def _volume_panel(ax: Axes, data: Frame, style: dict[str, Any]) -> None:
    """One real size: every series against volume, the real-only level behind, the unmeasured region shaded."""
    for _, level in data[(data["n_synthetic"] == 0) & (data["kind"] == "mean")].iterrows():
        ax.axhspan(level["low"], level["high"], color=MUTED, alpha=0.2, linewidth=0)
        ax.axhline(level["point"], color=MUTED, linewidth=1)
    if not data["quantity"].isin(list(RESPONSES)).any():
        ax.axhline(0, color=MUTED, linewidth=1)
    mixed = data[data["n_synthetic"] > 0]
    for index, (series, own) in enumerate(style.items()):
        rows = mixed[mixed["series"] == series]
        marks.series(ax, rows, rows["n_synthetic"] * DODGE ** (index - (len(style) - 1) / 2), own)
    volume_axis(ax, mixed.loc[mixed["kind"] != "law", "n_synthetic"])


def _budget_title(data: Frame, series: str) -> str:
    """A series with its real budget: every real image that any of its trials saw, through its generator too."""
    rows = data[(data["series"] == series) & data["real_budget"].notna()]
    if not len(rows):
        return f"{series} (real budget unknown)"
    if (rows["real_budget"] == rows["n_real"]).all():
        return f"{series} (real budget: the real images beside it)"
    budgets = sorted(rows["real_budget"].unique())
    return f"{series} (real budget {'–'.join(dict.fromkeys(count(b) for b in (budgets[0], budgets[-1])))})"


# -------------------------------------------------------------------------------------------------- against real size


def _ladder(data: Frame) -> Figure:
    """A panel for each response: real-only trials against the real size, with the fitted law."""
    quantities, style = list(dict.fromkeys(data["quantity"])), styles(dict.fromkeys(data["series"]))
    fitted = data.loc[data["kind"] == "law", "series"].unique()
    titles = {one: f"{one} (line: fitted law)" if one in fitted else one for one in style}
    figure, (axes,) = panels(len(quantities), titles=titles.values())
    for ax, quantity in zip(axes, quantities, strict=True):
        own = data[data["quantity"] == quantity]
        for series, look in style.items():
            rows = own[own["series"] == series]
            law = rows[rows["kind"] == "law"]
            marks.curve(ax, law, law["n_real"], look)
            marks.each(ax, rows, rows["n_real"], look)
        volume_axis(ax, own.loc[own["kind"] == "mean", "n_real"])
        vertical_scale(ax, own, quantity)
        ax.set_ylabel(LABELS[quantity])
        ax.set_xlabel("real images")
    legend(figure, titles, style)
    return figure


def _residuals(data: Frame) -> Figure:
    """A row for each arm: its mixtures against volume, coloured by real size, and the ladder against the real size."""
    names = list(dict.fromkeys(data["series"]))
    style = styles(sorted(data.loc[data["n_synthetic"] > 0, "n_real"].unique()))
    titles = {size: size_title(float(size)) for size in style}
    figure, blocks = panels(2, blocks=len(names), titles=titles.values())
    for name, (left, right) in zip(names, blocks, strict=True):
        own = data[data["series"] == name]
        mixed = own["n_synthetic"] > 0
        left.sharey(right)
        _residual_panel(right, own[~mixed], "n_real", {None: (MUTED, "o", "-")})
        _residual_panel(left, own[mixed], "n_synthetic", style)
        left.set_title(f"{name}: law '{own['law'].iloc[0]}'")
        right.set_title("real images only")
        left.set_ylabel("measured above\nfitted, %")
    blocks[-1][0].set_xlabel("synthetic images")
    blocks[-1][1].set_xlabel("real images")
    legend(figure, titles, style)
    return figure


def _residual_panel(ax: Axes, data: Frame, across: str, style: dict[Any, Any]) -> None:
    ax.axhline(0, color=MUTED, linewidth=1)
    for index, (size, look) in enumerate(style.items()):
        rows = data if size is None else data[data["n_real"] == size]
        marks.each(ax, rows, rows[across] * DODGE ** (index - (len(style) - 1) / 2), look)
    volume_axis(ax, data[across])
    vertical_scale(ax, data, "residual")

"""The figures: tidy tables of `figures` drawn with matplotlib, in colours and marks that everyone can tell apart.

Here: figures of measured cells, against volume and against the real size. Not here: figures of the laws' plane and
answers (`planes`), marks (`marks`), scales (`axes`), layout (`layout`), numbers (`figures`), captions (`report`).
"""

from __future__ import annotations

import textwrap
from io import StringIO
from typing import TYPE_CHECKING, Any

from realfake.report import marks, planes
from realfake.report.axes import MUTED, linear_reach, vertical_scale, volume_axis
from realfake.report.figures import Frame
from realfake.report.layout import (
    PANEL_HEIGHT,
    SETTINGS,
    columns_of,
    leftmost,
    legend,
    panels,
    share_height,
    size_title,
    styles,
)
from realfake.responses import RESPONSES, heading
from realfake.statistics.currencies import setting
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
TITLE_LETTER, TITLE_HEIGHT = 0.095, 0.4  # inches: of a bold letter, of the lines that name a recipe
Place = tuple[str, float]  # recipe ("" where there is one), real size


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
    """A panel for every real size, a block of them for every quantity (of equivalents, the main response only).

    With several recipes each has blocks of its own, or stands beside the others where each has one real size.
    """
    quantities = list(dict.fromkeys(data["quantity"]))
    quantities = quantities[:1] if name == "equivalent" else quantities
    groups = _groups(data)
    number, recipe_title = max(map(len, groups)), any(recipe for recipe, _ in groups[0])
    style = styles(series for series in dict.fromkeys(data["series"]) if not series.startswith(REAL_ONLY))
    titles = {series: _budget_title(data, series) for series in style}
    height = PANEL_HEIGHT + TITLE_HEIGHT * recipe_title
    figure, blocks = panels(number, blocks=len(groups) * len(quantities), titles=titles.values(), height=height)
    for index, axes in enumerate(blocks):
        places, quantity = groups[index // len(quantities)], quantities[index % len(quantities)]
        if name != "equivalent":
            share_height(axes)
        for ax in axes[len(places) :]:
            ax.remove()
        _block(axes[: len(places)], data[data["quantity"] == quantity], places, style, number)
        axes[0].figure.align_ylabels(axes[: len(places)])
        _name(axes, places, first=quantity == quantities[0], last=quantity == quantities[-1])
    legend(figure, titles, style)
    return figure


def _groups(data: Frame) -> list[list[Place]]:
    """Recipes and real sizes that stand in one block of panels."""
    sizes = {recipe: sorted(own["n_real"].unique()) for recipe, own in data.groupby("recipe", sort=False)}
    groups = [[(recipe, size) for size in own] for recipe, own in sizes.items()]
    return [[place for (place,) in groups]] if max(map(len, groups)) == 1 else groups


def _name(axes: list[Axes], places: list[Place], *, first: bool, last: bool) -> None:
    """Titles above the first quantity of a group, and what lies across below the last."""
    figure: Any = axes[0].figure
    columns, width = columns_of(len(axes)), figure.get_size_inches()[0]
    for index, (recipe, n_real) in enumerate(places):
        named = [
            *textwrap.wrap(setting(recipe).title, int(width / columns / TITLE_LETTER), break_on_hyphens=False),
            size_title(n_real),
        ]
        axes[index].set_title("\n".join(named) if first else "")
        axes[index].set_xlabel("synthetic images" if last and index + columns >= len(places) else "")


def _block(axes: list[Axes], data: Frame, places: list[Place], style: dict[str, Any], number: int) -> None:
    """One quantity in every place; equivalents have a scale for each, for the ladder ends elsewhere.

    `number` panels are in the widest block.
    """
    quantity = data["quantity"].iloc[0]
    apart = quantity.startswith("equivalent")
    here = data[data["recipe"].isin([recipe for recipe, _ in places])]
    for index, (ax, (recipe, n_real)) in enumerate(zip(axes, places, strict=True)):
        alike = here[here["recipe"] == recipe]
        own = alike[alike["n_real"] == n_real]
        _volume_panel(ax, own, style)
        vertical_scale(ax, own if apart else here, quantity, linear_reach(alike) if apart else None)
        ax.set_ylabel(LABELS[quantity] if leftmost(index, number) else "")


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
        left.set_title(textwrap.fill(f"{name}: law '{own['law'].iloc[0]}'", planes.TITLE_LETTERS))
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

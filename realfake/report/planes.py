"""Figures of the laws themselves: the plane of real and synthetic images, and the answer of every law that was tried.

Here: these two figures. Not here: figures of measured cells (`drawing`), marks (`marks`), the numbers (`fitted`).
"""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from realfake.report.axes import answer_axis, plane_axes, shade_unmixed
from realfake.report.figures import Frame
from realfake.report.layout import INK, STYLES, key, leftmost, lowest, panels
from realfake.report.marks import BAND
from realfake.responses import RESPONSES, SHARES
from realfake.tables import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RESPONSE_STYLE, PRICE_STYLES = STYLES[0], STYLES[1:]
ACROSS, TITLE_LETTERS = 2, 46  # panels beside each other, and how long the title of one can be
ROW = 0.27  # inches of a law's row
PLANE_HEIGHT, WIDEST_PLANE = 3.3, 5.6  # inches
TARGET_WIDTH = 2.2


def contours(data: Frame) -> Figure:
    """A panel for each arm: lines of equal response with their bands, of equal cost, and the measured cells."""
    names = list(dict.fromkeys(data["series"]))
    prices = sorted(data["price"].dropna().unique(), reverse=True)
    style = dict(zip(prices, PRICE_STYLES, strict=False))
    looks = _looks(data, style)
    figure, (axes,) = panels(len(names), titles=looks, height=PLANE_HEIGHT, widest=WIDEST_PLANE, across=ACROSS)
    for index, (ax, name) in enumerate(zip(axes, names, strict=True)):
        own = data[data["series"] == name]
        _plane(ax, own, style)
        ax.set_title(textwrap.fill(name, TITLE_LETTERS))
        ax.set_ylabel("real images" if leftmost(index, len(axes), ACROSS) else "")
        ax.set_xlabel("synthetic images" if lowest(index, len(names), ACROSS) else "")
    key(figure, looks)
    return figure


def _plane(ax: Axes, data: Frame, style: dict[float, Any]) -> None:
    cells = data[data["kind"] == "mean"]
    plane_axes(ax, cells)
    shade_unmixed(ax, cells)
    targets = data.loc[data["kind"] == "cheapest", "point"].unique()
    for response, line in data[data["kind"] == "contour"].groupby("point"):
        _contour(ax, line, response, bold=response in targets)
    for price, line in data[data["kind"] == "budget"].groupby("price"):
        color, _, dashes = style[price]
        ax.plot(line["n_synthetic"], line["n_real"], color=color, linestyle=dashes, linewidth=1.2)
    for _, best in data[data["kind"] == "cheapest"].iterrows():
        color, marker, _ = style[best["price"]]
        ax.plot([best["n_synthetic"]], [best["n_real"]], marker, color=color, markersize=7, zorder=5, clip_on=False)
    ax.plot(cells["n_synthetic"], cells["n_real"], ".", color=INK, markersize=4, linestyle="none", clip_on=False)


def _contour(ax: Axes, line: Frame, response: float, *, bold: bool) -> None:
    color = RESPONSE_STYLE[0]
    bottom, top = ax.get_ylim()
    sided = line[["n_real_low", "n_real_high"]].notna().any(axis="columns")
    low, high = line["n_real_low"].fillna(bottom), line["n_real_high"].fillna(top)
    ax.fill_between(line["n_synthetic"], low, high, where=sided, color=color, alpha=BAND, linewidth=0)
    ax.plot(line["n_synthetic"], line["n_real"], color=color, linewidth=TARGET_WIDTH if bold else 1.1)
    if len(known := line.dropna(subset="n_real")):
        start = known.iloc[0]
        where: Any = {"textcoords": "offset points", "ha": "right", "va": "center", "color": color}
        ax.annotate(_level(line, response), (start["n_synthetic"], start["n_real"]), (-8, 0), **where)


def _level(line: Frame, response: float) -> str:
    return f"{100 * response:.2g} %" if line["quantity"].iloc[0] in SHARES else f"{response:.2g}"


def _looks(data: Frame, style: dict[float, Any]) -> dict[str, dict[str, Any]]:
    """The legend of the plane: titles, and how each looks."""
    response = data.loc[data["kind"] == "contour", "quantity"].iloc[0]
    looks: dict[str, Any] = {f"equal {RESPONSES[response]}": {"color": RESPONSE_STYLE[0], "linewidth": 1.5}}
    for price, (color, marker, dashes) in style.items():
        title = f"equal cost, a synthetic image at {_share(price)} of a real one"
        looks[title] = {"color": color, "marker": marker, "linestyle": dashes}
    looks["measured cell"] = {"color": INK, "marker": ".", "linestyle": "none", "markersize": 4}
    return looks


def _share(price: float) -> str:
    return "the price" if price == 1 else f"1/{count(1 / price)}"


# ------------------------------------------------------------------------------------------------------------- answers


def laws(data: Frame) -> Figure:
    """A panel for each arm: every law's equivalent at the operating point, and behind them what the set spans."""
    names = list(dict.fromkeys(data["series"]))
    most = max(data.groupby("series")["law"].nunique())
    figure, (axes,) = panels(len(names), height=ROW * most + 0.9, across=ACROSS)
    for index, (ax, name) in enumerate(zip(axes, names, strict=True)):
        own = data[data["series"] == name]
        _answers(ax, own)
        at = own.iloc[0]
        title = f"{name}, {count(at['n_real'])} + {count(at['n_synthetic'])}"
        ax.set_title(textwrap.fill(title, TITLE_LETTERS))
        ax.set_xlabel("added real equivalent" if lowest(index, len(names), ACROSS) else "")
    return figure


def _answers(ax: Axes, data: Frame) -> None:
    whole, single = data[data["kind"] == "set"], data[data["kind"] != "set"]
    answer_axis(ax, data)
    left, right = ax.get_xlim()
    for _, row in whole.iterrows():
        low, high = (end if math.isfinite(end) else edge for end, edge in ((row["low"], left), (row["high"], right)))
        ax.axvspan(low, high, color=RESPONSE_STYLE[0], alpha=BAND, linewidth=0)
    for height, (_, row) in enumerate(single.iterrows()):
        _answer(ax, height, row, left, right)
    ax.set_yticks(range(len(single)), list(single["law"]))
    ax.set_ylim(len(single) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)


def _answer(ax: Axes, height: float, row: Frame, left: float, right: float) -> None:
    """One law: filled in the set, hollow outside; an arrow head where its interval leaves what was measured."""
    chosen = row["kind"] == "in the set"
    color, face = (RESPONSE_STYLE[0], RESPONSE_STYLE[0]) if chosen else (INK, "none")
    low, high = (end if math.isfinite(end) else edge for end, edge in ((row["low"], left), (row["high"], right)))
    if row["censored"] == "withheld":
        ax.plot([0.03], [height], "x", color=color, markersize=5, transform=ax.get_yaxis_transform())
        return
    ax.plot([low, high], [height, height], color=color, linewidth=1.2)
    for end, edge, head in ((row["low"], left, "<"), (row["high"], right, ">")):
        if not math.isfinite(end):
            ax.plot([edge], [height], head, color=color, markersize=5, clip_on=False)
    ax.plot([row["point"]], [height], "o", color=color, markerfacecolor=face, markersize=5, linestyle="none")

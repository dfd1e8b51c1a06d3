"""What all figures share: colours, sizes, panels side by side, and the legend above them.

Here: how a figure is laid out, so that its words have 8 points when it is printed across a page. Not here: marks
(`marks`), scales (`axes`), which panels there are (`drawing`, `planes`).
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from realfake.report.axes import LETTER, MUTED
from realfake.tables import count

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
HANDLE = 0.5  # inches of a mark in the legend
ACROSS = 3  # panels beside each other; more would print too small
FIGURE_WIDTH, WIDEST_PANEL, PANEL_HEIGHT, LINE_HEIGHT = 7.6, 4.2, 2.3, 0.18  # inches; the last of a legend
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


def panels(
    number: int,
    *,
    blocks: int = 1,
    titles: Iterable[str] = (),
    height: float = PANEL_HEIGHT,
    widest: float = WIDEST_PANEL,
    across: int = ACROSS,
) -> tuple[Figure, list[list[Axes]]]:
    """A figure, and its axes by block: `number` panels a block, at most `across` of them beside each other.

    The legend of these `titles` stands above and takes nothing from the height of the panels.
    """
    from matplotlib.figure import Figure

    columns = columns_of(number, across)
    rows = math.ceil(number / columns)
    width = columns * min(FIGURE_WIDTH / columns, widest)
    wrapped = [_wrapped(title, width) for title in titles]
    lines = math.ceil(sum(title.count("\n") + 1 for title in wrapped) / _legend_columns(wrapped, width))
    figure = Figure(figsize=(width, height * rows * blocks + LINE_HEIGHT * lines + 0.2), layout="constrained")
    grid = figure.add_gridspec(rows * blocks, columns)
    places = [divmod(index, columns) for index in range(number)]
    return figure, [
        [figure.add_subplot(grid[block * rows + row, column]) for row, column in places] for block in range(blocks)
    ]


def columns_of(number: int, across: int = ACROSS) -> int:
    """How many panels stand beside each other, so that the rows are about equally full."""
    return math.ceil(number / math.ceil(number / across))


def share_height(axes: list[Axes]) -> None:
    """One scale for the panels of a block; only the first of each row has tick labels."""
    for index, ax in enumerate(axes):
        if index:
            ax.sharey(axes[0])
        ax.tick_params(labelleft=leftmost(index, len(axes)))


def leftmost(index: int, number: int, across: int = ACROSS) -> bool:
    """Say whether a panel of a block stands at the left edge."""
    return index % columns_of(number, across) == 0


def lowest(index: int, number: int, across: int = ACROSS) -> bool:
    """Say whether no panel stands below this one of a block."""
    return index + columns_of(number, across) >= number


def styles(series: Iterable[Any]) -> dict[Any, tuple[Any, ...]]:
    """A colour, marker and line for each series; where colours come round again, markers and lines are others."""
    number, looks = len(STYLES), {}
    for index, name in enumerate(series):
        turn = index // number
        color, marker, line = (STYLES[(index + turn * part) % number][part] for part in range(3))
        looks[name] = (color, marker, line)
    return looks


def size_title(n_real: float) -> str:
    """The title of the panel of one real size."""
    return f"beside {count(n_real)} real images" if n_real else "synthetic images alone"


def legend(figure: Figure, titles: dict[str, str], style: dict[str, tuple[Any, ...]]) -> None:
    """A legend above all panels of series with their titles."""
    key(
        figure, {titles[series]: {"color": c, "marker": m, "linestyle": line} for series, (c, m, line) in style.items()}
    )


def key(figure: Figure, looks: dict[str, dict[str, Any]]) -> None:
    """A legend above all panels, in as many columns as its words leave room for."""
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], **{"markersize": 5, "linewidth": 1.1, **look}) for look in looks.values()]
    width = figure.get_size_inches()[0]
    titles = [_wrapped(title, width) for title in looks]
    columns = _legend_columns(titles, width)
    figure.legend(marks, titles, loc="outside upper left", ncols=columns, handlelength=3)


def _legend_columns(titles: Iterable[str], width: float) -> int:
    longest = max((len(line) for title in titles for line in title.split("\n")), default=1)
    return max(1, int(width // (LETTER * longest + HANDLE)))


def _wrapped(title: str, width: float) -> str:
    """A title in lines that fit beside their mark into a legend of one column."""
    return textwrap.fill(title, int((width - HANDLE) / LETTER))

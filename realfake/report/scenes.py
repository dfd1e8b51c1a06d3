"""Pictures of a report: test images with what detectors found and missed, and people before and after translation.

Right, wrong and missed are told apart by solid, dashed and dotted lines, and by colour as well. Here: PNG bytes from
arrays. Not here: which images are shown (`detector_facts`), and the words below them (`detectors`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from realfake.report.layout import INK, SETTINGS
from realfake.report.looks import People, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES: dict[str, tuple[str, Any]] = {"true": ("#56b4e9", "-"), "false": ("#e69f00", (0, (3.5, 1.8)))}
LINES["missed"] = ("#ffffff", (0, (1, 1.3)))
KINDS = {"true": "true positive", "false": "false positive", "missed": "missed"}
CROP, AROUND, LEAST_SIDE = 64, 1.4, 12  # pixels of a crop; its side by the longer one of the box; the least side
WIDTH, DPI, COLOURS = 7.6, 140, 240
LARGEST = 320  # pixels of an image that is shown: the page is to stay small


def person_crop(image: np.ndarray, box: np.ndarray, pixels: int = CROP) -> np.ndarray:
    """Return (pixels, pixels, c) around a box (left, top, width, height): a square within the image, 1.4 as long."""
    height, width, channels = image.shape
    side = min(height, width, max(LEAST_SIDE, math.ceil(AROUND * max(box[2], box[3]))))
    left = int(np.clip(round(box[0] + box[2] / 2 - side / 2), 0, width - side))
    top = int(np.clip(round(box[1] + box[3] / 2 - side / 2), 0, height - side))
    cut = image[top : top + side, left : left + side]
    resized = Image.fromarray(cut[..., 0] if channels == 1 else cut).resize((pixels, pixels), Image.Resampling.BICUBIC)
    return np.asarray(resized).reshape(pixels, pixels, channels)


def detection_sheet(pairs: Sequence[tuple[Picture, Picture]], sides: tuple[str, str]) -> bytes:
    """Return a PNG of pairs of pictures, two pairs a row: on the left the first of `sides`, on the right the second."""
    import matplotlib
    from matplotlib.figure import Figure

    across = min(2, len(pairs))
    rows = math.ceil(len(pairs) / across)
    wide = WIDTH if across == 2 else WIDTH / 2
    tall = wide / (2 * across) * _aspect(pairs)
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(wide, rows * 0.98 * tall + 0.55), layout="constrained", facecolor="white")
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)  # type: ignore[union-attr]
        grid = figure.add_gridspec(rows, 3 * across - 1, width_ratios=([1, 1, 0.06] * across)[:-1])
        for index, pair in enumerate(pairs):
            row, column = divmod(index, across)
            for side, (picture, title) in enumerate(zip(pair, sides, strict=True)):
                ax = figure.add_subplot(grid[row, 3 * column + side])
                _scene(ax, picture)
                if row == 0:
                    ax.set_title(title, fontsize=8.7, fontweight="normal", wrap=True)
        _line_key(figure)
        return _png(figure, fewer=True)


def people_sheet(people: People) -> bytes:
    """Return a PNG of people, one below the other: as rendered, as translated, and real ones for comparison."""
    import matplotlib
    from matplotlib.figure import Figure

    rows = {"virtual": people.virtual, "translated": people.translated, "real": people.real}
    rows = {name: crops for name, crops in rows.items() if len(crops)}
    columns = max(map(len, rows.values()))
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(0.8 * columns + 0.4, 0.82 * len(rows)), layout="constrained", facecolor="white")
        figure.get_layout_engine().set(w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)  # type: ignore[union-attr]
        axes: Any = figure.subplots(len(rows), columns, squeeze=False)
        for line, (name, crops) in zip(axes, rows.items(), strict=True):
            line[0].set_ylabel(name)
            for place, ax in enumerate(line):
                if place < len(crops):
                    _show(ax, crops[place])
                else:
                    ax.set_axis_off()
        return _png(figure)


def _scene(ax: Axes, picture: Picture) -> None:
    """An image with its boxes; a dark line below each keeps them visible on any ground."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import Normal, Stroke

    image, factor = _small(picture.image)
    _show(ax, image)
    for box, kind in zip(picture.box * factor, picture.kind, strict=True):
        color, line = LINES[kind]
        drawn = Rectangle((box[0] - 0.5, box[1] - 0.5), box[2], box[3], fill=False, edgecolor=color)
        drawn.set(linestyle=line, linewidth=1.3, path_effects=[Stroke(linewidth=2.6, foreground="#000000b0"), Normal()])
        ax.add_patch(drawn)


def _show(ax: Axes, image: np.ndarray) -> None:
    grey = image.shape[2] == 1
    ax.imshow(image[..., 0] if grey else image, cmap="gray" if grey else None, vmin=0, vmax=255)
    ax.set(xticks=[], yticks=[])
    for edge in ax.spines.values():
        edge.set_visible(False)


def _line_key(figure: Figure) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import Normal, Stroke

    dark: Any = [Stroke(linewidth=2.9, foreground="#000000b0"), Normal()]
    marks = [
        Line2D([], [], color=color, linestyle=line, linewidth=1.5, path_effects=dark) for color, line in LINES.values()
    ]
    names = [KINDS[kind] for kind in LINES]
    figure.legend(marks, names, loc="outside upper left", ncols=3, handlelength=4, labelcolor=INK)


def _aspect(pairs: Sequence[tuple[Picture, Picture]]) -> float:
    return max(pair[0].image.shape[0] / pair[0].image.shape[1] for pair in pairs)


def _small(image: np.ndarray) -> tuple[np.ndarray, float]:
    """An image of at most `LARGEST` pixels a side, and by what its boxes are multiplied."""
    factor = min(1.0, LARGEST / max(image.shape[:2]))
    if factor == 1:
        return image, 1.0
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    whole = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    small = np.asarray(whole.resize(size, Image.Resampling.LANCZOS))
    return small.reshape(*small.shape[:2], image.shape[2]), factor


def _png(figure: Figure, *, fewer: bool = False) -> bytes:
    """A PNG, with `fewer` colours at a third of the bytes: those of the lines and words, and the commonest others."""
    whole, small = BytesIO(), BytesIO()
    figure.savefig(whole, format="png", dpi=DPI)
    if not fewer:
        return whole.getvalue()
    full = Image.open(whole).convert("RGB")
    own = bytes.fromhex("".join(color[1:] for color in (*(color for color, _ in LINES.values()), INK, "#000000")))
    palette = Image.new("P", (1, 1))
    palette.putpalette(own + bytes((full.quantize(COLOURS).getpalette() or [])[: 3 * COLOURS]))
    full.quantize(palette=palette, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return small.getvalue()

"""What a report says of detectors: figures, pictures and tables of every test set, of rounds, and what goes with AP.

Here: these sections, their captions, and the files beside the page (each figure's numbers as CSV). Not here: numbers
(`detection_tables`), drawing (`detection_figures`, `scenes`), and where all of it comes from (`detector_facts`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from realfake.measures import COUNTS, SURE
from realfake.report import detection_figures as figures
from realfake.report import scenes
from realfake.report.detection_tables import ALL_TESTS, correlations, picture_rows, round_rows
from realfake.report.drawing import svg
from realfake.report.figures import Frame
from realfake.report.layout import INK
from realfake.report.looks import CELL, DetectionFacts, OfTest, People, leading, mixed_sizes, numbers, summarised
from realfake.report.page import Html, Part, estimate, figure, inline, join, png, section, table, tag
from realfake.tables import NOTHING, count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTIONS = {
    "precision": "Precision against recall on {test} at IoU 0.5, each arm at its largest volume beside each number of "
    "real images. Line: mean over seeds; band: from the lowest to the highest seed. ",
    "distances": "Train2test distance of right and wrong detections on {test} by band of score: real images alone "
    "against the largest synthetic volume beside as many real ones, seeds together. Solid: true positives; dashed: "
    "false positives; ticks at the foot: fewer than ten detections, one by one. Triangles: the mean distance expected "
    "of a held-out detection that lies as the training ones do, where it is known and near. It falls as training "
    "detections become more, so distances of two arms are to be read against their own triangles. ",
    "closeness": "AP_t2t on {test} against the least score: average precision when detections are ranked by their "
    "closeness to the training distribution. Above: recall is of all objects; below: of those that were found. The "
    "two can disagree. Line: mean over seeds; band: range over seeds, or for a single one the 95 % interval over test "
    "images. ",
    "pairs": "{test}: the same images as the detector saw them after training on {left} images (left of each pair) and "
    "on {right} (right), first seed. Solid: true positives with a score of {least} or more at IoU 0.5; dashed: false "
    "positives; dotted: objects that none of them found. ",
    "rounds": "Train2test distance of the virtual images by iteration, to the detector of the round before, and below "
    "the median height of the people taken (mean over seeds, bar: range). Distances of all seeds together. ",
    "people": "People of virtual images as they were rendered, what the translator made of them (arm {arm}, beside "
    "{real} real images, iteration {iteration}), and real people of the training images. ",
    "scatter": "AP against three measures, a mark for every detector and test set. Hollow: trained on real images "
    "alone. ",
}
T2T_HEADER = (
    *("arm", "real", "synthetic", "AP50, %", "distance TP", "distance FP", "ρ", "TP relative"),
    *("AP_t2t 0.01, %", "AP_t2t 0.1, %", "AP_t2t 0.5, %", "gap"),
)
T2T_COLUMNS = (  # and by what they are multiplied
    *(("average_precision_50", 100), ("distance_true_0.1", 1), ("distance_false_0.1", 1), ("rho_0.1", 1)),
    ("distance_true_0.1_relative", 1),
    *(("ap_t2t_0.01", 100), ("ap_t2t_0.1", 100), ("ap_t2t_0.5", 100), ("distribution_gap", 1)),
)
T2T_NOTE = (
    "Each arm at its largest volume beside each number of real images: mean over seeds, in parentheses the range over "
    "seeds. Distances are medians of true (TP) and false positives (FP) with a score of 0.1 or more; ρ is the median "
    "of true ones over what is expected of a held-out detection, so that it is about 1 where they lie as near as the "
    "training ones. Relative: over the median of true ones in the trained domain's own test images. Raw distances and "
    "the gap fall by themselves as training detections become more; ρ, relative ones, and those at a number n of "
    "training detections do not. AP_t2t is of all objects; gap is the mean distance of all true objects."
)
CORRELATION_NOTE = (
    "How measures go with AP over all detectors and test sets, with 95 % intervals; the test sets of one detector are "
    "resampled together. Correlations over several test sets mix what differs between the sets with what differs "
    "between detectors, so each set is told by itself as well."
)


SHOWN = [*CELL, "seed", "trial", "average_precision", *figures.SCATTERED]


def sections(facts: DetectionFacts, folder: Path) -> Html:
    """Write the drawings and numbers of all figures into `folder`, and return the sections that show them."""
    page = _Page(facts, folder)
    parts = [section(f"Detections on {one.name}", *_of_test(page, one)) for one in facts.tests]
    parts.append(section("Virtual images made real", _rounds(page), *(_people(page, one) for one in facts.people)))
    parts.append(section("What goes with average precision", *_correlations(page)))
    page.keep("detectors", facts.looks)
    return join(parts)


class _Page:
    """The facts, and the folder into which every figure is written beside its numbers."""

    def __init__(self, facts: DetectionFacts, folder: Path) -> None:
        self.facts, self.folder = facts, folder
        self.style = figures.arm_styles(facts.looks["arm"])
        self.stand_in = f"{facts.stand_in[:1].upper()}{facts.stand_in[1:]}. " if facts.stand_in else ""

    def keep(self, name: str, data: Frame) -> str:
        """Write a table, every row with what its data are; return words that say where."""
        data = data.assign(data=self.facts.stand_in) if self.facts.stand_in else data
        data.to_csv(self.folder / f"{name}.csv", index=False)
        return f"Numbers: figures/{name}.csv."

    def drawn(self, name: str, data: Frame, draw: Callable[[], Figure], caption: str) -> Html:
        """A figure as SVG; nothing for a table without rows."""
        if not len(data):
            return Html("")
        source = svg(draw())
        (self.folder / f"{name}.svg").write_text(source, "utf-8")
        words = f"{caption}{self.stand_in}{self.keep(name, data)}"
        return figure(inline(source, name, INK), words, label=caption.strip())

    def pictured(self, name: str, data: Frame, picture: bytes, caption: str) -> Html:
        """A picture as PNG."""
        (self.folder / f"{name}.png").write_bytes(picture)
        words = f"{caption}{self.stand_in}{self.keep(name, data)}"
        return tag("figure", png(picture, caption.strip(), smooth=True), tag("figcaption", words))


def slug(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


# ------------------------------------------------------------------------------------------------------- one test set


def _of_test(page: _Page, one: OfTest) -> list[Html]:
    cells = leading(page.facts.looks)
    own = cells[cells["test"] == one.name]
    sizes, at = mixed_sizes(own), slug(one.name)
    precision = one.precision[one.precision["n_real"].isin(sizes)]
    closeness = one.closeness[one.closeness["n_real"].isin(sizes)]
    named = {"test": one.name, "left": one.sides[0], "right": one.sides[1], "least": f"{page.facts.least_score:g}"}
    told = {name: words.format(**named) for name, words in CAPTIONS.items() if "{test}" in words}
    densities = one.distances[one.distances["kind"] != "expected"] if len(one.distances) else one.distances
    known = one.distances if len(densities) else densities
    return [
        _t2t_table(page, own),
        page.drawn(
            f"precision_{at}",
            one.precision,
            lambda: figures.precision_figure(precision, sizes, page.style),
            told["precision"],
        ),
        page.drawn(
            f"closeness_{at}",
            one.closeness if len(closeness) else closeness,
            lambda: figures.closeness_figure(closeness, sizes, page.style),
            told["closeness"],
        ),
        page.drawn(f"distances_{at}", known, lambda: figures.distance_figure(known, page.style), told["distances"]),
        _pairs(page, one, told["pairs"], at),
    ]


def _pairs(page: _Page, one: OfTest, caption: str, at: str) -> Html:
    if not one.pairs:
        return Html("")
    data = picture_rows(one.pairs, one.sides)
    return page.pictured(f"examples_{at}", data, scenes.detection_sheet(one.pairs, one.sides), caption)


def _t2t_table(page: _Page, cells: Frame) -> Html:
    """A row for each arm beside each real size."""
    groups = sorted((own for _, own in cells.groupby(CELL, sort=False)), key=lambda own: own["n_real"].iloc[0])
    unknown = [f"{told} ({'; '.join(_statuses(own))})" for own in groups if (told := _without(own))]
    below = f"Distances are not fully determined of {', '.join(unknown)}. " if unknown else ""
    note = tag("p", f"{T2T_NOTE} {below}{page.stand_in}Every detector: figures/detectors.csv.", class_="note")
    at = _common_count(cells)
    header = (*T2T_HEADER, f"TP at n = {at}") if at else T2T_HEADER
    return join([table(header, [_t2t_row(own, at) for own in groups]), note])


def _common_count(cells: Frame) -> int:
    """Return the most training detections that distances of most cells can be told at; 0 where there is none."""
    known = {n: int(np.isfinite(numbers(cells, f"distance_true_{SURE}_at_{n}")).sum()) for n in COUNTS}
    return max((n for n, times in known.items() if times and times == max(known.values())), default=0)


def _t2t_row(own: Frame, at: int) -> list[Part]:
    first = own.iloc[0]
    synthetic = count(first["n_synthetic"]) + (f" (+ {count(first['n_added'])} real)" if first["n_added"] else "")
    told = (*T2T_COLUMNS, (f"distance_true_{SURE}_at_{at}", 1)) if at else T2T_COLUMNS
    known = [estimate(spread(own, name, scale)) for name, scale in told]
    arm, _, more = first["arm"].partition(" + ")
    name = join([arm, tag("span", f"+ {more}", class_="range")]) if more else arm
    return [name, count(first["n_real"]), estimate(synthetic), *known]


def _without(own: Frame) -> str:
    """A cell whose distances are not all known, in words; "" for any other."""
    first = own.iloc[0]
    return "" if (own["distance_status"] == "ok").all() else f"{first['arm']} beside {count(first['n_real'])}"


def spread(cell: Frame, name: str, scale: float = 1) -> str:
    """The mean of a measure over the looks of a cell with its range: "46.2 (44.0–49.1)", "46.2 (one seed)", "–"."""
    found = summarised(cell, name)
    mean, low, high, number = (*(scale * value for value in found[:3]), found[3])
    if not number:
        return NOTHING
    decimals = _decimals(mean, high - low)
    told = f"{mean:,.{decimals}f}"
    return f"{told} (one seed)" if number == 1 else f"{told} ({low:,.{decimals}f}–{high:,.{decimals}f})"


def _decimals(mean: float, width: float) -> int:
    """Decimals that show two digits of the range, but at most three of the mean, or three of it without a range."""
    of_mean = 2 - math.floor(math.log10(abs(mean))) if mean else 0
    return max(0, min(of_mean, 1 - math.floor(math.log10(width)) if width > 0 else of_mean))


def _statuses(own: Frame) -> list[str]:
    """How well distances are known, each status once, with how often where they differ."""
    found = own["distance_status"].fillna("not known").value_counts()
    return [f"{status} ×{times}" if times > 1 and len(found) > 1 else str(status) for status, times in found.items()]


# --------------------------------------------------------------------------------------- rounds, and what goes with AP


def _rounds(page: _Page) -> Html:
    data = round_rows(page.facts.rounds)
    if not len(data):
        return Html("")
    panels = len(data.groupby(["arm", "n_real"]))
    most = figures.MOST_PANELS
    cut = f"Drawn are the first {most} of {panels} pairs of an arm and a real size. " if panels > most else ""
    return page.drawn("rounds", data, lambda: figures.round_figure(data), CAPTIONS["rounds"] + cut)


def _people(page: _Page, one: People) -> Html:
    told = {"arm": one.arm, "real": count(one.n_real), "iteration": one.iteration}
    data = pd.DataFrame({"virtual_image": one.ids, "place": range(len(one.ids))}).assign(**told)
    return page.pictured(f"people_{slug(one.arm)}", data, scenes.people_sheet(one), CAPTIONS["people"].format(**told))


def _correlations(page: _Page) -> list[Html]:
    data = correlations(page.facts.looks)
    if not len(data):
        return []
    ok = page.facts.looks[page.facts.looks["status"] == "ok"]
    drawn = page.drawn("what_goes_with_ap", ok[SHOWN], lambda: figures.scatter_figure(ok), CAPTIONS["scatter"])
    single = [test for test in dict.fromkeys(data["over"]) if test != ALL_TESTS]
    header = ("measure", "values", "Spearman", "Pearson", *(f"Spearman on {test}" for test in single))
    rows = [_correlation_row(own, single) for _, own in data.groupby("measure", sort=False)]
    note = tag("p", f"{CORRELATION_NOTE} {page.stand_in}{page.keep('correlations', data)}", class_="note")
    return [table(header, rows), note, drawn]


def _correlation_row(own: Frame, tests: Sequence[str]) -> list[Part]:
    by = {row["over"]: row for _, row in own.iterrows()}
    whole = by[ALL_TESTS]
    each = [_correlation(by[test], "spearman") if test in by else NOTHING for test in tests]
    overall = [_correlation(whole, name) for name in ("spearman", "pearson")]
    return [whole["measure"], count(whole["cells"]), *map(estimate, (*overall, *each))]


def _correlation(row: Any, name: str) -> str:
    point, low, high = (row[key] for key in (name, f"{name}_low", f"{name}_high"))
    return NOTHING if math.isnan(point) else f"{point:.2f} [{low:.2f}, {high:.2f}]"

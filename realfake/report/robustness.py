"""What a report says of classifiers on test sets beside their own: errors of every arm, and how robust it is.

Here: these sections, their figure, and the tables beside the page as CSV. Not here: the numbers (`robustness` and
`corrupted` in `statistics`), detectors (`detectors`), equivalents on each set (they stand in the table of arms).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from realfake.intervals import Interval
from realfake.report.axes import MUTED, plain
from realfake.report.drawing import svg
from realfake.report.figures import Frame
from realfake.report.layout import INK, SETTINGS, key, leftmost, lowest, panels, styles
from realfake.report.page import Html, Part, estimate, figure, inline, join, section, table, tag, words
from realfake.statistics.away import paired
from realfake.statistics.currencies import setting
from realfake.statistics.robustness import Line
from realfake.statistics.trial_table import REAL_ONLY
from realfake.tables import NOTHING, count, interval, recipes, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 9
ERRORS = "Error in %, with its 95 % interval over draws and test images. "
MASKED = (
    "Of sets with other classes, the error is among the shared classes; below stands the one among all classes of the "
    "model, with the error on the trial's own test images of the shared classes. "
)
EFFECTIVE = (
    "Effective robustness in points: accuracy on another test set minus what real images alone promise at the same "
    "accuracy at home, by a line through the real-only trials in logits (Taori et al. 2020). Intervals: 95 %, over "
    "seeds, for these test images. "
)
CAPTION = (
    "Accuracy on other test sets against accuracy at home, both in logits, a mark a trial. Line: what the real-only "
    "trials (grey) promise; above it is more robust than accuracy at home explains. "
)
CORRUPTED = (
    "Mean error over corruptions and severities, and mCE relative to as many real images alone (below 1: fewer errors; "
    "relative: of what is lost against clean images). Over these corruptions, so not the number of papers over all "
    "fifteen. Intervals: 95 %, over seeds. "
)


def sections(data: Frame, analysis: dict[str, Any], folder: Path) -> Html:
    """Write the tables and the drawing into `folder`, and return the sections that show them; nothing for one set."""
    found = analysis.get("robustness") or {}
    if not any(found.values()):
        return Html("")
    return join(
        [
            section("Errors on every test set", _errors(analysis, folder), _subsets(found["subsets"], folder)),
            section("Effective robustness", _effective(data, found, folder)),
            section("Corruptions", _corruptions(found["corruptions"], folder)),
        ]
    )


# -------------------------------------------------------------------------------------------------- arms by test sets


def _errors(analysis: dict[str, Any], folder: Path) -> Html:
    """Arms and sizes down, test sets across."""
    across = {name: setting(name).test for name in recipes(analysis) if not setting(name).own}
    several = len({setting(name).recipe for name in across}) > 1
    cells: dict[tuple[str, ...], dict[str, Any]] = {}
    ladder = [{**row, "arm": REAL_ONLY, "n_synthetic": 0} for row in analysis["ladder"]]
    for cell in (*ladder, *analysis["cells"]):
        if cell["recipe"] in across and cell.get("error"):
            told = (f"{cell['arm']}, {setting(cell['recipe']).recipe}" if several else cell["arm"],)
            place = (*told, count(cell["n_real"]), count(cell["n_synthetic"]))
            cells.setdefault(place, {})[across[cell["recipe"]]] = cell
    tests = list(dict.fromkeys(across.values()))
    rows: list[list[Part]] = [
        [*place, *(estimate(_percent(own[test])) if test in own else NOTHING for test in tests)]
        for place, own in cells.items()
    ]
    flat = [
        {
            **dict(zip(("arm", "n_real", "n_synthetic"), place, strict=True)),
            "test": test,
            **_flat("error", cell["error"]),
        }
        for place, own in cells.items()
        for test, cell in own.items()
    ]
    return join([table(("arm", "real", "synthetic", *tests), rows), _note(ERRORS, _kept("test_sets", flat, folder))])


def _percent(cell: dict[str, Any]) -> str:
    value = interval(cell, "error")
    return shown(value.scaled(100) if value is not None else None, cell["replicates"])


def _subsets(rows: list[dict[str, Any]], folder: Path) -> Html:
    """Errors among the shared classes and among all, where a set has other classes than the trial."""
    if not rows:
        return Html("")
    header = ("test set", "shared classes", "arm", "real", "synthetic", "error among shared, %", "error among all, %")
    made: list[list[Part]] = [
        [
            *(row["test"], count(row["n_classes_shared"]), *_place(row)),
            *(estimate(_points(row, name)) for name in ("error_masked", "error_full", "error_own_masked")),
        ]
        for row in rows
    ]
    return join(
        [table((*header, "at home among shared, %"), made), _note(MASKED, _kept("class_subsets", rows, folder))]
    )


# ------------------------------------------------------------------------------------------------ effective robustness


def _effective(data: Frame, found: dict[str, Any], folder: Path) -> Html:
    rows, reasons = found["effective"], _reasons(found)
    below = [_note(reason) for reason in reasons]
    if not rows:
        return join(below)
    header = (
        "test set",
        "arm",
        "real",
        "synthetic",
        "error at home, %",
        "error, %",
        "expected, %",
        "effective robustness",
    )
    made: list[list[Part]] = [
        [
            *(row["test"], *_place(row)),
            *(f"{100 * row[name]:.1f}" for name in ("home_error", "error", "expected_error")),
            words(estimate(_points(row, "robustness"))),
        ]
        for row in rows
    ]
    note = _note(EFFECTIVE, _kept("effective_robustness", rows, folder))
    return join([table(header, made), note, *below, _drawn(data, found["lines"], folder)])


def _reasons(found: dict[str, Any]) -> list[str]:
    """Why nothing is expected on a set, and why single cells are withheld, each reason once."""
    told = [f"Nothing is expected on {line['test']}: {line['reason']}." for line in found["lines"] if "reason" in line]
    held = [(row, row["robustness"]["reason"]) for row in found["effective"] if row["robustness"]["reason"]]
    return told + [f"Withheld on {row['test']} for {row['arm']} at {_mixture(row)}: {reason}." for row, reason in held]


def _mixture(row: dict[str, Any]) -> str:
    return f"{count(row['n_real'])} + {count(row['n_synthetic'])}"


def _drawn(data: Frame, lines: list[dict[str, Any]], folder: Path) -> Html:
    points = paired(data)
    source = svg(robustness_figure(points, lines))
    (folder / "robustness.svg").write_text(source, "utf-8")
    names = ["base", "test", "home", "arm", "n_real", "n_synthetic", "n_generator", "seed", "home_error", "error"]
    points[names].to_csv(folder / "robustness.csv", index=False)
    return figure(
        inline(source, "robustness", INK), f"{CAPTION}Numbers: figures/robustness.csv.", label=CAPTION.strip()
    )


def robustness_figure(points: Frame, lines: list[dict[str, Any]]) -> Figure:
    """A panel for each of the first nine test sets that have a line: accuracy there against accuracy at home."""
    import matplotlib

    known = [line for line in lines if "slope" in line][:MOST_PANELS]
    style = styles(name for name in dict.fromkeys(points["arm"]) if name != REAL_ONLY)
    looks = {REAL_ONLY: {"color": MUTED, "marker": "o", "linestyle": "-"}}
    looks |= {name: {"color": color, "marker": mark, "linestyle": "none"} for name, (color, mark, _) in style.items()}
    with matplotlib.rc_context(SETTINGS):
        drawn, (axes,) = panels(len(known), titles=looks)
        for index, (ax, line) in enumerate(zip(axes, known, strict=True)):
            own = points[(points["base"] == line["recipe"]) & (points["test"] == line["test"])]
            _panel(ax, own, Line(line["intercept"], line["slope"]), style)
            ax.set_title(line["test"])
            ax.set_xlabel("accuracy at home, %" if lowest(index, len(known)) else "")
            ax.set_ylabel("accuracy, %" if leftmost(index, len(known)) else "")
        key(drawn, looks)
        return drawn


def _panel(ax: Axes, own: Frame, line: Line, style: dict[str, Any]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    accuracy = [np.clip(1 - own[name].to_numpy(float), 0.001, 0.999) for name in ("home_error", "error")]
    alone = (own["arm"] == REAL_ONLY).to_numpy()
    reach = np.linspace(accuracy[0].min(), accuracy[0].max(), 50)
    ax.plot(reach, line.expected(reach), color=MUTED, linewidth=1.1)
    ax.plot(accuracy[0][alone], accuracy[1][alone], "o", color=MUTED, markersize=4)
    for arm, (color, mark, _) in style.items():
        there = (own["arm"] == arm).to_numpy()
        ax.plot(accuracy[0][there], accuracy[1][there], mark, color=color, markersize=4)
    for axis, scale in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
        scale("logit")
        axis.set_major_locator(MaxNLocator(4))
        axis.set_major_formatter(FuncFormatter(lambda v, _: plain(100 * v)))
        axis.set_minor_formatter(NullFormatter())


# ---------------------------------------------------------------------------------------------------------- corruptions


def _corruptions(rows: list[dict[str, Any]], folder: Path) -> Html:
    if not rows:
        return Html("")
    header = ("arm", "real", "synthetic", "corruptions", "sets", "mean error, %", "mCE", "relative mCE")
    made: list[list[Part]] = [
        [
            *_place(row),
            *(count(row["corruptions"]), count(row["sets"]), estimate(_points(row, "mean_error"))),
            *(NOTHING if row["arm"] == REAL_ONLY else estimate(_shown(row, name)) for name in ("mce", "relative_mce")),
        ]
        for row in rows
    ]
    return join([table(header, made), _note(CORRUPTED, _kept("corruptions", rows, folder))])


# --------------------------------------------------------------------------------------------------------------- pieces


def _place(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["arm"], count(row["n_real"]), count(row["n_synthetic"])


def _points(row: dict[str, Any], name: str) -> str:
    """A share as points of a hundred."""
    value = Interval.from_json(row[name]) if name in row else None
    return shown(value.scaled(100) if value is not None else None, row["replicates"])


def _shown(row: dict[str, Any], name: str) -> str:
    return shown(Interval.from_json(row[name]), row["replicates"])


def _note(*texts: str) -> Html:
    return tag("p", *texts, class_="note")


def _kept(name: str, rows: Iterable[dict[str, Any]], folder: Path) -> str:
    """Write rows as CSV, an interval as its point and ends; return words that say where."""
    flat = [{k: v for key, value in row.items() for k, v in _flat(key, value).items()} for row in rows]
    pd.DataFrame(flat).to_csv(folder / f"{name}.csv", index=False)
    return f"Numbers: figures/{name}.csv."


def _flat(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    return {
        name: value["point"],
        f"{name}_low": value["low"],
        f"{name}_high": value["high"],
        f"{name}_reason": value["reason"],
    }

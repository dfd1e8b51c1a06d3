"""What a report says of scaling laws class by class: slopes, types, and what was measured of the images of each.

Here: this section and its numbers as CSV. Not here: the numbers (`statistics.class_slopes`), all classes together
(`slopes`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from realfake.intervals import Interval
from realfake.report.page import Html, Part, estimate, join, section, table, tag, words
from realfake.report.slopes import flat_ends, named, note, told
from realfake.statistics.class_slopes import EASY
from realfake.tables import NOTHING, count, shown

Row = dict[str, Any]
COLUMNS = ("class", "test images", "k", "k of real", "error, %", "type")
BY_CLASS = (
    "Lines of single classes, from their own test images. Types are by our own rule, for the paper's was not found: "
    f"easy, an error of at most {100 * EASY:.0f} % at the largest volume; else scaling, a slope surely above 0; else "
    "poor, a slope surely below that of real images of the class; else undecided. Recognisability is the F1 of a "
    "classifier of real images, diversity the standard deviation of features, both of the synthetic images of the "
    "class and the mean over pools. "
)
OVER_CLASSES = (
    "Spearman's rank correlation over classes of the slope with what was measured of the synthetic images of each. "
    "Intervals take classes for independent; that slopes are estimates draws correlations towards 0. "
)


def sections(analysis: Row, folder: Path) -> Html:
    """Return the section on single classes, and write their numbers into `folder`; nothing where none has a line."""
    found = analysis.get("class_slopes") or {}
    rows = [row for row in found.get("slopes") or () if "slope" in row]
    if not rows:
        return Html("")
    measures = {place: _of_class(found["measures"], place) for place in _lines_of(rows)}
    _class_table(rows, measures).to_csv(folder / "class_slopes.csv", index=False)
    several = len({row["recipe"] for row in rows}) > 1
    tables = [
        join([_types(own, several), table((*COLUMNS, *measures[place]), _class_rows(own, measures[place]))])
        for place in measures
        if (own := [row for row in rows if _place(row) == place])
    ]
    below = note(BY_CLASS, "Numbers: figures/class_slopes.csv.")
    return section("Scaling laws, class by class", *tables, below, _over_classes(found["correlations"]))


def _place(row: Row) -> tuple[str, str, int]:
    return row["recipe"], row["arm"], row["n_generator"]


def _lines_of(rows: list[Row]) -> list[tuple[str, str, int]]:
    return list(dict.fromkeys(map(_place, rows)))


def _of_class(measured: list[Row], place: tuple[str, str, int]) -> dict[str, dict[str, float]]:
    """The measures of an arm's images, by heading, then class."""
    found: dict[str, dict[str, float]] = {}
    for row in measured:
        if (row["arm"], row["n_generator"]) == place[1:]:
            found.setdefault(f"{row['measure']} ({row['space']})", {})[row["class"]] = row["value"]
    return found


def _types(rows: list[Row], several: bool) -> Html:
    """How many classes are of each type, in a line."""
    kinds = [row["type"] for row in rows]
    counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(sorted(kinds)))
    return tag("p", f"{named(rows[0], several)}, up to {count(rows[0]['n_synthetic'])}: {counted}.")


def _class_rows(rows: list[Row], measures: dict[str, dict[str, float]]) -> list[list[Part]]:
    return [
        [
            *(row["class"], count(row["n_test"]), estimate(told(row["slope"])), estimate(told(row["slope_real"]))),
            *(estimate(shown(Interval.from_json(row["error"]).scaled(100), 1)), row["type"]),
            *(f"{of[row['class']]:.3g}" if row["class"] in of else NOTHING for of in measures.values()),
        ]
        for row in rows
    ]


def _class_table(rows: list[Row], measures: dict[Any, dict[str, dict[str, float]]]) -> pd.DataFrame:
    flat = []
    for row in rows:
        plain = {name: value for name, value in row.items() if not isinstance(value, dict)}
        held = {name: value for name, value in row.items() if isinstance(value, dict)}
        more = {name: of.get(row["class"]) for name, of in measures[_place(row)].items()}
        flat.append({**plain, **flat_ends(held), **more})
    return pd.DataFrame(flat)


def _over_classes(correlations: list[Row]) -> Html:
    if not correlations:
        return Html("")
    several = len({row["recipe"] for row in correlations}) > 1
    rows: list[list[Part]] = [
        [
            words(named(row, several)),
            words(f"{row['measure']} ({row['space']})"),
            count(row["classes"]),
            estimate(shown(Interval.from_json(row["correlation"]))),
        ]
        for row in correlations
    ]
    return join([table(("images", "measure", "classes", "rank correlation with k"), rows), note(OVER_CLASSES)])

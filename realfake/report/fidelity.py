"""What a report says of how like real images those of its pools are: a table and a figure, by feature space.

Here: this section and its numbers as CSV. Not here: what is measured (`realfake.fidelity`), what images are *worth*
(the tables of arms), how they were drawn (`pools`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from realfake.intervals import Interval
from realfake.report.axes import MUTED, plain
from realfake.report.drawing import svg
from realfake.report.figures import Frame
from realfake.report.layout import INK, SETTINGS, key, leftmost, lowest, panels, styles
from realfake.report.page import Html, Part, estimate, figure, inline, join, section, table, tag, words
from realfake.report.slopes import flat_ends
from realfake.tables import NOTHING, count, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REAL = "real images beside real ones"
NUMBERS = ("value", "low", "high", "null", "null_low", "null_high", "p_value")
NOTE = (
    "Each pool beside the real images that its generator was fitted on, in the feature space “{space}”. Of one pool "
    "the interval is 95 % over images; of several their mean and [lowest, highest]. “{real}”: the same of images that "
    "no generator saw (of MMD² by permutation, of separability between halves, of diversity the real images "
    "themselves). Fréchet and kernel distance are FID and KID in this space. None of these says what images are "
    "worth. Numbers: figures/fidelity.csv."
)
CAPTION = (
    "Measures of likeness in the feature space “{space}” against the number of real images that the generator was "
    "fitted on, a mark a pool with its 95 % interval over images. Dashed: what real images give beside real ones. "
    "Numbers: figures/fidelity.csv."
)


SCORED = (
    "Classification accuracy score (CAS, Ravuri and Vinyals 2019, arXiv 1905.10887): accuracy in % on real test images "
    "of classifiers that were trained on synthetic images alone, the mean over pools and [lowest, highest]; of one "
    "pool the interval is 95 % over test images. Theirs are as many as the real training set, ours as many as the "
    "column says. “Real”: of as many real images as the generator saw. Numbers: figures/accuracy_scores.csv. "
)
RANKED = (
    "Spearman's rank correlation of each measure with what the pools were worth, their added real equivalent a at "
    "their largest volume beside n real images, read off the real-only curve: with a, with a / n (n drives a and most "
    "measures), and within each n, which takes n out. Below 0: pools with less of the measure were worth more. "
    "Intervals: 95 %, a jackknife over the real subsets that generators saw; those of one draw lie inside each other, "
    "so pools are fewer than they seem. The worth of a single pool is noisy, which draws correlations towards 0; "
    "nothing is corrected for the number of measures. Numbers: figures/pool_worths.csv and worth_correlations.csv."
)
RANKS = {"equivalent": "with a", "relative": "with a / n", "within_n": "within each n"}


def sections(found: list[dict[str, Any]] | None, folder: Path, pools: dict[str, Any] | None = None) -> Html:
    """Return the section on fidelity, and write its drawings and numbers into `folder`; nothing where none is made.

    `pools` is what the trials say of each pool: "scores", "worths" and "correlations" (`statistics.pool_worths`).
    """
    told = pools or {}
    parts = [_scores(told.get("scores") or [], folder)]
    if found:
        data = long_table(found)
        data.to_csv(folder / "fidelity.csv", index=False)
        spaces = data.groupby("of", sort=False)
        parts += [_of_space(str(space), own, folder, i) for i, (space, own) in enumerate(spaces)]
        parts += [_foretold(told, folder)]
    return section("How like real images", *parts)


def long_table(found: list[dict[str, Any]]) -> Frame:
    """One row for every pool and measure, with its interval and that of real images."""
    names = ("arm", "pool", "n_generator", "n_real", "n_synthetic", "n_held_out")
    rows = [
        {**{name: one[name] for name in names}, "of": one["space"], **measure}
        for one in found
        for measure in one["measures"]
    ]
    data = pd.DataFrame(rows)
    return data.assign(**{name: float("nan") for name in (*NUMBERS, "note") if name not in data})


def _scores(scores: list[dict[str, Any]], folder: Path) -> Html:
    """The classification accuracy score of each arm, generator size and volume."""
    if not scores:
        return Html("")
    flat = [{**one, **flat_ends({k: one[k] for k in ("score", "real") if one[k]})} for one in scores]
    data: Frame = pd.DataFrame(flat)
    data.to_csv(folder / "accuracy_scores.csv", index=False)
    several = data["recipe"].nunique() > 1
    rows: list[list[Part]] = []
    for (recipe, arm, n, m), own in data.groupby(["recipe", "arm", "n_generator", "n_synthetic"], sort=True):
        named = ", ".join(filter(None, (str(arm), str(recipe) if several else "")))
        shares = [estimate(_share(own, name)) for name in ("score", "real")]
        rows.append([words(named), count(n), count(m), count(own["pool"].nunique()), *shares])
    header = ("arm", "generator's real images", "synthetic images", "pools", "CAS, %", "real, %")
    return join([table(header, rows), tag("p", SCORED, class_="note")])


def _share(own: Frame, name: str) -> str:
    """The mean of a share over pools in %, with its range; of one pool with its interval."""
    if name not in own or not own[name].notna().any():
        return NOTHING
    known = 100 * own.loc[own[name].notna(), [name, f"{name}_low", f"{name}_high"]].astype(float)
    low, high = (f"{name}_low", f"{name}_high") if len(known) == 1 else (name, name)
    return f"{known[name].mean():.1f} [{known[low].min():.1f}, {known[high].max():.1f}]"


def _foretold(pools: dict[str, Any], folder: Path) -> Html:
    """How each measure ranks with what the pools were worth."""
    found = pools.get("correlations") or []
    if not found:
        return Html("")
    pd.DataFrame(pools["worths"]).to_csv(folder / "pool_worths.csv", index=False)
    rows = [{**row, **flat_ends({name: row[name] for name in RANKS})} for row in found]
    pd.DataFrame(rows).to_csv(folder / "worth_correlations.csv", index=False)
    tables: list[Part] = []
    for place in dict.fromkeys((row["recipe"], row["among"]) for row in found):
        own = [row for row in found if (row["recipe"], row["among"]) == place]
        tables.append(
            table(("measure", "space", "pools", "real subsets", *RANKS.values()), map(_ranked, own), _of(place))
        )
    return join([tag("h3", "Does any measure foretell the worth?"), *tables, tag("p", RANKED, class_="note")])


def _of(place: tuple[str, str]) -> str:
    return ", ".join(filter(None, place))


def _ranked(row: dict[str, Any]) -> list[Part]:
    shares = [estimate(shown(Interval.from_json(row[name]))) for name in RANKS]
    return [row["measure"], words(row["space"] or NOTHING), count(row["pools"]), count(row["clusters"]), *shares]


def _of_space(space: str, data: Frame, folder: Path, index: int) -> Html:
    measures = list(dict.fromkeys(data["measure"]))
    rows: list[list[Part]] = []
    for n_generator, of_size in data.groupby("n_generator"):
        for arm, own in of_size.groupby("arm", sort=False):
            rows.append([str(arm), count(n_generator), count(own["pool"].nunique()), *_cells(own, measures, "value")])
        rows.append([REAL, count(n_generator), count(of_size["pool"].nunique()), *_cells(of_size, measures, "null")])
    notes = sorted({str(note) for note in data["note"].dropna() if note})
    below = [NOTE.format(space=space, real=REAL), *(f"Not taken everywhere: {note}." for note in notes)]
    header = ("arm", "generator's real images", "pools", *measures)
    return join(
        [table(header, rows), *(tag("p", text, class_="note") for text in below), _drawing(space, data, folder, index)]
    )


def _cells(own: Frame, measures: list[str], side: str) -> list[Part]:
    return [words(_cell(own[own["measure"] == measure], side)) for measure in measures]


def _cell(own: Frame, side: str) -> str:
    """One measure of the pools of an arm: mean and range of several, value and interval of one; of real images the
    mean, and the ends of all intervals."""
    known = own[own[side].notna()]
    if not len(known):
        return NOTHING
    low, high = ("low", "high") if side == "value" else ("null_low", "null_high")
    one = known.iloc[0]
    ends = (one[low], one[high]) if len(known) == 1 else (known[side].min(), known[side].max())
    ends = ends if side == "value" else (known[low].min(), known[high].max())
    return f"{known[side].mean():.3g} [{ends[0]:.3g}, {ends[1]:.3g}]"


def _drawing(space: str, data: Frame, folder: Path, index: int) -> Html:
    name = "fidelity" if index == 0 else f"fidelity_{index + 1}"
    source = svg(draw(data))
    (folder / f"{name}.svg").write_text(source, "utf-8")
    caption = CAPTION.format(space=space)
    return figure(inline(source, name, INK), caption, label=caption)


def draw(data: Frame) -> Figure:
    """A panel a measure: values with intervals against real images of the generator, and what real images give."""
    import matplotlib

    known = data[data["value"].notna()]
    measures, style = list(dict.fromkeys(known["measure"])), styles(dict.fromkeys(known["arm"]))
    looks = {str(arm): {"color": c, "marker": m, "linestyle": "none"} for arm, (c, m, _) in style.items()}
    looks[REAL] = {"color": MUTED, "linestyle": "--"}
    with matplotlib.rc_context(SETTINGS):
        drawn, (axes,) = panels(len(measures), titles=looks)
        for place, (ax, measure) in enumerate(zip(axes, measures, strict=True)):
            _panel(ax, known[known["measure"] == measure], style)
            ax.set_title(measure)
            ax.set_xlabel("real images of the generator" if lowest(place, len(measures)) else "")
            ax.set_ylabel("value" if leftmost(place, len(measures)) else "")
        key(drawn, looks)
    return drawn


def _panel(ax: Axes, own: Frame, style: dict[str, tuple[Any, ...]]) -> None:
    sizes = sorted(own["n_generator"].unique())
    for turn, (arm, (color, mark, _)) in enumerate(style.items()):
        part = own[own["arm"] == arm]
        aside = 0.5 * (turn - (len(style) - 1) / 2) / max(len(style), 1)  # arms of one size beside each other
        places = [sizes.index(n) + aside for n in part["n_generator"]]
        ax.vlines(places, part["low"], part["high"], color=color, linewidth=1)
        ax.plot(places, part["value"], mark, color=color, markersize=4)
    for place, size in enumerate(sizes):
        level = own[own["n_generator"] == size]["null"].mean()
        ax.plot([place - 0.4, place + 0.4], [level, level], color=MUTED, linewidth=1, linestyle="--")
    ax.set_xticks(range(len(sizes)), [plain(size) for size in sizes])

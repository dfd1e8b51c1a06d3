"""What a report says of membership inference: a table of attacks, and their ROC curves on logarithmic axes.

Here: this section, its words, and its numbers as CSV. Not here: how an attack works (`realfake.privacy`), and what else
a page holds (`report`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from realfake.intervals import Interval
from realfake.privacy.curves import numbers, sides
from realfake.report.axes import MUTED
from realfake.report.drawing import svg
from realfake.report.figures import Frame
from realfake.report.layout import INK, SETTINGS, legend, panels, styles
from realfake.report.page import Html, Part, bullets, estimate, figure, inline, paragraphs, section, table, tag
from realfake.tables import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWN = ("online LiRA, fixed variance", "offline LiRA, fixed variance", "global threshold")
HEADER = ("arm", "examples", "attack", "TPR at 0.1 % FPR", "TPR at 1 % FPR", "AUC", "best balanced accuracy")
CAPTION = (
    "Members found against non-members taken for members, at every threshold from ten false positives on: each attack "
    "on {population}, over {models} shadow models in turn. Dashed: guessing. Bands: 95 % intervals over models and "
    "examples. Numbers: figures/membership.csv."
)
NOTE = (
    "Each model is attacked with the others, half of which were made from any one image and half were not. Intervals "
    "are 95 %, from resamples of models crossed with resamples of examples. Best balanced accuracy is at the threshold "
    "that is best for these decisions, a little above ½ for an attack that knows nothing. Where fewer than ten false "
    "positives stand behind a rate, the value is below resolution. An attack that reaches little leaves open what "
    "another one reaches."
)


def sections(found: dict[str, Any] | None, folder: Path) -> Html:
    """Return the section on membership inference, and write its drawing and numbers into `folder`.

    `found` is the JSON of a `realfake.privacy.Membership`; nothing comes of a study without audits.
    """
    title = "Which real images the models give away"
    if not found or not found["attacks"]:
        return section(title, bullets(found["unmade"] if found else ()))
    data = curve_table(found["attacks"])
    data.to_csv(folder / "membership.csv", index=False)
    rows = pd.DataFrame([numbers(attack) for attack in found["attacks"]])
    rows.to_csv(folder / "membership_attacks.csv", index=False)
    drawn = [_drawing(part, str(name), folder) for name, part in data.groupby("population", sort=False)]
    return section(title, *_said(found), *drawn)


def _said(found: dict[str, Any]) -> list[Html]:
    several = len({attack["recipe"] for attack in found["attacks"]}) > 1
    rows = [_row(attack, several) for attack in found["attacks"]]
    remarks = [f"{attack['arm']}: {note}" for attack in found["attacks"] for note in attack["notes"]]
    return [
        paragraphs(_contrast(contrast) for contrast in found["contrasts"]),
        table(HEADER, rows),
        tag("p", NOTE, class_="note"),
        bullets([*dict.fromkeys(remarks), *found["unmade"]]),
    ]


def _contrast(contrast: dict[str, Any]) -> str:
    difference = Interval.from_json(contrast["difference"])
    return (
        f"On {contrast['population']} the AUC of {DRAWN[0]} against {contrast['arm']} differs from that against "
        f"{contrast['against']}, trained on the same halves, by {difference}."
    )


def _row(attack: dict[str, Any], several: bool) -> list[Part]:
    """A row of the table; the arm with its recipe where there are several."""
    told = [_rate(point["tpr"]) for point in attack["at"]]
    numbers = [str(Interval.from_json(attack[name])) for name in ("auc", "balanced_accuracy")]
    examples = f"{count(attack['examples'])} {attack['population']}"
    arm = f"{attack['arm']}, {attack['recipe']}" if several else attack["arm"]
    return [arm, examples, attack["attack"], *map(estimate, (*told, *numbers))]


def _rate(values: dict[str, Any]) -> str:
    rate = Interval.from_json(values)
    return rate.reason if rate.censored == "withheld" else f"{rate.scaled(100)} %"


# ------------------------------------------------------------------------------------------------------------- drawing


def curve_table(attacks: list[dict[str, Any]]) -> Frame:
    """One row for every drawn point of every ROC curve: arm, population, attack, fpr, tpr and its interval."""
    names = ("arm", "recipe", "population", "attack", "models")
    return pd.DataFrame(
        [
            {**{name: attack[name] for name in names}, "fpr": point["fpr"], **sides("tpr", point["tpr"])}
            for attack in attacks
            for point in attack["curve"]
        ]
    )


def _drawing(data: Frame, population: str, folder: Path) -> Html:
    name = f"membership_{population.split()[0]}"
    source = svg(draw(data))
    (folder / f"{name}.svg").write_text(source, "utf-8")
    words = CAPTION.format(population=population, models=data["models"].max())
    return figure(inline(source, name, INK), words, label=words)


def draw(data: Frame) -> Figure:
    """The ROC curves of one population on logarithmic axes: a panel for each attack, a line for each arm."""
    import matplotlib

    with matplotlib.rc_context(SETTINGS):
        arms = list(dict.fromkeys(data["arm"]))
        shown = [attack for attack in DRAWN if (data["attack"] == attack).any()]
        figure_, [axes] = panels(len(shown), titles=arms)
        style = styles(arms)
        for ax, attack in zip(axes, shown, strict=True):
            _panel(ax, data[data["attack"] == attack], style)
            ax.set_title(attack)
        axes[0].set_ylabel("true-positive rate")
        legend(figure_, {arm: arm for arm in arms}, style)
    return figure_


def _panel(ax: Axes, data: Frame, style: dict[str, tuple[Any, ...]]) -> None:
    from matplotlib.ticker import FuncFormatter

    least = float(data["fpr"].min())
    ax.plot([least, 1], [least, 1], color=MUTED, linewidth=1, linestyle="--")
    for arm, (color, _, line) in style.items():
        for _, own in data[data["arm"] == arm].groupby("recipe", sort=False):
            low, high = (own[side].clip(lower=least / 10) for side in ("tpr_low", "tpr_high"))
            ax.fill_between(own["fpr"], low, high, color=color, alpha=0.15, linewidth=0)
            ax.plot(own["fpr"], own["tpr"].clip(lower=least / 10), color=color, linestyle=line, linewidth=1.2)
    ax.set(xscale="log", yscale="log", xlim=(least, 1), ylim=(least / 2, 1.1), xlabel="false-positive rate")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
        axis.set_minor_formatter(FuncFormatter(lambda share, _: ""))

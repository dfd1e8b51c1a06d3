"""How the numbers of a report were made, and which law: the estimand, the noise, and the laws that were tried.

Here: these parts of the page, from the analysis alone; what an older analysis does not hold is left out. Not here:
parameters of the fits (`appendix`), standing words (`captions`), the comparison itself (`choice`).
"""

from __future__ import annotations

from typing import Any

from realfake.intervals import Interval
from realfake.laws import LAWS
from realfake.report.page import Html, Part, bullets, estimate, join, paragraphs, table, tag, words
from realfake.responses import RESPONSES
from realfake.statistics.choice import NEAR
from realfake.statistics.warned import warned
from realfake.tables import NOTHING, count, recipes, shown

ESTIMAND = (
    "Every number estimates an expectation: the expected response when n images are drawn from this data set (and, "
    "where there are synthetic images, with a generator, a pool and m of its images), and the recipe is trained on "
    "them. It is not the response of one particular training set, and it holds for this recipe alone."
)
NOISES = {
    "random effects": "variances by source, from the differences between replicates, with their own uncertainty; seeds "
    "that change together count as one source, the coarsest of them",
    "replicates resampled": "whole replicates are resampled",
    "residuals of the fit": "no cell was repeated, so the scatter about the law stands in for it",
}
LAW_HEADER = ("law", "held-out error, %", "behind the best, %²", "lack of fit, p", "equivalent", "in the set", "fit")
LAW_NOTE = (
    "Held-out error: the root mean squared relative error in cells that the law did not see. Behind the best: its mean "
    f"square above that of the best law, ± the standard error of the difference. Laws within {NEAR:g} standard errors "
    "make up the set, without those that their lack-of-fit test rejects unless it rejects them all. An answer by law "
    "has the point of the first, which is the simplest of the set, and an interval that spans those of the whole set."
)


def made(analysis: dict[str, Any]) -> Html:
    """The estimand, what the intervals hold, every fit's noise and replicates, and where the warnings stand."""
    fits = [_fit(fit, analysis) for fit in analysis["fits"] if fit.get("noise")]
    said = paragraphs([ESTIMAND, _intervals(analysis["settings"])])
    return join([said, bullets(fits), tag("p", _warnings(warned(analysis)))])


def _intervals(settings: dict[str, Any]) -> str:
    if "bootstrap" not in settings:
        return "Intervals are 95 %."
    images = {
        True: "The choice of test images is among what they differ in, wherever no warning says otherwise.",
        False: "The choice of test images is not in the intervals, for results image by image were not given.",
    }
    return (
        f"Intervals are 95 % percentile intervals over {count(settings['bootstrap'])} simulated tables (seed "
        f"{settings['seed']}) that differ as replicates of this study do, each fitted anew. "
        f"{images[bool(settings.get('test_images'))]}"
    )


def _fit(fit: dict[str, Any], analysis: dict[str, Any]) -> str:
    noise = next((f" ({text})" for name, text in NOISES.items() if fit["noise"].startswith(name)), "")
    others = [f"'{other['law']}'" for other in fit.get("alternatives") or ()]
    law = f"law '{fit['law']}'" + (f", intervals spanning {', '.join(others)} too" if others else "")
    lost = f", {count(fit['n_diverged'], 'diverged trial')} left out" if fit.get("n_diverged") else ""
    trials = f"{count(fit['n_trials'], 'trial')} in {count(fit['n_replicates'], 'replicate')}{lost}"
    notes = "".join(f"; {note}" for note in fit.get("notes") or ())
    return f"{_where(fit, analysis)}: {law}; {trials}; noise: {fit['noise']}{noise}{notes}."


def _where(one: dict[str, Any], analysis: dict[str, Any]) -> str:
    recipe = one["recipe"] if len(recipes(analysis)) > 1 else ""
    return ", ".join(filter(None, (one["arm"], recipe, RESPONSES.get(one["response"], one["response"]))))


def _warnings(warnings: list[str]) -> str:
    if not warnings:
        return "The analysis raised no warning."
    stands = "warning stands" if len(warnings) == 1 else "warnings stand"
    return f"{count(len(warnings))} {stands} below the answer, at the head of this page."


# ---------------------------------------------------------------------------------------------------- which law


def comparisons(analysis: dict[str, Any]) -> Html:
    """A table for each arm and response of every law that was tried, best first, and their equations below."""
    found = [one for one in analysis.get("comparisons") or () if one["laws"]]
    used = dict.fromkeys(law["law"] for one in found for law in one["laws"])
    equations = [tag("li", f"{name}: ", tag("span", LAWS[name].equation, class_="equation")) for name in used]
    parts: list[Part] = [_comparison(one, analysis) for one in found]
    below = [tag("p", LAW_NOTE, class_="note"), tag("ul", *equations, class_="note")]
    return join([*parts, *below]) if found else Html("")


def _comparison(one: dict[str, Any], analysis: dict[str, Any]) -> Html:
    n, m = one["at"]
    rows = [_law(law if m else {**law, "equivalent": None}) for law in one["laws"]]  # an arm without real images
    header = [f"equivalent at {count(n)} + {count(m)}" if m and "equi" in name else name for name in LAW_HEADER]
    held = count(one["held_out_cells"], "prediction") if one["held_out_cells"] else "nothing could be held out"
    caption = f"{_where(one, analysis)}: which law, by {held} of cells held out"
    return table(header, rows, caption if one["held_out_cells"] else f"{_where(one, analysis)}: {held}")


def _law(law: dict[str, Any]) -> list[Part]:
    worth = Interval.from_json(law["equivalent"]) if law["equivalent"] else None
    error, behind, p = law["held_out_error"], law["behind"], law["lack_of_fit_p"]
    status = law["status"] + (f" ({law['why']})" if law["why"] else "")
    return [
        law["law"],
        NOTHING if error is None else f"{100 * error:.1f}",
        NOTHING if behind is None else "best" if not behind else f"{1e4 * behind:.0f} ± {1e4 * law['behind_se']:.0f}",
        NOTHING if p is None else f"{p:.3f}",
        estimate(shown(worth)),
        "yes" if law["in_set"] else "",
        words(status),
    ]

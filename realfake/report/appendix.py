"""What an answer rests on, as the later parts of a report: laws, copies, data, environments, trials that went wrong.

Here: those sections, each from plain facts, each empty when there is nothing to say. Not here: the order of the page
and its main tables (`report`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from realfake.intervals import Interval
from realfake.laws import LAWS, POWER
from realfake.report.figures import Frame
from realfake.report.page import Html, Part, bullets, estimate, join, linked, paragraphs, table, tag, words
from realfake.responses import RESPONSES
from realfake.statistics.matched_pairs import PROVENANCE, PUBLISHED_C2
from realfake.tables import CLAIM_HEADER, NOTHING, REAL_ONLY, claim_notes, claim_rows, count, shown

LACK_OF_FIT_LEVEL = 0.05
LEVELS = {"arms": "arm", "volumes": "volume"}
FINISHED = ("ok", "finished")  # the status of a trial with a result: of a record, of a table without records


# --------------------------------------------------------------------------------------------------------------- laws


def fits(analysis: dict[str, Any]) -> Html:
    """Every fit: its law, parameters with intervals and meanings, how it ended, and lack of fit in words."""
    return join((*(_fit(fit) for fit in analysis["fits"]), _wang(analysis.get("wang") or [])))


def _wang(found: list[dict[str, Any]]) -> Html:
    """Wang's law beside the main one: its c2 for every arm and response, and how it ended."""
    told = [one for one in found if not _nothing_in(one)]
    rows: list[list[Part]] = [
        [
            words(", ".join(filter(None, (one["arm"], one["recipe"])))),
            str(RESPONSES.get(one["response"], one["response"])),
            estimate(shown(Interval.from_json(one["c2"]))),
            words(_ended(one) if one.get("status") else "not fitted: see below"),
            *_by_pairs(one.get("pairs_fit")),
        ]
        for one in told
    ]
    title = tag("h3", f"Beside it: {LAWS['wang'].source.split(',')[0]}, c2")
    header = ("arm", "response", "c2", "fit", "c2 by matched pairs", "pairs")
    tables = [table(header, rows), _published_c2()] if rows else []
    return join([title, *tables, paragraphs(_not_told(found), "note")]) if found else Html("")


def _nothing_in(one: dict[str, Any]) -> bool:
    """Say whether the law was not fitted, and the authors' own procedure has no bounded c2 either."""
    held = (one.get("pairs_fit") or {}).get("c2")
    pairs = Interval.from_json(held) if held else None
    unbounded = pairs is None or not (math.isfinite(pairs.low) or math.isfinite(pairs.high))
    return not one.get("status") and (unbounded or pairs is None or pairs.censored == "withheld")


def _not_told(found: list[dict[str, Any]]) -> list[str]:
    """Why the law could not be fitted, each reason once with all arms and responses that it is the reason for."""
    reasons: dict[str, list[str]] = {}
    for one in (one for one in found if not one.get("status")):
        whom = ", ".join(filter(None, (one["arm"], one["recipe"], RESPONSES.get(one["response"], one["response"]))))
        reason = str(one.get("reason") or "no reason was given").replace(f"the arm '{one['arm']}'", "the arm")
        reasons.setdefault(reason, []).append(whom)
    every = {reason: len(whom) == len(found) for reason, whom in reasons.items()}
    missing = any(map(_nothing_in, found))
    left_out = ["What has no bounded c2 by matched pairs either is left out."] if missing else []
    return left_out + [
        f"Not fitted{' throughout' if every[reason] else ', ' + '; '.join(whom)}: {reason}."
        for reason, whom in reasons.items()
    ]


def _by_pairs(found: dict[str, Any] | None) -> list[Part]:
    """The authors' own procedure on the same trials: its c2, and the pairs behind it."""
    if not found:
        return [NOTHING, NOTHING]
    missed = f", missed by a factor of {found['typical_miss']:.2f} at the median" if found.get("typical_miss") else ""
    used = f"{count(found['n_pairs'], 'pair')}{missed}, {found['n_censored']} beyond the ladder; {found['status']}"
    return [
        estimate(shown(Interval.from_json(found["c2"]))),
        words(f"{used} ({found['reason']})" if found["reason"] else used),
    ]


def _published_c2() -> Html:
    rows = [[data, regime, f"{c2:g}"] for data, regime, c2 in PUBLISHED_C2]
    return table(("data", "generator", "published c2"), rows, f"Published c2, {PROVENANCE}.")


def claims(analysis: dict[str, Any]) -> Html:
    """The claims of the study with their verdicts."""
    rows: list[list[Part]] = [
        [words(name), words(claimed), estimate(number), words(verdict)]
        for name, claimed, number, verdict in claim_rows(analysis)
    ]
    whole, *each = claim_notes(analysis) if rows else [""]
    below = [tag("p", whole, class_="note"), tag("ul", *(tag("li", note) for note in each), class_="note wide")]
    return join([table(CLAIM_HEADER, rows), *below]) if rows else Html("")


def _fit(fit: dict[str, Any]) -> Html:
    law = {**LAWS, POWER.name: POWER}.get(fit["law"])
    meanings = dict(zip(law.parameter_names, law.meanings, strict=True)) if law else {}
    rows: list[list[Part]] = [
        [name.replace("_", " "), shown(Interval.from_json(value)), words(meanings.get(name, NOTHING))]
        for name, value in (fit.get("parameters") or {}).items()
    ]
    where = ", ".join(filter(None, (fit["arm"], fit["recipe"])))
    title = f"{where}: {fit['law']} law of {RESPONSES.get(fit['response'], fit['response'])}"
    about = [law.equation, f"Source: {law.source}."] if law else []
    said = [*about, _ended(fit), lack_of_fit(fit.get("lack_of_fit"))]
    return join(
        [tag("h3", title), paragraphs(said, "note"), table(("parameter", "estimate", "meaning"), rows) if rows else ""]
    )


def _ended(fit: dict[str, Any]) -> str:
    return f"Fit: {fit['status']}" + (f" ({fit['reason']})." if fit.get("reason") else ".")


def lack_of_fit(test: dict[str, Any] | None) -> str:
    """The lack-of-fit test in one sentence."""
    if not test or test.get("p") is None:
        return "Whether the law fits could not be tested: no cell was repeated often enough."
    degrees = test.get("df")
    freedom = f"({', '.join(f'{d:g}' for d in degrees)})" if isinstance(degrees, list | tuple) else f"({degrees})"
    numbers = f"F{freedom} = {test['F']:.2f}, p = {test['p']:.3f}"
    if test["p"] < LACK_OF_FIT_LEVEL:
        return f"The law does not fit: cell means differ from it by more than replicates explain ({numbers})."
    return f"No lack of fit was found: cell means differ from the law by no more than replicates explain ({numbers})."


# ------------------------------------------------------------------------------------------------------------- copies


def by_class(analysis: dict[str, Any]) -> Html:
    """What the largest volumes were worth to each class, beside every real size."""
    rows: Frame = pd.DataFrame([row for row in analysis.get("by_class") or [] if "n_real" in row])
    if not len(rows):
        return Html("")
    sizes = sorted({(int(n), int(m)) for n, m in zip(rows["n_real"], rows["n_synthetic"], strict=True)})
    header = ("class", "test images", *(f"{m:,} beside {n:,}" for n, m in sizes))
    said = "Added real equivalents from the test images of one class, read off its own real-only ladder."
    parts = [tag("p", said)]
    for (recipe, arm), own in rows.groupby(["recipe", "arm"], sort=False):
        parts.append(tag("p", ", ".join(filter(None, (arm, recipe))), class_="note"))
        parts.append(table(header, [_class_row(name, of, sizes) for name, of in own.groupby("class", sort=False)]))
    return join(parts)


def _class_row(name: str, rows: Frame, sizes: list[tuple[int, int]]) -> list[Any]:
    read = zip(rows["n_real"], rows["n_synthetic"], rows["equivalent"], strict=True)
    known = {(int(n), int(m)): estimate(str(Interval.from_json(worth))) for n, m, worth in read}
    return [name, count(rows["n_test"].iloc[0]), *(known.get(size, NOTHING) for size in sizes)]


def copy_rates(facts: dict[str, Any]) -> Html:
    """How many synthetic images are nearer to a training image than real images are to each other."""
    rates: Frame = pd.DataFrame(facts.get("copy_rates") or [])
    if not len(rates):
        return Html("")
    said = (
        "A copy is a synthetic image that lies nearer to an image its generator was fitted on than nearly all fresh "
        "real images do. The null rate is the same share among fresh real images. Mean over seeds, [lowest, highest]."
    )
    rows = [
        [str(arm), count(n_real), count(len(own)), count(own["n_synthetic"].sum()), *_rates(own)]
        for (arm, n_real), own in rates.groupby(["arm", "n_real"], sort=False)
    ]
    header = ("arm", "real", "seeds", "synthetic images", "copy rate, %", "null rate, %")
    return join([tag("p", said), table(header, rows)])


def _rates(own: Frame) -> list[str]:
    return [_over_seeds(100 * own[name].astype(float)) for name in ("copy_rate", "null_rate")]


def _over_seeds(values: Frame) -> str:
    known = values.dropna()
    if not len(known):
        return NOTHING
    if len(known) == 1:
        return f"{known.iloc[0]:.1f} (one seed)"
    return f"{known.mean():.1f} [{known.min():.1f}, {known.max():.1f}]"


# --------------------------------------------------------------------------------------------------- data, environments


def data_sets(facts: dict[str, Any]) -> Html:
    """Every data set: images, licence, source, and the problems that were counted in it."""
    rows: list[list[Part]] = [
        [
            f"{data['name']} ({data['split']})",
            count(data["n"]),
            data.get("licence") or "not stated",
            linked(data.get("source") or NOTHING),
            problems(data.get("problems")),
        ]
        for data in facts.get("data") or []
    ]
    header = ("data set", "images", "licence", "source", "problems found")
    return table(header, [[*row[:2], *map(words, row[2:])] for row in rows]) if rows else Html("")


def problems(found: Any) -> str:
    """Counted problems as words: a mapping of names to counts, a list, or text."""
    if isinstance(found, dict):
        counts = {name: len(what) if isinstance(what, list) else what for name, what in found.items()}
        found = [f"{name.replace('_', ' ')}: {number}" for name, number in counts.items() if number]
    if isinstance(found, list | tuple):
        found = "; ".join(map(str, found))
    return str(found) if found else "none"


def environments(facts: dict[str, Any]) -> Html:
    """Where trials were trained, and a warning where that differs along with an arm or a volume."""
    held = facts.get("environments") or []
    lines = [f"{_environment(one)}: {count(one['trials'], 'trial')}" for one in held]
    warnings = confounded(held)
    boxed = [tag("div", paragraphs(warnings), class_="warning")] if warnings else []
    return join([*boxed, bullets(lines)]) if lines else Html("")


def _environment(one: dict[str, Any]) -> str:
    named = {key: value for key, value in one.items() if key not in ("trials", *LEVELS) and value not in (None, "")}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in named.items())


def confounded(held: list[dict[str, Any]]) -> list[str]:
    """A sentence for each of arm and volume of which not every environment trained the same ("arms", "volumes")."""
    return [
        f"The environment differs along with the {word}: a difference between {word}s may be one between machines."
        for name, word in LEVELS.items()
        if len({frozenset(one[name]) for one in held if name in one}) > 1
    ]


def stages(facts: dict[str, Any]) -> Html:
    """What was made, and how long it took."""
    rows = [
        [str(stage["stage"]), count(stage["things"]), duration(stage["seconds"])] for stage in facts.get("stages") or []
    ]
    return table(("stage", "things made", "time, all workers"), rows) if rows else Html("")


def duration(seconds: float) -> str:
    """Seconds as people say them: "41 s", "3 min 20 s", "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if whole < 10 else f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )


# ------------------------------------------------------------------------------------------------ trials gone wrong


def diverged_and_missing(trials: Frame, facts: dict[str, Any]) -> Html:
    """Trials that were never made, and cells with trials that diverged or have no number; or that there are none."""
    rows, missing = list(_troubled(trials)), facts.get("missing", 0)
    absent = [f"{count(missing, 'trial')} of this study not made yet."] if missing else []
    if not rows:
        return paragraphs(absent or [f"None: all {count(len(trials))} trials finished."])
    said = "A diverged trial is a result: it is not run again with another seed, and it is left out of the means."
    return join([paragraphs([*absent, said]), table(("arm", "real", "synthetic", "what", "trials"), rows)])


def _troubled(trials: Frame) -> Iterable[list[str]]:
    status = trials["status"].fillna("missing") if "status" in trials else pd.Series(FINISHED[0], index=trials.index)
    measured = [name for name in RESPONSES if name in trials]
    absent = trials[measured].isna().all(axis="columns") & status.isin(FINISHED)
    told = trials.assign(what=status.mask(absent, "no number"))
    troubled = told[~told["what"].isin(FINISHED)]
    troubled = troubled.assign(arm=troubled["arm"].where(troubled["n_synthetic"] > 0, REAL_ONLY))
    for (arm, n_real, n_synthetic, what), own in troubled.groupby(["arm", "n_real", "n_synthetic", "what"]):
        if not math.isnan(n_real):
            yield [str(arm), count(n_real), count(n_synthetic), str(what), count(len(own))]

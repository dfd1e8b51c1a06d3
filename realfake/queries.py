"""Queries: trials as a table, from a store or from MLflow alone, and curves at any point, from MLflow alone.

Here: how a query is worded, what it is refused for, and the rows that it gives. Not here: how runs are read
(`tracking`), what a fit answers (`answers`), how rows are printed (`listing`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realfake import pool_facts, tracking
from realfake.responses import PRINTED, RESPONSES, measured
from realfake.spec import Study
from realfake.values import nearest

if TYPE_CHECKING:
    import pandas as pd

    from realfake.answers import Answer, Curve, Question
    from realfake.resources import Where

REAL_ONLY = "real-only"
TRIAL_COLUMNS = (
    *("n_real", "n_synthetic", "n_generator", "arm", "recipe"),
    *("subset_seed", "generator_seed", "pool_seed", "trial_seed"),
    *PRINTED,
    *("n_test", "real_budget", "external_budget", "budget", "status", "seconds", "address"),
    *pool_facts.COLUMNS,
)


class QueryError(ValueError):
    """A query that cannot be answered as it is worded; the message says what to type."""


def trials(
    source: Study | str | Path, *, study: str | None = None, store: str = "", where: Where | None = None
) -> pd.DataFrame:
    """Return the made trials of a study, a row a trial, ready for ``realfake.fit``.

    ``source`` is a Study or the path of a study file, whose records are read from a store (``store``, or that of
    ``where``, or ./store), or an MLflow tracking URI, which alone is read: all its studies, or the one named by
    ``study``. Both give the same numbers. Columns: sizes, arm, recipe, the seed of every noise, the responses that any
    trial has (error and cross_entropy, or those of a detector; NaN where it diverged), n_test, real and external budget
    in images, the budget of the recipe, status, seconds, address, and what is known of how synthetic images were drawn
    (``pool_facts``); first ``study`` where a URI has several. Raises StudyError, StoreError or TrackingError.
    """
    import pandas as pd

    if isinstance(source, str) and re.match(r"[a-z][a-z0-9+.-]+:", source):
        rows = tracking.trial_rows(source, study)
        several = len({row["study"] for row in rows}) > 1
        return _with_measured(pd.DataFrame(rows, columns=[*(("study",) if several else ()), *TRIAL_COLUMNS]))
    if study is not None:
        raise QueryError(f"study={study!r} names a study of a tracking URI; {source!s:.60} is one study: leave it out")
    return _with_measured(pd.DataFrame(_made(source, store, where), columns=list(TRIAL_COLUMNS)))


def _with_measured(table: pd.DataFrame) -> pd.DataFrame:
    """The table without the responses, and what of drawing images, that it holds nothing of."""
    kept = measured(name for name in RESPONSES if len(table[name].dropna()))
    untold = [name for name in pool_facts.COLUMNS if not len(table[name].dropna())]
    return table.drop(columns=[*(name for name in RESPONSES if name not in kept), *untold])


def _made(source: Study | str | Path, store: str, where: Where | None) -> list[dict[str, Any]]:
    from realfake import records, studyfile
    from realfake.resources import Where
    from realfake.store import Store

    asked = source if isinstance(source, Study) else studyfile.read(source).study
    return records.table(records.counted(asked), Store(store or (where or Where()).store))


def audits(*, uri: str, study: str | None = None, all: bool = False) -> pd.DataFrame:
    """Return what attacks on membership reached, a row an attack, read from MLflow alone: one study, or all of them.

    Columns: study, arm, recipe, population, attack, how many models, examples and decisions about non-members, and with
    ``_low`` and ``_high`` the AUC, the best balanced accuracy and the true-positive rates ``tpr_at_0.001`` and
    ``tpr_at_0.01`` (shares; where one is NaN ``_said`` says why), notes, and the digest of the audits. ``all`` adds
    superseded ones. Raises TrackingError for an unknown study, and QueryError where no audit is mirrored.
    """
    import pandas as pd

    rows = tracking.attack_rows(uri, study, all=all)
    if not rows:
        raise QueryError(
            f"MLflow at {uri} has no audit of {study or 'any study'}; run `realfake track` on a study with audits=…"
        )
    order = ["study", "digest", "recipe", "arm", "population", "attack"]
    return pd.DataFrame(rows).sort_values(order, kind="stable", ignore_index=True)


def curves(
    *,
    uri: str,
    study: str | Sequence[str] | None = None,
    arm: str | Sequence[str] | None = None,
    n_real: int | None = None,
    at: Iterable[Sequence[float]] = (),
    metric: str = "",
    response: str = "",
    law: str = "",
    all: bool = False,
) -> pd.DataFrame:
    """Return the curves that MLflow holds, read from the tracking server alone.

    Asked for nothing in particular: a row a measured cell. Columns: study, arm, recipe, n_real, n_synthetic,
    n_generator, replicates, diverged, equivalent_by, the digest of the analysis, and for every quantity its point,
    ``_low`` and ``_high``. Of a censored one the point is NaN, ``_censored`` says "above" or "below" and ``_bound`` of
    what; "withheld" is no answer. The real-only ladder is the arm "real-only", at n_synthetic 0.

    With ``at`` = [(n_real, n_synthetic), …] (a third number is n_generator), ``metric`` (one of answers.METRICS),
    ``response``, ``law``, or several studies or arms: a row an answer, from the draws of the stored fits. Columns:
    study, arm, recipe, sizes, metric, response, by ("law", "inversion", "measured"), law (and ``spanned_laws``, which
    predict as well), point, low, high, censored, bound, floor and ceiling (the measured range), reason, digest. Where
    several studies or arms are named, ``versus`` says for every other curve how probable it is that this one is
    better (``answers.chance``: their draws count as independent), at the cells that two of them have unless ``at``
    says where.

    ``all`` adds superseded analyses. Raises TrackingError or QueryError for what is not there, naming the nearest.
    """
    studies, arms = _names(study), _names(arm)
    found = tracking.analyses(uri, studies, all=all)
    several = len(studies) > 1 or len(arms) > 1
    points = _points(at)
    if not (points or metric or response or law or several):
        return _cells(_chosen(found, arms), n_real)
    if points and n_real is not None:
        raise QueryError("a point names its number of real images; leave out n_real (--n-real)")
    _refuse_unanalysed(found, studies, uri)
    question = _question(metric, response, law)
    ladder_too = bool(arms) or (metric in RESPONSES and not points and not several)
    chosen = [curve for curve in _chosen(found, arms) if curve.arm != REAL_ONLY or ladder_too]
    _refuse_unknown_law(chosen, question)
    return _table(_answers(chosen, points, n_real, question, several), several)


def point(text: str) -> tuple[float, ...]:
    """Return the point that a text such as "200,3200" or "200,3200,50000" (the last: n_generator) stands for."""
    try:
        (found,) = _points([tuple(int(part) for part in text.split(","))])
    except ValueError:
        raise QueryError(
            f"'{text}' is no point; type --at 200,3200 for 200 real and 3,200 synthetic images "
            "(--at 200,3200,1000 where the generator was fitted on 1,000)"
        ) from None
    return found


def as_csv(table: pd.DataFrame) -> str:
    """Return rows of `curves` as CSV; what an answer holds against others is JSON in its field."""
    plain = table.assign(versus=table["versus"].map(json.dumps)) if "versus" in table else table
    return plain.to_csv(index=False)


# ---------------------------------------------------------------------------------------------------- what is asked for


def _names(given: str | Sequence[str] | None) -> list[str]:
    return [] if given is None else [given] if isinstance(given, str) else list(dict.fromkeys(given))


def _points(at: Iterable[Sequence[float]]) -> list[tuple[float, ...]]:
    found = list(at)
    for each in found:
        if not isinstance(each, list | tuple) or len(each) not in (2, 3) or not all(0 <= n < math.inf for n in each):
            raise QueryError(f"at has {each!r}; a point is (n_real, n_synthetic), none negative: at=[(200, 3200)]")
    return [tuple(each) for each in found]


def _question(metric: str, response: str, law: str) -> Question:
    from realfake.answers import MEASURED, METRICS, Question

    if metric and metric not in METRICS:
        raise QueryError(f"there is no metric {metric!r}; {nearest(metric, METRICS)}")
    if response and response not in RESPONSES:
        raise QueryError(f"there is no response {response!r}; {nearest(response, RESPONSES)}")
    if response and metric in MEASURED:
        raise QueryError(f"the metric {metric!r} is a response itself; leave out response (--response)")
    return Question(metric or "equivalent", response, law)


def _chosen(found: Iterable[tracking.Analysed], arms: Sequence[str]) -> list[Curve]:
    """The curves of the arms (none named: all) in the analyses."""
    from realfake.answers import Curve

    curves = [
        Curve(analysed, recipe, name)
        for analysed in found
        for recipe, name in dict.fromkeys((cell["recipe"], cell["arm"]) for cell in analysed.cells)
    ]
    known = {curve.arm for curve in curves}
    for name in arms:
        if name not in known:
            raise QueryError(f"no curve has the arm {name!r}; {nearest(name, known)}")
    return sorted((curve for curve in curves if curve.arm in (arms or known)), key=lambda c: _rank(c, found, arms))


def _rank(curve: Curve, found: Iterable[tracking.Analysed], arms: Sequence[str]) -> tuple[Any, ...]:
    """As they were named: studies first, then recipes, then arms."""
    place = list(found).index(curve.analysed)
    return place, curve.recipe, arms.index(curve.arm) if arms else curve.arm


def _refuse_unanalysed(found: Iterable[tracking.Analysed], studies: Sequence[str], uri: str) -> None:
    analysed = {each.study for each in found if each.complete}
    for name in studies or ["any study"]:
        if name not in analysed and (studies or not analysed):
            raise QueryError(f"MLflow at {uri} has no analysis of {name} yet; run `realfake track` on its study file")


def _refuse_unknown_law(curves: Iterable[Curve], question: Question) -> None:
    responses = [(curve, question.response_of(curve.analysed)) for curve in curves]
    known = {law for curve, response in responses for law in curve.laws(response)}
    tried = {law for curve, response in responses for law in curve.unfitted(response)}
    if question.law and question.law not in known | tried:
        there = f"there are {', '.join(sorted(known))}" if known else "there are no fits"
        raise QueryError(f"MLflow keeps no fit of the law {question.law!r}; {there}")


# ----------------------------------------------------------------------------------------------------- what is answered


def _cells(curves: Iterable[Curve], n_real: int | None) -> pd.DataFrame:
    import pandas as pd

    rows = [
        {"study": curve.analysed.study, **tracking.flat(cell), "digest": curve.analysed.digest}
        for curve in curves
        for cell in curve.cells
        if n_real in (None, cell["n_real"])
    ]
    kept = tracking.columns(_responses(rows))
    tidy = pd.DataFrame(rows, columns=["study", *kept, "digest"])
    order = ["study", "digest", "recipe", "arm", "n_real", "n_generator", "n_synthetic"]
    return tidy.sort_values(order, kind="stable", ignore_index=True)


def _responses(rows: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """The responses that any of the flat cells holds a number of."""
    return measured(name for name in RESPONSES for row in rows if not math.isnan(row.get(name, math.nan)))


def _answers(
    curves: Sequence[Curve], points: Sequence[tuple], n_real: int | None, question: Question, several: bool
) -> list[Answer]:
    """The answers of every curve: at the points, at the cells that two curves have, or at the cells of each."""
    from realfake.answers import answers

    if points:
        return [answer for at in points for curve in curves for answer in answers(curve, at, question)]
    own = [(curve, at) for curve in curves for at in curve.points if n_real in (None, at[0])]
    if not several:
        return [answer for curve, at in own for answer in answers(curve, at, question, measured=True)]
    measured = [at for _, at in own]
    common = sorted({at for at in measured if measured.count(at) > 1})
    if not common:
        raise QueryError("no two of the curves have a cell in common; say where to compare them: --at 200,3200")
    return [answer for at in common for c in curves if at in c.points for answer in answers(c, at, question)]


def _table(answers: Sequence[Answer], several: bool) -> pd.DataFrame:
    import pandas as pd

    from realfake.answers import chance

    rows = []
    for one in answers:
        at = one.n_real, one.n_synthetic
        others = [o for o in answers if o is not one and (o.n_real, o.n_synthetic) == at] if several else []
        rows.append(_row(one) | {"versus": [{**other.identity, **chance(one, other)} for other in others]})
    return pd.DataFrame(rows, columns=None if rows else ["study", "arm", "metric"])


def _row(answer: Answer) -> dict[str, Any]:
    interval, censored = answer.interval, answer.interval.censored
    sizes = {name: getattr(answer, name) for name in ("n_real", "n_synthetic", "n_generator")}
    first, *others = answer.laws or ("",)
    return {
        **answer.identity,
        **{name: size if math.isnan(size) else int(size) for name, size in sizes.items()},
        "metric": answer.question.metric,
        "response": answer.question.response_of(answer.curve.analysed),
        "by": answer.by,
        "law": first,
        "spanned_laws": ", ".join(others),
        "point": math.nan if censored else interval.point,
        **{name: getattr(interval, name) for name in ("low", "high", "censored")},
        "bound": interval.point if censored in ("above", "below") else math.nan,
        **{name: getattr(interval, name) for name in ("floor", "ceiling", "reason")},
        "digest": answer.curve.analysed.digest,
    }

"""What a study looks like in MLflow, as plain data: the runs of its trials, its curves and the study itself.

Names of tags, parameters and metrics are decided here, and what is written into tags. Nothing here talks to MLflow: see
``mirror`` and ``reading``; how long values become tags is in ``texts``. The numbers come from ``analysis``.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from realfake.intervals import Interval
from realfake.privacy.curves import numbers
from realfake.responses import PRINTED, RESPONSES
from realfake.tracking.texts import TAG_CHARACTERS, packed, split

KIND, STUDY, ADDRESS, DIGEST = "realfake.kind", "realfake.study", "realfake.address", "realfake.digest"
SUPERSEDED, STATUS, CELLS = "realfake.superseded_by", "realfake.status", "realfake.cells"
FITS, OTHER_FITS, TRIALS, SETTINGS, WARNINGS = (
    "realfake.statistics.fits",
    "realfake.statistics.other_fits",
    "realfake.trials",
    "realfake.settings",
    "realfake.warnings",
)
ATTACKS, ATTACK = "realfake.attacks", "realfake.attack"  # the digest of all that a study's audits found; one of them
NOTE, NAME = "mlflow.note.content", "mlflow.runName"
REAL_ONLY = "real-only"
SEEDS = ("subset_seed", "generator_seed", "pool_seed", "trial_seed")
OUTCOMES = (*PRINTED, "seconds")  # measured, so metrics only; what was asked for is a parameter too
NUMBERS = ("n_real", "n_synthetic", "n_generator", "real_budget", "external_budget", "n_test", *SEEDS, *OUTCOMES)
SIZES = ("n_real", "n_synthetic", "n_generator", "replicates", "diverged")
MEASURED = PRINTED
FROM = {f"equivalent_from_{name}": name for name in MEASURED}  # beside that of the main response
DERIVED = ("equivalent", *FROM, "value", "average_value", "resolution")


@dataclass
class Run:
    """A run as it shall stand in MLflow. ``metrics`` are (name, value, step), ``inputs`` the data sets it used."""

    kind: str  # "trial" | "curve" | "attack" | "study"
    address: str
    name: str
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    metrics: list[tuple[str, float, int]] = field(default_factory=list)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    status: str = "FINISHED"
    started: float = field(default_factory=time.time)
    seconds: float = 0.0


def trial_run(record: dict[str, Any], row: dict[str, Any], datasets: Mapping[str, dict[str, Any]]) -> Run:
    """Return a trial as a run. One that diverged has no metrics but its seconds: its numbers mean nothing."""
    spec, result = _trial(record["spec"]), record["result"]
    ok = result["status"] == "ok"
    facts = _scalars({**spec.get("recipe", {}), **result, **row, "seconds": record["seconds"]})
    unwanted = ("type", "address", "status", *OUTCOMES)
    return Run(
        kind="trial",
        address=record["address"],
        name=record["address"],
        tags={STATUS: result["status"], **split("realfake.environment", result.get("environment", {}))},
        params={name: value for name, value in facts.items() if name not in unwanted},
        metrics=[(name, facts[name], 0) for name in (NUMBERS if ok else ("seconds",)) if name in facts],
        inputs=_inputs(spec, datasets),
        status="FINISHED" if ok else "FAILED",
        started=record["started"],
        seconds=record["seconds"],
    )


def _trial(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what an evaluation says as the trial that it is of, with the test set that it is on."""
    return {**spec["of"], "test": spec["on"]} if spec["type"] == "Evaluation" else spec


def curve_runs(study: str, analysis: dict[str, Any]) -> Iterator[Run]:
    """Yield a run for every arm, recipe, n_real and n_generator, its steps the volumes, the real-only error at 0.

    The real-only ladder of a recipe is a curve too: the arm "real-only", its steps n_real.
    """
    ladder = [{"arm": REAL_ONLY, "n_synthetic": 0, "n_generator": 0, **rung} for rung in analysis["ladder"]]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for cell in analysis["cells"]:
        groups.setdefault((cell["arm"], cell["recipe"], cell["n_real"], cell["n_generator"]), []).append(cell)
    for (arm, recipe, n_real, n_generator), cells in groups.items():
        start = [rung for rung in ladder if (rung["recipe"], rung["n_real"]) == (recipe, n_real)]
        points = _points([*start, *cells], step="n_synthetic")
        of = {"arm": arm, "recipe": recipe, "n_real": n_real, "n_generator": n_generator}
        yield _curve_run(study, analysis["digest"], of, cells, points)
    for recipe in dict.fromkeys(rung["recipe"] for rung in ladder):
        rungs = [rung for rung in ladder if rung["recipe"] == recipe]
        points = _points(rungs, step="n_real")
        yield _curve_run(study, analysis["digest"], {"arm": REAL_ONLY, "recipe": recipe}, rungs, points)


def attack_runs(study: str, membership: Mapping[str, Any]) -> Iterator[Run]:
    """Yield a run for every attack on an arm and population of a study's audits: its numbers as metrics, all of it as
    JSON in tags. ``membership`` is what ``privacy.kept_membership`` keeps; a rate below resolution is no metric."""
    for attack in membership["attacks"]:
        row = numbers(attack)
        of = {name: row.pop(name) for name in ("arm", "recipe", "population", "attack")}
        asked = {name: row.pop(name) for name in ("models", "examples", "decisions", "notes")}
        yield Run(
            kind="attack",
            address=_named("attack", study, membership["key"], of),
            name=f"{of['attack']} on {of['population']} of {of['arm']}"
            + (f" ({of['recipe']})" if of["recipe"] else ""),
            tags={ATTACKS: membership["key"], **split(ATTACK, attack)},
            params={**of, **asked},
            metrics=[(name, value, 0) for name, value in _scalars(row).items() if not isinstance(value, str)],
        )


def study_run(
    study: str,
    question: str,
    analysis: dict[str, Any],
    records: list[dict[str, Any]],
    rows: Mapping[str, dict[str, Any]],
) -> Run:
    """Return the run that says what a study has found, in tags: sentences, warnings, settings, fits with their draws.

    Every law that was fitted is kept, and why another was not; those that the headline does not stand on apart.

    ``rows`` by address name the arm and the recipe of every trial.
    """
    digest = analysis["digest"]
    note = "\n\n".join([question.strip(), *analysis.get("sentences", []), *analysis.get("warnings", [])])
    found = {
        **split("realfake.statistics.sentences", analysis.get("sentences", [])),
        **split(WARNINGS, analysis.get("warnings", [])),
        **split(SETTINGS, analysis.get("settings", {})),
        **packed(FITS, {"fits": analysis.get("fits", [])}),
        **packed(OTHER_FITS, {name: analysis.get(name, []) for name in ("other_fits", "unfitted")}),
        **packed(TRIALS, _members(records, rows)),
    }
    address = _named("study", study, digest)
    diverged = sum(record["result"]["status"] != "ok" for record in records)
    return Run(
        kind="study",
        address=address,
        name=f"{study} {digest[:12]}",
        tags={ADDRESS: address, DIGEST: digest, NOTE: note[:TAG_CHARACTERS], **found},  # address first: see open_mirror
        params={"study": study, **_scalars(analysis.get("settings", {}))},
        metrics=[("trials", len(records), 0), ("diverged", diverged, 0)],
    )


def flat(cell: dict[str, Any]) -> dict[str, Any]:
    """Return a cell with its intervals as numbers: ``value``, ``value_low``, ``value_high``, ….

    Of a derived quantity also ``value_censored`` and ``value_bound``: a censored point is NaN, and its bound is called
    one. A side without a bound is infinite.
    """
    equivalents = dict(cell.get("equivalent", {}))
    first = next(iter(equivalents), "")
    intervals = {**cell, "equivalent": equivalents.get(first)}
    intervals |= {name: equivalents.get(response) if response != first else None for name, response in FROM.items()}
    row = {name: cell[name] for name in ("arm", "recipe", *SIZES) if name in cell}
    row["equivalent_by"] = cell.get("equivalent_by", "")
    for name in (*MEASURED, *DERIVED):
        if intervals.get(name) is not None:
            row |= _sides(name, Interval.from_json(intervals[name]))
    return row


def columns(responses: Iterable[str] = tuple(RESPONSES)) -> list[str]:
    """Return the names in ``flat`` of these responses, the main one first, in the order of a table."""
    first, *others = responses
    told = [name for name in MEASURED if name in (first, *others)]
    measured = [f"{name}{side}" for name in told for side in ("", "_low", "_high")]
    unasked = [name for name, response in FROM.items() if response not in others]
    names = [name for name in DERIVED if name not in unasked]
    derived = [f"{name}{side}" for name in names for side in ("", "_low", "_high", "_censored", "_bound")]
    return ["arm", "recipe", *SIZES, *measured, "equivalent_by", *derived]


def _members(records: Iterable[dict[str, Any]], rows: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """The addresses of the trials of a study by recipe and arm.

    Both are named among the trials of a study, so that a new trial may give an old one another name. Runs of trials
    never change; the names of today stand in the study run.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for name in (record["address"] for record in records):
        row = rows.get(name, {})
        found.setdefault(str(row.get("recipe", "")), {}).setdefault(str(row.get("arm", "")), []).append(name)
    return found


def _inputs(spec: dict[str, Any], datasets: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The data sets that a trial was trained and tested on, those of them that are known."""
    uses = {"train": (spec.get("real") or {}).get("of"), "test": spec.get("test")}
    addresses = {use: (dataset or {}).get("address", "") for use, dataset in uses.items()}
    return [{**datasets[name], "address": name, "use": use} for use, name in addresses.items() if name in datasets]


def _curve_run(
    study: str, digest: str, of: dict[str, Any], cells: list[dict[str, Any]], points: list[tuple[str, float, int]]
) -> Run:
    """The cells as exact JSON in tags, and their numbers as metrics for the UI to draw."""
    sizes = [(name, of[name], 0) for name in ("n_real", "n_generator") if name in of]
    beside = f" beside {of['n_real']}" if "n_real" in of else ""
    return Run(
        kind="curve",
        address=_named("curve", study, digest, of),
        name=f"{of['arm']}{beside}" + (f" ({of['recipe']})" if of["recipe"] else ""),
        tags={DIGEST: digest, **split(CELLS, cells)},
        params=of,
        metrics=[*sizes, *points],
    )


def _points(cells: Iterable[dict[str, Any]], step: str) -> list[tuple[str, float, int]]:
    """Every finite measured number of the cells as a metric at its step."""
    named = [name for name in columns() if name.startswith((*MEASURED, *DERIVED))]
    values = ((name, flat(cell).get(name), cell[step]) for cell in cells for name in named)
    return [(name, value, at) for name, value, at in values if isinstance(value, float) and math.isfinite(value)]


def _sides(name: str, value: Interval) -> dict[str, Any]:
    sides = {name: value.point, f"{name}_low": value.low, f"{name}_high": value.high}
    if name in MEASURED:
        return sides
    bound = value.point if value.censored in ("above", "below") else math.nan
    point = math.nan if value.censored else value.point
    return {**sides, name: point, f"{name}_censored": value.censored, f"{name}_bound": bound}


def _scalars(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that are a text or a number, as plain values; nothing that is missing or not a number."""
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in facts.items()}
    return {
        name: value
        for name, value in plain.items()
        if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    }


def _named(kind: str, *parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

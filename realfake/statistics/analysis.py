"""Everything that a table of trials says, as one JSON document: cells, fits, intervals, warnings, sentences.

Tables, MLflow, the report and the terminal are views of this document. It is a function of the table and the settings
alone: the order of rows does not matter and the seed fixes every draw. Here: the document. Not here: the statistics
(`fits`, `inversion`, `noise`), the wording (`sentences`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realfake.hypotheses import Claim
from realfake.intervals import Interval, interval_of_draws, withheld
from realfake.statistics.choice import Comparison, choose
from realfake.statistics.claims import judge
from realfake.statistics.contrasts import laws_that_hold
from realfake.statistics.equivalence import Fit
from realfake.statistics.fits import Evidence, FitError, PerImage, fit_evidence, gather
from realfake.statistics.inversion import invert, mean_response, real_curve
from realfake.statistics.matched_pairs import LARGEST_LN_C2, Wang, match, no_answer
from realfake.statistics.sentences import controls, sentences
from realfake.statistics.trial_table import REAL_ONLY, RESPONSES, Frame, normalised, select
from realfake.values import canonical

SCHEMA = 1
REVISION = 5  # raise it when the same table would get other numbers: cached documents are then made anew


@dataclass
class Reading:
    """One arm of one recipe in one response: what could be made of it."""

    evidence: Evidence | None = None
    fit: Fit | None = None
    comparison: Comparison | None = None  # of the laws that could be fitted
    inverted: list[Interval] = field(default_factory=list)  # one a cell
    trouble: str = ""  # why there is no evidence or no fit

    def cell(self, n: float, m: float, generator: float) -> int | None:
        """The position of a cell in the evidence."""
        if self.evidence is None:
            return None
        cells = self.evidence.trials.cells
        found = np.flatnonzero((cells.n == n) & (cells.m == m) & (cells.n_generator == generator))
        return int(found[0]) if len(found) else None

    @property
    def law_holds(self) -> bool:
        return self.fit is not None and not (self.fit.lack_of_fit is not None and self.fit.lack_of_fit.fails)


def digest(
    table: Frame,
    *,
    per_image: PerImage | None = None,
    bootstrap: int = 400,
    seed: int = 0,
    claims: Sequence[Claim] = (),
) -> str:
    """sha256 of the normalised table, settings, claims and this code's revision: equal digests, equal documents."""
    sha = hashlib.sha256(f"{SCHEMA} {REVISION} {bootstrap} {seed}".encode())
    ordered = normalised(table)
    sha.update(ordered[sorted(ordered.columns)].to_csv(index=False).encode())
    for address in sorted(per_image or {}):
        for response, values in sorted((per_image or {})[address].items()):
            sha.update(f"{address} {response}".encode() + np.ascontiguousarray(values, dtype=float).tobytes())
    if claims:
        sha.update(json.dumps(canonical(tuple(claims))).encode())
    return sha.hexdigest()


def analyse(
    table: Frame,
    *,
    per_image: PerImage | None = None,
    bootstrap: int = 400,
    seed: int = 0,
    context: dict[str, Any] | None = None,
    claims: Sequence[Claim] = (),
) -> dict[str, Any]:
    """The whole document for a table of trials; strict JSON values, every number an `Interval.to_json`.

    `context` words the sentences: "data", "model", "init", "budget", and "generators": {arm: text}; "n_available" is
    the size of the data set that subsets are drawn from. An arm with too few
    data keeps its cells; the reason is among the warnings. `claims` were declared before the runs; each gets a row with
    its verdict. Raises FitError for a table that makes no sense at all.
    """
    ordered = normalised(table)
    responses = [name for name in RESPONSES if name in ordered]
    settings = {"bootstrap": bootstrap, "seed": seed, "responses": responses, "test_images": per_image is not None}
    warnings: list[str] = []
    readings = {
        (recipe, arm, response): _read(ordered, recipe, arm, response, per_image, bootstrap, seed, warnings)
        for recipe, arm in _arms(ordered)
        for response in responses
    }
    cells = [_cell(key, rows, readings, responses) for key, rows in _groups(ordered)]
    fits = [reading.fit for reading in readings.values() if reading.fit is not None]
    warnings += _fit_warnings(fits) + _overlaps(ordered, context or {})
    return {
        "schema": SCHEMA,
        "digest": digest(table, per_image=per_image, bootstrap=bootstrap, seed=seed, claims=claims),
        "settings": settings,
        "cells": [cell for cell in cells if cell["arm"] != REAL_ONLY],
        "ladder": [_ladder_entry(cell) for cell in cells if cell["arm"] == REAL_ONLY],
        "fits": [fit.to_json() for fit in fits],
        "wang": [_wang(key, reading) for key, reading in readings.items() if key[1] != REAL_ONLY],
        "comparisons": [
            {"recipe": key[0], "arm": key[1], "response": key[2], **reading.comparison.to_json()}
            for key, reading in readings.items()
            if reading.comparison is not None
        ],
        "claims": judge(claims, ordered, per_image=per_image, bootstrap=bootstrap, seed=seed, laws=_laws(readings)),
        "controls": controls(cells),
        "sentences": sentences(cells, fits, context or {}),
        "warnings": list(dict.fromkeys(warnings)),
    }


def _laws(readings: dict[tuple[str, str, str], Reading]) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """The laws that hold for each (recipe, arm, response)."""
    return {key: laws_that_hold(reading.fit) for key, reading in readings.items()}


def _arms(table: Frame) -> list[tuple[str, str]]:
    pairs = table[["recipe", "arm"]].drop_duplicates().itertuples(index=False)
    return sorted((str(recipe), str(arm)) for recipe, arm in pairs)


def _groups(table: Frame) -> Iterator[tuple[tuple[str, str, float, float, float], Frame]]:
    yield from table.groupby(["recipe", "arm", "n_real", "n_synthetic", "n_generator"], sort=True)


def _read(
    table: Frame,
    recipe: str,
    arm: str,
    response: str,
    per_image: PerImage | None,
    bootstrap: int,
    seed: int,
    warnings: list[str],
) -> Reading:
    """The evidence, inversion and fit of one arm, as far as they can be had."""
    where = f"{arm}, {response}" + (f", {recipe}" if recipe else "")
    try:
        trials = select(table, response=response, arm=arm, recipe=recipe)
        evidence = _gathered(trials, per_image, bootstrap, seed, warnings)
    except FitError as error:
        warnings.append(f"{where}: {error}")
        return Reading(trouble=str(error))
    warnings.extend(f"{where}: {note}" for note in trials.notes)
    if arm == REAL_ONLY:
        return Reading(evidence)
    reading = Reading(evidence, inverted=invert(evidence, real_curve(evidence)))
    try:
        reading.comparison = choose(evidence)
        reading.fit = reading.comparison.fit
    except FitError as error:
        warnings.append(f"{where}: {error}")
        reading.trouble = str(error)
    return reading


def _gathered(trials, per_image: PerImage | None, bootstrap: int, seed: int, warnings: list[str]) -> Evidence:
    """Evidence with test images resampled where their results are complete, without them otherwise."""
    if per_image is not None:
        try:
            return gather(trials, bootstrap=bootstrap, seed=seed, per_image=per_image)
        except FitError as error:
            warnings.append(
                f"{trials.arm}, {trials.response}: the choice of test images is not in the intervals; {error}"
            )
    return gather(trials, bootstrap=bootstrap, seed=seed)


def _cell(key, rows: Frame, readings: dict[tuple[str, str, str], Reading], responses: list[str]) -> dict[str, Any]:
    """One cell of the document; `rows` are its trials, diverged ones included."""
    recipe, arm, n, m, generator = key
    diverged = rows["status"] == "diverged"
    cell: dict[str, Any] = {
        "arm": arm,
        "recipe": recipe,
        "n_real": int(n),
        "n_synthetic": int(m),
        "n_generator": int(generator),
        "replicates": int((~diverged).sum()),
        "diverged": int(diverged.sum()),
    }
    of = {response: readings[recipe, arm, response] for response in responses}
    for response in RESPONSES:
        measured = rows[~diverged][response].to_numpy(float) if response in responses else np.array([])
        cell[response] = _mean(of.get(response), (n, m, generator), measured).to_json()
    return cell if arm == REAL_ONLY else {**cell, **_worth(of, n, m, generator)}


def _mean(reading: Reading | None, at: tuple[float, float, float], values: np.ndarray) -> Interval:
    """The mean response of a cell, with its interval where the noise is known."""
    if not len(values):
        return withheld("not measured" if reading is None else "every trial diverged")
    position = reading.cell(*at) if reading is not None else None
    if reading is not None and reading.evidence is not None and position is not None:
        return mean_response(reading.evidence, position)
    if not np.isfinite(values).all():
        return withheld("not a number")
    reason = "one seed" if len(values) == 1 else "nothing says how much trials differ"
    return Interval(float(values.mean()), -math.inf, math.inf, reason=reason)


def _worth(of: dict[str, Reading], n: float, m: float, generator: float) -> dict[str, Any]:
    """What the synthetic images of a cell are worth; the law's word, or the inversion's where the law fails."""
    first = next(iter(of.values()))
    equivalents, inversions, by = {}, {}, {}
    for response, reading in of.items():
        position = reading.cell(n, m, generator)
        inverted = (
            withheld(reading.trouble or "every trial diverged") if position is None else reading.inverted[position]
        )
        inversions[response] = inverted
        by[response] = "law" if reading.law_holds and position is not None else "inversion"
        law = reading.fit.equivalent(n, m, generator) if reading.fit is not None and by[response] == "law" else inverted
        equivalents[response] = law
    primary = next(iter(of))
    unfit = withheld(_why_no_law(first))
    by_law = by[primary] == "law" and first.fit is not None
    resolution = first.fit.resolution(n) if first.fit is not None and n > 0 else withheld(_why_no_law(first))
    return {
        "equivalent": {response: value.to_json() for response, value in equivalents.items()},
        "equivalent_by": by[primary],
        "equivalent_by_response": by,
        "signs": _signs(first.fit, n, m, generator) if by_law else {},
        "inversion": {response: value.to_json() for response, value in inversions.items()},
        "value": (first.fit.value(n, m, generator) if by_law and first.fit is not None else unfit).to_json(),
        "average_value": equivalents[primary].scaled(1 / m).to_json(),
        "resolution": resolution.to_json(),
    }


def _signs(fit: Fit | None, n: float, m: float, generator: float) -> dict[str, str]:
    """What each law of the set says of the sign of an equivalent."""
    return {law: answer.sign for law, answer in fit.by_law(n, m, generator).items()} if fit else {}


def _why_no_law(reading: Reading) -> str:
    if reading.fit is not None and reading.fit.lack_of_fit is not None and reading.fit.lack_of_fit.fails:
        return f"the law does not fit (p = {reading.fit.lack_of_fit.p:.2g}); a slope is not read off single cells"
    return reading.trouble or "the quantity does not exist without real images"


def _ladder_entry(cell: dict[str, Any]) -> dict[str, Any]:
    return {name: cell[name] for name in ("recipe", "n_real", "replicates", "diverged", *RESPONSES)}


def _wang(key: tuple[str, str, str], reading: Reading) -> dict[str, Any]:
    """Wang's law fitted to the same trials: its parameters and c2, or why not."""
    recipe, arm, response = key
    named = {"arm": arm, "recipe": recipe, "response": response, "pairs_fit": _pairs_fit(key, reading).to_json()}
    if reading.evidence is None:
        return {**named, "parameters": {}, "c2": withheld(reading.trouble).to_json(), "reason": reading.trouble}
    try:
        fit = fit_evidence(reading.evidence, law="wang")
    except FitError as error:
        return {**named, "parameters": {}, "c2": withheld(str(error)).to_json(), "reason": str(error)}
    position = fit.formula.index("ln_c2")
    draws = np.exp(np.minimum(np.array(fit.draws)[:, position], 2 * LARGEST_LN_C2))
    point = math.exp(min(fit.point[position], 2 * LARGEST_LN_C2))
    return {
        **named,
        "parameters": {name: value.to_json() for name, value in fit.parameters.items()},
        "c2": interval_of_draws(point, draws, ceiling=math.exp(LARGEST_LN_C2)).to_json(),
        "status": fit.status,
        "reason": fit.reason,
        "lack_of_fit": fit.lack_of_fit.to_json() if fit.lack_of_fit else None,
    }


def _pairs_fit(key: tuple[str, str, str], reading: Reading) -> Wang:
    """Wang's own procedure on the same trials."""
    recipe, arm, response = key
    return no_answer(arm, recipe, response, reading.trouble) if reading.evidence is None else match(reading.evidence)


def _fit_warnings(fits: list[Fit]) -> list[str]:
    found = []
    for fit in fits:
        where = f"{fit.arm}, {fit.response}" + (f", {fit.recipe}" if fit.recipe else "")
        if fit.lack_of_fit is None:
            found.append(f"{where}: no cell was repeated, so nothing tests whether the law fits")
        elif fit.lack_of_fit.fails:
            found.append(f"{where}: the law does not fit (p = {fit.lack_of_fit.p:.2g}); cells are read off the ladder")
        if fit.status == "not identifiable":
            found.append(f"{where}: {fit.reason}")
        if fit.n_diverged:
            found.append(f"{where}: {fit.n_diverged} trials diverged and are not in the fit")
    return found


def _overlaps(table: Frame, context: dict[str, Any]) -> list[str]:
    """Say where subset draws share so many images that replicates differ less than fresh draws would."""
    available, largest = context.get("n_available", 0), int(table["n_real"].max())
    if not available or largest <= available / 2 or table["subset_seed"].nunique() < 2:
        return []
    return [
        f"draws of {largest:,} of {available:,} images share more than half of them: replicates at real sizes above "
        f"{available // 2:,} differ less than draws from a larger data set would, and their intervals are too short"
    ]


def to_text(document: dict[str, Any]) -> str:
    """The document as the bytes to store: strict JSON, sorted keys."""
    return json.dumps(document, sort_keys=True, allow_nan=False)

"""Everything that a table of trials says, as one JSON document: cells, fits, intervals, warnings, sentences.

Tables, MLflow, the report and the terminal are views of this document. It is a function of the table and the settings
alone: the order of rows does not matter and the seed fixes every draw. Here: the document. Not here: the statistics
(`fits`, `inversion`, `noise`), what one arm says (`readings`), the wording (`sentences`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from realfake.hypotheses import Claim
from realfake.intervals import Interval, interval_of_draws, withheld
from realfake.statistics.budgets import add_other_budgets, budgets_of
from realfake.statistics.claims import judge
from realfake.statistics.contrasts import who_answers
from realfake.statistics.equivalence import INVERSION, Fit
from realfake.statistics.fits import FitError, PerImage, fit_evidence
from realfake.statistics.inversion import mean_response
from realfake.statistics.matched_pairs import LARGEST_LN_C2, Wang, match, no_answer
from realfake.statistics.readings import Key, Reading, read, worth
from realfake.statistics.sentences import controls, in_doubt, sentences
from realfake.statistics.trial_table import REAL_ONLY, Frame, normalised, responses_of
from realfake.values import canonical

SCHEMA = 1
REVISION = 7  # raise it when the same table would get other numbers: cached documents are then made anew


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
    others: int = 0,
) -> dict[str, Any]:
    """The whole document for a table of trials; strict JSON values, every number an `Interval.to_json`.

    `context` words the sentences: "data", "model", "init", "budget", and "generators": {arm: text}; "n_available" is
    the size of the data set that subsets are drawn from. An arm with too few data keeps its cells; the reason is among
    the warnings. `claims` were declared before the runs, and so many `others`; each of the first gets a row with its
    verdict. Raises FitError for a table that makes no sense at all.
    """
    ordered = normalised(table)
    responses = responses_of(ordered)
    settings = {"bootstrap": bootstrap, "seed": seed, "responses": responses, "test_images": per_image is not None}
    warnings: list[str] = []
    keys = [(*pair, response) for pair in _arms(ordered) for response in responses]
    given = {"per_image": per_image, "bootstrap": bootstrap, "seed": seed}
    readings = {key: read(ordered, key, **given, warnings=warnings) for key in keys}
    cells = [_cell(key, rows, readings, responses) for key, rows in _groups(ordered)]
    add_other_budgets(cells, budgets_of(ordered), responses[0])
    fits = [reading.fit for reading in readings.values() if reading.fit is not None]
    warnings += _fit_warnings(fits) + _overlaps(ordered, context or {})
    laws = {key: who_answers(one.fit) for key, one in readings.items()}
    told = sentences(cells, fits, context or {})
    return {
        "schema": SCHEMA,
        "digest": digest(table, per_image=per_image, bootstrap=bootstrap, seed=seed, claims=claims),
        "settings": settings,
        "cells": [cell for cell in cells if cell["arm"] != REAL_ONLY],
        "ladder": [_ladder_entry(cell) for cell in cells if cell["arm"] == REAL_ONLY],
        "fits": [fit.to_json() for fit in fits],
        "other_fits": [fit.to_json() for reading in readings.values() for fit in reading.other_fits],
        "unfitted": [{**_of(key), **one} for key, reading in readings.items() for one in reading.unfitted],
        "wang": [_wang(key, reading) for key, reading in readings.items() if key[1] != REAL_ONLY],
        "comparisons": [
            {**_of(key), **reading.comparison.to_json()}
            for key, reading in readings.items()
            if reading.comparison is not None
        ],
        "claims": judge(claims, ordered, **given, laws=laws, others=others),
        "controls": controls(cells),
        "sentences": [text for texts in told.values() for text in texts],
        "sentence_recipes": [recipe for recipe, texts in told.items() for _ in texts],
        "warnings": list(dict.fromkeys(warnings)),
    }


def _of(key: Key) -> dict[str, str]:
    return dict(zip(("recipe", "arm", "response"), key, strict=True))


def _arms(table: Frame) -> list[tuple[str, str]]:
    pairs = table[["recipe", "arm"]].drop_duplicates().itertuples(index=False)
    return sorted((str(recipe), str(arm)) for recipe, arm in pairs)


def _groups(table: Frame) -> Iterator[tuple[tuple[str, str, float, float, float], Frame]]:
    yield from table.groupby(["recipe", "arm", "n_real", "n_synthetic", "n_generator"], sort=True)


def _cell(key, rows: Frame, readings: dict[Key, Reading], responses: list[str]) -> dict[str, Any]:
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
    for response, reading in of.items():
        cell[response] = _mean(reading, (n, m, generator), rows[~diverged][response].to_numpy(float)).to_json()
    return cell if arm == REAL_ONLY else {**cell, **worth(of, n, m, generator)}


def _mean(reading: Reading, at: tuple[float, float, float], values: np.ndarray) -> Interval:
    """The mean response of a cell, with its interval where the noise is known."""
    if not len(values):
        return withheld("every trial diverged")
    position = reading.cell(*at)
    if reading.evidence is not None and position is not None:
        return mean_response(reading.evidence, position)
    if not np.isfinite(values).all():
        return withheld("not a number")
    reason = "one seed" if len(values) == 1 else "nothing says how much trials differ"
    return Interval(float(values.mean()), -math.inf, math.inf, reason=reason)


def _ladder_entry(cell: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in cell.items() if name not in ("arm", "n_synthetic", "n_generator")}


def _wang(key: Key, reading: Reading) -> dict[str, Any]:
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


def _pairs_fit(key: Key, reading: Reading) -> Wang:
    """Wang's own procedure on the same trials."""
    recipe, arm, response = key
    return no_answer(arm, recipe, response, reading.trouble) if reading.evidence is None else match(reading.evidence)


def _fit_warnings(fits: list[Fit]) -> list[str]:
    found = []
    for fit in fits:
        where = f"{fit.arm}, {fit.response}" + (f", {fit.recipe}" if fit.recipe else "")
        if fit.lack_of_fit is None:
            found.append(f"{where}: no cell was repeated, so nothing tests whether the law fits")
        elif fit.answered_by == (INVERSION,):
            found.append(f"{where}: the law does not fit (p = {fit.lack_of_fit.p:.2g}); cells are read off the ladder")
        elif INVERSION in fit.answered_by:
            found.append(f"{where}: {in_doubt(fit)}")
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

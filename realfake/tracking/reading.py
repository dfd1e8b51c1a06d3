"""What MLflow holds of studies, read back: analyses with their cells and fits, and trials. Nothing here writes.

Everything comes from the tags, parameters and metrics of runs, so a database is enough, wherever its files went.
What is asked of an analysis is in ``answers``, how a query is worded in ``queries``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from realfake import pool_facts
from realfake.privacy.curves import numbers
from realfake.tracking.mirror import EXPERIMENT, search
from realfake.tracking.runs import (
    ADDRESS,
    ATTACK,
    ATTACKS,
    CELLS,
    DIGEST,
    FITS,
    KIND,
    OTHER_FITS,
    OUTCOMES,
    SEEDS,
    SETTINGS,
    STATUS,
    SUPERSEDED,
    TRIALS,
    WARNINGS,
)
from realfake.tracking.server import TrackingError, client_of, explained
from realfake.tracking.texts import joined, unpacked
from realfake.values import nearest

WHOLE = ("n_real", "n_synthetic", "n_generator", *SEEDS, "n_test", "real_budget", "external_budget")
PARENT = "mlflow.parentRunId"


@dataclass(frozen=True)
class Analysed:
    """One analysis of a study: its cells (the rungs of the ladder too), and what its study run says in tags."""

    study: str
    digest: str
    cells: tuple[dict[str, Any], ...]  # as in the document of ``analysis``
    tags: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Whether the study run is there; a process may have been killed before it."""
        return DIGEST in self.tags

    @cached_property
    def fits(self) -> tuple[dict[str, Any], ...]:
        """The fits that the analysis stands on, as JSON with their draws."""
        return tuple((unpacked(FITS, self.tags) or {}).get("fits", ()))

    @cached_property
    def other_fits(self) -> tuple[dict[str, Any], ...]:
        """Fits of the laws outside the set, as JSON with their draws."""
        return tuple(self._others.get("other_fits", ()))

    @cached_property
    def unfitted(self) -> tuple[dict[str, Any], ...]:
        """The laws that were tried and could not be fitted: recipe, arm, response, law, why."""
        return tuple(self._others.get("unfitted", ()))

    @cached_property
    def _others(self) -> Mapping[str, Any]:
        return unpacked(OTHER_FITS, self.tags) or {}

    @cached_property
    def responses(self) -> tuple[str, ...]:
        """The measured responses, that of the headline first."""
        return tuple((joined(SETTINGS, self.tags) or {}).get("responses", ()))

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What the analysis warns of: why an arm has no fit is among it."""
        return tuple(joined(WARNINGS, self.tags) or ())


def analyses(uri: str, studies: Sequence[str] = (), *, all: bool = False) -> list[Analysed]:
    """Return the analyses of the named studies (none named: of all), in that order; ``all`` adds superseded ones.

    Raises TrackingError for an unknown study, naming the nearest, and when MLflow is out of reach.
    """
    with explained(uri, studies[0] if studies else "STUDY"):
        client = client_of(uri, create=False)
        names = _experiments(client, uri, studies)
        found = [run for kind in ("study", "curve") for run in _finished(client, names, kind)]
    cells: dict[tuple[str, str], list[dict[str, Any]]] = {}
    tags: dict[tuple[str, str], Mapping[str, str]] = {}
    for run in found:
        if DIGEST in run.data.tags and (all or SUPERSEDED not in run.data.tags):
            key = names[run.info.experiment_id], run.data.tags[DIGEST]
            cells.setdefault(key, []).extend(joined(CELLS, run.data.tags) or ())
            tags.setdefault(key, run.data.tags if run.data.tags[KIND] == "study" else {})
    order = list(studies) or sorted(names.values())
    keys = sorted(cells, key=lambda key: (order.index(key[0]), key[1]))
    return [Analysed(*key, tuple(cells[key]), tags[key]) for key in keys]


def attack_rows(uri: str, study: str | None = None, *, all: bool = False) -> list[dict[str, Any]]:
    """Return a flat row for every attack on the audits of a study, or of all studies, with ``study`` and ``digest``.

    ``all`` adds those that later audits have superseded. Raises TrackingError as ``analyses`` does.
    """
    with explained(uri, study or "STUDY"):
        client = client_of(uri, create=False)
        names = _experiments(client, uri, (study,) if study else ())
        found = _finished(client, names, "attack")
    return [
        {
            "study": names[run.info.experiment_id],
            **numbers(joined(ATTACK, run.data.tags)),
            "digest": run.data.tags[ATTACKS],
        }
        for run in found
        if all or SUPERSEDED not in run.data.tags
    ]


def trial_rows(uri: str, study: str | None = None) -> list[dict[str, Any]]:
    """Return a row for every trial of a study, or of all studies, as ``records.table`` has it, with ``study``.

    They are the trials of the analysis of today, with the names that it has for arms and recipes, and those that a
    run which is still going on has logged since. Raises TrackingError as ``analyses`` does.
    """
    with explained(uri, study or "STUDY"):
        client = client_of(uri, create=False)
        names = _experiments(client, uri, (study,) if study else ())
        trials = search(client, list(names), f"tags.`{KIND}` = 'trial' AND attributes.status != 'RUNNING'")
        views = search(client, list(names), f"tags.`{KIND}` = 'study'")
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for key, name in names.items():
        own = [run for run in views if run.info.experiment_id == key and SUPERSEDED not in run.data.tags]
        named = _named(run for run in own if run.info.status == "FINISHED")
        open_runs = {run.info.run_id for run in own if run.info.status == "RUNNING"}
        for run in (run for run in trials if run.info.experiment_id == key):
            address = run.data.tags[ADDRESS]
            if address in named or run.data.tags.get(PARENT) in open_runs:
                rows.setdefault((name, address), {"study": name, **_row(run), **named.get(address, {})})
    return list(rows.values())


def _named(study_runs: Iterable[Any]) -> dict[str, dict[str, str]]:
    """Arm and recipe of every trial of the analyses, by address."""
    return {
        address: {"arm": arm, "recipe": recipe}
        for run in study_runs
        for recipe, arms in (unpacked(TRIALS, run.data.tags) or {}).items()
        for arm, addresses in arms.items()
        for address in addresses
    }


def _row(run: Any) -> dict[str, Any]:
    """The run of a trial as a row; what was not measured is NaN."""
    params, metrics = run.data.params, run.data.metrics
    return {
        **{name: params.get(name, "") for name in ("arm", "recipe", "budget")},
        **{name: int(params[name]) for name in WHOLE if name in params},
        **{name: float(params[name]) for name in pool_facts.NUMBERS if name in params},
        **{name: params[name] for name in pool_facts.WORDS if name in params},
        **{name: metrics.get(name, float("nan")) for name in OUTCOMES},
        "status": run.data.tags[STATUS],
        "address": run.data.tags[ADDRESS],
    }


def _experiments(client: Any, uri: str, studies: Sequence[str]) -> dict[str, str]:
    """The names of the studies by the id of their experiment."""
    found = client.search_experiments(filter_string=f"name LIKE '{EXPERIMENT}%'")
    names = {experiment.experiment_id: experiment.name.removeprefix(EXPERIMENT) for experiment in found}
    for study in studies:
        if study not in names.values():
            raise TrackingError(f"MLflow at {uri} has no study {study!r}; {nearest(study, names.values())}")
    return {key: name for key, name in names.items() if not studies or name in studies}


def _finished(client: Any, names: Mapping[str, str], kind: str) -> list[Any]:
    """Each run once: two mirrors at once may have written it twice, and both copies say the same."""
    found = search(client, list(names), f"tags.`{KIND}` = '{kind}' AND attributes.status = 'FINISHED'")
    return list({(run.info.experiment_id, run.data.tags.get(ADDRESS, run.info.run_id)): run for run in found}.values())

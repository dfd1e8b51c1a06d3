"""From the records of a study's audits to what attacks reach on each of its arms.

Nothing is trained or asked here: an ``Audit`` has kept every image's probabilities. Attacks are in ``attacks``.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from realfake import samples
from realfake.intervals import Interval, interval_of_draws
from realfake.naming import REAL_ONLY, arms, recipes
from realfake.privacy.attacks import Mode, Variance, lira, statistics
from realfake.privacy.curves import ENOUGH_CANARIES, ENOUGH_EXAMPLES, Attacked, auc_draws
from realfake.privacy.scores import score
from realfake.spec import Audit, Study, Subset, address
from realfake.store import Store, write_whole

ATTACKS: tuple[tuple[Mode, Variance], ...] = (
    *(("online", "fixed"), ("online", "per example"), ("offline", "fixed"), ("offline", "per example")),
    ("threshold", "fixed"),
)
REVISION = 1  # of what is kept: raised when the same records must give other numbers
ORDINARY, CANARIES = "ordinary examples", "mislabelled canaries"


@dataclass(frozen=True)
class Contrast:
    """By how much one arm's AUC under the strongest kind of attack lies above another's, on the same halves."""

    arm: str
    against: str
    recipe: str
    population: str
    difference: Interval

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**dataclasses.asdict(self), "difference": self.difference.to_json()}

    def sentence(self) -> str:
        """Return the difference, in one sentence."""
        return (
            f"The AUC of online LiRA with fixed variance on {self.population} of {self.arm} differs from that of "
            f"{self.against} by {self.difference}."
        )


@dataclass(frozen=True)
class Membership:
    """What every attack reached on every arm and population of a study; ``unmade`` says which audits lack and why."""

    attacks: tuple[Attacked, ...]
    contrasts: tuple[Contrast, ...] = ()
    unmade: tuple[str, ...] = ()

    def table(self) -> list[dict[str, Any]]:
        """Return one row an attack."""
        return [attack.table() for attack in self.attacks]

    def to_json(self) -> dict[str, Any]:
        """Return strict JSON."""
        found = {"attacks": self.attacks, "contrasts": self.contrasts}
        return {**{k: [one.to_json() for one in v] for k, v in found.items()}, "unmade": list(self.unmade)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Membership":
        """Return what ``to_json`` wrote."""
        contrasts = (Contrast(**{**c, "difference": Interval.from_json(c["difference"])}) for c in values["contrasts"])
        attacks = tuple(Attacked.from_json(attack) for attack in values["attacks"])
        return cls(attacks, tuple(contrasts), tuple(values["unmade"]))

    def sentences(self) -> list[str]:
        """Return what the attacks reached, and the differences of arms, in sentences."""
        return [one.sentence() for one in (*self.attacks, *self.contrasts)]


@dataclass(frozen=True)
class _Seen:
    """Scores and membership of one arm: the same examples under every shadow model that has a record."""

    scores: np.ndarray  # (M, n)
    member: np.ndarray  # (M, n)
    canary: np.ndarray  # (n,)
    halves: tuple[int, ...]


def membership(study: Study, store: Store | str | Path, draws: int = 500) -> Membership:
    """Attack every arm that a study audits, and compare arms with the one trained on the half itself.

    Shadow models come in pairs: one whose partner is not made or diverged is left out, and said. Intervals are 95 %,
    over ``draws`` resamples of models and examples. Raises FileNotFoundError when predictions of a record are gone.
    """
    store = store if isinstance(store, Store) else Store(store)
    arm, recipe = arms(study.trials), recipes(study.trials)
    groups: dict[tuple[str, str, Subset], list[Audit]] = {}
    for audit in study.audits:
        groups.setdefault((arm[address(audit.of)], recipe[address(audit.of)], audit.on), []).append(audit)
    attacks: list[Attacked] = []
    seen: dict[tuple[str, str, Subset], _Seen] = {}
    unmade: list[str] = []
    for (name, of, on), audits in groups.items():
        made = _paired(audits, store)
        if len(made) < len(audits):
            unmade.append(_left_out(name, len(audits) - len(made), len(audits)))
        if len(made) >= 4:
            seen[name, of, on] = _seen(made, on, store)
            attacks += _attack(seen[name, of, on], name, of, draws)
    return Membership(tuple(attacks), tuple(_contrasts(seen, draws)), tuple(unmade))


def kept_membership(study: Study, store: Store) -> dict[str, Any] | None:
    """Return ``membership`` as JSON with its main sentences, from the study's folder unless other audits are made now.

    None for a study without audits.
    """
    if not study.audits:
        return None
    path = store.study_folder(study.name) / "membership.json"
    made = [record["address"] for audit in study.audits if (record := store.record(audit))]
    key = hashlib.sha256(json.dumps([REVISION, made, [address(a) for a in study.audits]]).encode()).hexdigest()
    kept = json.loads(path.read_text()) if path.is_file() else {}
    if kept.get("key") != key:
        found = membership(study, store)
        told = [a.sentence() for a in found.attacks if (a.mode, a.variance) == ATTACKS[0]]
        said = [*told, *(contrast.sentence() for contrast in found.contrasts)]
        kept = {"key": key, **found.to_json(), "sentences": said}
        write_whole(path, json.dumps(kept, indent=1))
    return kept


def _left_out(arm: str, lacking: int, of: int) -> str:
    why = "they, or those of the other half, are not made or diverged"
    return f"{arm}: {lacking} of {of} shadow models are left out: {why}"


def _paired(audits: Iterable[Audit], store: Store) -> list[Audit]:
    """Return the audits with a usable record, in the order of their halves, whose complement has one too."""
    there = {}
    for audit in audits:
        record, half = store.record(audit), audit.half.half
        if record and record["result"]["status"] == "ok" and half is not None:
            there[half] = audit
    return [there[half] for half in sorted(there) if half ^ 1 in there]


def _seen(audits: list[Audit], on: Subset, store: Store) -> _Seen:
    whole = samples.load_dataset(store, on.of)  # type: ignore[arg-type]
    found = [_of_record(audit, store) for audit in audits]
    ids = found[0][0]
    member = np.stack([np.isin(ids, whole.ids[samples.subset_rows(whole, audit.half)]) for audit in audits])
    canary = np.isin(ids, samples.canary_ids(whole, on))
    return _Seen(np.stack([phi for _, phi in found]), member, canary, tuple(a.half.half or 0 for a in audits))


def _of_record(audit: Audit, store: Store) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids ``(n,)`` and scores ``(n,)`` of one audit, in the order of ids."""
    table = pq.read_table(store.file(audit, "predictions.parquet")).sort_by("id")
    labels = table["label"].to_numpy()
    flat = table["probabilities"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return table["id"].to_numpy(), score(flat.reshape(len(labels), -1), labels)


def _attack(seen: _Seen, arm: str, recipe: str, draws: int) -> list[Attacked]:
    known = len(seen.member) >= 6  # a deviation of each example needs two models a side
    modes: list[tuple[Mode, Variance]] = [
        (mode, variance) for mode, variance in ATTACKS if known or variance == "fixed"
    ]
    found = []
    for population, rows in _populations(seen):
        told = {"arm": arm, "recipe": recipe, "population": population, "draws": draws}
        told["notes"] = _notes(population, int(rows.sum()))
        parts = seen.scores[:, rows], seen.member[:, rows]
        found += [lira(*parts, mode, variance, **told) for mode, variance in modes]
    return found


def _populations(seen: _Seen) -> list[tuple[str, np.ndarray]]:
    both = [(ORDINARY, ~seen.canary), (CANARIES, seen.canary)]
    return [(name, rows) for name, rows in both if rows.any()]


def _notes(population: str, examples: int) -> tuple[str, ...]:
    enough = ENOUGH_CANARIES if population == CANARIES else ENOUGH_EXAMPLES
    return () if examples >= enough else (f"{examples} {population}, fewer than {enough:,}",)


def _contrasts(seen: dict[tuple[str, str, Subset], _Seen], draws: int) -> Iterable[Contrast]:
    """Compare every arm with the one trained on the half, where both have the same halves; resampled together."""
    for (name, recipe, on), one in seen.items():
        base = seen.get((REAL_ONLY, recipe, on))
        if name == REAL_ONLY or base is None or base.halves != one.halves:
            continue
        for population, rows in _populations(one):
            (point, drawn), (other, others) = (_auc(side, rows, draws) for side in (one, base))
            difference = interval_of_draws(point - other, drawn - others)
            yield Contrast(name, REAL_ONLY, recipe, population, difference)


def _auc(seen: _Seen, rows: np.ndarray, draws: int) -> tuple[float, np.ndarray]:
    member = seen.member[:, rows]
    return auc_draws(statistics(seen.scores[:, rows], member), member, draws)

"""What an attack reaches: its ROC curve, the area under it, and true positives at few false ones, with intervals.

From one statistic for every pair of model and example. Where that comes from is in ``attacks``.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realfake.intervals import Interval, interval_of_draws, withheld

RATES = (0.001, 0.01)  # false-positive rates at which true positives are told
LEAST_FALSE_POSITIVES = 10  # fewer say nothing about a rate
ENOUGH_MODELS, ENOUGH_EXAMPLES, ENOUGH_CANARIES = 16, 2000, 100
CURVE_POINTS = 60


@dataclass(frozen=True)
class Point:
    """A point of the ROC curve: the true-positive rate at a false-positive rate (shares)."""

    fpr: float
    tpr: Interval

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"fpr": self.fpr, "tpr": self.tpr.to_json()}


@dataclass(frozen=True)
class Attacked:
    """What one attack reached on the examples of one population, over all models as targets.

    ``at`` holds the true-positive rates at 0.1 % and 1 % false positives, withheld where fewer than ten false positives
    stand behind one; ``curve`` is the ROC curve from ten false positives on. ``balanced_accuracy`` is at the threshold
    that is best for these very decisions, so it lies a little above ½ for an attack that knows nothing.
    """

    mode: str
    variance: str
    models: int
    examples: int
    decisions: int  # about non-members: of these false positives are a share
    auc: Interval
    balanced_accuracy: Interval
    at: tuple[Point, ...]
    curve: tuple[Point, ...] = ()
    arm: str = ""
    recipe: str = ""
    population: str = ""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the attack is called."""
        if self.mode == "threshold":
            return "global threshold"
        return f"{self.mode} LiRA, " + ("fixed variance" if self.variance == "fixed" else "variance per example")

    def table(self) -> dict[str, Any]:
        """Return one row: numbers, and their intervals as text."""
        return {
            "arm": self.arm,
            "recipe": self.recipe,
            "population": self.population,
            "attack": self.name,
            "models": self.models,
            "examples": self.examples,
            "auc": str(self.auc),
            "balanced_accuracy": str(self.balanced_accuracy),
            **{f"tpr_at_{point.fpr:g}": _told(point.tpr) for point in self.at},
        }

    def to_json(self) -> dict[str, Any]:
        """Return strict JSON."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain |= {name: plain[name].to_json() for name in ("auc", "balanced_accuracy")}
        plain |= {name: [point.to_json() for point in plain[name]] for name in ("at", "curve")}
        return {**plain, "notes": list(self.notes), "attack": self.name}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Attacked":
        """Return what ``to_json`` wrote."""
        given = {f.name: values[f.name] for f in dataclasses.fields(cls)}
        given |= {name: Interval.from_json(given[name]) for name in ("auc", "balanced_accuracy")}
        for name in ("at", "curve"):
            given[name] = tuple(Point(point["fpr"], Interval.from_json(point["tpr"])) for point in given[name])
        return cls(**{**given, "notes": tuple(given["notes"])})

    def sentence(self) -> str:
        """Return what was reached, in one sentence."""
        of = " ".join(filter(None, ["on", self.population or "examples", f"of {self.arm}" if self.arm else ""]))
        known = [p for p in self.at if p.tpr.censored != "withheld"]
        parts = [f"TPR {p.tpr} at FPR {100 * p.fpr:g} %" for p in known]
        return f"{self.name} reaches {', '.join([*parts, f'AUC {self.auc}'])} {of}."


def numbers(attack: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of an attack as a flat row: whom it was on, and every number with its interval."""
    row = {name: attack[name] for name in ("arm", "recipe", "population", "attack", "models", "examples", "decisions")}
    for name in ("auc", "balanced_accuracy"):
        row |= sides(name, attack[name])
    for point in attack["at"]:
        name = f"tpr_at_{point['fpr']:g}"
        row |= {**sides(name, point["tpr"]), f"{name}_said": point["tpr"]["reason"]}
    return {**row, "notes": "; ".join(attack["notes"])}


def sides(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of an interval as its point and ends under a name."""
    return {name: values["point"], f"{name}_low": values["low"], f"{name}_high": values["high"]}


def _told(tpr: Interval) -> str:
    return tpr.reason if tpr.censored == "withheld" else str(tpr)


def measure(
    statistic: np.ndarray,
    member: np.ndarray,
    *,
    mode: str = "",
    variance: str = "",
    population: str = "",
    arm: str = "",
    recipe: str = "",
    notes: tuple[str, ...] = (),
    draws: int = 500,
    seed: int = 0,
) -> Attacked:
    """Return what guessing "member" above one threshold reaches, over all targets and examples at once.

    ``statistic`` and ``member`` are ``(M, n)``. The 95 % intervals come from ``draws`` resamples of models and, crossed
    with them, of examples (Owen 2007, the pigeonhole bootstrap); the statistic itself stays as it is, so what other
    reference models would have said is not in them.
    """
    models, examples = member.shape
    roc = _Roc(statistic, member)
    whole = roc.at_weights(np.ones(models), np.ones(examples))
    grid = _grid(int((~member).sum()))
    random = np.random.default_rng(seed)
    found = [roc.at_weights(*_resampled(random, models, examples)).numbers(grid) for _ in range(draws)]
    numbers, drawn = whole.numbers(grid), np.array(found).reshape(draws, -1)
    intervals = [interval_of_draws(float(p), drawn[:, i]) for i, p in enumerate(numbers)]
    auc, accuracy, *points = intervals
    false_positives = [whole.false_positives(rate) for rate in RATES]
    return Attacked(
        mode=mode,
        variance=variance,
        models=models,
        examples=examples,
        decisions=int((~member).sum()),
        auc=auc,
        balanced_accuracy=accuracy,
        at=tuple(
            Point(rate, tpr if n >= LEAST_FALSE_POSITIVES else withheld(_below(n)))
            for rate, n, tpr in zip(RATES, false_positives, points, strict=False)
        ),
        curve=tuple(Point(float(f), tpr) for f, tpr in zip(grid, points[len(RATES) :], strict=True)),
        arm=arm,
        recipe=recipe,
        population=population,
        notes=(*notes, *_few(models)),
    )


def auc_draws(statistic: np.ndarray, member: np.ndarray, draws: int = 500, seed: int = 0) -> tuple[float, np.ndarray]:
    """Return the AUC and its ``draws`` resamples, those of ``measure``: of two arms with one seed they go together."""
    roc, random = _Roc(statistic, member), np.random.default_rng(seed)
    nothing = np.empty(0)
    weights = (_resampled(random, *member.shape) for _ in range(draws))
    drawn = [float(roc.at_weights(*pair).numbers(nothing)[0]) for pair in weights]
    whole = roc.at_weights(*(np.ones(n) for n in member.shape)).numbers(nothing)
    return float(whole[0]), np.array(drawn)


def _below(false_positives: int) -> str:
    return f"below resolution ({false_positives} false positive{'s' * (false_positives != 1)})"


def _few(models: int) -> tuple[str, ...]:
    return () if models >= ENOUGH_MODELS else (f"{models} shadow models, fewer than {ENOUGH_MODELS}",)


def _grid(non_members: int) -> np.ndarray:
    """Return false-positive rates from ten false positives to all, evenly in logarithm."""
    least = LEAST_FALSE_POSITIVES / max(non_members, LEAST_FALSE_POSITIVES)
    return np.geomspace(least, 1, CURVE_POINTS)


def _resampled(random: np.random.Generator, models: int, examples: int) -> tuple[np.ndarray, np.ndarray]:
    counts = (random.integers(0, n, n) for n in (models, examples))
    of_models, of_examples = counts
    return np.bincount(of_models, minlength=models) * 1.0, np.bincount(of_examples, minlength=examples) * 1.0


@dataclass(frozen=True)
class _Curve:
    """An ROC curve: counts of false and true positives as the threshold falls, one entry a distinct statistic."""

    false: np.ndarray
    true: np.ndarray

    def numbers(self, grid: np.ndarray) -> np.ndarray:
        """Return AUC, best balanced accuracy, and the true-positive rates at ``RATES`` and ``grid``."""
        fpr, tpr = self.false / self.false[-1], self.true / self.true[-1]
        reached = self._last(np.concatenate([RATES, grid]))
        return np.concatenate([[np.trapezoid(tpr, fpr), (1 + (tpr - fpr).max()) / 2], tpr[reached]])

    def false_positives(self, rate: float) -> int:
        """Return how many false positives stand behind the true-positive rate at a false-positive rate."""
        return int(self.false[self._last(np.array([rate]))[0]])

    def _last(self, rates: np.ndarray) -> np.ndarray:
        """Return the last threshold at which the false-positive rate is not above each rate."""
        return np.searchsorted(self.false, rates * self.false[-1] * (1 + 1e-12), side="right") - 1


@dataclass(frozen=True)
class _Roc:
    """The decisions of an attack in falling order of the statistic, so that resamples need no sorting."""

    statistic: np.ndarray
    member: np.ndarray
    model: np.ndarray = field(init=False)
    example: np.ndarray = field(init=False)
    inside: np.ndarray = field(init=False)
    ends: np.ndarray = field(init=False)  # the last decision of every group of equal statistics

    def __post_init__(self) -> None:
        flat = np.asarray(self.statistic, dtype=np.float64).ravel()
        order = np.argsort(-flat, kind="stable")
        model, example = np.divmod(order, self.member.shape[1])
        ends = np.append(np.flatnonzero(np.diff(flat[order])), len(order) - 1)
        inside = np.asarray(self.member, dtype=bool).ravel()[order]
        for name, value in {"model": model, "example": example, "inside": inside, "ends": ends}.items():
            object.__setattr__(self, name, value)

    def at_weights(self, of_models: np.ndarray, of_examples: np.ndarray) -> _Curve:
        """Return the curve where models and examples count as often as their weights say."""
        weight = of_models[self.model] * of_examples[self.example]
        counts = (np.cumsum(np.where(side, weight, 0.0))[self.ends] for side in (~self.inside, self.inside))
        false, true = (np.concatenate([[0.0], count]) for count in counts)
        return _Curve(false, true)

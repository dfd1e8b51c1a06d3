"""The names of arms and recipes: what made a trial's images and how it was trained, told apart as far as they differ.

A field is part of a name where trials of one size differ in it; one that merely follows the size is not.
"""

from typing import Any

from realfake.spec import (
    BestOf,
    ClosedSet,
    Dataset,
    Distances,
    External,
    Gan,
    Generator,
    OpenSet,
    Pool,
    Pretrained,
    Procedural,
    Recipe,
    Relabel,
    Repeat,
    Spec,
    Translation,
    Trial,
    address,
    fitted_on,
    root_generator,
)
from realfake.values import Value, differing, fields

REAL_ONLY = "real-only"
MIXING = ("mixing", "synthetic_weight", "synthetic_share")


def pools_of(trial: Trial) -> list[Pool]:
    """Return the pools that a trial draws on."""
    return [part.of for part in trial.synthetic if isinstance(part.of, Pool)]


def test_name(dataset: Dataset) -> str:
    """Return what a test set is called: its name, for your own files the first digits of their fingerprint, its
    corruption, and its split where that is not "test"."""
    name = " ".join(filter(None, (dataset.name, dataset.fingerprint[:6], dataset.corruption)))
    return name if dataset.split == "test" else f"{name} ({dataset.split})"


def arms(trials: tuple[Trial, ...]) -> dict[str, str]:
    """Return the name of every trial's arm: what made its synthetic images, and what tells it from the other arms.

    A field is part of the name where trials of one size differ in it; one that merely follows the size is not.
    """
    return _named(trials, _base, lambda t: {k: v for p in pools_of(t) for k, v in _settings(p).items()} | _mixing(t))


def recipes(trials: tuple[Trial, ...]) -> dict[str, str]:
    """Return the name of every trial's recipe: the model, and what tells it from the other recipes of the study.

    What a model began with is told wherever it differs, at one size or not: from scratch and pretrained share no curve.
    """
    return _named(trials, lambda t: t.recipe.model, lambda t: _recipe_settings(t.recipe), always=("init", "frozen"))


def _named(trials: tuple[Trial, ...], base: Any, settings: Any, always: tuple[str, ...] = ()) -> dict[str, str]:
    found = [(address(t), (base(t), t.n_real, t.n_synthetic), settings(t)) for t in trials]
    seen: dict[tuple, set] = {}
    for _, place, setting in found:
        for key, value in setting.items():
            seen.setdefault((place[:1] if key in always else place, key), set()).add(value)
    telling = {(place[0], key) for (place, key), values in seen.items() if len(values) > 1}
    return {
        name: " ".join([place[0], *(_told(k, v) for k, v in setting.items() if (place[0], k) in telling)])
        for name, place, setting in found
    }


def _told(key: str, value: str) -> str:
    return value if key == "budget" else f"{key}={value}"


def _base(trial: Trial) -> str:
    kinds = [_kind(pool.generator) + ("" if _strict(trial, pool) else " leaky") for pool in pools_of(trial)]
    return " + ".join(dict.fromkeys(kinds)) or REAL_ONLY


def _kind(generator: Generator) -> str:
    match generator:
        case ClosedSet():
            return "closed-set"
        case Gan():
            return "gan"
        case Repeat():
            return "repeat"
        case Relabel():
            return f"{_kind(generator.generator)} permuted"
        case Procedural():
            return "rendered"
        case Translation():
            some = "random" if generator.candidates < generator.virtual.size else "all"
            return f"{'PTL' if generator.distances else some} {generator.translator}"
        case OpenSet():
            lora = generator.lora
            parts = {"lora": lora and lora.rank, "token": lora and lora.token, "matching": lora and lora.matching}
            parts |= {"visual": generator.visual, "prior": generator.prior, "captions": generator.prompts.captions}
            return " + ".join(["open-set", *(name for name, part in parts.items() if part)])
        case BestOf():
            return f"best of {generator.k} {_kind(generator.generator)}"


def _strict(trial: Trial, pool: Pool) -> bool:
    """Say whether the generator saw nothing but the real images that the trial itself is trained on."""
    mine = trial.real
    if mine is None:
        return True
    draw = (mine.of, mine.seed, mine.by, mine.half)
    seen = fitted_on(pool.generator)
    return all((of.of, of.seed, of.by, of.half) == draw and of.size <= mine.size for of in seen)


def _settings(pool: Pool) -> dict[str, str]:
    root = root_generator(pool.generator)
    own = {**_plain(root, skip=("seed",)), **_plain(pool, skip=("seed",))}
    if isinstance(root, Translation) and isinstance(root.virtual.of, Pool):
        own |= {f"virtual {key}": value for key, value in _settings(root.virtual.of).items()}
        own["virtual size"] = str(root.virtual.size)
        own["scales"] = (
            str(root.distances.of.scales) if root.distances and isinstance(root.distances.of, Distances) else ""
        )
    if isinstance(root, OpenSet):
        own |= _components(root)
    if isinstance(pool.generator, BestOf):
        own["chosen by"] = pool.generator.by
    return own


def _components(generator: OpenSet) -> dict[str, str]:
    """Return what an open-set pipeline is, and how its adapter was fitted."""
    base = generator.base
    own = {"base": f"{base.network} of {base.real.of.name}" if isinstance(base, Pretrained) else base.name}  # type: ignore[union-attr]
    fitted = _plain(generator.lora, skip=("seed",)) if generator.lora else {}
    return own | {f"lora {key}": text for key, text in fitted.items()}


def _mixing(trial: Trial) -> dict[str, str]:
    """Return how synthetic images are mixed in: of the arm, for without any there is nothing to mix."""
    return {name: str(getattr(trial.recipe, name)) for name in MIXING} if trial.synthetic else {}


def _recipe_settings(recipe: Recipe) -> dict[str, str]:
    rule, amount = recipe.budget.split("=")
    rest = _plain(recipe, skip=("model", "examples_seen", "epochs", "real_examples_seen", *MIXING))
    return {"budget": f"{amount} {rule.replace('_', ' ')}", **rest}


def _plain(value: Value, skip: tuple[str, ...]) -> dict[str, str]:
    shown = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in skip}
    named = {k: v.name if isinstance(v, External) else v for k, v in shown.items()}
    return {k: _text(v) for k, v in named.items() if not isinstance(v, Spec)}


def _text(value: Any) -> str:
    """Return a setting as text; of one that has fields itself those that differ from their defaults, or "on".

    What is made of a draw (captions of it, say) is no setting: it would make every replicate an arm of its own.
    """
    if not isinstance(value, Value):
        return str(value).lower() if value is None else str(value)
    changed = {name: getattr(value, name) for name in differing(value)}
    plain = {k: v for k, v in changed.items() if isinstance(v, External) or not isinstance(v, Spec)}
    return " ".join(f"{k}={v.name if isinstance(v, External) else v}" for k, v in plain.items()) or "on"

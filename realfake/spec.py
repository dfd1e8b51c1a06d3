"""The vocabulary: every spec, its address, what it holds, and the order in which things are made.

A spec is frozen data. A spec that holds a spec depends on it: that one sentence is the graph, the cache key and the
resume rule. Nothing here reads a file, and nothing here says *where* a thing is made (see ``resources``) or *how*
(see ``datasets``, ``generators``, ``tasks``). Standard library only, so that reading a study is instant.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal

from realfake.hypotheses import Adaptive, Claim, check_adaptive, check_claims
from realfake.values import SpecError, Value, at_least, differing, fields, within


class Spec(Value):
    """A Value with an address of its own. ``revision`` is raised when the meaning of a kind changes."""

    kind: ClassVar[str] = "spec"
    revision: ClassVar[int] = 1
    made: ClassVar[Literal["record", "shards", "view"]] = "view"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.kind = cls.__name__.lower()

    def canonical(self, full: bool) -> list[Any]:
        """Return the address: whoever holds a spec holds that, not its fields."""
        return ["spec", address(self)]


# ------------------------------------------------------------------------------------------------ real data and weights


class Dataset(Spec):
    """Real labelled images, imported once. A path is no identity: folders are named by a ``fingerprint`` of content.

    ``name`` is a built-in source ("digits", "mnist5k", "fashion", "imagefolder", "parquet"); ``pixels`` is the side
    of the square that images are resized to (0: as they are); ``problems`` says what to do about unreadable images
    and about images that are in both train and test: "refuse" them all with a message, or "skip" and count them.
    """

    made: ClassVar = "record"
    name: str
    split: Literal["train", "test"] = "train"
    pixels: int = 0
    fingerprint: str = ""
    problems: Literal["refuse", "skip"] = "refuse"

    def check(self) -> None:
        at_least(self, pixels=0)


class Subset(Spec):
    """The first ``size`` samples: of a dataset in a seeded, class-proportional order, or of a pool as they come."""

    of: "Dataset | Pool"
    size: int
    seed: int = 0

    def check(self) -> None:
        at_least(self, size=1)
        if isinstance(self.of, Pool) and self.seed:
            raise SpecError(
                f"Subset(of=Pool, seed={self.seed}): the subset of a pool is its prefix and takes no seed; "
                "for another draw write Pool(seed=…)"
            )


class External(Spec):
    """Weights from elsewhere: a timm name ("resnet18.a1_in1k") or a file, named by the sha256 of its content.

    ``n_images`` is the external budget: how many real images those weights have seen (None: unknown).
    """

    name: str
    fingerprint: str = ""
    n_images: int | None = None


# --------------------------------------------------------------------------------------------------------- generators


class ClosedSet(Spec):
    """A class-conditional diffusion model trained from scratch on one real subset, and on nothing else.

    ``steps`` optimizer steps of ``batch_size`` images; ``label_dropout`` is the share of unlabelled examples that
    makes classifier-free guidance possible (Ho & Salimans 2022); ``ema_decay`` the decay of the averaged weights.
    """

    made: ClassVar = "record"
    real: Subset
    network: str = "unet-xs"
    steps: int = 1000
    batch_size: int = 32
    learning_rate: float = 3e-3
    ema_decay: float = 0.995
    label_dropout: float = 0.1
    flip: bool = False
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0

    def check(self) -> None:
        _real(self)
        at_least(self, steps=1, batch_size=1)
        within(self, 0, 1, "ema_decay", "label_dropout")


class Repeat(Spec):
    """Control: the real images again. What a generator adds beyond more views of the same images shows against it."""

    real: Subset

    def check(self) -> None:
        _real(self)


class Relabel(Spec):
    """Control: the images of ``generator`` under permuted labels. What pixels without labels do shows here."""

    generator: "ClosedSet | Repeat"
    seed: int = 0


Generator = ClosedSet | Repeat | Relabel


class Pool(Spec):
    """The endless sequence of samples that a generator makes. Sample i depends on i and on this spec alone.

    ``guidance`` is the classifier-free guidance weight w in  D_uncond + w·(D_cond − D_uncond)  (1: none);
    ``labels`` is "balanced", or "proportional" to the classes of the generator's real subset.
    """

    made: ClassVar = "shards"
    generator: Generator
    guidance: float = 1.0
    sampling_steps: int = 16
    labels: Literal["balanced", "proportional"] = "balanced"
    seed: int = 0

    def check(self) -> None:
        at_least(self, guidance=0, sampling_steps=1)


# ------------------------------------------------------------------------------------------------- training and trials


class Recipe(Value):
    """How a classifier is trained; all that changes a number is here, nothing about devices is.

    Exactly one budget: ``examples_seen`` (the default of the field: fixed compute whatever the mixture),
    ``epochs`` of real and synthetic together, or ``real_examples_seen`` (every real image is seen equally often
    whatever is added). ``mixing``: "pool" shuffles real and synthetic together; "weighted" draws half of each batch
    from either and weighs their losses (1 − synthetic_weight : synthetic_weight); "synthetic_then_real" spends
    ``synthetic_share`` of the budget on synthetic images first. ``frozen`` trains a linear head on fixed features.
    """

    model: str = "test_resnet"
    init: External | None = None
    frozen: bool = False
    examples_seen: int | None = None
    epochs: float | None = None
    real_examples_seen: int | None = None
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    augment: Literal["none", "shift", "flip-shift"] = "shift"
    mixing: Literal["pool", "weighted", "synthetic_then_real"] = "pool"
    synthetic_weight: float = 0.5
    synthetic_share: float = 0.5
    precision: Literal["fp32", "bf16"] = "fp32"

    def check(self) -> None:
        budgets = {k: getattr(self, k) for k in ("examples_seen", "epochs", "real_examples_seen")}
        given = {k: v for k, v in budgets.items() if v is not None}
        if len(given) != 1:
            raise SpecError(
                f"Recipe: {len(given)} budgets are given, and a trial needs exactly one; "
                "write one of examples_seen=…, epochs=…, real_examples_seen=…"
            )
        at_least(self, batch_size=1, **dict.fromkeys(given, 1))
        within(self, 0, 1, "synthetic_weight", "synthetic_share")
        if self.frozen and self.init is None:
            raise SpecError("Recipe.frozen: features of random weights are useless; give init=External(name=…)")
        if self.frozen and self.augment != "none":
            raise SpecError("Recipe.frozen: features are computed once, so images cannot vary; give augment='none'")

    @property
    def budget(self) -> str:
        """The budget rule as text, for tables: 'examples_seen=20000'."""
        return next(f"{k}={v}" for k in ("examples_seen", "epochs", "real_examples_seen") if (v := getattr(self, k)))


class Trial(Spec):
    """One model trained on a real and on synthetic subsets, and its metrics on a sealed test set."""

    made: ClassVar = "record"
    real: Subset | None = None
    synthetic: tuple[Subset, ...] = ()
    test: Dataset
    recipe: Recipe
    seed: int = 0

    def check(self) -> None:
        if self.real is None and not self.synthetic:
            raise SpecError("Trial: neither real nor synthetic samples; give real=Subset(…) or synthetic=(Subset(…),)")
        if self.real is not None:
            _real(self)
        for part in self.synthetic:
            if not isinstance(part.of, Pool):
                raise SpecError("Trial.synthetic: a subset of a dataset is real data; give subsets of a Pool")
        if any(subset.of == self.test for subset in real_budget(self)):
            raise SpecError(
                f"Trial: the test set {self.test.name!r} ({self.test.split}) is also trained on, directly or through a "
                "generator; train on another split"
            )

    @property
    def n_real(self) -> int:
        """Real images beside which the synthetic ones stand."""
        return self.real.size if self.real else 0

    @property
    def n_synthetic(self) -> int:
        """Synthetic images used, over all pools."""
        return sum(part.size for part in self.synthetic)


class Study(Spec):
    """A question, the trials that answer it, and what is claimed before they run. Equal trials count once."""

    name: str
    trials: tuple[Trial, ...]
    claims: tuple[Claim, ...] = ()
    adaptive: Adaptive | None = None

    def check(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", self.name):
            raise SpecError(f"Study.name {self.name!r} becomes a folder: use small letters, digits, '-' and '_' only")
        if not self.trials:
            raise SpecError(f"Study {self.name!r} has no trials; give trials=(Trial(…), …)")
        object.__setattr__(self, "trials", tuple({address(t): t for t in self.trials}.values()))
        cells = [(trial.n_real, trial.n_synthetic) for trial in self.trials]
        check_claims(self.name, self.claims, set(cells))
        if self.adaptive:
            check_adaptive(self.name, self.adaptive, cells)


# --------------------------------------------------------------------------------------------- addresses and the graph


def address(spec: Spec) -> str:
    """Return ``<kind>-<12 hex of sha256>`` of kind, revision, and the fields that differ from their defaults."""
    if "_address" not in spec.__dict__:
        text = json.dumps([spec.kind, spec.revision, differing(spec)], sort_keys=True, separators=(",", ":"))
        object.__setattr__(spec, "_address", f"{spec.kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}")
    return spec.__dict__["_address"]


def inputs(spec: Value) -> tuple[Spec, ...]:
    """Return the specs that this one holds, directly or inside tuples and values."""
    return tuple(_held(getattr(spec, f.name) for f in fields(spec)))


def order(specs: Iterable[Spec]) -> tuple[Spec, ...]:
    """Return the specs and all that they hold, each once, inputs first."""
    seen: dict[str, Spec] = {}
    for spec in specs:
        _visit(spec, seen)
    return tuple(seen.values())


def real_budget(spec: Spec) -> tuple[Subset, ...]:
    """Return the real subsets that a spec saw, directly or through its generator; nested ones count as their largest.

    "Synthetic-only" is rarely real-free: an exchange rate without this is meaningless.
    """
    largest: dict[tuple[str, int], Subset] = {}
    for held in order([spec]):
        if isinstance(held, Subset) and isinstance(held.of, Dataset):
            key = (address(held.of), held.seed)
            if key not in largest or held.size > largest[key].size:
                largest[key] = held
    return tuple(largest.values())


def external_budget(spec: Spec) -> int | None:
    """Return how many outside images the weights that a spec holds have seen; None when any of them is unknown."""
    counts = [held.n_images for held in order([spec]) if isinstance(held, External)]
    return None if None in counts else sum(n for n in counts if n is not None)


def root_generator(generator: Generator) -> "ClosedSet | Repeat":
    """Return the generator whose images a control relabels, or the generator itself."""
    return root_generator(generator.generator) if isinstance(generator, Relabel) else generator


def _held(values: Iterable[Any]) -> Iterator[Spec]:
    for value in values:
        if isinstance(value, Spec):
            yield value
        elif isinstance(value, tuple):
            yield from _held(value)
        elif isinstance(value, Value):
            yield from inputs(value)


def _visit(spec: Spec, seen: dict[str, Spec]) -> None:
    if address(spec) not in seen:
        for held in inputs(spec):
            _visit(held, seen)
        seen[address(spec)] = spec


def _real(spec: Any) -> None:
    if not isinstance(spec.real.of, Dataset):
        raise SpecError(f"{type(spec).__name__}.real: a subset of a pool is synthetic; give a subset of a Dataset")

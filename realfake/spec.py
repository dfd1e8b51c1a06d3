"""The vocabulary: every spec that a study is written in. What an address is and what depends on what is in ``graph``.

A spec is frozen data; one that holds another depends on it. Nothing here reads a file, and nothing here says *where* a
thing is made (see ``resources``) or *how* (see ``datasets``, ``generators``, ``tasks``). Standard library only, so that
reading a study is instant.
"""

import re
from typing import Any, ClassVar, Literal

from realfake.checks import check_choice, check_choices, check_translation, check_tried
from realfake.effects import Effect
from realfake.graph import Spec as Spec
from realfake.graph import address as address
from realfake.graph import inputs as inputs
from realfake.graph import order as order
from realfake.hypotheses import Adaptive, Claim, check_adaptive, check_claims
from realfake.outside import Dataset as Dataset
from realfake.outside import External as External
from realfake.recipes import DetectionRecipe as DetectionRecipe
from realfake.recipes import DistanceRule as DistanceRule
from realfake.recipes import Recipe as Recipe
from realfake.responses import Response
from realfake.values import SpecError, at_least, within

# ------------------------------------------------------------------------------------------------ real data and weights


class Subset(Spec):
    """The first ``size`` samples: of a dataset in a seeded, class-proportional order, or of a pool as they come.

    ``by="sequence"`` takes the images of one video or scene after another, for frames of one video are nearly equal.
    """

    of: "Dataset | Pool | Distances"
    size: int
    seed: int = 0
    by: Literal["image", "sequence"] = "image"

    def check(self) -> None:
        at_least(self, size=1)
        if not isinstance(self.of, Dataset) and (self.seed or self.by != "image"):
            raise SpecError(
                f"Subset(of=Pool, seed={self.seed}, by={self.by!r}): the subset of a pool is its prefix and takes "
                "no seed; for another draw write Pool(seed=…)"
            )


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


class Procedural(Spec):
    """A renderer: aerial scenes of people, drawn with exact boxes and masks. It sees no real image.

    ``domain`` is one of ``realfake.aerial``; ``gap`` widens what sets synthetic people apart beyond style (0: all are
    drawn by one routine); ``zoom`` is how many times larger than usual people are.
    """

    domain: str = "synthetic"
    gap: float = 0.0
    pixels: int = 128
    zoom: float = 1.0
    seed: int = 0

    def check(self) -> None:
        at_least(self, gap=0, pixels=48)
        within(self, 0.5, 8, "zoom")


class Translation(Spec):
    """Virtual images made to look real, nearest first: one round of progressive transformation learning (2211.01778).

    The images of ``virtual`` are ordered by exact weighted sampling without replacement, with weights
    exp(−d / temperature) where d are their ``distances`` to a critic's training distribution (None: all weights
    equal); those that the critic was trained on already are left out. ``translator`` is fitted from the people of the
    foremost ``candidates`` to those of what the critic was trained on (of ``real`` without a critic), and changes
    people only. ``strength`` and ``steps`` are the translator's own; ``warm_start`` begins with the weights of the
    translation that the critic was last trained on.
    """

    made: ClassVar = "record"
    real: Subset
    virtual: Subset
    distances: Subset | None = None
    candidates: int = 100
    temperature: float = 5.0
    translator: Literal["identity", "colour", "fourier", "sdedit", "cyclegan", "sd-img2img"] = "colour"
    weights: External | None = None
    strength: float = 0.25
    steps: int = 500
    warm_start: bool = False
    seed: int = 0

    def check(self) -> None:
        _real(self)
        at_least(self, candidates=1, temperature=1e-6, steps=1)
        within(self, 0, 1, "strength")
        check_translation(self, _rendered(self.virtual.of))

    @property
    def critic(self) -> "Trial | None":
        """The trial whose training distribution the distances are measured to."""
        return self.distances.of.critic if self.distances and isinstance(self.distances.of, Distances) else None


Generator = ClosedSet | Repeat | Relabel | Procedural | Translation


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


class Distances(Spec):
    """The train2test distance of the people of every image of a pool to the training distribution of a critic.

    One number an image, the nearest of its people. People are cut out and seen at every side of ``scales`` in pixels,
    of which the nearest counts (2211.01778, equation 4); () sees the images as they are.
    """

    made: ClassVar = "shards"
    of: Pool
    critic: "Trial"
    scales: tuple[int, ...] = ()

    def check(self) -> None:
        if not _rendered(self.of):
            raise SpecError(
                "Distances.of: only images whose people are known have any; give Pool(generator=Procedural(…))"
            )
        if any(side < 16 for side in self.scales):
            raise SpecError(
                f"Distances.scales={self.scales}: sides are 16 pixels or more; PTL's are (128, 256, 384, 512)"
            )
        if not isinstance(self.critic.recipe, DetectionRecipe):
            raise SpecError("Distances.critic: distances are measured to a detector; give it a DetectionRecipe(…)")


# ------------------------------------------------------------------------------------------------- training and trials


class Trial(Spec):
    """One model trained on a real and on synthetic subsets, and its metrics on a sealed test set.

    ``added`` are further real images from elsewhere, such as a few of the domain that is tested on.
    """

    made: ClassVar = "record"
    real: Subset | None = None
    added: Subset | None = None
    synthetic: tuple[Subset, ...] = ()
    test: Dataset
    recipe: Recipe | DetectionRecipe
    seed: int = 0

    def check(self) -> None:
        if self.real is None and not self.synthetic:
            raise SpecError("Trial: neither real nor synthetic samples; give real=Subset(…) or synthetic=(Subset(…),)")
        for subset in (self.real, self.added):
            if subset is not None and not isinstance(subset.of, Dataset):
                raise SpecError("Trial.real: a subset of a pool is synthetic; give a subset of a Dataset")
        if self.added is not None and (self.real is None or self.added.of == self.real.of):
            raise SpecError(
                "Trial.added are images of another dataset beside real=Subset(…); give both, of two datasets"
            )
        for part in self.synthetic:
            if not isinstance(part.of, Pool):
                raise SpecError(f"Trial.synthetic: a {type(part.of).__name__} is no pool; give subsets of a Pool")
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

    @property
    def parts(self) -> tuple[Subset, ...]:
        """All that it is trained on: real, added, synthetic."""
        return tuple(part for part in (self.real, self.added, *self.synthetic) if part)


class Evaluation(Spec):
    """A trial's model on another test set, without training it again."""

    made: ClassVar = "record"
    of: Trial
    on: Dataset

    def check(self) -> None:
        if any(subset.of == self.on for subset in real_budget(self.of)):
            raise SpecError(
                f"Evaluation: {self.on.name!r} ({self.on.split}) is also trained on; evaluate on another split"
            )


class Choice(Spec):
    """The best of several trials by validation data: what one would have used, as if it were one trial.

    ``by`` names what is least there; of equals the first. The validation images count as real budget.
    """

    candidates: tuple[Trial, ...]
    on: Dataset
    by: Response = "ap50_error"

    def check(self) -> None:
        check_choice(self, {isinstance(trial.recipe, DetectionRecipe) for trial in self.candidates})


class Study(Spec):
    """A question, the trials that answer it, and what is claimed before they run. Equal trials count once."""

    name: str
    trials: tuple[Trial, ...]
    evaluations: tuple[Evaluation, ...] = ()
    choices: tuple[Choice, ...] = ()
    claims: tuple[Claim, ...] = ()
    effects: tuple[Effect, ...] = ()
    adaptive: Adaptive | None = None

    def check(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", self.name):
            raise SpecError(f"Study.name {self.name!r} becomes a folder: use small letters, digits, '-' and '_' only")
        if not self.trials:
            raise SpecError(f"Study {self.name!r} has no trials; give trials=(Trial(…), …)")
        object.__setattr__(self, "trials", tuple({address(t): t for t in self.trials}.values()))
        check_choices(self)
        chosen = (Evaluation(of=trial, on=choice.on) for choice in self.choices for trial in choice.candidates)
        evaluations = {address(e): e for e in (*self.evaluations, *chosen)}
        object.__setattr__(self, "evaluations", tuple(evaluations.values()))
        check_tried(self)
        cells = [(trial.n_real, trial.n_synthetic) for trial in self.trials]
        check_claims(self.name, self.claims, set(cells))
        if self.adaptive:
            check_adaptive(self.name, self.adaptive, cells)


# --------------------------------------------------------------------------------------------- addresses and the graph


def real_budget(spec: Spec) -> tuple[Subset, ...]:
    """Return the real subsets that a spec saw, directly or through its generator; nested ones count as their largest.

    "Synthetic-only" is rarely real-free: an exchange rate without this is meaningless.
    """
    largest: dict[tuple[str, str], Subset] = {}
    for held in order([spec]):
        if isinstance(held, Subset) and isinstance(held.of, Dataset):
            key = (address(held.of), f"{held.by} {held.seed}")
            if key not in largest or held.size > largest[key].size:
                largest[key] = held
    return tuple(largest.values())


def external_budget(spec: Spec) -> int | None:
    """Return how many outside images the weights that a spec holds have seen; None when any of them is unknown."""
    counts = [held.n_images for held in order([spec]) if isinstance(held, External)]
    return None if None in counts else sum(n for n in counts if n is not None)


def root_generator(generator: Generator) -> "ClosedSet | Repeat | Procedural | Translation":
    """Return the generator whose images a control relabels, or the generator itself."""
    return root_generator(generator.generator) if isinstance(generator, Relabel) else generator


def real_of(generator: Generator) -> Subset | None:
    """Return the real subset that a generator was made from; None for one that saw no real image."""
    root = root_generator(generator)
    return None if isinstance(root, Procedural) else root.real


def _real(spec: Any) -> None:
    if not isinstance(spec.real.of, Dataset):
        raise SpecError(f"{type(spec).__name__}.real: a subset of a pool is synthetic; give a subset of a Dataset")


def _rendered(of: Spec) -> bool:
    return isinstance(of, Pool) and isinstance(root_generator(of.generator), Procedural | Translation)

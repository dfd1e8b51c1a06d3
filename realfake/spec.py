"""The vocabulary: every spec that a study is written in. What an address is and what depends on what is in ``graph``.

A spec is frozen data; one that holds another depends on it. Nothing here reads a file, and nothing here says *where* a
thing is made (see ``resources``) or *how* (see ``datasets``, ``generators``, ``tasks``). Standard library only, so that
reading a study is instant.
"""

import re
from typing import ClassVar, Literal

from realfake.alignment import Captions as Captions
from realfake.alignment import LatentPrior as LatentPrior
from realfake.alignment import Matching as Matching
from realfake.alignment import Prompts as Prompts
from realfake.alignment import VisualGuidance as VisualGuidance
from realfake.checks import check_audit, check_canaries, check_choice, check_choices, check_fidelity, check_tried
from realfake.effects import Effect
from realfake.graph import Spec as Spec
from realfake.graph import address as address
from realfake.graph import inputs as inputs
from realfake.graph import order as order
from realfake.hypotheses import Adaptive, Claim, check_adaptive, check_claims
from realfake.kinds import BestOf as BestOf
from realfake.kinds import ClosedSet as ClosedSet
from realfake.kinds import Gan as Gan
from realfake.kinds import Generator as Generator
from realfake.kinds import Lora as Lora
from realfake.kinds import OpenSet as OpenSet
from realfake.kinds import Pretrained as Pretrained
from realfake.kinds import Procedural as Procedural
from realfake.kinds import Relabel as Relabel
from realfake.kinds import Repeat as Repeat
from realfake.kinds import Translation as Translation
from realfake.kinds import rendered
from realfake.outside import Dataset as Dataset
from realfake.outside import External as External
from realfake.recipes import DetectionRecipe as DetectionRecipe
from realfake.recipes import DistanceRule as DistanceRule
from realfake.recipes import Recipe as Recipe
from realfake.responses import Response
from realfake.values import SpecError, at_least

# ------------------------------------------------------------------------------------------------ real data and weights


class Subset(Spec):
    """The first ``size`` samples: of a dataset in a seeded, class-proportional order, or of a pool as they come.

    ``by="sequence"`` takes the images of one video or scene after another, for frames of one video are nearly equal.
    ``half=k`` is for membership inference: of the first 2·``size`` images those that shadow model k is trained on. k =
    2j and 2j + 1 are complements, so that every image is in exactly half of an even number of shadow models. So many
    of the audited images (of all 2·``size`` with ``half``) are ``canaries``: they carry a wrong label in every half.
    """

    of: "Dataset | Pool | Distances"
    size: int
    seed: int = 0
    by: Literal["image", "sequence"] = "image"
    half: int | None = None
    canaries: int = 0

    def check(self) -> None:
        at_least(self, size=1, canaries=0)
        check_canaries(self, isinstance(self.of, Dataset))
        if self.half is not None:
            at_least(self, half=0)
        if isinstance(self.of, Dataset) and self.of.corruption:
            raise SpecError(
                f"Subset: images with {self.of.corruption!r} are tested on, not trained on; leave the corruption out"
            )
        if not isinstance(self.of, Dataset) and (self.seed or self.by != "image" or self.half is not None):
            raise SpecError(
                f"Subset(of=Pool, seed={self.seed}, by={self.by!r}): the subset of a pool is its prefix and takes "
                "no seed; for another draw write Pool(seed=…)"
            )


# ------------------------------------------------------------------------------------------------------ synthetic data


class Pool(Spec):
    """The endless sequence of samples that a generator makes. Sample i depends on i and on this spec alone.

    ``guidance`` is the classifier-free guidance weight w in  D_uncond + w·(D_cond − D_uncond)  (1: none);
    ``labels`` is "balanced", or "proportional" to the classes of the generator's real subset; ``solver`` is that of an
    open-set pipeline ("own": the scheduler that it was saved with; "lcm" only for models distilled for it). A ``Gan``
    draws in one pass, whatever ``sampling_steps`` says.
    """

    made: ClassVar = "shards"
    generator: Generator
    guidance: float = 1.0
    sampling_steps: int = 16
    labels: Literal["balanced", "proportional"] = "balanced"
    solver: Literal["own", "ddim", "unipc", "dpm++", "lcm"] = "own"
    seed: int = 0

    def check(self) -> None:
        at_least(self, guidance=0, sampling_steps=1)
        if self.solver != "own" and not isinstance(root_generator(self.generator), OpenSet):
            raise SpecError(f"Pool.solver={self.solver!r}: only OpenSet(…) has one to choose; leave it out")
        if self.guidance != 1 and isinstance(root_generator(self.generator), Gan):
            raise SpecError(
                f"Pool.guidance={self.guidance}: a Gan(…) has no unconditional score to guide away from; leave it out"
            )


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
        if not rendered(self.of):
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
        if any(self.test.is_in(subset.of) for subset in (*real_budget(self), *outside(self))):
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
        if any(self.on.is_in(subset.of) for subset in (*real_budget(self.of), *outside(self.of))):
            raise SpecError(
                f"Evaluation: {self.on.name!r} ({self.on.split}) is also trained on; evaluate on another split, or "
                "train on a Dataset of the same holdout"
            )


class Audit(Spec):
    """A trial's answers to the images of an audit, half of which it was made from: for membership inference only.

    Nowhere else does a model look again at what it was trained on; what is kept is each image's probabilities, and no
    error is. ``on`` are the 2·n images of which the trial saw one ``half=k`` of n, and nothing else of that data set.
    """

    made: ClassVar = "record"
    of: Trial
    on: Subset

    def check(self) -> None:
        check_audit(self, (*real_budget(self.of), *outside(self.of)), isinstance(self.of.recipe, DetectionRecipe))

    @property
    def half(self) -> Subset:
        """The half that the trial was made from."""
        return next(subset for subset in real_budget(self.of) if subset.of == self.on.of)


class Fidelity(Spec):
    """How the first images of a pool relate to real ones: every measure of ``fidelity`` that can be taken.

    ``real`` are those compared with, as a rule what the generator was fitted on; what is left of their data set, which
    nothing of the pool has seen, says what real images give (at most as many as of the pool). ``space`` is "pixels", a
    timm name with its weights, or a trial, whose network's features are taken; ``classifier``, a trial of real images,
    adds recognisability. ``seed`` draws permutations and resamples.
    """

    made: ClassVar = "record"
    of: Subset
    real: Subset
    space: str | Trial = "pixels"
    classifier: Trial | None = None
    seed: int = 0

    def check(self) -> None:
        fits = isinstance(self.of.of, Pool) and isinstance(self.real.of, Dataset)
        check_fidelity(fits, any(isinstance(trial.recipe, DetectionRecipe) for trial in self.judges))

    @property
    def judges(self) -> tuple[Trial, ...]:
        """The trials whose networks look at the images."""
        return tuple(trial for trial in (self.space, self.classifier) if isinstance(trial, Trial))


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
    audits: tuple[Audit, ...] = ()
    fidelities: tuple[Fidelity, ...] = ()
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

    @property
    def wanted(self) -> tuple[Trial | Evaluation | Audit | Fidelity, ...]:
        """All that is asked to be made: trials, and what is measured beside them."""
        return (*self.trials, *self.evaluations, *self.audits, *self.fidelities)


# --------------------------------------------------------------------------------------------- addresses and the graph


def real_budget(spec: Spec) -> tuple[Subset, ...]:
    """Return the real subsets that a spec saw, directly or through its generator; nested ones count as their largest.

    "Synthetic-only" is rarely real-free: an exchange rate without this is meaningless. What pretrained weights have
    seen is external budget.
    """
    largest: dict[tuple[str, str], Subset] = {}
    for held in order([spec], closed=Pretrained):
        if isinstance(held, Subset) and isinstance(held.of, Dataset):
            size = "" if held.half is None else held.size  # halves of two sizes do not lie inside each other
            key = (address(held.of), f"{held.by} {held.seed} {held.half} {size}")
            if key not in largest or held.size > largest[key].size:
                largest[key] = held
    return tuple(largest.values())


def external_budget(spec: Spec) -> int | None:
    """Return how many outside images the weights that a spec holds have seen; None when any of them is unknown."""
    held = order([spec])
    counts = [of.n_images for of in held if isinstance(of, External)]
    return None if None in counts else sum(n for n in counts if n) + sum(of.size for of in outside(spec))


def outside(spec: Spec) -> tuple[Subset, ...]:
    """Return the subsets that pretrained weights of ours have seen: external budget, image by image."""
    return tuple(held.real for held in order([spec]) if isinstance(held, Pretrained))


def root_generator(generator: Generator) -> ClosedSet | Gan | Repeat | Procedural | Translation | OpenSet:
    """Return the generator whose images a control relabels or a filter chooses from, or the generator itself."""
    return root_generator(generator.generator) if isinstance(generator, Relabel | BestOf) else generator


def real_of(generator: Generator) -> Subset | None:
    """Return the real subset that a generator was made from; None for one that saw no real image."""
    root = root_generator(generator)
    if isinstance(root, OpenSet):
        return root.real or (root.lora.real if root.lora else None)
    return None if isinstance(root, Procedural) else root.real


def fitted_on(generator: Generator) -> tuple[Subset, ...]:
    """Return all real subsets that a generator was made from: those of a pipeline's adapter, prompts and priors too."""
    root = root_generator(generator)
    return real_budget(root) if isinstance(root, OpenSet) else tuple(filter(None, [real_of(root)]))

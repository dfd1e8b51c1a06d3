"""Kinds of generators: what makes synthetic images, and what those are fitted on.

Real subsets, pools, trials and studies are in ``spec``, which also gives these names. How a kind works is in
``generators``; the components of open-set alignment are in ``alignment``. Standard library only.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from realfake.alignment import LatentPrior, Matching, Prompts, VisualGuidance
from realfake.checks import check_open_set, check_token, check_translation
from realfake.graph import Spec
from realfake.outside import Dataset, External
from realfake.values import SpecError, at_least, within

if TYPE_CHECKING:
    from realfake.spec import Subset, Trial


class ClosedSet(Spec):
    """A class-conditional diffusion model trained from scratch on one real subset, and on nothing else.

    ``steps`` optimizer steps of ``batch_size`` images; ``label_dropout`` is the share of unlabelled examples that
    makes classifier-free guidance possible (Ho & Salimans 2022); ``ema_decay`` the decay of the averaged weights.
    """

    made: ClassVar = "record"
    real: "Subset"
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


class Gan(Spec):
    """A class-conditional GAN trained from scratch on one real subset: the same images as a ClosedSet, another family.

    A projection discriminator (Miyato & Koyama 2018) with spectral normalisation and the hinge loss; ``augment``
    "diffaugment" moves, cuts and (RGB) recolours real and made images alike before it sees them (Zhao et al. 2020).
    ``mode_seeking`` weighs how far images of one label lie apart for how far their latents do, which the generator
    raises (Mao et al. 2019, 1903.05628; 0: without). ``steps`` updates of the generator with ``batch_size`` images,
    each after ``discriminator_steps`` of the discriminator; ``ema_decay`` is that of the averaged generator, which
    makes the images. It has no guidance, and draws an image in one pass: ``Pool(guidance=…)`` is refused,
    ``Pool(sampling_steps=…)`` changes no image.
    """

    made: ClassVar = "record"
    real: "Subset"
    network: str = "gan-xs"
    steps: int = 2000
    batch_size: int = 32
    learning_rate: float = 1e-3
    discriminator_learning_rate: float = 2e-3
    discriminator_steps: int = 1
    mode_seeking: float = 1.0
    ema_decay: float = 0.995
    flip: bool = False
    augment: Literal["none", "diffaugment"] = "diffaugment"
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0

    def check(self) -> None:
        _real(self)
        at_least(self, steps=1, batch_size=1, discriminator_steps=1, mode_seeking=0)
        within(self, 0, 1, "ema_decay")


class Repeat(Spec):
    """Control: the real images again. What a generator adds beyond more views of the same images shows against it."""

    real: "Subset"

    def check(self) -> None:
        _real(self)


class Relabel(Spec):
    """Control: the images of ``generator`` under permuted labels. What pixels without labels do shows here."""

    generator: "ClosedSet | Gan | Repeat | OpenSet"
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
    real: "Subset"
    virtual: "Subset"
    distances: "Subset | None" = None
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
        check_translation(self, rendered(self.virtual.of))

    @property
    def critic(self) -> "Trial | None":
        """The trial whose training distribution the distances are measured to."""
        return getattr(self.distances.of, "critic", None) if self.distances else None


# ------------------------------------------------------------------------------------- open-set: pretrained, aligned


class Pretrained(Spec):
    """A small text-to-image pipeline trained by us: its images are an external budget beside the real one.

    ``network`` is a miniature of Stable Diffusion (autoencoder, CLIP text and image encoders, conditional UNet), kept
    as a diffusers pipeline. Images that are also in any data set of ``without`` are left out, so that nothing of a
    target's train or test images is seen. Steps are optimizer steps of ``batch_size`` images: of the autoencoder, of
    the encoders (contrastive, Radford et al. 2021), of the UNet.
    """

    made: ClassVar = "record"
    real: "Subset"
    without: tuple[Dataset, ...] = ()
    prompts: Prompts = Prompts()
    network: str = "sd-tiny"
    autoencoder_steps: int = 1000
    text_steps: int = 1000
    steps: int = 4000
    batch_size: int = 64
    learning_rate: float = 1e-3
    caption_dropout: float = 0.1
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0

    def check(self) -> None:
        _real(self)
        at_least(self, autoencoder_steps=1, text_steps=1, steps=1, batch_size=2)
        within(self, 0, 1, "caption_dropout")


class Lora(Spec):
    """Low-rank adapters that align a pretrained pipeline to one real subset (Hu et al. 2021; Real-Fake 2310.10402).

    ``steps`` optimizer steps of ``batch_size`` images; ``scope`` one adapter for all classes, or one for each;
    ``alpha`` scales the update by alpha / rank (0: alpha = rank); ``snr_gamma`` weighs time steps by min(SNR, γ) / SNR
    (Hang et al. 2023; None: equally); ``caption_dropout`` is the share of examples without words, for guidance.
    ``token`` is a new word such as "<style>" whose embedding is learned with the adapters, or alone with ``rank`` 0
    (textual inversion, Gal et al. 2022): every template of the prompts, and of the OpenSet that draws, must hold it.
    """

    made: ClassVar = "record"
    base: Pretrained | External
    real: "Subset"
    prompts: Prompts = Prompts()
    visual: VisualGuidance | None = None
    matching: Matching | None = None
    token: str = ""
    rank: int = 4
    alpha: float = 0.0
    scope: Literal["data set", "class"] = "data set"
    text_encoder: bool = False
    steps: int = 500
    batch_size: int = 8
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    snr_gamma: float | None = 5.0
    caption_dropout: float = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0

    def check(self) -> None:
        _real(self)
        at_least(self, rank=0 if self.token else 1, alpha=0, steps=1, batch_size=1)
        check_token(self)
        within(self, 0, 1, "caption_dropout")


class OpenSet(Spec):
    """A pretrained text-to-image pipeline, aligned to real images or not: every component is a switch (2310.10402).

    ``lora`` at ``lora_scale``, ``visual`` guidance, the latent ``prior`` and captions each see real images; those of
    the last three are ``real``, whose union with the adapter's is real budget. Classes, their order, size and
    channels are those of the real images; of a pipeline that sees none they are those of the data set ``like``, of
    which no image is looked at. ``precision`` is the UNet's; "fp16" and "bf16" round otherwise. ``decoder`` is a small
    autoencoder (diffusers' AutoencoderTiny, such as "madebyollin/taesd") that decodes in place of the base's own.
    """

    base: Pretrained | External
    real: "Subset | None" = None
    like: Dataset | None = None
    lora: Lora | None = None
    lora_scale: float = 1.0
    prompts: Prompts = Prompts()
    visual: VisualGuidance | None = None
    prior: LatentPrior | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    decoder: External | None = None

    def check(self) -> None:
        if self.real is not None:
            _real(self)
        at_least(self, lora_scale=0)
        check_open_set(self)


class BestOf(Spec):
    """Each sample is the best of ``k`` candidates of its own: fixed blocks, so that a prefix stays a prefix.

    "class consistency": the probability that ``critic``, a trained classifier, gives the asked class; "realism score":
    how near it lies to the real images that ``critic`` was trained on, in its features (Kynkäänniemi et al. 2019), so
    that copies win; "clip score": the cosine of image and prompt in the encoders of a pipeline. The real images that a
    critic has seen are real budget.
    """

    generator: "ClosedSet | Gan | OpenSet"
    k: int = 4
    by: Literal["class consistency", "realism score", "clip score"] = "class consistency"
    critic: "Trial | Pretrained | External"

    def check(self) -> None:
        at_least(self, k=2)
        classifier = hasattr(self.critic, "recipe")
        if classifier != (self.by != "clip score"):
            raise SpecError(
                f'BestOf.by={self.by!r}: "class consistency" and "realism score" are judged by a critic=Trial(…), '
                '"clip score" by critic=Pretrained(…) or External(…)'
            )
        if self.by == "realism score" and getattr(self.critic, "real", None) is None:
            raise SpecError(
                "BestOf.critic saw no real image to be near to; give a Trial(real=Subset(…)), or another by="
            )


Generator = ClosedSet | Gan | Repeat | Relabel | Procedural | Translation | OpenSet | BestOf


def rendered(of: Any) -> bool:
    """Tell whether a pool is of rendered images, translated or not: their people are known."""
    root = of.generator if hasattr(of, "generator") else None
    while isinstance(root, Relabel):
        root = root.generator
    return isinstance(root, Procedural | Translation)


def _real(spec: Any) -> None:
    if not isinstance(spec.real.of, Dataset):
        raise SpecError(f"{type(spec).__name__}.real: a subset of a pool is synthetic; give a subset of a Dataset")

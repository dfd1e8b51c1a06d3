"""How an open-set generator is brought near the real images (Real-Fake, arXiv 2310.10402): every component a field.

Prompts, distribution matching, visual guidance, latent prior. Only their settings are here; what they compute is in
``generators``. Each is a switch of a spec, so that an ablation is a loop in a study. Standard library only.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from realfake.graph import Spec
from realfake.outside import Dataset, External
from realfake.values import SpecError, Value, at_least, within

if TYPE_CHECKING:
    from realfake.spec import Subset


class Captions(Spec):
    """One sentence for each image of a real subset: those that came with it, or written by a captioning ``model``."""

    made: ClassVar = "record"
    of: "Subset"
    model: External | None = None

    def check(self) -> None:
        if not isinstance(self.of.of, Dataset):
            raise SpecError("Captions.of: captions are of real images; give Subset(of=Dataset(…), size=…)")


class Prompts(Value):
    """What a text-to-image model is asked for: one template for each image in turn, {} is the name of its class.

    ``names`` are used instead of the class names of the data set; ``captions`` of real images stand where a template
    has {caption}, or at its end after a comma; ``negative`` is the prompt that guidance moves away from.
    """

    templates: tuple[str, ...] = ("a photo of a {}",)
    names: tuple[str, ...] = ()
    captions: Captions | None = None
    negative: str = ""

    def check(self) -> None:
        if not self.templates or any(not text.strip() for text in self.templates):
            raise SpecError('Prompts.templates: an empty prompt names no class; give such as ("a photo of a {}",)')
        lost = [text for text in self.templates if "{}" not in text]
        if lost and not self.captions:
            raise SpecError(f"Prompts.templates: {lost[0]!r} does not say where the class goes; write {{}} there")


class Matching(Value):
    """The distribution-matching term of the loss: the distance of the mean prediction of a batch to its mean target.

    Released by the authors: ``reduction="sum"`` over the batch, ``times="independent"``, ``scope="batch"``,
    ``gather="local"``, ``space="noise"``, ``kernel="linear"``, weight 0.003. "mean" does not grow with the batch:
    weight w beside "mean" is w / batch² beside "sum". ``times="shared"`` gives a batch one time step;
    ``scope="class"`` matches within classes; ``gather="global"`` over all workers; ``space`` is predicted "noise", the
    denoised "latent", or the "feature" of the base's image encoder; ``kernel="rbf"`` has the median distance as width.
    """

    weight: float = 0.003
    reduction: Literal["mean", "sum"] = "mean"
    times: Literal["independent", "shared"] = "independent"
    scope: Literal["batch", "class"] = "batch"
    gather: Literal["local", "global"] = "local"
    space: Literal["noise", "latent", "feature"] = "noise"
    kernel: Literal["linear", "rbf"] = "linear"

    def check(self) -> None:
        at_least(self, weight=0)


class VisualGuidance(Value):
    """Embeddings of real images beside the words of a prompt.

    ``of`` its own parent, the mean of its class, or another image of its class; "replace last" puts the embedding in
    the place of the last word state, "append" after it, and "projection" appends it through a learned linear map (for
    encoders of another width). ``encoder``: None is the base's own image encoder.
    """

    of: Literal["instance", "class mean", "class sample"] = "instance"
    injection: Literal["replace last", "append", "projection"] = "replace last"
    encoder: External | None = None


class LatentPrior(Value):
    """Sampling that begins at noised latents of a real image instead of noise (SDEdit, 2108.01073).

    ``of`` its own parent, another image of its class, or the mean latent of its class; ``strength`` is the share of
    the sampling steps that are executed: the dial between fidelity, diversity and copying.
    """

    of: Literal["own", "same class", "class mean"] = "own"
    strength: float = 0.75

    def check(self) -> None:
        within(self, 0, 1, "strength")

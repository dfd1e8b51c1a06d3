"""What comes from outside: real data sets, and weights that others trained. How they are read is in ``datasets``."""

import dataclasses
from typing import Any, ClassVar, Literal

from realfake.graph import Spec
from realfake.values import SpecError, at_least, nearest, within

CORRUPTIONS = (  # what they do to an image is in ``corruptions``
    *("gaussian-noise", "shot-noise", "impulse-noise", "speckle-noise"),
    *("gaussian-blur", "defocus-blur", "motion-blur", "zoom-blur"),
    *("brightness", "contrast", "saturate", "elastic", "pixelate", "jpeg"),
)


class Dataset(Spec):
    """Real labelled images, imported once. A path is no identity: folders are named by a ``fingerprint`` of content.

    ``name`` is a known set ("digits", "fashion", "cifar10", "bloodmnist", "aerial-urban", …) or a format of your own
    files ("imagefolder", "parquet", "hf"; with boxes "coco", "yolo", "voc", "visdrone", …); ``pixels`` is the side of
    the square that images are resized to (0: as they are; sets with boxes are fitted into it whole); ``problems`` says
    what to do about unreadable images, wrong boxes, and images that are in both train and test: "refuse" them all with
    a message, or "skip" and count them. ``zoom`` is that of ``Procedural``, for rendered sets. ``corruption`` spoils
    the images of a test or validation set in a standard way and strength: "gaussian-noise-3" (see ``corruptions``).
    ``classes`` are the only ones whose images are taken, in the order of the whole set (empty: all). ``holdout`` train
    images, each class in proportion, are the validation split of a set that has none.
    """

    made: ClassVar = "record"
    name: str
    split: Literal["train", "validation", "test"] = "train"
    pixels: int = 0
    fingerprint: str = ""
    problems: Literal["refuse", "skip"] = "refuse"
    zoom: float = 1.0
    corruption: str = ""
    classes: tuple[str, ...] = ()
    holdout: int = 0

    def check(self) -> None:
        at_least(self, pixels=0, holdout=0)
        if len(set(self.classes)) < len(self.classes) or len(self.classes) == 1:
            raise SpecError(f"Dataset.classes={self.classes}: give two or more different names, or none for all")
        if self.corruption:
            self._check_corruption()
        if self.holdout and self.split == "test":
            raise SpecError(f"Dataset.holdout={self.holdout}: test images are what they are; leave holdout out")
        within(self, 0.5, 8, "zoom")
        if self.zoom != 1 and not self.name.startswith("aerial-"):
            raise SpecError(f"Dataset.zoom={self.zoom}: {self.name!r} is not rendered; leave zoom out")

    @property
    def clean(self) -> "Dataset":
        """The same images without their corruption."""
        return dataclasses.replace(self, corruption="") if self.corruption else self

    def is_in(self, other: Any) -> bool:
        """Whether images of this set are among those of another: the same one, or one that held out fewer of them."""
        is_same = (self.name, self.fingerprint) == (other.name, other.fingerprint)
        is_held_out = is_same and self.split == "validation" and self.holdout > 0 and other.split == "train"
        return self.clean == other or (is_held_out and (other.holdout < self.holdout or other.classes != self.classes))

    def _check_corruption(self) -> None:
        kind, _, severity = self.corruption.rpartition("-")
        if kind not in CORRUPTIONS or severity not in tuple("12345"):
            told = nearest(kind or self.corruption, CORRUPTIONS)
            raise SpecError(
                f"Dataset.corruption is {self.corruption!r}; it must be a corruption and its severity from 1 to 5, "
                f"such as 'gaussian-noise-3' ({told})"
            )
        if self.split == "train":
            raise SpecError(
                f"Dataset.corruption={self.corruption!r}: corrupted images are tested on, not trained on; write "
                "split='test'"
            )


class External(Spec):
    """Weights from elsewhere: a timm name ("resnet18.a1_in1k") or a file, named by the sha256 of its content.

    ``n_images`` is the external budget: how many real images those weights have seen (None: unknown).
    """

    name: str
    fingerprint: str = ""
    n_images: int | None = None

"""What comes from outside: real data sets, and weights that others trained. How they are read is in ``datasets``."""

from typing import ClassVar, Literal

from realfake.graph import Spec
from realfake.values import SpecError, at_least, within


class Dataset(Spec):
    """Real labelled images, imported once. A path is no identity: folders are named by a ``fingerprint`` of content.

    ``name`` is a built-in source ("digits", "mnist5k", "fashion", "aerial-urban", …) or a format of your own files
    ("imagefolder", "parquet"; with boxes "coco", "yolo", "voc", "visdrone", …); ``pixels`` is the side of the square
    that images are resized to (0: as they are; sets with boxes are fitted into it whole); ``problems`` says what to
    do about unreadable images, wrong boxes, and images that are in both train and test: "refuse" them all with a
    message, or "skip" and count them. ``zoom`` is that of ``Procedural``, for rendered sets.
    """

    made: ClassVar = "record"
    name: str
    split: Literal["train", "validation", "test"] = "train"
    pixels: int = 0
    fingerprint: str = ""
    problems: Literal["refuse", "skip"] = "refuse"
    zoom: float = 1.0

    def check(self) -> None:
        at_least(self, pixels=0)
        within(self, 0.5, 8, "zoom")
        if self.zoom != 1 and not self.name.startswith("aerial-"):
            raise SpecError(f"Dataset.zoom={self.zoom}: {self.name!r} is not rendered; leave zoom out")


class External(Spec):
    """Weights from elsewhere: a timm name ("resnet18.a1_in1k") or a file, named by the sha256 of its content.

    ``n_images`` is the external budget: how many real images those weights have seen (None: unknown).
    """

    name: str
    fingerprint: str = ""
    n_images: int | None = None

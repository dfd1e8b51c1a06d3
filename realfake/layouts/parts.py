"""Splits by the names of their folders and files, and what stands in for a test split that is not there.

What each format makes of its folders is in the other modules here.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from realfake.annotations import Annotations, split
from realfake.annotations.checks import Policy
from realfake.folders import HELD_OUT
from realfake.sources import DatasetError, Split

SPLIT_SEED = 0
SKIP: Policy = "skip"  # readers leave out and name what is wrong; ``boxed_files`` refuses it
NAMED = re.compile(r"(?:instances_|visdrone\d*-det-)?(train(?!val)|val|test)(?!.*challenge)", re.IGNORECASE)
SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Part:
    """One split: its annotations, whose file names are relative to the folder ``images``."""

    annotations: Annotations
    images: Path


def split_of(name: str) -> Split | None:
    """Return the split that a name begins with ("train2017", "VisDrone2019-DET-val", "testImages"), or None."""
    match = NAMED.match(name)
    return SPLITS[match[1].lower()] if match else None


def with_test(found: Mapping[Split, Part]) -> tuple[dict[Split, Part], str]:
    """Return the parts with a test split, and what was done for it in words."""
    if "test" in found:
        return dict(found), ""
    if "validation" in found:
        return {**{k: v for k, v in found.items() if k != "validation"}, "test": found["validation"]}, (
            "; its validation split is the test split"
        )
    whole = found["train"]
    try:
        train, test = split(whole.annotations, HELD_OUT, SPLIT_SEED)
    except DatasetError:
        raise DatasetError(
            f"{whole.annotations.origin} has no test split, and its {len(whole.annotations)} images cannot be split "
            "without cutting a sequence; give a test split, or more sequences"
        ) from None
    by = "sequence" if whole.annotations.images["sequence"].null_count < len(whole.annotations) else "image"
    return {"train": replace(whole, annotations=train), "test": replace(whole, annotations=test)}, (
        f"; test split held out by {by} ({HELD_OUT:.0%}, seed {SPLIT_SEED})"
    )


def unused(found: Mapping[Split, Part]) -> str:
    """Return in words what the rules of the readers leave out of all splits (a split that was held out says it too)."""
    counts: dict[str, int] = {}
    for left_out in {id(p.annotations.left_out): p.annotations.left_out for p in found.values()}.values():
        for what, count in left_out.items():
            counts[what] = counts.get(what, 0) + count
    return f"; not used: {', '.join(f'{count:,} {what}' for what, count in sorted(counts.items()))}" if counts else ""


def folders_in(path: Path) -> list[Path]:
    """Return the folders in a folder, sorted; hidden ones are left out."""
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def add(found: dict[Split, Path], name: Split, file: Path) -> None:
    """Note where a split is; raises DatasetError if it is elsewhere too."""
    if name in found:
        raise DatasetError(f"{found[name]} and {file} are both its {name} split; keep one of them")
    found[name] = file


def pairs(folder: Path, labels: str) -> dict[Split, tuple[Path, Path]]:
    """Return the folders of images and labels of each split, in either order of nesting, or of all as "train"."""
    found: dict[Split, tuple[Path, Path]] = {}
    within = [(child, child / "images", child / labels) for child in folders_in(folder) if (child / "images").is_dir()]
    if (folder / "images").is_dir():
        within += [(child, child, folder / labels / child.name) for child in folders_in(folder / "images")]
    for child, images, texts in within:
        if name := split_of(child.name):
            found.setdefault(name, (images, texts))
    if not found and (folder / "images").is_dir():
        found["train"] = (folder / "images", folder / labels)
    return found


def paired(folder: Path, labels: str, read_one: Callable[..., Annotations], cure: str) -> dict[Split, Part]:
    """Return the splits of folders of images and labels; raises DatasetError with a cure if there is none."""
    found = pairs(folder, labels)
    if not found:
        raise DatasetError(f"{folder} holds no folder called images; {cure}")
    return {name: Part(read_one(images, texts, problems=SKIP), images) for name, (images, texts) in found.items()}

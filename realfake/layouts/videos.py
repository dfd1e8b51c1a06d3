"""Where Okutama-Action and Archangel keep labels and frames, and which of the labelled frames are there.

Neighbouring frames are nearly equal, so that mostly only every k-th is extracted: frames at that step from the first
one are expected, labels of others are left out and counted. Reading labels is in ``annotations.videos``.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from realfake.annotations import Annotations
from realfake.annotations.reading import size_of
from realfake.annotations.videos import OKUTAMA_SIZE, read_archangel, read_okutama
from realfake.folders import IMAGES, files
from realfake.layouts.parts import SKIP, Part, add, folders_in, split_of
from realfake.sources import DatasetError, Split

OKUTAMA_LABELS = ("SingleActionLabels", "MultiActionLabels")  # the same people in both: the first that is there
Frames = dict[str, list[Path]]  # by video


def okutama(folder: Path) -> dict[Split, Part]:
    """Return the splits of Okutama-Action: TrainSetFrames and TestSetFrames, or all of a folder as "train"."""
    roots: dict[Split, Path] = {}
    for child in folders_in(folder):
        if name := split_of(child.name):
            add(roots, name, child)
    return {name: Part(_okutama(root, folder), folder) for name, root in (roots or {"train": folder}).items()}


def archangel(folder: Path) -> dict[Split, Part]:
    """Return all clips of Archangel-Real as "train"."""
    listed, frames = files(folder, (".json",)), _frames(folder)
    if not listed or not frames:
        raise DatasetError(
            f"{folder} holds {len(listed)} JSON files and frames of {len(frames)} videos; it needs the annotations, "
            "and the frames as images/<video>/<number>.jpg"
        )
    parents = sorted({file.parent.parent for images in frames.values() for file in images})
    if len(parents) > 1:
        raise DatasetError(f"frames lie in {' and '.join(map(str, parents[:2]))}; put all videos into one of them")
    name, size = _naming([file for images in frames.values() for file in images])
    place = _literal(parents[0], folder) + "{sequence}/" + name
    options = {"people": _people(folder, listed), "size": size, "frame_name": place}
    parts = [read_archangel(file, **options, problems=SKIP) for file in listed]
    return {"train": Part(_there(_joined(parts, str(folder)), frames), folder)}


def _okutama(root: Path, folder: Path) -> Annotations:
    frames = _frames(root)
    labels = [file for file in files(root, (".txt",)) if file.stem in frames]
    for kind in OKUTAMA_LABELS:
        labels = [file for file in labels if kind in file.parts] or labels
    one = {file.stem: file for file in reversed(labels)}
    if not one:
        raise DatasetError(
            f"{root} holds no labels <video>.txt beside a folder of frames <video>/<number>.jpg; name the folder that "
            "holds TrainSetFrames and TestSetFrames"
        )
    parts = []
    for video, file in sorted(one.items()):
        name, size = _naming(frames[video])
        place = _literal(frames[video][0].parent, folder) + name
        parts.append(read_okutama(file, frame_name=place, frame_size=size, problems=SKIP))
    return _there(_joined(parts, str(root)), frames)


# ------------------------------------------------------------------------------------------------------------- frames


def _frames(root: Path) -> Frames:
    """Return the frames of each video: the images called by a number in a folder called as the video."""
    found: Frames = {}
    for file in files(root, IMAGES):
        if file.stem.isdecimal():
            found.setdefault(file.parent.name, []).append(file)
    return found


def _naming(frames: Sequence[Path]) -> tuple[str, tuple[int, int]]:
    """Return how frames are called, with as many digits as the first if all have as many, and their (width, height)."""
    digits = {len(file.stem) for file in frames}
    number = f"{{frame:0{digits.pop()}d}}" if len(digits) == 1 else "{frame}"
    size = next((size for size in map(size_of, frames) if size), OKUTAMA_SIZE)
    return number + frames[0].suffix, size


def _literal(place: Path, folder: Path) -> str:
    """Return a folder as the beginning of a pattern: "a/b/"."""
    name = place.relative_to(folder).as_posix().replace("{", "{{").replace("}", "}}")
    return "" if name == "." else f"{name}/"


def _there(annotations: Annotations, frames: Frames) -> Annotations:
    """Return the annotations of frames at the step at which frames were extracted; the others are counted."""
    numbers = {video: sorted(int(file.stem) for file in images) for video, images in frames.items()}
    steps = {video: math.gcd(*(n - held[0] for n in held)) for video, held in numbers.items()}  # 0: one frame
    rows = zip(annotations.images["sequence"].to_pylist(), annotations.images["frame"].to_pylist(), strict=True)
    pairs = [(video, frame) for video, frame in rows]
    kept = [v in numbers and _at_step(f - numbers[v][0], steps[v]) for v, f in pairs]
    if not any(kept):
        raise DatasetError(f"{annotations.origin}: no frame that is there has labels; extract the frames that have")
    labelled = {pair for pair, is_kept in zip(pairs, kept, strict=True) if is_kept}
    left_out = Counter(annotations.left_out)
    left_out["labelled frames that were not extracted"] += len(pairs) - sum(kept)
    left_out["frames without labels"] += sum((v, n) not in labelled for v, held in numbers.items() for n in held)
    counted = {what: count for what, count in left_out.items() if count}
    return replace(annotations.take(np.flatnonzero(kept)), left_out=counted)


def _at_step(distance: int, step: int) -> bool:
    return distance % step == 0 if step else distance == 0


def _joined(parts: Sequence[Annotations], origin: str) -> Annotations:
    """Return the images of all parts, which have the same classes, one part after another."""
    firsts = np.cumsum([0, *(len(part) for part in parts)])
    boxes = [
        part.boxes.set_column(0, part.boxes.schema.field(0), pa.array(part.column("image") + first, pa.int64()))
        for part, first in zip(parts, firsts[:-1], strict=True)
    ]
    problems: dict[str, tuple[str, ...]] = {}
    left_out: Counter[str] = Counter()
    for part in parts:
        left_out.update(part.left_out)
        for kind, names in part.problems.items():
            problems[kind] = (*problems.get(kind, ()), *names)
    images = pa.concat_tables([part.images for part in parts])
    return Annotations(images, pa.concat_tables(boxes), parts[0].classes, origin, problems, left_out)


def _people(folder: Path, listed: Iterable[Path]) -> Collection[str]:
    """Return the labels that mean a person, which only the user can say."""
    file = folder / "people.txt"
    if file.is_file() and (labels := file.read_text("utf-8").split()):
        return labels
    names = {name for text in listed for name in re.findall(r'"name": *"([^"]+)"', text.read_text("utf-8", "replace"))}
    known = ", ".join(sorted(name for name in names if not name.endswith(".mp4")))
    raise DatasetError(
        f"{folder} does not say which labels mean a person; write them into {file}, one a line"
        f"{f' (there are {known})' if known else ''}"
    )

"""Aerial videos of people with formats of their own: Okutama-Action and Archangel-Real.

What a format leaves open is asked of the caller: how frames were named when they were extracted, how large they are,
which labels mean a person. Not here, since its format is not known to us: Archangel-Synthetic.
"""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from realfake.annotations.checks import Policy, assemble
from realfake.annotations.kinds import not_a
from realfake.annotations.reading import Found, from_corners, lines_of, listed
from realfake.annotations.table import Annotations
from realfake.sources import DatasetError

OKUTAMA_SIZE = (3840, 2160)  # labels are in its pixels, whatever the size of the frames
OKUTAMA_LINE = re.compile(r'(-?\d+(?: -?\d+){8}) "([^"]*)"(.*)')
CORNERS = ("xMin", "yMin", "xMax", "yMax")


def read_okutama(
    labels: Path,
    *,
    frame_name: str,
    frame_size: tuple[int, int] = OKUTAMA_SIZE,
    stride: int = 1,
    shifts: Mapping[str, int] | None = None,
    images: Path | None = None,
    problems: Policy = "refuse",
) -> Annotations:
    """Return the boxes of Okutama-Action: a text file a video, a line a box.

    ``track xmin ymin xmax ymax frame lost occluded generated "Person" actions…``; rows that are lost are left out and
    counted, occluded ones kept (occlusion 1). Coordinates are scaled from 3840×2160 to ``frame_size`` (1280×720 for
    the small frames). ``frame_name`` says how the frames are called ("{sequence}/{frame}.jpg": not part of the labels).
    Only frames that have a line are listed, every ``stride``-th of them by number, since neighbours are nearly equal.
    ``shifts`` adds to the frame number of a video where labels and frames are known to be apart. The two label sets
    (single and multi action) hold the same people: read one. Raises DatasetError for problems unless skipped.
    """
    found = Found()
    scale = (frame_size[0] / OKUTAMA_SIZE[0], frame_size[1] / OKUTAMA_SIZE[1])
    for file in listed(labels, ".txt"):
        video, seen = file.stem, set()
        for number, values in _okutama_lines(found, file):
            frame = values[5] + (shifts or {}).get(video, 0)
            image = f"{video}:{frame}"
            if frame % stride:
                found.left_out[f"boxes of frames between every {stride}"] += 1
                continue
            if frame not in seen:
                name = frame_name.format(sequence=video, frame=frame)
                row = {"id": image, "file_name": name, "width": frame_size[0], "height": frame_size[1]}
                found.images.append(row | {"sequence": video, "frame": frame, "domain": "okutama"})
                seen.add(frame)
            if values[6]:
                found.left_out["boxes of lost people"] += 1
                continue
            box = {**from_corners(values[1:5], scale), "occlusion": int(values[7] != 0)}
            found.boxes.append({"image": image, "label": 0, "id": f"{file.stem}:{number}", **box})
    found.images.sort(key=lambda row: (row["sequence"], row["frame"]))
    return assemble(found, ("person",), str(labels), problems=problems, names={"person": "person"}, images=images)


def read_archangel(
    path: Path,
    *,
    people: Collection[str],
    size: tuple[int, int],
    frame_name: str,
    stride: int = 1,
    images: Path | None = None,
    problems: Policy = "refuse",
) -> Annotations:
    """Return the people of an Archangel-Real file: clips ``<video>-<a>-<b>.mp4`` with tracks of boxes.

    A box at ``position`` p of a clip is in frame a − 1 + p of the video. ``people`` are the labels that mean a person
    (the others, vehicles, are left out and counted); neither these nor the ``size`` of the frames are in the file.
    ``frame_name`` and ``stride`` as in ``read_okutama``. Raises DatasetError for problems unless they are skipped.
    """
    found, content = Found(), _archangel(path)
    seen: set[str] = set()
    for clip in content:
        match = re.match(r"(.+)-(\d+)-(\d+)\.mp4$", str(clip.get("name")) if isinstance(clip, dict) else "")
        if match is None or not isinstance(clip.get("objectOccurrences"), list):
            found.wrong("malformed", f"clip {clip.get('name') if isinstance(clip, dict) else clip!r}")
            continue
        for i, occurrence in enumerate(clip["objectOccurrences"], 1):
            _occurrence(found, occurrence, f"{clip['name']}:{i}", (match[1], int(match[2])), people, stride)
    for box in found.boxes:
        video, frame = box["image"].rsplit(":", 1)
        if box["image"] not in seen:
            seen.add(box["image"])
            name = frame_name.format(sequence=video, frame=int(frame))
            row = {"id": box["image"], "file_name": name, "width": size[0], "height": size[1]}
            found.images.append(row | {"sequence": video, "frame": int(frame), "domain": "archangel"})
    found.images.sort(key=lambda row: (row["sequence"], row["frame"]))
    return assemble(found, ("person",), str(path), problems=problems, names={"person": "person"}, images=images)


# --------------------------------------------------------------------------------------------------------------- parts


def _okutama_lines(found: Found, file: Path) -> list[tuple[int, list[int]]]:
    """Return the nine numbers of each line of a person, with the number of the line."""
    rows = []
    for number, line in lines_of(found, file, "read_okutama") or ():
        match = OKUTAMA_LINE.match(line)
        if match and match[2] == "Person":
            rows.append((number, [int(value) for value in match[1].split()]))
        else:
            found.wrong("wrong_category" if match else "malformed", f"{file.stem}:{number}")
    return rows


def _archangel(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); name an Archangel file") from None
    except ValueError as error:
        raise not_a(path, "an Archangel file", str(error)) from None
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        raise not_a(path, "an Archangel file", "it has no list called data")
    return content["data"]


def _occurrence(
    found: Found, occurrence: Any, name: str, clip: tuple[str, int], people: Collection[str], stride: int
) -> None:
    """Add the boxes of one object of a clip (video, first frame)."""
    try:
        label = occurrence["labels"][0]["name"]
        rows = [row for track in occurrence["tracks"] for row in track["annotations"]]
        places = [(int(row["position"]), [float(row["coords"][key]) for key in CORNERS]) for row in rows]
    except (LookupError, OverflowError, TypeError, ValueError):
        found.wrong("malformed", name)
        return
    if label not in people:
        found.left_out[f"boxes of class {label}"] += len(places)
        return
    for number, (position, corners) in enumerate(places, 1):
        frame = clip[1] - 1 + position
        if frame % stride:
            found.left_out[f"boxes of frames between every {stride}"] += 1
            continue
        box = {"image": f"{clip[0]}:{frame}", "label": 0, "id": f"{name}:{number}", "source_class": str(label)}
        found.boxes.append(box | from_corners(corners))

"""What an annotation file really is, told from its first bytes: only for errors that say which reader to use.

No reader trusts this to choose a format; the caller names the reader.
"""

import re
from pathlib import Path

from realfake.sources import DatasetError

NUMBER = r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?"
LINES = (
    (rf"\d+(?: {NUMBER}){{4}}\s*$", "a YOLO label", "read_yolo"),
    (r"-?\d+(?:,\s*-?\d+){7},?\s*$", "a VisDrone label", "read_visdrone"),
    (r"(?:-?\d+ ){9}\"", "an Okutama-Action label", "read_okutama"),
)
MARKS = (  # of the bytes a file begins with, and of what is near its beginning
    (rb"\s*<.*<annotation.*<polygon", "LabelMe XML", ""),
    (rb"\s*<.*annotation", "Pascal VOC XML", "read_voc"),
    (rb"\s*[{\[].*\"objectOccurrences\"", "an Archangel file", "read_archangel"),
    (rb"\s*\{.*\"(?:images|annotations|categories)\"", "COCO JSON", "read_coco"),
    (rb"\s*[{\[]", "other JSON", ""),
    (rb"\x80|\(dp", "a pickle", "read_icg"),
    (rb"\x89PNG|\xff\xd8\xff|BM|RIFF", "an image", ""),
    (rb"PK\x03\x04", "a ZIP archive", ""),
)


def what_is(path: Path) -> tuple[str, str]:
    """Return what a file looks like ("a YOLO label") and the reader for it, empty where there is none here."""
    with open(path, "rb") as content:
        start = content.read(1 << 16)
    if not start.strip():
        return "an empty file", ""
    for mark, what, reader in MARKS:
        if re.match(mark, start, re.DOTALL):
            return what, reader
    first = start.decode("utf-8", "replace").strip().splitlines()[0].strip()
    for line, what, reader in LINES:
        if re.match(line, first):
            return what, reader
    return "no annotation file that is known here", ""


def not_a(path: Path, wanted: str, why: str = "") -> DatasetError:
    """Return the error for a file that is not what its reader expects."""
    what, reader = what_is(path)
    if what == wanted:
        return DatasetError(f"{path} is {wanted} that cannot be read ({why}); write it again")
    cure = f"use {reader}" if reader else "name the annotation file"
    return DatasetError(f"{path} is {what}, not {wanted}{f' ({why})' if why else ''}; {cure}")

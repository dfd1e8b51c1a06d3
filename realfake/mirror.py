"""What this machine holds of an object store of made things, and what of it the object store has yet to be sent.

The object store is the truth. Here are copies, under the names that a folder would have: a record is fetched when it is
asked for, files when they are read. Nothing here is ever thrown away but what has gone there; whoever needs the room
removes the folder. What lies where in the object store is in ``buckets``; what a made thing is, in ``store``.
"""

import json
import shutil
import time
from pathlib import Path

from realfake.buckets import Bucket, StoreError, at_once, cache_folder, digest_of, named, parted

RECORD, ANNOUNCED = "record.json", "spec.json"
UNSENT = ".unsent"  # holds a name for each thing that was made here and may not be there


def kind_of(name: str) -> str:
    """Return the kind that an address begins with."""
    return name.rpartition("-")[0]


def key(name: str, file: str) -> str:
    """Return the object that tells of a thing: its record, or what announced it."""
    return f"{'records' if file == RECORD else 'announced'}/{kind_of(name)}/{name}.json"


class Mirror:
    """The copies below ``root`` of what lies in ``bucket``. Raises StoreError if it does not answer."""

    def __init__(self, place: str) -> None:
        self.bucket = Bucket(place)
        self.root = cache_folder(place)
        self._absent: set[str] = set()  # of which the last ``refresh`` saw no record
        self._listed: dict[str, dict[str, str]] = {}  # the objects of each endless thing by file, as last listed

    # -------------------------------------------------------------------------------------------------- what there is

    def refresh(self, wanted: set[str]) -> None:
        """Send what is owed, list the kinds of these addresses, fetch the records that lack, forget what is gone."""
        self._absent, began = set(), time.time()
        for ticket in sorted((self.root / UNSENT).glob("*")):
            self.send(ticket.name)
        for kind in sorted({kind_of(name) for name in wanted}):
            asked = {name for name in wanted if kind_of(name) == kind}
            absent = asked - {name.removesuffix(".json") for name in self.bucket.names(f"records/{kind}")}
            for name in absent:
                self._forget(name, began)
            self._absent |= absent
            lacking = [name for name in sorted(asked - absent) if not (self.root / name / RECORD).is_file()]
            at_once(lambda name: self.bring(name, RECORD), lacking)

    def _forget(self, name: str, before: float) -> None:
        """Remove a thing that has gone there, unless it was made here since."""
        record = self.root / name / RECORD
        if record.is_file() and record.stat().st_mtime < before and not (self.root / UNSENT / name).is_file():
            shutil.rmtree(self.root / name, ignore_errors=True)

    def find(self, prefix: str, told_by: str) -> list[str]:
        """Return the sorted addresses that begin so and have a record, or were announced: one listing."""
        keys = self.bucket.names(key("", told_by).partition("/")[0])
        names = [found.rpartition("/")[2].removesuffix(".json") for found in keys]
        return sorted(name for name in names if name.startswith(prefix))

    def files(self, name: str) -> set[str]:
        """Return the names of a thing's files: one listing."""
        return {parted(found)[0] for found in self.bucket.names(f"files/{name}")}

    # ---------------------------------------------------------------------------------------------------------- fetched

    def bring(self, name: str, file: str) -> None:
        """Fetch the record of a thing, or what announced it, if there is one and it lacks here; first send ours."""
        if (self.root / UNSENT / name).is_file():
            self.send(name)
        if name not in self._absent and not (self.root / name / file).is_file():
            self.bucket.fetch(key(name, file), self.root / name / file)

    def fetch(self, folder: Path, files: dict[str, str]) -> None:
        """Fetch the files of a record that lack here. Raises StoreError for one that is damaged or gone."""
        at_once(lambda file: self._fetch_one(folder, *file), files.items())

    def _fetch_one(self, folder: Path, file: str, digest: str) -> None:
        if (folder / file).is_file():
            return
        there = f"files/{folder.name}/{named(file, digest)}"
        if not self.bucket.fetch(there, folder / file, digest):
            raise StoreError(
                f"{self.bucket.place}: {there} is damaged or gone; remove {key(folder.name, RECORD)} there, run again"
            )

    def fetch_file(self, path: Path) -> None:
        """Fetch a file by the name in a listing; one that is damaged is removed there, so that it is made anew."""
        folder = f"files/{path.parent.name}"
        if path.name not in self._listed.get(folder, ()):
            self._listed[folder] = {parted(name)[0]: name for name in sorted(self.bucket.names(folder), reverse=True)}
        name = self._listed[folder].pop(path.name, "")
        if name and not self.bucket.fetch(f"{folder}/{name}", path, parted(name)[1]):
            self.bucket.remove(f"{folder}/{name}")
            self.fetch_file(path)  # a second writer's, if there is one

    # ------------------------------------------------------------------------------------------------------------- sent

    def owe(self, name: str) -> None:
        """Note that a thing is about to be made here and must be sent."""
        (self.root / UNSENT).mkdir(parents=True, exist_ok=True)
        (self.root / UNSENT / name).touch()

    def send(self, name: str) -> None:
        """Send what was made here, the record last. If somebody was first, theirs counts, and ours is forgotten."""
        self._absent.discard(name)
        folder = self.root / name
        if (folder / RECORD).is_file():
            ours = (folder / RECORD).read_bytes()
            theirs = self.bucket.read(key(name, RECORD))
            if theirs is None:
                files = json.loads(ours)["files"]
                at_once(lambda f: self.bucket.send(folder / f, f"files/{name}/{named(f, files[f])}"), files)
                self.bucket.write(key(name, RECORD), ours)
            elif theirs != ours:
                shutil.rmtree(folder)
        (self.root / UNSENT / name).unlink(missing_ok=True)

    def send_file(self, path: Path) -> None:
        """Send a file of an endless thing."""
        self.bucket.send(path, f"files/{path.parent.name}/{named(path.name, digest_of(path))}")

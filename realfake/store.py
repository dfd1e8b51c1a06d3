"""A folder, or an object store, of made things, each under its address, with ``record.json`` written last: the truth.

Things appear whole: they are written in scratch beside their place and renamed into it, so a killed process leaves
nothing half made, and two processes that make the same thing do no harm (the first one there wins; both are equal).
No locks, no index: what exists is one listing. Of an object store (``buckets``) a folder of this machine holds what was
made or read here, and the object store is the truth. What the files inside mean is the business of ``samples``,
``generators`` and ``tasks``; what is still needed, of ``execution``.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from realfake.buckets import StoreError as StoreError
from realfake.buckets import is_bucket
from realfake.mirror import ANNOUNCED as ANNOUNCED
from realfake.mirror import RECORD as RECORD
from realfake.mirror import Mirror, key
from realfake.spec import Spec, address
from realfake.values import Value, differing, fields, full_fields

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


class Store:
    """Made things, one folder an address: a local or shared folder, or an object store ("s3://bucket/prefix", by the
    addresses of ``pyarrow.fs``), of which ``root`` is then what this machine has fetched.

    ``place`` opens the same store again, in any process. Raises StoreError for an object store that does not answer.
    """

    def __init__(self, root: str | Path = "store") -> None:
        self.mirror = Mirror(str(root)) if is_bucket(root) else None
        self.root = self.mirror.root if self.mirror else Path(root).absolute()

    def __repr__(self) -> str:
        return f"Store({self.place!r})"

    @property
    def place(self) -> str:
        """What ``Store`` takes to open this store again."""
        return self.mirror.bucket.place if self.mirror else str(self.root)

    def folder(self, spec: Spec | str) -> Path:
        """Return where a thing is, or will be; all files of one that is made are there to be read."""
        folder = self._place(spec)
        if self.mirror and (record := self._read(folder.name)):
            self.mirror.fetch(folder, record["files"])
        return folder

    def file(self, spec: Spec | str, name: str) -> Path:
        """Return where one file of a thing is, or would be; it is there to be read if it exists at all."""
        path = self._place(spec) / name
        if self.mirror and not path.is_file():
            self.mirror.fetch_file(path)
        return path

    def files(self, spec: Spec | str) -> set[str]:
        """Return the names of the files of an endless thing: one listing."""
        folder = self._place(spec)
        if self.mirror:
            return self.mirror.files(folder.name)
        return {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()

    def keep(self, spec: Spec | str, name: str) -> None:
        """Keep a file that was written whole into the folder of an endless thing: an object store is sent it."""
        if self.mirror:
            self.mirror.send_file(self._place(spec) / name)

    def study_folder(self, name: str) -> Path:
        """Return the folder of a study's tables and report: views that can be made again from records."""
        folder = self.root / "studies" / name
        if self.mirror and not folder.is_dir():
            self.mirror.bucket.fetch_folder(f"studies/{name}", folder)
        return folder

    def publish(self, name: str) -> None:
        """Let others see the views in the folder of a study."""
        if self.mirror:
            self.mirror.bucket.send_folder(self.root / "studies" / name, f"studies/{name}")

    def partial(self, spec: Spec) -> Path:
        """Return the folder with the checkpoints of a thing in the making; emptied once the thing is made.

        Of an object store, what it has of them is fetched, for another machine may have gone further.
        """
        folder = self._partial(spec)
        if self.mirror:
            shutil.rmtree(folder, ignore_errors=True)
            self.mirror.bucket.fetch_folder(f"partial/{folder.name}", folder)
        return folder

    def refresh(self, specs: Iterable[Spec]) -> None:
        """Learn which of these are made: of an object store one listing a kind, then all records that lack here.

        What somebody has removed there is forgotten here; what was made here while it did not answer is sent.
        """
        if self.mirror:
            self.mirror.refresh({address(spec) for spec in specs if spec.made == "record"})

    def has(self, spec: Spec) -> bool:
        """Say whether the thing is made (its record exists)."""
        return self._read(address(spec)) is not None if self.mirror else (self._place(spec) / RECORD).is_file()

    def record(self, spec: Spec) -> dict[str, Any] | None:
        """Return the record of a made thing, None if it is not made.

        Raises StoreError when the record was made with other field values: a default of the spec has changed since.
        """
        record = self._read(address(spec))
        if record is not None:
            _same_fields(spec, record)
        return record

    def show(self, prefix: str) -> dict[str, Any]:
        """Return the record, or of an endless thing what announced it, whose address begins with ``prefix``.

        Raises StoreError if none or several do.
        """
        found = sorted({*self.find(prefix), *self.find(prefix, ANNOUNCED)})
        if len(found) != 1:
            what = f"{len(found)} things" if found else "nothing"
            hint = f": {', '.join(found[:5])}; type more of it" if found else f" in {self.root}"
            raise StoreError(f"{what} with an address that begins with {prefix!r}{hint}")
        return self._read(found[0]) or self._read(found[0], ANNOUNCED) or {}

    def find(self, prefix: str = "", told_by: str = RECORD) -> list[str]:
        """Return the sorted addresses of made things that begin with ``prefix``: one listing, then a look at each."""
        if self.mirror:
            return self.mirror.find(prefix, told_by)
        if not self.root.is_dir():
            return []
        names = sorted(e.name for e in os.scandir(self.root) if e.name.startswith(prefix) and "-" in e.name)
        return [name for name in names if (self.root / name / told_by).is_file()]

    @contextlib.contextmanager
    def making(self, spec: Spec) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield a scratch folder and an empty result; on leaving without an error, the thing is made.

        The caller writes files into the folder and facts into the result. The record is written after all files,
        then the folder takes its place in one rename. After an error the scratch folder is removed.
        """
        scratch = self.scratch(spec)
        result: dict[str, Any] = {}
        started = time.time()
        try:
            with self._checkpoints(spec):
                yield scratch, result
            record = {**describe(spec), "result": result, "files": _digests(scratch), "started": started}
            _write_synced(scratch / RECORD, json.dumps({**record, "seconds": time.time() - started}, indent=1))
            self._finish(spec, scratch)
        except OSError as error:
            if error.errno in NO_SPACE + NO_ACCESS:
                raise explain(error, self.root) from error
            raise  # an input that is missing, say: not the store's affair
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(self._partial(spec), ignore_errors=True)
        if self.mirror:
            self.mirror.bucket.remove_folder(f"partial/{address(spec)}")

    def scratch(self, spec: Spec | str) -> Path:
        """Make and return a new scratch folder; its name tells whose it is, see ``sweep_scratch``."""
        name = spec if isinstance(spec, str) else address(spec)
        folder = self.root / ".scratch" / f"{name}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:6]}"
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise explain(error, self.root) from error
        return folder

    def sweep_scratch(self) -> int:
        """Remove the scratch of processes of this machine that are no more; return how many folders that were."""
        swept = 0
        for folder in (self.root / ".scratch").glob(f"*.{socket.gethostname()}.*"):
            if not _alive(int(folder.name.split(".")[-2])):
                shutil.rmtree(folder, ignore_errors=True)
                swept += 1
        return swept

    def shared(self, scratch: Path) -> tuple[str, Any]:
        """Return a scratch folder as all machines see it: its path, and its ``pyarrow.fs`` file system if any."""
        if not self.mirror:
            return str(scratch), None
        return f"{self.mirror.bucket.base}/files/.scratch/{scratch.name}", self.mirror.bucket.files

    def check_writable(self) -> None:
        """Raise StoreError if the store cannot be written."""
        shutil.rmtree(self.scratch("check"), ignore_errors=True)
        if self.mirror:
            self.mirror.bucket.write("check", b"")
            self.mirror.bucket.remove("check")

    def forget(self, name: str) -> None:
        """Remove an endless thing with all its files."""
        shutil.rmtree(self._place(name), ignore_errors=True)
        if self.mirror:
            self.mirror.bucket.remove_folder(f"files/{name}")

    def announce(self, spec: Spec) -> Path:
        """Make the folder of an endless thing with its ``spec.json``, and return it; check the fields if it is there.

        Raises StoreError when it was announced with other field values.
        """
        path = self._place(spec) / ANNOUNCED
        try:
            _same_fields(spec, json.loads(path.read_text()))
        except FileNotFoundError:
            text = json.dumps(describe(spec), indent=1)
            try:
                write_whole(path, text)
            except OSError as error:
                raise explain(error, self.root) from error
            if self.mirror:
                self.mirror.bucket.write(key(path.parent.name, ANNOUNCED), text.encode())
        return path.parent

    def _read(self, name: str, file: str = RECORD) -> dict[str, Any] | None:
        path = self.root / name / file
        try:
            if self.mirror:
                self.mirror.bring(name, file)
            return json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except json.JSONDecodeError as error:
            raise StoreError(f"{path} is not JSON ({error}); remove the folder {path.parent} and run again") from None

    # --------------------------------------------------------------------------------------------------------- inside

    def _place(self, spec: Spec | str) -> Path:
        return self.root / (spec if isinstance(spec, str) else address(spec))

    def _partial(self, spec: Spec) -> Path:
        return self.root / ".partial" / address(spec)

    def _checkpoints(self, spec: Spec) -> Any:
        """While a thing is made, an object store is sent its checkpoints."""
        if not self.mirror:
            return contextlib.nullcontext()
        return self.mirror.bucket.shadowing(self._partial(spec), f"partial/{address(spec)}")

    def _finish(self, spec: Spec, scratch: Path) -> None:
        """Let a thing take its place; an object store is sent it."""
        if self.mirror:
            self.mirror.owe(address(spec))
        self._into_place(scratch, self._place(spec))
        if self.mirror:
            self.mirror.send(address(spec))

    def _into_place(self, scratch: Path, folder: Path) -> None:
        try:
            os.rename(scratch, folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            if not (folder / RECORD).is_file():  # left by hand, not by us: a thing without its record is no thing
                shutil.rmtree(folder)
                os.rename(scratch, folder)


def describe(spec: Spec) -> dict[str, Any]:
    """Return what a record says of its spec: address, kind, revision, full fields, and the whole tree to read."""
    head = {"address": address(spec), "kind": spec.kind, "revision": spec.revision}
    return {**head, "fields": full_fields(spec), "spec": tree(spec)}


def tree(value: Any, told: set[str] | None = None) -> Any:
    """Return a spec as nested plain JSON, for people and for tools that have no study file; each spec is told once."""
    told = set() if told is None else told
    if isinstance(value, tuple):
        return [tree(v, told) for v in value]
    if not isinstance(value, Value):
        return value
    head = {"type": type(value).__name__}
    if isinstance(value, Spec):
        head["address"] = address(value)
        if head["address"] in told:
            return head
        told.add(head["address"])
    return {**head, **{f.name: tree(getattr(value, f.name), told) for f in fields(value)}}


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole or not at all (scratch name, then rename)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.{os.getpid()}.{uuid.uuid4().hex[:6]}.tmp")
    try:
        _write_synced(scratch, content)
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def explain(error: OSError, root: Path) -> StoreError:
    """Return the one clear sentence for a failed write."""
    if error.errno in NO_SPACE:
        return StoreError(f"no space left in {root}; free some and run the same command again, nothing made is lost")
    if error.errno in NO_ACCESS:
        return StoreError(f"cannot write in {root} ({error.strerror}); choose another folder with --store")
    return StoreError(f"{root}: {error}")


def _write_synced(path: Path, content: str | bytes) -> None:
    with open(path, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _same_fields(spec: Spec, record: dict[str, Any]) -> None:
    """Compare; a field that was added since and is at its default says what was always meant."""
    now, given = full_fields(spec), differing(spec)
    for name in record["fields"].keys() | given.keys():
        was, new = record["fields"].get(name, "nothing"), now.get(name, "nothing")
        if was != new:
            raise StoreError(
                f"{record['address']} was made with {name} = {_plain(was)}, but the spec now says {_plain(new)}: a "
                f"default has changed since; write {type(spec).__name__}({name}=…) with the value you mean, or raise "
                f"{type(spec).__name__}.revision to make it anew"
            )


def _plain(value: Any) -> str:
    return str(value[1]) if isinstance(value, list) and len(value) == 2 else str(value)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

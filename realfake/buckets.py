"""An object store behind a store's folder: what lies where in it, and how files get there and back.

```
s3://bucket/prefix/
  records/trial/trial-8c78eea527cb.json                 written last; one listing a kind tells what is made
  files/trial-8c78eea527cb/model-3fa29c0d51b7e604.safetensors
  files/pool-3d3d3c9785fa/00000000-00000255-90ab12cd34ef5678.parquet
  announced/pool/pool-3d3d3c9785fa.json                 the spec of an endless thing
  partial/closedset-…/state.pt                          checkpoints of what is in the making
  studies/quickstart/…                                  views, written anew
```

Every file carries the digest of its bytes in its name, so two writers never mix their files, a record names those that
are its own, and what was damaged on the way is noticed. Objects appear whole: writing one is atomic. Which of it this
machine holds is in ``mirror``; what a made thing is, in ``store``.
"""

import contextlib
import hashlib
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")
AT_ONCE = 16  # files on their way at the same time
ATTEMPTS, PATIENCE_SECONDS = 4, 1.0  # of each call, beside those of the object store's own client
SHADOW_SECONDS = 30.0  # how often new checkpoints are sent
PIECE = 8 * 2**20  # bytes of a file in memory at once: weights may be large
DIGITS = 16  # hex digits of a file's digest in its name
_NAMED = re.compile(rf"(?P<stem>.*)-(?P<digest>[0-9a-f]{{{DIGITS}}})(?P<ending>(?:\.[^./]*)?)")
Answer = TypeVar("Answer")


class StoreError(RuntimeError):
    """The store cannot give or keep what was asked; the message says why and what to type."""


def is_bucket(place: str | Path) -> bool:
    """Say whether a store's place names an object store and not a folder."""
    return "://" in str(place)


def cache_folder(place: str) -> Path:
    """Return where files of an object store lie on this machine: below REALFAKE_CACHE, else ~/.cache/realfake."""
    folder = Path(os.environ.get("REALFAKE_CACHE") or Path.home() / ".cache" / "realfake")
    name = re.sub(r"[^A-Za-z0-9.]+", "-", place.split("?")[0]).strip("-")
    return folder / f"{name}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def named(file: str, digest: str) -> str:
    """Return the object's name of a file with this digest (hex): model-3fa29c0d51b7e604.safetensors, for example."""
    path = Path(file)
    return str(path.with_name(f"{path.stem}-{digest[:DIGITS]}{path.suffix}"))


def parted(name: str) -> tuple[str, str]:
    """Return the file's name and the digits of its digest that an object's name says; "" for one that says none."""
    found = _NAMED.fullmatch(name)
    return (f"{found['stem']}{found['ending']}", found["digest"]) if found else (name, "")


def digest_of(path: Path) -> str:
    """Return the sha256 of a file's bytes in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Bucket:
    """A prefix of an object store. Every method raises StoreError if it does not answer, after several attempts."""

    def __init__(self, place: str) -> None:
        from pyarrow import fs

        self.place = place
        scheme = place.split("://")[0]
        if scheme not in SCHEMES:
            raise StoreError(f"store = {place!r}: realfake knows folders, and object stores as {', '.join(SCHEMES)}://")
        try:
            self.files, path = fs.FileSystem.from_uri(place)
        except (OSError, ValueError) as error:
            raise self._error(error) from None
        self.base = path.rstrip("/")

    def read(self, key: str) -> bytes | None:
        """Return the bytes of an object, None if there is none."""

        def get() -> bytes | None:
            try:
                with self.files.open_input_stream(f"{self.base}/{key}") as stream:
                    return stream.read()
            except FileNotFoundError:
                return None

        return self._patiently(get)

    def write(self, key: str, content: bytes) -> None:
        """Write an object; it appears whole."""

        def put() -> None:
            with self.files.open_output_stream(f"{self.base}/{key}") as stream:
                stream.write(content)

        self._patiently(put)

    def names(self, folder: str) -> list[str]:
        """Return the paths of all objects below a folder, relative to it: one listing."""
        from pyarrow import fs

        def listed() -> list[str]:
            place = f"{self.base}/{folder}".rstrip("/")
            found = self.files.get_file_info(fs.FileSelector(place, allow_not_found=True, recursive=True))
            return [info.path.removeprefix(f"{place}/") for info in found if info.type == fs.FileType.File]

        return self._patiently(listed)

    def remove(self, key: str) -> None:
        """Remove an object, if it is there."""

        def drop() -> None:
            with contextlib.suppress(FileNotFoundError):
                self.files.delete_file(f"{self.base}/{key}")

        self._patiently(drop)

    # ------------------------------------------------------------------------------------------------------ whole files

    def send(self, path: Path, key: str) -> None:
        """Send a file."""

        def put() -> None:
            with open(path, "rb") as file, self.files.open_output_stream(f"{self.base}/{key}") as stream:
                shutil.copyfileobj(file, stream, PIECE)

        self._patiently(put)

    def fetch(self, key: str, path: Path, digest: str = "") -> bool:
        """Write an object into a file, which appears whole; return whether there is one that has this digest."""
        scratch = path.with_name(f"{path.name}.{os.getpid()}.{uuid.uuid4().hex[:6]}.tmp")

        def get() -> bool:
            try:
                stream = self.files.open_input_stream(f"{self.base}/{key}")
            except FileNotFoundError:
                return False
            path.parent.mkdir(parents=True, exist_ok=True)
            with stream, open(scratch, "wb") as file:
                shutil.copyfileobj(stream, file, PIECE)
            return True

        try:
            found = self._patiently(get) and digest_of(scratch).startswith(digest)
            if found:
                os.replace(scratch, path)
            return found
        finally:
            scratch.unlink(missing_ok=True)

    def send_folder(self, folder: Path, key: str) -> None:
        """Send all files of a folder under their own names; views, of which the last one written counts."""
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        at_once(lambda path: self.send(path, f"{key}/{path.relative_to(folder)}"), files)

    def fetch_folder(self, key: str, folder: Path) -> None:
        """Fetch all files under a key."""
        at_once(lambda name: self.fetch(f"{key}/{name}", folder / name), self.names(key))

    def remove_folder(self, key: str) -> None:
        """Remove all objects under a key."""
        at_once(lambda name: self.remove(f"{key}/{name}"), self.names(key))

    @contextlib.contextmanager
    def shadowing(self, folder: Path, key: str) -> Iterator[None]:
        """While this lasts, send what changes in a folder now and then, and at its end: older files first, for newer
        ones may rest on them. An object store that does not answer costs the checkpoints, not the work."""
        sent: dict[Path, int] = {}
        ending = threading.Event()

        def send() -> None:
            there = [(path.stat().st_mtime_ns, path) for path in folder.rglob("*") if path.is_file()]
            for time_ns, path in sorted(there):
                if sent.get(path) != time_ns and not path.name.endswith(".tmp"):
                    self.send(path, f"{key}/{path.relative_to(folder)}")
                    sent[path] = time_ns

        def shadow() -> None:
            while not ending.wait(SHADOW_SECONDS):
                with contextlib.suppress(StoreError, FileNotFoundError):
                    send()

        thread = threading.Thread(target=shadow, name="checkpoints", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()
            with contextlib.suppress(StoreError, FileNotFoundError):
                send()

    # ----------------------------------------------------------------------------------------------------------- inside

    def _patiently(self, call: Callable[[], Answer]) -> Answer:
        for attempt in range(ATTEMPTS):
            try:
                return call()
            except OSError as error:
                if attempt == ATTEMPTS - 1 or _hopeless(error):
                    raise self._error(error) from None
                time.sleep(PATIENCE_SECONDS * 4**attempt)
        raise AssertionError("unreachable")

    def _error(self, error: Exception) -> StoreError:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return StoreError(
            f"the object store {self.place!r} does not do its part ({why[:300]}); check its address, and that the "
            "environment of every node holds its credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, say)"
        )


def _hopeless(error: OSError) -> bool:
    """Say whether asking again cannot help: no right to it, no such bucket."""
    said = str(error)
    return any(word in said for word in ("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY", "SIGNATURE"))


def at_once(work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Do something with every item, several at the same time; raise what the first failure raised."""
    items = list(items)
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(AT_ONCE, len(items))) as pool:
        return list(pool.map(work, items))

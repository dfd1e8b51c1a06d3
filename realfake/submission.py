"""What ``realfake submit`` sends to a cluster, and what is refused before anything is sent.

A submission is a study file, a where-file as the cluster will read it, this package, and a name that follows from their
bytes. A study file is code: the cluster runs it as it runs the package. Not here: the job server (``jobs``), what a job
does once it is there (``arrival``).
"""

import hashlib
import ipaddress
import json
import os
import shlex
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import realfake
from realfake import credentials
from realfake.resources import Where
from realfake.studyfile import StudyFile
from realfake.values import Value, fields

PACKAGE = Path(realfake.__file__).parent
KINDS = (".py", ".css")  # of the files of this package: whatever else lies beside them stays here
NETWORK_DISKS = {
    *("nfs", "nfs4", "cifs", "smb3", "lustre", "ceph", "beegfs", "gpfs"),
    *("glusterfs", "9p", "afs", "orangefs", "wekafs", "virtiofs"),
}


class SubmissionError(ValueError):
    """A study that cannot be sent as asked; the message says why and what to type."""


@dataclass(frozen=True)
class Submission:
    """What is sent: the name of the study, the files of the job's folder by path, and the command that is run there.

    ``tracking`` is where its progress can be watched: an MLflow server, "" if there is none.
    """

    study: str
    files: dict[str, bytes]
    entrypoint: str
    tracking: str = ""

    @property
    def digest(self) -> str:
        """Twelve hex digits of the bytes of all files and of the command: equal submissions have equal ones."""
        whole = hashlib.sha256(self.entrypoint.encode())
        for path, content in sorted(self.files.items()):
            whole.update(f"\0{path}\0".encode() + hashlib.sha256(content).digest())
        return whole.hexdigest()[:12]

    def name(self, attempt: int) -> str:
        """Return the submission id of one attempt; Ray takes each id once, so no attempt runs twice."""
        return f"realfake-{self.study}-{self.digest}-{attempt}"

    def write(self, folder: Path) -> None:
        """Write the files below a folder."""
        for path, content in self.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)


def prepare(file: StudyFile, where: Where) -> Submission:
    """Return what to send, ``where`` being as ``placed`` leaves it. Raises SubmissionError if the study holds a key."""
    study = file.path.read_bytes()
    refuse_secrets(str(file.path), study.decode(), settings=False)
    files = {f"study/{file.path.name}": study, "where.toml": where_file(where).encode()}
    files |= {f"realfake/{path.relative_to(PACKAGE)}": path.read_bytes() for path in _package()}
    command = ["python", "-m", "realfake.arrival", f"study/{file.path.name}", "where.toml"]
    tracking = where.tracking if where.tracking.startswith("http") else ""
    return Submission(file.study.name, files, shlex.join(command), tracking)


def _package() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*")) if path.suffix in KINDS]


# -------------------------------------------------------------------------------------------- the address and its token


def token() -> str:
    """Return the token of the cluster by Ray's own rule, "" if there is none: RAY_AUTH_TOKEN, else the file that
    RAY_AUTH_TOKEN_PATH names, else ~/.ray/auth_token. It is never logged, recorded or passed as an argument.
    """
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return ""
    if given := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return given
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        return path.read_text().strip()
    except OSError as error:
        if named:
            raise SubmissionError(
                f"RAY_AUTH_TOKEN_PATH={named}: {error.strerror}; name the file of the token"
            ) from None
        return ""


def server(to: str, secret: str) -> str:
    """Return the URL of the job server that ``--to`` names.

    Raises SubmissionError if it is no web address, holds a password, or leads off this machine without a token.
    """
    url = to if "://" in to else f"http://{to}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SubmissionError(f"--to {to}: jobs go to the dashboard of Ray's head; give it as http://127.0.0.1:8265")
    if parts.username or parts.password:
        raise SubmissionError(
            "--to holds a user or password, which other users can read in the list of processes; "
            "give the address alone, and the token in RAY_AUTH_TOKEN or ~/.ray/auth_token"
        )
    if not secret and not loopback(url):
        raise SubmissionError(
            f"--to {to}: anyone who reaches a cluster without a token can run code on it, so none but this machine's "
            "own is used without; put the cluster's token in RAY_AUTH_TOKEN or ~/.ray/auth_token, or open a tunnel: "
            f"ssh -L 8265:127.0.0.1:8265 {parts.hostname}"
        )
    return url.rstrip("/")


def loopback(url: str) -> bool:
    """Say whether a URL leads to this machine itself (names but localhost are not looked up)."""
    host = urlsplit(url if "://" in url else f"http://{url}").hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def in_the_clear(url: str, secret: str) -> bool:
    """Say whether the token would cross a network unencrypted."""
    return bool(secret) and url.startswith("http://") and not loopback(url)


# ---------------------------------------------------------------------------------------- the where-file of the cluster


def refuse_secrets(path: str, text: str, *, settings: bool = True) -> None:
    """Raise SubmissionError if a where-file (a study file: ``settings=False``) holds what looks like a secret."""
    if place := credentials.first(text, settings=settings, known=token()):
        number, what = place
        raise SubmissionError(
            f"{path}:{number} holds {what}, and what is sent is kept by the cluster for all to read; remove it "
            "and set it in the environment of the cluster's nodes instead (cluster/README.md says how)"
        )


def placed(where: Where, to: str) -> Where:
    """Return the where-file as it must read on the cluster at ``to``: its address is the cluster's own, and no path is
    relative to this machine's folder. Raises SubmissionError for a path that no other machine can have.
    """
    if where.cluster.address not in ("", "auto", "none"):
        raise SubmissionError(
            f"[cluster] address = {where.cluster.address!r} in the --on file names another cluster than --to {to}; "
            "remove that line"
        )
    data = dict(item.split("=", 1) for item in where.data)
    return replace(
        where,
        store=_reachable("store", where.store, to),
        data=tuple(f"{name}={_reachable(f'[data] {name}', path, to)}" for name, path in data.items()),
        cluster=replace(where.cluster, address=where.cluster.address or "auto"),
    )


def _reachable(what: str, path: str, to: str) -> str:
    if "://" in path or path.startswith("~"):  # whether the cluster can open it, it says itself
        return path
    if loopback(to):  # this machine, or the end of a tunnel: the cluster says itself whether the folder serves
        return str(Path(path).absolute())
    cure = f'give a folder that every node has mounted, such as {what} = "/shared/…", in the --on file'
    if not Path(path).is_absolute():
        raise SubmissionError(f"{what} = {path!r} is a folder beside you, not one on the cluster at {to}; {cure}")
    if own_disk(Path(path)):
        raise SubmissionError(
            f"{what} = {path!r} is on this machine's own disk, which the cluster at {to} lacks; {cure}"
        )
    return path


def own_disk(path: Path, mounts: str | None = None) -> bool:
    """Say whether a path lies on a disk of this machine alone, as far as the table of mounts tells.

    A folder that is not here, or only its first part, may well be on the cluster: that counts as not.
    """
    there = next(p for p in (path, *path.parents) if p.exists())
    if len(there.parts) < 3 and not path.is_relative_to(tempfile.gettempdir()):
        return False
    try:
        table = mounts if mounts is not None else Path("/proc/self/mounts").read_text()
    except OSError:
        return False
    kinds = {entry[1]: entry[2] for entry in (line.split() for line in table.splitlines()) if len(entry) > 2}
    kind = next((kinds[str(p)] for p in (there.resolve(), *there.resolve().parents) if str(p) in kinds), "")
    return bool(kind) and kind not in NETWORK_DISKS and not kind.startswith("fuse.")


def where_file(where: Where) -> str:
    """Return a where-file that ``resources.read`` reads as ``where``: what differs from the defaults, no comments."""
    given = {f.name: getattr(where, f.name) for f in fields(where) if getattr(where, f.name) != f.default}
    sections = {name: _differing(value) for name, value in given.items() if isinstance(value, Value)}
    if "data" in given:
        sections["data"] = dict(item.split("=", 1) for item in given.pop("data"))
    lines = _lines({name: value for name, value in given.items() if name not in sections})
    for name, table in sections.items():
        lines += ["", f"[{name}]", *_lines(table)]
    return "\n".join(lines) + "\n"


def _differing(value: Value) -> dict[str, Any]:
    return {f.name: getattr(value, f.name) for f in fields(value) if getattr(value, f.name) != f.default}


def _lines(table: dict[str, Any]) -> list[str]:
    """Texts, numbers, truth values and lists of them are written alike in JSON and in TOML."""
    return [f"{json.dumps(key)} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]

"""Ray's job server on a cluster: a submission becomes a job there, its log is followed, jobs are listed and stopped.

One attempt is one Ray job, which runs once; a job that died is sent again under the next attempt's name, and goes on
where it was because the store does. Not here: what is sent (``submission``), what the job does there (``arrival``).
"""

import asyncio
import contextlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from realfake import submission
from realfake.submission import Submission

OLDEST = (2, 55)  # as in pyproject.toml: the package runs on the Ray of the cluster
NAME = re.compile(r"realfake-(?P<study>.+)-(?P<digest>[0-9a-f]{12})-(?P<attempt>\d+)")
OWN_EXITS = (0, 1, 2, 126, 127)  # ends that realfake (or a shell that finds no python) chose: the next would be alike
ANSWER, END = "=== answer ===", "=== end of the answer ==="
CHATTY = tuple(
    f"ray.{name}"
    for name in ("dashboard.modules.dashboard_sdk", "dashboard.modules.job.sdk", "_private.runtime_env.packaging")
)
POLL_SECONDS, LOST_SECONDS = 1.0, 300.0


class JobsError(RuntimeError):
    """A cluster that cannot be reached or does not do what was asked; the message says why and what to type."""


class Refused(JobsError):
    """The token is missing or wrong."""


@dataclass(frozen=True)
class Job:
    """One attempt at a study on the cluster; ``started`` and ``ended`` in seconds since 1970, None if not yet.

    ``tracking`` is the MLflow server that it logs to, "" if it keeps all in its store.
    """

    name: str
    status: Literal["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    said: str = ""
    error: str = ""
    tracking: str = ""

    @property
    def study(self) -> str:
        """The study that it runs."""
        return NAME.fullmatch(self.name)["study"]  # type: ignore[index]

    @property
    def attempt(self) -> int:
        """Which attempt it is, from 1."""
        return int(NAME.fullmatch(self.name)["attempt"])  # type: ignore[index]

    @property
    def over(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.status in ("STOPPED", "SUCCEEDED", "FAILED")

    @property
    def died(self) -> bool:
        """Whether it was killed, or its machine lost: sent again, it goes on."""
        return self.status == "FAILED" and self.exit_code not in OWN_EXITS and "RUNTIME_ENV" not in self.error

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            **{"job": self.name, "study": self.study, "attempt": self.attempt, "status": self.status},
            **{"started": self.started, "ended": self.ended, "exit_code": self.exit_code},
        }


class Server:
    """The job server of one cluster. Raises JobsError, in one sentence, whatever goes wrong."""

    def __init__(self, to: str) -> None:
        secret = submission.token()
        self.url = submission.server(to, secret)
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        with self._explained(), _only_the_address_given():
            from ray.job_submission import JobSubmissionClient

            for name in CHATTY:
                logging.getLogger(name).setLevel(logging.WARNING)
            self.client = JobSubmissionClient(self.url, headers=headers)
            self.version = str(self.client._do_request("GET", "/api/version").json()["ray_version"])
        if not OLDEST <= _minor(self.version) < (3, 0):
            oldest = ".".join(map(str, OLDEST))
            raise JobsError(
                f"the cluster at {self.url} runs Ray {self.version}; realfake needs {oldest} or newer, below 3"
            )

    def note(self) -> str:
        """Return what is odd about the versions of Ray here and there, "" if nothing is."""
        import ray

        same = _minor(ray.__version__) == _minor(self.version)
        return "" if same else f"Ray is {ray.__version__} here and {self.version} there, where the study runs"

    def jobs(self) -> list[Job]:
        """Return the jobs that realfake sent, oldest first."""
        with self._explained():
            found = [
                _job(details) for details in self.client.list_jobs() if NAME.fullmatch(details.submission_id or "")
            ]
        return sorted(found, key=lambda job: (job.started or time.time(), job.attempt))

    def job(self, name: str) -> Job:
        """Return the job of that name as it is now; one that the cluster has forgotten counts as failed."""
        try:
            with self._explained():
                return _job(self.client.get_job_info(name))
        except JobsError as error:
            if "does not exist" not in str(error):
                raise
            return Job(name, "FAILED", said="the cluster has forgotten it: its head was started anew")

    def find(self, asked: str = "") -> Job:
        """Return the latest job whose study is ``asked`` or whose name begins so; "" asks for the latest of all."""
        jobs = self.jobs()
        found = [job for job in jobs if job.study == asked or job.name.startswith(asked)]
        if not found:
            what = f"no job {asked!r}; there are {', '.join(job.name for job in jobs[-5:])}" if jobs else "no job yet"
            raise JobsError(f"{self.url} has {what}; realfake jobs list --to {self.url} shows all")
        return found[-1]

    def submit(self, what: Submission, again: bool = False) -> tuple[Job, bool]:
        """Send a study unless it runs already or, without ``again``, has come to its end; return its job and whether
        it was sent now. The attempt's number is the only thing in which two jobs of one submission differ.
        """
        earlier = [job for job in self.jobs() if job.name == what.name(job.attempt)]
        last = max(earlier, key=lambda job: job.attempt, default=None)
        if last and (not last.over or (last.status == "SUCCEEDED" and not again)):
            return last, False
        name = what.name(last.attempt + 1 if last else 1)
        try:
            self._send(what, name)
        except JobsError:
            if name not in [job.name for job in self.jobs()]:
                raise
            return self.job(name), False  # somebody sent the same at the same moment
        return self.job(name), True

    def _send(self, what: Submission, name: str) -> None:
        with tempfile.TemporaryDirectory(prefix="realfake-") as folder, self._explained():
            what.write(Path(folder))
            self.client.submit_job(
                entrypoint=what.entrypoint,
                submission_id=name,
                runtime_env={"working_dir": folder},
                metadata=_told(what, name),
            )

    def latest(self, study: str) -> Job:
        """Return the latest job of exactly this study."""
        found = [job for job in self.jobs() if job.study == study]
        if not found:
            raise JobsError(
                f"{self.url} was never sent the study {study!r}, or has forgotten it since its head was started; "
                f"realfake jobs list --to {self.url} shows what it was sent"
            )
        return found[-1]

    def log(self, name: str) -> str:
        """Return all that a job has said so far; "" while it has said nothing."""
        try:
            with self._explained():
                return self.client.get_job_logs(name)
        except Refused:
            raise
        except JobsError:
            return ""  # it waits for its start, or its machine is gone: its status tells

    def page(self, name: str) -> str:
        """Return where Ray's dashboard shows a job."""
        return f"{self.url}/#/jobs/{name}"

    def stop(self, name: str, within_seconds: float = 60.0) -> Job:
        """Stop a job and return it once it has ended; what it made is kept."""
        with self._explained():
            self.client.stop_job(name)
        until = time.monotonic() + within_seconds
        while not (job := self.job(name)).over and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        return job

    def follow(self, name: str, on_line: Callable[[str], None]) -> Job:
        """Hand over every line of a job's log, old ones first, until the job has ended; return it then.

        A lost connection is taken up again where it broke; JobsError after five minutes without one.
        """
        from aiohttp import ClientError

        lines, last_heard = _Lines(on_line), time.monotonic()
        while True:
            with contextlib.suppress(OSError, RuntimeError, ClientError):  # the job is asked next, and tells why
                asyncio.run(self._tail(name, lines))
            try:
                job, last_heard = self.job(name), time.monotonic()
            except Refused:
                raise
            except JobsError as error:
                if time.monotonic() - last_heard > LOST_SECONDS:
                    raise JobsError(
                        f"{error}; there was no answer for {LOST_SECONDS:.0f} s, but the job goes on"
                    ) from None
            else:
                if job.over:
                    lines.end()
                    return job
            time.sleep(POLL_SECONDS)

    async def _tail(self, name: str, lines: "_Lines") -> None:
        lines.from_the_start()
        async for text in self.client.tail_job_logs(name):
            lines.add(text)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what Ray's client raises into one sentence, which never holds the token."""
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise Refused(_refusal(self.url, str(error))) from None
        except ImportError as error:
            raise JobsError(f"{error.name} is needed to talk to a cluster; pip install 'ray[default]'") from None
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            if isinstance(error, JobsError | submission.SubmissionError):
                raise
            raise JobsError(_sentence(self.url, error)) from None


def _refusal(url: str, text: str) -> str:
    what = "asks for a token" if text.startswith("Authentication required") else "refuses the token that is set here"
    return f"{url} {what}; put the cluster's own in RAY_AUTH_TOKEN or ~/.ray/auth_token"


def _sentence(url: str, error: Exception) -> str:
    text = str(error)
    if isinstance(error, OSError) and not hasattr(error, "doc"):
        return f"no Ray dashboard answers at {url}; is the cluster up, and the tunnel open (cluster/README.md)?"
    if isinstance(error, KeyError | ValueError | OSError) or "returned 404" in text:
        return (
            f"what answers at {url} is no Ray dashboard; give --to the address that `ray status` or your cluster names"
        )
    lines = text.strip().splitlines()
    return f"{url} could not do it: {lines[-1] if lines else type(error).__name__}"


@contextlib.contextmanager
def _only_the_address_given() -> Iterator[None]:
    """Ray lets these variables override the address; --to is what was checked, so it holds."""
    kept = {name: os.environ.pop(name) for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _job(details: Any) -> Job:
    return Job(
        name=details.submission_id,
        status=details.status.value,
        started=details.start_time / 1000 if details.start_time else None,
        ended=details.end_time / 1000 if details.end_time else None,
        exit_code=details.driver_exit_code,
        said=(details.message or "").strip(),
        error=details.error_type or "",
        tracking=(details.metadata or {}).get("tracking", ""),
    )


def _told(what: Submission, name: str) -> dict[str, str]:
    """What the dashboard shows of a job beside its name."""
    attempt = NAME.fullmatch(name)["attempt"]  # type: ignore[index]
    return {"study": what.study, "attempt": attempt, **({"tracking": what.tracking} if what.tracking else {})}


class _Lines:
    """Cuts a log that arrives in pieces into lines, and tells none twice when it is read again from the start."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self.on_line, self.told, self.seen, self.rest = on_line, 0, 0, ""

    def from_the_start(self) -> None:
        self.seen, self.rest = 0, ""

    def add(self, text: str) -> None:
        *whole, self.rest = (self.rest + text).split("\n")
        for line in whole:
            self.seen += 1
            if self.seen > self.told:
                self.told = self.seen
                self.on_line(line)

    def end(self) -> None:
        if self.rest:
            self.on_line(self.rest)

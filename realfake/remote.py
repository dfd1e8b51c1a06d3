"""The verbs for a cluster: ``submit`` sends a study there, ``jobs`` lists, shows and stops what was sent, and
``status --to`` says how far it is.

Like the other verbs (``cli``): results on stdout, progress and errors on stderr. What they do is in ``submission`` and
``jobs``.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from realfake import jobs, resources, studyfile, submission
from realfake.cli import command, json_option
from realfake.columns import grid
from realfake.jobs import Job, Server
from realfake.resources import Where

if TYPE_CHECKING:
    from realfake.progress import State

RESENT = 2  # times that a job that died is sent again while somebody watches
EXAMPLE_CLUSTER = "http://127.0.0.1:8265"


def to_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --to to a verb."""
    said = "The cluster: where the dashboard of its head answers (default: RAY_API_SERVER_ADDRESS)."
    return click.option("--to", required=True, envvar="RAY_API_SERVER_ADDRESS", metavar="URL", help=said)(function)


@command(f"realfake submit studies/quickstart.py --to {EXAMPLE_CLUSTER} --on cluster/shared.toml")
@click.argument("study", type=click.Path())
@to_option
@click.option("--on", "on", type=click.Path(), help="How the cluster is shared out: one of cluster/*.toml.")
@click.option("--no-wait", is_flag=True, help="Send it and go home; print the name of the job.")
@click.option("--again", is_flag=True, help="Run a study that has come to its end there once more.")
@json_option
def submit(study: str, to: str, on: str | None, no_wait: bool, again: bool, as_json: bool) -> None:
    """Run STUDY on a Ray cluster and print its answer; send it again to look again, or to resume.

    The study file is sent as it is, and it is code: the cluster runs it. So is this package. The same study is not run
    twice; what died goes on where it was, since what is made lies in the store.
    """
    if on:
        submission.refuse_secrets(on, _text(on))
    where = submission.placed(resources.read(on), to)
    sent = submission.prepare(studyfile.read(study), where)
    server = _connect(to)
    _say(f"what is made goes to {where.store} on the machines of the cluster")
    job, new = server.submit(sent, again)
    _say(_began(job, new))
    if no_wait:
        _say(f"how far it is: realfake status {study} --to {to}")
        return click.echo(json.dumps(job.to_json()) if as_json else job.name)
    left = RESENT
    while (job := _watch(server, job, to, as_json)).died and left:
        left -= 1
        _say(f"{job.name} died ({_why(job)}); it is sent again and goes on where it was")
        job, _ = server.submit(sent, again)
    _end(server, job, to, as_json)


@command(f"realfake jobs list --to {EXAMPLE_CLUSTER}")
@click.argument("action", type=click.Choice(["list", "logs", "stop"]))
@click.argument("job", default="")
@to_option
@json_option
def jobs_(action: str, job: str, to: str, as_json: bool) -> None:
    """List the studies that were sent to a cluster, follow the log of one, or stop it (what it made is kept).

    JOB is the name of a job, or of a study; without it, the latest is meant.
    """
    server = _connect(to)
    if action == "list":
        found = server.jobs()
        return click.echo(json.dumps([job.to_json() for job in found]) if as_json else _table(found))
    asked = server.find(job)
    if action == "logs":
        _end(server, _watch(server, asked, to, as_json), to, as_json)
    elif asked.over:
        _say(f"{asked.name} had ended before: {asked.status.lower()}")
    else:
        ended = server.stop(asked.name)
        click.echo(json.dumps(ended.to_json()) if as_json else f"{ended.name}: {ended.status.lower()}")
        _say("what it made is kept; submit the study again to go on" if ended.over else "it has not ended yet")


def status(study: str, to: str, where: Where, as_json: bool) -> None:
    """Say how far the job of STUDY is on a cluster, from its log, and where to look; exit with 0 if it ended well.

    Only the log is asked: the store may be out of reach from here.
    """
    from realfake import progress

    server = _connect(to)
    job = server.latest(studyfile.read(study).study.name)
    now = progress.read(server.log(job.name))
    tracking = job.tracking or (where.tracking if where.tracking.startswith("http") else "")
    if as_json:
        places = {"dashboard": server.page(job.name), "mlflow": tracking or None}
        click.echo(json.dumps({**job.to_json(), "progress": now.to_json() if now else None, **places}))
    else:
        click.echo("\n".join(f"{name:<10} {text}" for name, text in _status(server, job, now, tracking, to) if text))
    sys.exit(0 if job.status == "SUCCEEDED" else 1)


# ------------------------------------------------------------------------------------------------------------- inside


def _status(server: Server, job: Job, now: "State | None", tracking: str, to: str) -> list[tuple[str, str]]:
    """What is told of a job, by name; of one that has ended no time is left."""
    how = _why(job) if job.status == "FAILED" else ""
    rate = now.images_per_second if now and not job.over else None
    return [
        ("job", f"{job.name} (attempt {job.attempt})"),
        ("status", f"{job.status.lower()}{f', {how}' if how else ''}, started {_when(job)}, {_took(job)}"),
        ("made", " · ".join(f"{what} {now.done[what]:,} of {now.total[what]:,}" for what in now.total) if now else ""),
        ("failed", str(now.failed) if now and now.failed else ""),
        ("in hand", ", ".join(now.in_hand) if now and not job.over else ""),
        ("rate", f"{rate:,.{0 if rate >= 10 else 1}f} images/s" if rate else ""),
        ("time left", now.left if now and not job.over else ""),
        ("log", f"realfake jobs logs {job.name} --to {to}"),
        ("dashboard", server.page(job.name)),
        ("MLflow", tracking),
    ]


def _connect(to: str) -> Server:
    server = Server(to)
    if submission.in_the_clear(server.url, submission.token()):
        _say(f"the token goes to {server.url} unencrypted; a tunnel keeps it private: see cluster/README.md")
    if note := server.note():
        _say(note)
    return server


def _began(job: Job, new: bool) -> str:
    if new:
        return f"sent as {job.name}"
    if not job.over:
        return f"it runs there already: {job.name}"
    return f"it has come to its end there as {job.name}, and is not run twice (--again would)"


def _watch(server: Server, job: Job, to: str, as_json: bool) -> Job:
    """Show the log of a job as it comes, its answer on stdout, until it has ended. Ctrl-C leaves it alone."""
    try:
        return server.follow(job.name, _Shown(as_json))
    except KeyboardInterrupt:
        _say(f"\n{job.name} goes on without you; look again: realfake jobs logs {job.name} --to {to}")
        _say(f"stop it: realfake jobs stop {job.name} --to {to}")
        sys.exit(130)


class _Shown:
    """Shows lines of a log: those of the answer on stdout (unless JSON is wanted there), all others on stderr."""

    def __init__(self, as_json: bool) -> None:
        self.answers, self.as_json = False, as_json

    def __call__(self, line: str) -> None:
        if line in (jobs.ANSWER, jobs.END):
            self.answers = line == jobs.ANSWER
        elif not line.startswith("Running entrypoint for job ") and "INFO job_manager.py:" not in line:
            click.echo(line, err=not self.answers or self.as_json)


def _end(server: Server, job: Job, to: str, as_json: bool) -> None:
    """Say how a job ended, and exit as it did."""
    if as_json:
        click.echo(json.dumps(job.to_json()))
    if job.status == "SUCCEEDED":
        return
    if job.status == "STOPPED":
        _say(f"{job.name} was stopped; what it made is kept: submit the study again to go on")
    elif job.exit_code not in jobs.OWN_EXITS:
        _say(f"{job.name} died ({_why(job)}); what it made is kept: submit the study again to go on")
    elif job.exit_code == 127:
        _say("the shell of the cluster's head finds no python; start Ray there with its Python on the PATH")
    sys.exit(job.exit_code if job.exit_code in (1, 2) else 1)


def _why(job: Job) -> str:
    said = job.said.splitlines()[0] if job.said else "no reason is known"
    return said if job.exit_code is None else f"exit code {job.exit_code}"


def _table(found: list[Job]) -> str:
    rows = [[job.name, job.status.lower(), _when(job), _took(job)] for job in found]
    return "\n".join(grid(("job", "status", "started", "took"), rows, 200)) if rows else "no study was sent there yet"


def _when(job: Job) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(job.started)) if job.started else "–"


def _took(job: Job) -> str:
    from realfake.progress import clock

    return clock((job.ended or time.time()) - job.started) if job.started else "–"


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""  # that it cannot be read is said where it is read


def _say(text: str) -> None:
    click.echo(text, err=True)

"""The command line: verbs of ten lines that call the library. Results on stdout, progress and errors on stderr.

Exit codes: 0 done, 1 something asked for is missing at the end, 2 bad input, 130 interrupted.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from realfake import resources, studyfile
from realfake.resources import Where
from realfake.responses import RESPONSES
from realfake.store import Store
from realfake.values import Value, fields

EXAMPLE_STUDY = "studies/quickstart.py"


class Group(click.Group):
    """Shows every failure that we foresee as one sentence, not as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ValueError, RuntimeError) as error:
            if type(error).__module__.startswith("realfake."):
                raise click.UsageError(str(error)) from error
            raise
        except KeyboardInterrupt:
            click.echo("\ninterrupted; what is made is kept: run the same command to go on", err=True)
            sys.exit(130)


def command(example: str) -> Callable[..., Any]:
    """Return a decorator for a verb whose --help ends in this example (a test runs them all)."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        name = function.__name__.rstrip("_")
        return main.command(name=name, epilog=f"Example: {example}")(function)

    return decorate


def where_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --on and --store to a verb, and give it the Where that they make as ``where``."""

    @click.option("--on", "on", type=click.Path(), help="Where to run: one of cluster/*.toml (default: this machine).")
    @click.option("--store", "store", type=click.Path(), help="The folder of made things (default: store).")
    def wrapped(on: str | None, store: str | None, **given: Any) -> Any:
        where = resources.read(on)
        return function(where=_with(where, store=store) if store else where, **given)

    wrapped.__name__, wrapped.__doc__ = function.__name__, function.__doc__
    wrapped.__click_params__ = [*wrapped.__click_params__, *getattr(function, "__click_params__", [])]  # type: ignore
    return wrapped


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --json to a verb."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


@click.group(cls=Group, epilog=f"Example: realfake run {EXAMPLE_STUDY}")
@click.version_option(package_name="realfake")
def main() -> None:
    """How many synthetic images are worth how many real ones?"""


@command(f"realfake run {EXAMPLE_STUDY} --dry-run")
@click.argument("study", type=click.Path())
@where_options
@click.option("--dry-run", is_flag=True, help="Say what would be made, where and for how long; make only datasets.")
@json_option
def run(study: str, where: Where, dry_run: bool, as_json: bool) -> None:
    """Make what STUDY needs and lacks, then print its answer. Run it again to resume."""
    file = _read(study, where)
    if file.study.claims or file.study.effects:
        from realfake.statistics import claims, effects

        claims.refuse_unknown_arms(file.study)
        effects.refuse_unknown_cells(file.study)
    if dry_run:
        from realfake import forecast, foretold

        told = forecast.of_study(file.study, where)
        given = (file.study, where, told)
        return click.echo(json.dumps(foretold.to_json(*given)) if as_json else foretold.in_words(*given))
    from realfake import execution
    from realfake.progress import Progress
    from realfake.watching import watched

    with Progress() as progress, watched(file, where, progress) as on_event:
        board = execution.run(file.study, where, on_event)
    for name, why in (board.failed if board else {}).items():
        click.echo(f"{name}: {why}", err=True)
    if board is None:
        click.echo("everything is made: 0 fits, 0 images, 0 trials", err=True)
    _conclude(_read(study, where), where, as_json, made=board is not None)
    if board and board.failed:
        click.echo(f"{len(board.failed)} things could not be made; run the same command to try them again", err=True)
        sys.exit(1)


@command(f"realfake status {EXAMPLE_STUDY}")
@click.argument("study", type=click.Path())
@click.option("--to", metavar="URL", help="How far it is on the cluster that it was sent to: its dashboard's address.")
@where_options
@json_option
def status(study: str, to: str | None, where: Where, as_json: bool) -> None:
    """Say how much of STUDY is made, here or on a cluster."""
    if to:
        return remote.status(study, to, where, as_json)
    from realfake import results
    from realfake.needs import needs
    from realfake.shards import shards_of

    file, store = _read(study, where), Store(where.store)
    found = results.state((file.study,), store)
    lacking = sum(map(len, needs(file.study.wanted, store, verify=False).shards.values()))
    of = sum(len(shards_of(size)) for size in results.volumes(file.study.wanted).values())
    found["shard"] = {"made": of - lacking, "of": of}
    if as_json:
        click.echo(json.dumps(found))
    else:
        for kind, count in found.items():
            click.echo(f"{kind:<10} {count['made']:>6} of {count['of']:>6} made")
    sys.exit(0 if all(count["made"] == count["of"] for count in found.values()) else 1)


@command("realfake fit --table trials.csv --json")
@click.argument("study", type=click.Path(), required=False)
@click.option("--table", type=click.Path(exists=True, dir_okay=False), help="A CSV of trials, instead of the store.")
@where_options
@json_option
def fit(study: str | None, table: str | None, where: Where, as_json: bool) -> None:
    """Fit the laws to the trials of STUDY, or to a CSV with n_real, n_synthetic, error, ap50_error, … columns.

    With both, what STUDY claims is judged on its table (as `realfake table` wrote it), and no store is needed.
    """
    from realfake import results, tables

    if study and table:
        analysis, said = results.refit(studyfile.read(study), Path(table))
    elif table:
        from realfake.statistics.analysis import analyse
        from realfake.statistics.trial_table import read_csv

        analysis, said = analyse(read_csv(table)), {"study": table, "question": ""}
    elif study:
        results.refuse_unmade(studyfile.read(study), where)
        _, analysis, said = results.answer(_read(study, where), where)
    else:
        raise click.UsageError("give a STUDY or --table FILE")
    click.echo(json.dumps(analysis) if as_json else tables.terminal(analysis, said))


@command(f"realfake table {EXAMPLE_STUDY} --out trials.csv")
@click.argument("study", type=click.Path())
@click.option("--out", type=click.Path(dir_okay=False), help="The CSV to write (default: beside STUDY).")
@where_options
def table(study: str, out: str | None, where: Where) -> None:
    """Write the trials of STUDY as a CSV, and what single test images said beside it, to fit without the store."""
    from realfake import results, trial_files

    file = _read(study, where)
    results.refuse_unmade(file, where)
    for path in trial_files.write(file, Store(where.store), Path(out) if out else file.path.with_suffix(".csv")):
        click.echo(path)


@command(f"realfake plan {EXAMPLE_STUDY} --target-error 0.2 --real-cost 30")
@click.argument("study", type=click.Path(), required=False)
@click.option("--table", type=click.Path(exists=True, dir_okay=False), help="A CSV of trials from anywhere, instead.")
@click.option("--target-error", "target", type=float, help="The response to reach for the least: 0.2 is 20 %.")
@click.option("--budget", type=float, help="Or the money to reach the lowest response for.")
@click.option("--real-cost", "real", type=float, help="One labelled real image (nothing measures it: always needed).")
@click.option("--synthetic-cost", "synthetic", type=float, help="One synthetic image.")
@click.option("--generator-cost", "generator", type=float, help="Fitting one generator.")
@click.option("--training-cost", "training", type=float, help="One training.")
@click.option("--response", type=click.Choice(list(RESPONSES)), help="Default: error, or the first measured.")
@click.option("--arm", help="The arm whose synthetic images could be made, where the study has several.")
@click.option("--recipe", help="The recipe, where the study has several.")
@where_options
@json_option
def plan(study: str | None, table: str | None, where: Where, as_json: bool, **asked: Any) -> None:
    """Say what to buy: real labels, synthetic images or both, and which trials to run next to be surer.

    All costs are in one unit. If only --real-cost is given, it is the seconds to label an image, and the others are
    the seconds that were measured; else those that are not given are 0.
    """
    from realfake import purchasing

    question = purchasing.Question(**asked)
    if table:
        found = purchasing.of_table(table, question)
    elif study:
        found = purchasing.of_study(_read(study, where), where, question)
    else:
        raise click.UsageError("give a STUDY or --table FILE")
    click.echo(json.dumps(found.to_json()) if as_json else found.to_text())


@command(f"realfake report {EXAMPLE_STUDY}")
@click.argument("study", type=click.Path())
@where_options
def report(study: str, where: Where) -> None:
    """Write the report of STUDY from what is made, and print where it is."""
    from realfake import results

    file = _read(study, where)
    click.echo(results.publish(file, where, *results.answer(file, where)))


@command(f"realfake track {EXAMPLE_STUDY}")
@click.argument("study", type=click.Path())
@where_options
def track(study: str, where: Where) -> None:
    """Mirror the records of STUDY into MLflow; what is there already is left alone."""
    from realfake import results

    file = _read(study, where)
    rows, analysis, _ = results.answer(file, where)
    counts = results.mirror(file, where, rows, analysis)
    click.echo("MLflow has it all already" if counts is None else json.dumps(counts))


@command("realfake curves --study quickstart --at 200,3200 --json")
@click.option("--study", multiple=True, help="Only this study (its name); several are compared.")
@click.option("--n-real", type=int, help="Only beside this many real images.")
@click.option("--arm", multiple=True, help="Only this arm; several are compared.")
@click.option("--at", multiple=True, help="Ask the fits at n,m: any number of real and of synthetic images.")
@click.option("--metric", default="", help=f"equivalent, effective, value, average_value, {', '.join(RESPONSES)}.")
@click.option("--response", default="", help="From which response (default: that of the headline).")
@click.option("--law", default="", help="Only by this law, of those that were tried.")
@click.option("--uri", help="The MLflow tracking URI (default: that of --on, or the file in the store).")
@click.option("--all", "every", is_flag=True, help="Also curves that a later analysis has superseded.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@where_options
@json_option
def curves(
    uri: str | None, where: Where, at: tuple[str, ...], every: bool, as_csv: bool, as_json: bool, **asked: Any
) -> None:
    """Query equivalence curves, or their answers at any point, from MLflow alone; the store is not needed."""
    from realfake import listing, queries

    points = [queries.point(text) for text in at]
    found = queries.curves(**asked, at=points, uri=uri or where.tracking_uri(), all=every)
    if as_json:
        click.echo(found.to_json(orient="records", double_precision=15))
    elif as_csv:
        click.echo(queries.as_csv(found), nl=False)
    else:
        rows = found.to_dict("records")
        click.echo(listing.answers(rows) if "metric" in found else listing.curves(rows))


@command("realfake show trial-8c78")
@click.argument("address")
@where_options
def show(address: str, where: Where) -> None:
    """Print the record of the made thing whose address begins with ADDRESS; of a pool, how its images were drawn."""
    from realfake import pool_facts

    click.echo(json.dumps(pool_facts.shown(Store(where.store), address), indent=1))


@command("realfake new --images photos/ --out studies/photos.py")
@click.option(
    "--images",
    required=True,
    type=click.Path(file_okay=False),
    help="A folder per class, or boxes (COCO, YOLO, …).",
)
@click.option("--out", type=click.Path(), help="The study file to write (default: studies/<folder>.py).")
@where_options
def new(images: str, out: str | None, where: Where) -> None:
    """Write a study of your own images, ready to run."""
    from realfake import scaffold

    path = Path(out or f"studies/{Path(images).resolve().name.lower().replace('-', '_')}.py")
    click.echo(scaffold.write_study(Path(images), path, Store(where.store)))


# ------------------------------------------------------------------------------------------------------------- inside


def _read(study: str, where: Where) -> studyfile.StudyFile:
    """Read a study file; an adaptive study with the trials of the rounds that can be told already."""
    file = studyfile.read(study)
    if file.study.adaptive is None:
        return file
    from realfake.planning import adaptive

    return replace(file, study=adaptive.grown(file.study, Store(where.store)))


def _conclude(file: studyfile.StudyFile, where: Where, as_json: bool, made: bool) -> None:
    """Analyse what is made, write the report, mirror it into MLflow, and print the answer."""
    from realfake import results, tables

    with results.writing(where):
        rows, analysis, said = results.answer(file, where)
        page = results.publish(file, where, rows, analysis, said)
        try:
            results.mirror(file, where, rows, analysis, anew=made)
        except RuntimeError as error:
            if not type(error).__module__.startswith("realfake."):
                raise
            click.echo(str(error), err=True)
    click.echo(json.dumps(analysis) if as_json else tables.terminal(analysis, said))
    click.echo(f"report: {page}", err=True)
    click.echo(f"curves: {said['commands']['mlflow ui']}", err=True)


def _with(value: Value, **changes: Any) -> Any:
    return type(value)(**{**{f.name: getattr(value, f.name) for f in fields(value)}, **changes})


from realfake import remote as remote  # noqa: E402 - adds its verbs, which are made like these

"""Makes what a study needs: datasets in this process, then generators, pools and trials on Ray, until nothing is left.

Orchestration only: state is in ``board``, Ray Data in ``synthesis``, Ray Tune in ``sweep``, Ray Train in ``training``.
Running a study again is how it is resumed.
"""

import contextlib
import logging
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from realfake import datasets, session, synthesis, timelines
from realfake.board import RETRIES, Board
from realfake.classes import shared
from realfake.needs import Needs, Sharded, needs
from realfake.packing import selector
from realfake.planning.adaptive import grown
from realfake.resources import Shares, Where, promised, shares
from realfake.spec import Dataset, DetectionRecipe, Evaluation, Pretrained, Study, Subset, Trial, address, order
from realfake.store import Store
from realfake.values import SpecError

Event = dict[str, Any]


def run(study: Study, where: Where, on_event: Callable[[Event], None] = lambda event: None) -> Board | None:
    """Make everything that a study needs and lacks; return the board of the run, None if nothing was lacking.

    An adaptive study is run round by round; the board is then that of the last round that made something.
    Events: ``{"kind": "dataset" | "fit" | "images" | "trial" …, "address", …}`` for what is made, ``{"kind": "begin",
    "board", "lanes"}``,
    ``{"kind": "round", "new", "trials", "of"}`` before the next round of an adaptive study.
    Raises SpecError, DatasetError, ResourceError or StoreError before Ray starts if the study cannot be run.
    """
    store = Store(where.store)
    store.check_writable()
    store.sweep_scratch()
    with timelines.kept(store.study_folder(study.name), on_event) as on_event:
        return _rounds(study, store, where, on_event)


def _rounds(study: Study, store: Store, where: Where, on_event: Callable[[Event], None]) -> Board | None:
    board = None
    while True:
        made = _round(study, store, where, on_event)
        board = made or board
        longer = study if made and made.failed else grown(study, store)
        new = len(longer.trials) - len(study.trials)
        if not new or not longer.adaptive:
            return board
        on_event({"kind": "round", "new": new, "trials": len(longer.trials), "of": longer.adaptive.trials})
        study = longer


def _round(study: Study, store: Store, where: Where, on_event: Callable[[Event], None]) -> Board | None:
    """Make what the trials of a study need and lack."""
    import_datasets(study, store, where, on_event)
    check(study, store)
    lacking = needs(study.wanted, store)
    if lacking.nothing:
        return None
    if where.cluster.address == "none":
        board = Board(store, lacking, ahead=1, on_event=on_event)
        on_event({"kind": "begin", "board": board, "lanes": 1})
        make_here(board, where)
        return board
    if not where.cluster.address:
        shares(where, [session.machine(where.cluster)])  # refuses what cannot fit before anything starts
    with session.connected(where) as nodes:
        share = shares(where, promised(where.cluster, nodes))
        board = Board(store, lacking, ahead=2 * share.actors + 1, on_event=on_event)
        on_event({"kind": "begin", "board": board, "lanes": share.lanes, "actors": share.actors})
        _make(board, where, share)
    return board


def import_datasets(study: Study, store: Store, where: Where, on_event: Callable[[Event], None]) -> None:
    """Import the datasets that a study holds and the store lacks."""
    locations = {**datasets.known_locations(store), **where.data_paths()}
    for spec in order([study]):
        if isinstance(spec, Dataset) and not store.record(spec):
            result = datasets.import_dataset(spec, store, locations)
            on_event({"kind": "dataset", "address": address(spec), "name": spec.name, "split": spec.split, **result})


def check(study: Study, store: Store) -> None:
    """Check a study against its data: subsets fit, every size reaches the number of classes, class names agree, and
    detectors are trained where there are boxes.

    Raises SpecError with one sentence.
    """
    held = order([study])
    facts = {address(d): (store.record(d) or {"result": {}})["result"] for d in held if isinstance(d, Dataset)}
    for spec in held:
        if isinstance(spec, Subset) and isinstance(spec.of, Dataset):
            _check_subset(spec, facts[address(spec.of)])
    for spec in held:
        if isinstance(spec, Trial):
            inside = order([spec], closed=Pretrained)  # what pretrained weights have seen may have other classes
            parts = [s for s in inside if isinstance(s, Subset) and isinstance(s.of, Dataset)]
            _check_same_classes(spec, [facts[address(part.of)] for part in parts], facts[address(spec.test)])
            _check_task(spec, facts[address(spec.test)])
        elif isinstance(spec, Evaluation):
            _check_evaluation(spec, facts[address(spec.of.test)], facts[address(spec.on)])


def _check_subset(subset: Subset, facts: dict[str, Any]) -> None:
    assert isinstance(subset.of, Dataset)
    name, n, classes = f"{subset.of.name!r} ({subset.of.split})", facts["n"], len(facts["classes"])
    most = n if subset.half is None else n // 2  # half of those that are audited
    if subset.size > most:
        raise SpecError(f"Subset(size={subset.size}): {name} has {n} images; ask for {most} or fewer")
    if subset.size < classes and "n_objects" not in facts:  # images of a detection set hold any number of classes
        raise SpecError(
            f"Subset(size={subset.size}): {name} has {classes} classes, so some would have no image; "
            f"ask for {classes} or more"
        )


def _check_task(trial: Trial, facts: dict[str, Any]) -> None:
    wants, there = isinstance(trial.recipe, DetectionRecipe), "n_objects" in facts
    if wants != there:
        data, cure = ("boxes", "DetectionRecipe") if there else ("classes and no boxes", "Recipe")
        raise SpecError(
            f"{address(trial)}: {trial.test.name!r} has {data}, and a {type(trial.recipe).__name__} cannot be trained "
            f"on that; give recipe={cure}(…)"
        )


def _check_evaluation(evaluation: Evaluation, own: dict[str, Any], on: dict[str, Any]) -> None:
    """A classifier is judged on the classes that both sets have; a detector needs the same ones."""
    if not isinstance(evaluation.of.recipe, DetectionRecipe):
        said = {"whose": address(evaluation), "name": f"{evaluation.on.name!r} ({evaluation.on.split})"}
        shared(tuple(own["classes"]), tuple(on["classes"]), **said)
        own = {**own, "classes": on["classes"]}
    _check_same_classes(evaluation, [own], on)


def _check_same_classes(trial: Trial | Evaluation, train: list[dict[str, Any]], test: dict[str, Any]) -> None:
    for facts in train:
        for what in ("classes", "pixels", "channels"):
            if facts[what] != test[what]:
                raise SpecError(
                    f"{address(trial)}: {what} of the training data ({facts[what]}) and of the test set "
                    f"({test[what]}) differ; import both with the same options"
                )


# ------------------------------------------------------------------------------- in this process, or on Ray


def make_here(board: Board, where: Where) -> None:
    """Make everything one after another in this process, without Ray: the same loops, the same files."""
    from realfake.sweep import outcome_of
    from realfake.training import make

    due: list[tuple[Sharded, int]] = []
    board.add_due = due.extend
    maker = synthesis.Maker(board.store, **_maker(where))
    specs = board.needs.specs
    board.feed()
    while due or not board.over():
        if due:
            board.shard_made(maker.try_to_make(*due.pop(0)))
        elif name := board.next():
            given = (board.store, partial(board.progress, name), where.training, where.data_paths())
            board.finished(name, outcome_of(make, specs[name], *given))


def _make(board: Board, where: Where, share: Shares) -> None:
    """Run synthesis in a thread beside the sweep, until neither has anything left."""
    images = any(board.needs.shards.values())
    maker = _start_synthesis(board, where, share) if images else None
    try:
        board.feed()
        if board.waiting:
            _sweep(board, where, share)
        while maker and not board.synthesis_over():
            time.sleep(0.1)
    finally:
        session.hush(logging.CRITICAL + 1)
        if maker:
            maker.end()


def _sweep(board: Board, where: Where, share: Shares) -> None:
    from realfake.sweep import sweep

    with tempfile.TemporaryDirectory(prefix="realfake-", ignore_cleanup_errors=True) as scratch:
        sweep(
            board.needs.specs,
            board.store,
            board,
            shares=share,
            training=where.training,
            weights=where.data_paths(),
            scratch=Path(scratch),
            name="sweep",
        )


def _maker(where: Where) -> dict[str, Any]:
    """Return how shards are made here: options of ``synthesis.Maker``."""
    settings = {"batch_size": where.synthesis.batch_size, "threads": where.synthesis.threads}
    faster = {"channels_last": where.synthesis.channels_last, "compiled": where.synthesis.compile}
    return {"device": where.training.device, **settings, **faster, "weights": where.data_paths()}


def _start_synthesis(board: Board, where: Where, share: Shares) -> "_Synthesis":
    maker = _maker(where)
    resources: dict[str, Any] = {"num_cpus": share.cpus_per_actor}
    if share.gpus_per_actor:
        resources["num_gpus"] = share.gpus_per_actor
    if share.synthesis_labels:
        resources["label_selector"] = selector(share.synthesis_labels)
    options = {"actors": share.actors, "feeder_cpus": share.cpus_for_feeder, "resources": resources, "maker": maker}
    thread = _Synthesis(board, options)
    board.add_due = thread.add
    thread.start()
    return thread


class _Synthesis(threading.Thread):
    """The pipeline of a run, in a thread of the driver: tells the board of every shard as it is made.

    A pipeline that ends early, for a cluster loses processes, begins anew with what is outstanding.
    """

    def __init__(self, board: Board, options: dict[str, Any]) -> None:
        super().__init__(name="synthesis", daemon=True)
        self.board, self.options, self.ending = board, options, False
        self.due = synthesis.due_list()

    def add(self, rows: list[tuple[Sharded, int]]) -> None:
        """Send shards to the pipeline. What a list that died does not take is still outstanding."""
        import ray
        from ray.exceptions import RayActorError

        with contextlib.suppress(RayActorError):
            ray.get(self.due.add.remote([synthesis.descriptor(pool, first) for pool, first in rows]))

    def end(self) -> None:
        """Let the pipeline end once it has made what it was sent."""
        self.ending = True
        self.due.end.remote()
        self.join(timeout=10)

    def run(self) -> None:
        failures = 0  # in a row: machines die, but so do generators that eat memory
        while True:
            try:
                for made in synthesis.pipeline(self.board.store, self.due, **self.options):
                    self.board.shard_made(made)
                    failures = 0
                return
            except Exception as error:  # noqa: BLE001 - a thread cannot raise to the driver: the board is told instead
                failures += 1
                if self.ending or failures > RETRIES:
                    return self._failed(error)
            self.due = synthesis.due_list()
            self.add(self.board.in_the_making())

    def _failed(self, error: Exception) -> None:
        if not self.ending:
            self.board.synthesis_failed(f"the synthesis pipeline ended: {type(error).__name__}: {error}")


def dry_run(study: Study, where: Where) -> Needs:
    """Return what a run would make. Datasets are imported (sizes are checked against them), nothing else is made."""
    store = Store(where.store)
    import_datasets(study, store, where, lambda event: None)
    check(study, store)
    return needs(study.wanted, store)

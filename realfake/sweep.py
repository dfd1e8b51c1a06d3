"""Generators and trials of a run as one Ray Tune experiment: lanes take one spec after another as they become ready.

The search algorithm is the scheduler: it hands out a spec once everything that it holds is made. Lanes are reused
Tune actors, so a process imports torch once. Which spec is ready is decided in ``execution``; how one is trained, in
``training``; results are read from records, never from Tune.
"""

import functools
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from realfake import logs
from realfake.packing import selector
from realfake.resources import DRIVER_CPUS, Shares, Training
from realfake.spec import Spec
from realfake.store import Store

SAID = "said"  # the one key of our reports: JSON, for Tune flattens dictionaries
REPORT_SECONDS = 2.0  # a lane reports progress to the driver at most this often


class Board(Protocol):
    """What the sweep asks of whoever knows what is ready. Called on the driver, from the thread that runs Tune."""

    def next(self) -> str | None:
        """Return the address of a spec that is ready, and count it as begun; None while nothing is."""
        ...

    def over(self) -> bool:
        """Say whether nothing is left, now or later."""
        ...

    def progress(self, name: str, event: dict[str, Any]) -> None:
        """Take note of how far a spec is."""
        ...

    def finished(self, name: str, outcome: dict[str, Any]) -> None:
        """Take note that a spec is made, or of the ``error`` that it met."""
        ...


BOARDS: dict[str, Board] = {}  # Tune pickles its searcher; a board has locks, so the searcher holds a name only


def board_of(name: str) -> Board:
    """Return the board of a sweep (a function of this module is pickled by name, what it returns is not)."""
    return BOARDS[name]


def sweep(
    specs: dict[str, Spec],
    store: Store,
    board: Board,
    *,
    shares: Shares,
    training: Training,
    weights: dict[str, Path],
    scratch: Path,
    name: str,
) -> None:
    """Train every spec that the board hands out, on the lanes of ``shares``; returns when the board is over."""
    import ray
    from ray import tune

    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C is handled by execution
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "3600"
    _keep_secrets()
    BOARDS[name] = board
    training = replace(training, cpus_per_lane=shares.cpus_per_lane, gpus_per_lane=shares.gpus_per_lane)
    training = replace(training, labels=shares.training_labels)
    trainable = tune.with_parameters(lane, held=[ray.put(specs)], root=store.place, given=(training, weights))
    try:
        tune.Tuner(
            tune.with_resources(trainable, _lane(shares)),
            param_space={},
            tune_config=tune.TuneConfig(
                search_alg=_searcher(name),
                num_samples=-1,
                reuse_actors=True,
                max_concurrent_trials=shares.lanes + 1,  # the one staged makes Tune keep a lane that finishes
                trial_name_creator=lambda trial: trial.config.get("address", trial.trial_id),
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(name=name, storage_path=str(scratch), verbose=0),
        ).fit()
    finally:
        BOARDS.pop(name, None)


def _lane(shares: Shares) -> Any:
    """Return what one lane asks of a node; of several workers it is the driver, and they ask for their own share."""
    from ray.tune import PlacementGroupFactory

    whole = {"CPU": shares.cpus_per_lane, "GPU": shares.gpus_per_lane}
    asked = whole if shares.workers == 1 else {"CPU": DRIVER_CPUS}
    labels = [selector(shares.training_labels)]
    return PlacementGroupFactory([asked], bundle_label_selector=labels)  # pyright: ignore[reportArgumentType]


@functools.lru_cache(maxsize=1)
def _specs(held: Any) -> dict[str, Spec]:
    """Return the specs of a run, fetched once by each lane: Tune fetches a bare reference for every one of them, which
    takes a lane 0.1 s each time where there are 10,000."""
    import ray

    return ray.get(held)


def lane(config: dict[str, Any], held: list[Any], root: str, given: tuple[Training, dict[str, Path]]) -> None:
    """Train one spec in this lane; what goes wrong is reported, so that the lane takes the next one."""
    from ray import tune

    from realfake.training import train

    last = [0.0]

    def report(event: dict[str, Any]) -> None:
        if time.monotonic() - last[0] > REPORT_SECONDS:
            last[0] = time.monotonic()
            tune.report({SAID: json.dumps({"event": event})})

    logs.open_log()
    with logs.making(config["address"]):
        outcome = outcome_of(train, _specs(held[0])[config["address"]], Store(root), report, *given)
    tune.report({SAID: json.dumps({"outcome": outcome})})


def outcome_of(train: Callable[..., dict], spec: Spec, *given: Any) -> dict[str, Any]:
    """Train a spec and return its status, or its error: a lane outlives a spec that fails; the driver decides."""
    started = time.time()
    try:
        outcome = {"status": train(spec, *given).get("status", "ok")}
    except Exception as error:  # noqa: BLE001 - whatever it is, it is reported, and blocks only what holds this spec
        path = getattr(error, "path", None) or getattr(error, "filename", None) or ""
        outcome = {"error": f"{type(error).__name__}: {error}", "path": str(path)}
        logs.told(error)
    by = {"process": os.getpid(), "node": platform.node()}
    return {**outcome, "seconds": time.time() - started, "started": started, **by}


def _keep_secrets() -> None:
    """Tune would copy AWS's credentials into the runtime environment of lanes, which Ray writes into its logs in clear:
    lanes take them from the environment of their nodes instead.
    """
    from ray.tune.execution import class_cache

    copied = getattr(class_cache, "ENV_VARS_TO_PROPAGATE", set())
    class_cache.ENV_VARS_TO_PROPAGATE = {name for name in copied if not name.startswith("AWS_")}


def _searcher(name: str) -> Any:
    """Return a Tune search algorithm that asks the board of this name."""
    from ray.tune.search import Searcher

    class Ready(Searcher):
        def __init__(self) -> None:
            super().__init__(metric="training_iteration", mode="max")
            self.given: dict[str, str] = {}

        def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
            board = board_of(name)
            address = board.next()
            if address is None:
                return Searcher.FINISHED if board.over() else None
            self.given[trial_id] = address
            return {"address": address}

        def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
            said = json.loads(result.get(SAID, "{}"))
            if "event" in said:
                board_of(name).progress(self.given[trial_id], said["event"])

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            said = json.loads((result or {}).get(SAID, "{}"))
            lost = {"error": "the process of its lane died", "lost": True}
            board_of(name).finished(self.given.pop(trial_id), lost if error else said.get("outcome", lost))

        def save(self, checkpoint_path: str) -> None:
            Path(checkpoint_path).write_text("")  # nothing to keep: what is done is what has a record

        def restore(self, checkpoint_path: str) -> None:
            raise RuntimeError("a sweep is resumed by running the study again, never from Tune's snapshot")

    return Ready()

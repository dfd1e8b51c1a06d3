"""Ray for the length of a run: the environment of its processes, joining or starting it, leaving it quietly.

What runs on it is decided in ``execution``; how much of it each part asks for, in ``resources``.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

from realfake.packing import Node
from realfake.resources import Cluster, ResourceError, Where, cores, gpus

LOGGERS = ("ray", "ray.data", "ray.tune", "ray.train")


def machine(cluster: Cluster) -> Node:
    """Return the node that a Ray started here would have."""
    return Node(cpus=float(cluster.cpus or cores()), gpus=float(cluster.gpus or gpus()))


@contextlib.contextmanager
def connected(where: Where) -> Iterator[list[Node]]:
    """Join the cluster at ``where.cluster.address``, or start Ray here; yield its nodes, and leave it.

    Raises ResourceError if no cluster answers.
    """
    prepare_environment(where)
    import ray
    import ray.data

    hush(logging.CRITICAL)  # what a process that died was doing fills pages; what it means for the run, the board says
    try:
        with _silent_stderr():
            ray.init(**_options(where.cluster), log_to_driver=False, logging_level=logging.CRITICAL)
    except ConnectionError as error:
        raise ResourceError(f"no Ray cluster answers at {where.cluster.address!r}: {error}") from None
    with contextlib.redirect_stdout(sys.stderr):  # what Ray has to say of lost workers, to the last, is no result
        try:
            yield nodes()
        finally:
            hush(logging.CRITICAL + 1)  # what is being shut down has nothing to complain of
            ray.shutdown()


def nodes() -> list[Node]:
    """Return the living nodes of the cluster that is connected."""
    import ray

    alive = [(node["Resources"], node["Labels"]) for node in ray.nodes() if node["Alive"]]
    return [
        Node(cpus=have.get("CPU", 0.0), gpus=have.get("GPU", 0.0), labels=tuple(f"{k}={v}" for k, v in labels.items()))
        for have, labels in alive
    ]


def hush(level: int) -> None:
    """Let Ray's loggers say only what is at least of this level."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(level)


def prepare_environment(where: Where) -> None:
    """Set what Ray and its workers read from the environment; must come before ray is imported."""
    for name, value in {
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run`, Ray would rebuild the environment for every worker
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
        "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",  # with verbose=0: Tune's old output engine can be silent, the new one cannot
        "RAY_BACKEND_LOG_LEVEL": "fatal",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "OMP_NUM_THREADS": str(where.training.threads),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }.items():
        os.environ.setdefault(name, value)


def _options(cluster: Cluster) -> dict[str, Any]:
    if cluster.address:
        return {"address": cluster.address}
    here, memory = machine(cluster), cluster.object_store_mb * 2**20
    return {
        "address": "local",  # whatever else runs on this machine is not ours
        "num_cpus": here.cpus,
        "num_gpus": here.gpus,
        "object_store_memory": memory,
        "include_dashboard": False,
    }


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep Ray's C++ start-up chatter off the terminal; failures come as exceptions."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)

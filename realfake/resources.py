"""Where work is done: the ``--on`` file (``cluster/*.toml``), and whether its shares fit the machine.

Never part of an address: nothing here may change a number, only where and how fast it is made. What a number
depends on is in ``spec``.
"""

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from realfake import credentials
from realfake.values import SpecError, Value, at_least, fields, nearest


class ResourceError(ValueError):
    """A where-file that cannot be read or cannot be satisfied; the message says what to type."""


class Cluster(Value):
    """The Ray cluster: ``address`` "" starts one on this machine with ``cpus`` and ``gpus`` (0: all there are)."""

    address: str = ""
    cpus: int = 0
    gpus: int = 0
    object_store_mb: int = 200


class Training(Value):
    """Lanes train one generator or trial after another; ``workers`` > 1 trains each spec on several (DDP).

    ``lanes`` 0 means one per core, or per GPU where there are GPUs. Threads are per process.
    """

    lanes: int = 0
    cpus_per_lane: float = 0.0
    gpus_per_lane: float = 0.0
    workers: int = 1
    threads: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    channels_last: bool = False
    compile: bool = False

    def check(self) -> None:
        at_least(self, lanes=0, cpus_per_lane=0, gpus_per_lane=0, workers=1, threads=1)


class Synthesis(Value):
    """Actors keep a generator loaded and make shards; ``batch_size`` images at a time, fitted to memory."""

    actors: int = 1
    cpus_per_actor: float = 0.0
    gpus_per_actor: float = 0.0
    batch_size: int = 64
    threads: int = 1

    def check(self) -> None:
        at_least(self, actors=1, cpus_per_actor=0, gpus_per_actor=0, batch_size=1, threads=1)


class Where(Value):
    """One where-file: the store, the tracking URI ("" keeps MLflow in the store), and the shares of the machine."""

    store: str = "store"
    tracking: str = ""
    cluster: Cluster = Cluster()
    training: Training = Training()
    synthesis: Synthesis = Synthesis()
    data: tuple[str, ...] = ()  # "name=path" of folders and files that datasets are imported from

    def tracking_uri(self) -> str:
        """Return the MLflow tracking URI."""
        return self.tracking or f"sqlite:///{Path(self.store).absolute() / 'mlflow.db'}"

    def data_paths(self) -> dict[str, Path]:
        """Return the paths that datasets are imported from, by dataset name."""
        return {name: Path(path).expanduser() for name, path in (item.split("=", 1) for item in self.data)}


def read(path: str | Path | None) -> Where:
    """Read a where-file; None gives the defaults of one machine.

    Raises ResourceError naming the nearest key when one is unknown, and one that holds what looks like a secret:
    where-files are shared.
    """
    if path is None:
        return Where()
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise ResourceError(f"--on {path}: {error.strerror}; give one of cluster/*.toml") from None
    if place := credentials.first(text, settings=True):
        number, what = place
        raise ResourceError(
            f"--on {path}:{number} holds {what}, and such files are shared; remove it and set it in the environment "
            "instead, as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, say"
        )
    try:
        return _where(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, SpecError) as error:
        raise ResourceError(f"--on {path}: {error}") from None


def _where(table: dict[str, Any]) -> Where:
    sections = {"cluster": Cluster, "training": Training, "synthesis": Synthesis}
    known = {f.name for f in fields(Where)}
    for key in table:
        if key not in known:
            raise SpecError(f"unknown key {key!r}; {nearest(key, known)}")
    given: dict[str, Any] = {key: kind(**table[key]) for key, kind in sections.items() if key in table}
    data = tuple(f"{name}={path}" for name, path in table.get("data", {}).items())
    plain = {key: table[key] for key in ("store", "tracking") if key in table}
    return Where(**given, **plain, data=data)


class Shares(Value):
    """The shares of a run, all filled in: what every lane, actor and the feeder ask of Ray."""

    lanes: int
    cpus_per_lane: float
    gpus_per_lane: float
    actors: int
    cpus_per_actor: float
    gpus_per_actor: float
    cpus_for_feeder: float


def shares(where: Where, cpus: float, gpus: float) -> Shares:
    """Fit lanes, actors and the feeder into ``cpus`` and ``gpus``; raises ResourceError if they cannot all run at once.

    All of them live as long as the run and hold their share, so what does not fit together would wait for ever.
    """
    training, synthesis = where.training, where.synthesis
    lanes = training.lanes or max(1, int(gpus if gpus else cpus))
    feeder = min(0.1, 0.05 * cpus)
    per_actor = synthesis.cpus_per_actor or min(1.0, 0.2 * cpus / synthesis.actors)
    left = cpus - feeder - per_actor * synthesis.actors
    per_lane = training.cpus_per_lane or int(100 * min(1.0, left / lanes)) / 100
    gpus_per_actor = synthesis.gpus_per_actor or (0.3 if gpus else 0.0) * min(1.0, gpus / synthesis.actors)
    gpus_per_lane = (
        training.gpus_per_lane or int(100 * max(0.0, gpus - gpus_per_actor * synthesis.actors) / lanes) / 100
    )
    _must_fit("CPUs", cpus, lanes, per_lane, synthesis.actors, per_actor, feeder)
    _must_fit("GPUs", gpus, lanes, gpus_per_lane, synthesis.actors, gpus_per_actor, 0.0)
    return Shares(
        lanes=lanes,
        cpus_per_lane=per_lane,
        gpus_per_lane=gpus_per_lane,
        actors=synthesis.actors,
        cpus_per_actor=per_actor,
        gpus_per_actor=gpus_per_actor,
        cpus_for_feeder=feeder,
    )


def _must_fit(
    what: str, have: float, lanes: int, per_lane: float, actors: int, per_actor: float, feeder: float
) -> None:
    need = lanes * per_lane + actors * per_actor + feeder
    if need > have + 1e-9 or (what == "CPUs" and per_lane <= 0):
        raise ResourceError(
            f"{lanes} lanes of {per_lane:g}, {actors} synthesis actors of {per_actor:g} and the feeder need "
            f"{need:g} {what} at once, and there are {have:g}: the run would wait for ever; "
            "lower training.lanes, training.cpus_per_lane or synthesis.actors in the --on file"
        )


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> int:
    """Return how many NVIDIA GPUs this process may use, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))

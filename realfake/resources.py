"""Where work is done: the ``--on`` file (``cluster/*.toml``), and whether its shares fit the machine.

Never part of an address: nothing here may change a number, only where and how fast it is made. What a number
depends on is in ``spec``.
"""

import os
import tomllib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from realfake import credentials
from realfake.buckets import cache_folder, is_bucket
from realfake.packing import Node, Sort, admits, always_fit, check_labels, fit, most
from realfake.values import SpecError, Value, at_least, fields, nearest

DRIVER_CPUS = 0.01  # of the process that starts the workers of a trial, and waits


class ResourceError(ValueError):
    """A where-file that cannot be read or cannot be satisfied; the message says what to type."""


class Cluster(Value):
    """The Ray cluster: ``address`` "" starts one on this machine with ``cpus`` and ``gpus`` (0: all there are).

    ``price_per_hour`` is that of the whole cluster, in any currency: only a dry run reads it.
    """

    address: str = ""
    cpus: int = 0
    gpus: int = 0
    object_store_mb: int = 200
    price_per_hour: float = 0.0

    def check(self) -> None:
        at_least(self, cpus=0, gpus=0, object_store_mb=75, price_per_hour=0)  # Ray starts with no less than 75


class Training(Value):
    """Lanes train one generator or trial after another; ``workers`` > 1 trains each spec on several (DDP).

    ``lanes`` 0 means one per core, or per GPU where there are GPUs; with several workers, one for so many. A share is
    that of one process, and so are threads. ``labels`` ("key=value") are those of the nodes that train.
    """

    labels: tuple[str, ...] = ()
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
        _check_gpus("training.gpus_per_lane", self.gpus_per_lane)
        check_labels(self.labels, "training")


class Synthesis(Value):
    """Actors keep a generator loaded and make shards; ``batch_size`` images at a time, fitted to memory.

    ``labels`` ("key=value") are those of the nodes that make images. ``channels_last`` and ``compile`` are for the
    networks of open-set generators.
    """

    labels: tuple[str, ...] = ()
    actors: int = 1
    cpus_per_actor: float = 0.0
    gpus_per_actor: float = 0.0
    batch_size: int = 64
    threads: int = 1
    channels_last: bool = False
    compile: bool = False

    def check(self) -> None:
        at_least(self, actors=1, cpus_per_actor=0, gpus_per_actor=0, batch_size=1, threads=1)
        _check_gpus("synthesis.gpus_per_actor", self.gpus_per_actor)
        check_labels(self.labels, "synthesis")


def _check_gpus(name: str, share: float) -> None:
    if share > 1 and share != int(share):
        raise SpecError(f"{name} is {share:g}; Ray gives a part of one GPU, or whole ones: write {int(share)}")


class Where(Value):
    """One where-file: the store, the tracking URI ("" keeps MLflow in the store), and the shares of the machine."""

    store: str = "store"
    tracking: str = ""
    cluster: Cluster = Cluster()
    training: Training = Training()
    synthesis: Synthesis = Synthesis()
    data: tuple[str, ...] = ()  # "name=path" of folders and files that datasets are imported from

    def tracking_uri(self) -> str:
        """Return the MLflow tracking URI; without one it is a file in the store, or beside what is here of it."""
        folder = cache_folder(self.store) if is_bucket(self.store) else Path(self.store).absolute()
        return self.tracking or f"sqlite:///{folder / 'mlflow.db'}"

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
    given: dict[str, Any] = {key: kind(**_section(key, table[key])) for key, kind in sections.items() if key in table}
    data = tuple(f"{name}={path}" for name, path in table.get("data", {}).items())
    plain = {key: table[key] for key in ("store", "tracking") if key in table}
    return Where(**given, **plain, data=data)


def _section(name: str, section: Any) -> dict[str, Any]:
    """Return a section with the table of its labels as texts: values are numbers, texts and tuples."""
    if not isinstance(section, dict):
        raise SpecError(f"{name} = {section!r} is no section; write its keys below a line [{name}]")
    labels = section.get("labels")
    return {**section, "labels": [f"{k}={v}" for k, v in labels.items()]} if isinstance(labels, dict) else section


class Shares(Value):
    """The shares of a run, all filled in: what every lane (each of its workers), actor and the feeder ask of Ray."""

    lanes: int
    cpus_per_lane: float
    gpus_per_lane: float
    actors: int
    cpus_per_actor: float
    gpus_per_actor: float
    cpus_for_feeder: float
    workers: int = 1
    training_labels: tuple[str, ...] = ()
    synthesis_labels: tuple[str, ...] = ()

    def sorts(self) -> tuple[Sort, Sort]:
        """Return the processes that train, and those that make images."""
        train = {"count": self.lanes * self.workers, "labels": self.training_labels}
        make = {"count": self.actors, "labels": self.synthesis_labels}
        return (
            Sort(cpus=self.cpus_per_lane, gpus=self.gpus_per_lane, **train),
            Sort(cpus=self.cpus_per_actor, gpus=self.gpus_per_actor, **make),
        )

    def beside(self) -> float:
        """Return the CPUs of what else there is: the feeder, and the drivers of lanes that have several workers."""
        return self.cpus_for_feeder + (self.lanes * DRIVER_CPUS if self.workers > 1 else 0.0)

    def always_fit(self, nodes: Sequence[Node]) -> bool:
        """Say whether all find room at once in whichever order Ray starts them."""
        return always_fit(nodes, *self.sorts(), self.beside())


def shares(where: Where, nodes: Sequence[Node]) -> Shares:
    """Fit lanes, actors and the feeder on ``nodes``; raises ResourceError if they cannot all run at once.

    All of them live as long as the run and hold their share, so what does not fit together would wait for ever. What
    the where-file leaves open is as large as fits in whichever order they are started: alike for lanes and actors.
    """
    training, synthesis = where.training, where.synthesis
    joined = where.cluster.address != ""  # a Ray started here is one node: it has no need of labels
    train_where, make_where = training.labels * joined, synthesis.labels * joined
    training_nodes = _labelled(nodes, train_where, "training")
    synthesis_nodes = _labelled(nodes, make_where, "synthesis")
    cuda = training.device != "cpu"
    train_on_gpus = cuda and any(node.gpus for node in training_nodes)
    make_on_gpus = cuda and any(node.gpus for node in synthesis_nodes)
    processes = int(sum(node.gpus if train_on_gpus else int(node.cpus) for node in training_nodes))
    given = Shares(
        lanes=training.lanes or max(1, processes // training.workers),
        cpus_per_lane=training.cpus_per_lane,
        gpus_per_lane=training.gpus_per_lane,
        actors=synthesis.actors,
        cpus_per_actor=synthesis.cpus_per_actor,
        gpus_per_actor=synthesis.gpus_per_actor,
        cpus_for_feeder=min(0.1, 0.05 * sum(node.cpus for node in nodes)),
        workers=training.workers,
        training_labels=train_where,
        synthesis_labels=make_where,
    )
    found = _largest(given, nodes, train_on_gpus, make_on_gpus)
    _must_fit(found, nodes)
    return found


def promised(cluster: Cluster, nodes: Sequence[Node]) -> Sequence[Node]:
    """Return the nodes to count on: those of a cluster that was joined, or, where [cluster] cpus or gpus promise more
    than are there yet or still, one node with it all: which nodes will bring it, and their labels, nobody knows before.
    """
    have = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    wanted = max(have[0], float(cluster.cpus)), max(have[1], float(cluster.gpus))
    growing = cluster.address != "" and wanted != have
    return [Node(cpus=wanted[0], gpus=wanted[1], labels=None)] if growing else nodes


def _labelled(nodes: Sequence[Node], labels: tuple[str, ...], section: str) -> list[Node]:
    found = [node for node in nodes if admits(node, labels)]
    if not found and labels:
        have = sorted(
            {label for node in nodes for label in node.labels or () if not label.startswith("ray.io/node-id")}
        )
        raise ResourceError(
            f"[{section}] labels: no node has {', '.join(labels)} (there are: {', '.join(have) or 'none'}); correct "
            f'them in the --on file, or start nodes with ray start --labels="{labels[0]}"'
        )
    return found


def _largest(given: Shares, nodes: Sequence[Node], train_on_gpus: bool, make_on_gpus: bool) -> Shares:
    """Return the shares with what is open (0) filled in: GPUs first, then CPUs, each as large as fits."""
    count = given.lanes * given.workers + given.actors

    def filled(gpus: float, cpus: float) -> Shares:
        return replace(
            given,
            cpus_per_lane=given.cpus_per_lane or cpus,
            cpus_per_actor=given.cpus_per_actor or cpus,
            gpus_per_lane=given.gpus_per_lane or gpus * train_on_gpus,
            gpus_per_actor=given.gpus_per_actor or gpus * make_on_gpus,
        )

    parts = [int(10_000 / part) / 10_000 for part in range(1, count + 1)]  # of a GPU; Ray counts to four places
    parts.append(0.0)  # GPUs that all have an owner: what is left open then asks for none
    hundredths = [cpus / 100 for cpus in range(100, 0, -1)]
    for fits in (always_fit, fit):

        def good(gpus: float, cpus: float, fits: Callable[..., bool] = fits) -> bool:
            share = filled(gpus, cpus)
            return fits(nodes, *share.sorts(), share.beside())

        gpus = _first(parts, lambda part, good=good: good(part, hundredths[-1]))
        if good(gpus, hundredths[-1]):
            return filled(gpus, _first(hundredths, lambda cpus, good=good, gpus=gpus: good(gpus, cpus)))
    return filled(parts[-1], hundredths[-1])


def _first(falling: Sequence[float], fits: Callable[[float], bool]) -> float:
    """Return the largest that fits, the smallest if none does: what is smaller than one that fits does, too."""
    return falling[min(bisect_left(falling, True, key=fits), len(falling) - 1)]


def _must_fit(share: Shares, nodes: Sequence[Node]) -> None:
    """Raise ResourceError for what totals, a single node, or all nodes together cannot hold."""
    train, make = share.sorts()
    _must_suffice("CPUs", sum(node.cpus for node in nodes), share, share.beside())
    _must_suffice("GPUs", sum(node.gpus for node in nodes), share, 0.0)
    _must_hold(train, nodes, "a lane", "training", "lane")
    _must_hold(make, nodes, "a synthesis actor", "synthesis", "actor")
    if not fit(nodes, train, make, share.beside()):
        room = most(nodes, train, make, share.beside()) // share.workers
        cure = f"lanes = {room}" if room > 0 else "fewer synthesis.actors"
        raise ResourceError(
            f"{_words(share)} find no room at once on {names(nodes)}, however they are placed, for each lies on one "
            f"node and its share of a GPU on one GPU: the run would wait for ever; write {cure} or smaller shares in "
            "the --on file"
        )


def _must_hold(sort: Sort, nodes: Sequence[Node], what: str, section: str, key: str) -> None:
    """Raise ResourceError if no node by itself could hold one of these processes."""
    able = [node for node in nodes if admits(node, sort.labels)]
    if not fit(able, replace(sort, count=1), Sort(count=0, cpus=0.0)):
        raise ResourceError(
            f"{what} asks for {sort} of one node, and no node has that ({names(able)}); "
            f"lower {section}.cpus_per_{key} or {section}.gpus_per_{key} in the --on file"
        )


def _must_suffice(what: str, have: float, share: Shares, beside: float) -> None:
    train, make = share.sorts()
    need = sum(sort.count * (sort.cpus if what == "CPUs" else sort.gpus) for sort in (train, make)) + beside
    if need > have + 1e-9:
        raise ResourceError(
            f"{_words(share)} need {need:g} {what} at once, and there are {have:g}: the run would wait for ever; "
            "lower training.lanes, training.cpus_per_lane or synthesis.actors in the --on file"
        )


def _words(share: Shares) -> str:
    train, make = share.sorts()
    workers = f"{share.workers} workers of " if share.workers > 1 else ""
    return f"{share.lanes} lanes of {workers}{train}, {share.actors} synthesis actors of {make} and the feeder"


def names(nodes: Sequence[Node], shown: int = 8) -> str:
    """Return what the nodes have, in words."""
    more = f"; … {len(nodes)} nodes in all" if len(nodes) > shown else ""
    return "; ".join(map(str, nodes[:shown])) + more


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> int:
    """Return how many NVIDIA GPUs this process may use, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))

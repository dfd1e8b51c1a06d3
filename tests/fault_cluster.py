"""A cluster of local Ray nodes with a study running on it, and what happens to such: nodes, actors and disks that go.

Here: nodes that join and end, a run by the command, what it made and when. Which fault is done when, and what must
hold afterwards, is in ``test_cluster_faults``. Processes are found through the node that started them, never by name
over the whole machine.
"""

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests import ray_head
from tests.test_end_to_end import files, shards

STUDY = '''"""How many tiny digits are worth one?"""
from realfake import ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial

train, test = Dataset(name="digits"), Dataset(name="digits", split="test")
recipe = Recipe(model="test_resnet", examples_seen=EXAMPLES)

def trial(seed, volume):
    real = Subset(of=train, size=40, seed=seed)
    pool = Pool(generator=ClosedSet(real=real, steps=STEPS, seed=seed), sampling_steps=SAMPLING, seed=seed)
    synthetic = (Subset(of=pool, size=volume),) if volume else ()
    return Trial(real=real, synthetic=synthetic, test=test, recipe=recipe, seed=seed)

study = Study(name="NAME", trials=tuple(trial(seed, volume) for seed in SEEDS for volume in VOLUMES))
'''
FIT_STEPS, SAMPLING_STEPS, TRIAL_EXAMPLES = 150, 20, 12_800
ON = """store = "STORE"
tracking = "TRACKING"
[cluster]
address = "ADDRESS"
cpus = 4
[training]
lanes = 2
cpus_per_lane = 1.2
[synthesis]
cpus_per_actor = 0.5
"""
NODES, CPUS = 2, 2
SYNTHESIS = re.compile("Due|MapWorker")
WORKS = re.compile(r"ray::(?!IDLE|\w*Agent\b)")


def study_text(name, seeds=(1, 0), volumes=(0, 40, 300)):
    """Return a study of one chain a seed: a generator, its pool of two shards, and a trial a volume."""
    numbers = {"EXAMPLES": TRIAL_EXAMPLES, "STEPS": FIT_STEPS, "SAMPLING": SAMPLING_STEPS}
    given = {**numbers, "SEEDS": seeds, "VOLUMES": volumes, "NAME": name}
    text = STUDY
    for word, value in given.items():
        text = text.replace(word, str(value))
    return text


# -------------------------------------------------------------------------------------------------------------- nodes


@dataclass
class Node:
    """A node of the cluster: the ``ray start`` that is the parent of its raylet, agents and workers."""

    process: subprocess.Popen

    def family(self):
        """Return its processes, the oldest first."""
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def raylet(self):
        """Return its raylet, which holds its part of the object store."""
        return next(p for p in self.family() if "--node_id=" in line(p))

    def identity(self):
        """Return what Ray calls it."""
        return re.search(r"--node_id=(\w+)", line(self.raylet()))[1]

    def workers(self):
        """Return its workers that have something to do: lanes, actors and tasks."""
        return [p for p in self.family() if WORKS.match(line(p))]

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        """Kill all of it at once, as a power cut does."""
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(timeout=30)


@dataclass
class Fleet:
    """A head that runs nothing but drivers, and the nodes that are there."""

    head: ray_head.Head
    nodes: list[Node] = field(default_factory=list)
    started: int = 0

    def add(self):
        """Start a node and return it once it has joined."""
        self.started += 1
        node = Node(ray_head.join(self.head, f"node-{self.started}", CPUS))
        self.nodes.append(node)
        return node

    def fill(self):
        """Start the nodes that are missing."""
        self.nodes = [node for node in self.nodes if node.alive()]
        while len(self.nodes) < NODES:
            self.add()

    def of(self, pid):
        """Return the node that a process runs on."""
        return next(node for node in self.nodes if pid in [p.pid for p in node.family()])

    def workers(self):
        """Return the workers of all nodes, the head too, that have something to do."""
        return [worker for node in (Node(self.head.process), *self.nodes) for worker in node.workers()]

    def doing(self, what):
        """Return the workers that do something, by the word that Ray has for it."""
        return [worker for worker in self.workers() if what in line(worker)]

    def remove(self, node):
        """Let a node leave in good order."""
        node.process.terminate()
        node.process.wait(timeout=60)

    def drain(self, node, seconds):
        """Tell the cluster that a node is going to be taken away in so many seconds."""
        command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", self.head.address]
        why = ["--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=taken back"]
        given = [f"--node-id={node.identity()}", f"--deadline-remaining-seconds={seconds}", *why]
        environment = self.head.environment
        done = subprocess.run([*command, *given], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    def end(self):
        for node in self.nodes:
            node.kill()
        self.head.end()


def line(process):
    """Return the command line of a process, "" of one that is gone: Ray writes there what a worker does."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


# --------------------------------------------------------------------------------------------------------- one study


@dataclass
class Case:
    """A folder with a study, and the runs of it. ``ended`` holds (exit code, stdout, stderr) of each run."""

    fleet: Fleet
    folder: Path
    name: str
    tracking: str
    running: list[subprocess.Popen] = field(default_factory=list)
    ended: list[tuple[int, str, str]] = field(default_factory=list)

    def __post_init__(self):
        self.store = self.folder / "store"
        self.folder.mkdir(exist_ok=True)
        self.write(study_text(self.name))
        on = ON.replace("STORE", str(self.store)).replace("TRACKING", self.tracking)
        (self.folder / "on.toml").write_text(on.replace("ADDRESS", self.fleet.head.address))

    def write(self, text):
        (self.folder / "tiny.py").write_text(text)

    def start(self, verb="run", *more):
        """Start the command; what it prints goes into files, for nobody reads while it runs."""
        number = len(self.running) + len(self.ended)
        command = [sys.executable, "-m", "realfake", verb, "tiny.py", *more, "--on", "on.toml"]
        with open(self.folder / f"out-{number}", "w") as out, open(self.folder / f"err-{number}", "w") as err:
            environment = {**self.fleet.head.environment, "COLUMNS": "120", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=out, stderr=err)
        process.number = number
        self.running.append(process)
        return process

    def finish(self, seconds):
        """Wait until all runs have ended; return the exit code, stdout and stderr of the last."""
        until = time.monotonic() + seconds
        while self.running:
            process = self.running[0]
            try:
                process.wait(timeout=max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise AssertionError(f"hangs: no end after {seconds:.0f} s; {self.said()[-1500:]}") from None
            self._gather(self.running.pop(0))
        return self.ended[-1]

    def said(self):
        """Return what the runs have said on stderr so far."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("err-*")))

    def kill(self):
        """Kill the drivers without grace."""
        for process in self.running:
            process.kill()
            process.wait(timeout=30)
            self._gather(process)
        self.running = []

    def _gather(self, process):
        texts = [(self.folder / f"{what}-{process.number}").read_text() for what in ("out", "err")]
        self.ended.append((process.returncode, *texts))

    # ------------------------------------------------------------------------------------------------ what is made

    def made(self):
        """Return when each record and each shard was made, in seconds since the epoch, by its path in the store."""
        found = [*self.store.glob("*/record.json"), *self.store.glob("pool-*/*.parquet")]
        stamps = {}
        for path in found:
            with contextlib.suppress(FileNotFoundError):
                stamps[str(path.relative_to(self.store))] = path.stat().st_mtime
        return stamps

    def in_hand(self, kind):
        """Return the process that makes each thing of a kind that is being made."""
        found = {}
        for folder in self.store.glob(f".scratch/{kind}-*"):
            name, _, pid, _ = folder.name.rsplit(".", 3)
            found[name] = int(pid)
        return found

    def state(self):
        """Return what must be equal however the making went: digests of files, of shards, and the printed table."""
        table = self.ended[-1][1].replace(self.name, "tiny")
        return {"files": files(self.store), "shards": shards(self.store), "table": table}

    def tracked(self):
        """Return the addresses of the runs in MLflow, with how often each is there: no account of how a run went, of
        which each has its own, and none that was superseded.
        """
        from mlflow import MlflowClient

        client = MlflowClient(self.tracking)
        experiment = client.get_experiment_by_name(f"realfake/{self.name}")
        runs = client.search_runs([experiment.experiment_id], max_results=1000) if experiment else []
        tags = [run.data.tags for run in runs if not run.data.tags.get("realfake.superseded")]
        found = Counter((tag.get("realfake.kind", ""), tag.get("realfake.address", "")) for tag in tags)
        return Counter({name: count for name, count in found.items() if name[0] != "progress"})


def fill_disk(folder):
    """Fill a file system until nothing more goes in; return the file to remove."""
    ballast = folder / "ballast"
    with open(ballast, "wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0" * 65536)
            file.flush()
    return ballast


def slow(workers, seconds, share=0.2):
    """Let processes run for only a share of the time, for so long or until there are none; all run on afterwards."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and (there := workers()):
        for signum, rest in ((signal.SIGSTOP, 1 - share), (signal.SIGCONT, share)):
            for worker in there:
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.send_signal(signum)
            time.sleep(rest)


@contextlib.contextmanager
def small_disk(folder, megabytes):
    """Mount a small file system on a folder, for as long as it lasts. Raises CalledProcessError where root may not."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)

"""Faults on a cluster: twelve things that clusters do, to a study that fits a generator, makes images or trains.

A head and two nodes, started by ``ray start`` with a token, and an MLflow server; the command is a process of its own.
After each fault: the digests, the printed table and the runs in MLflow of a run that nothing disturbed, and what was
made when it struck is not made again. A study has one chain made already, and lacks parts of it and a second chain.
Run by hand; REALFAKE_FAULT_TABLE names the file for the table, of which a part can be made anew. The cluster is in
``fault_cluster``.
"""

import datetime
import json
import os
import platform
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CalledProcessError

import psutil
import pytest

from tests import fault_cluster, ray_head
from tests.fault_cluster import Case, Fleet, fill_disk, line, slow, small_disk, study_text
from tests.server_mlflow import start_mlflow

SECONDS = float(os.environ.get("REALFAKE_FAULT_SECONDS", "240"))  # a case that takes longer hangs
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3 * SECONDS)]
STAGES = ("fitting", "synthesis", "training")

# ------------------------------------------------------------------------------------------------------- the faults


@dataclass
class Scene:
    """What a fault is done to: a run at a stage. ``afterwards`` is called when the first run has ended."""

    world: "World"
    case: Case
    stage: str
    afterwards: ExitStack
    changed: set[str] = field(default_factory=set)  # what the fault itself may make anew

    def lane(self):
        """Return the process of what is being trained (or was, or of any lane)."""
        found = {**self.case.in_hand("trial"), **self.case.in_hand("closedset")}
        lanes = [p.pid for p in self.world.fleet.workers() if not fault_cluster.SYNTHESIS.search(line(p))]
        return next((pid for pid in found.values() if pid in lanes), lanes[0])

    def maker(self):
        """Return the process that makes shards."""
        return self.world.fleet.doing("MapWorker")[0].pid

    def worked_on(self):
        """Return the node where the work of the stage is done."""
        return self.world.fleet.of(self.maker() if self.stage == "synthesis" else self.lane())

    def beside(self, work, *given):
        """Do something while the run goes on; what goes wrong there is raised at the end of the case."""
        errors = []

        def run():
            try:
                work(*given)
            except BaseException as error:  # noqa: BLE001 - raised below, where it is seen
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def join():
            thread.join(SECONDS)
            if errors:
                raise errors[0]

        self.afterwards.callback(join)


def node_killed(scene):
    """All processes of the node that works are killed at once; no node replaces it."""
    scene.worked_on().kill()


def object_store_lost(scene):
    """The raylet that holds the objects of the node of the synthesis is killed; its workers find out by themselves."""
    node = scene.world.fleet.of(scene.maker())
    node.raylet().kill()
    scene.afterwards.callback(node.kill)


def driver_killed(scene):
    scene.case.kill()


def actors_killed(scene):
    """Every four seconds an actor is killed: the lane, the maker of shards, the list of what is due, the lane again."""
    process, fleet = scene.case.running[0], scene.world.fleet

    def kill():
        for number, victim in enumerate((scene.lane, scene.maker, lambda: fleet.doing("Due")[0].pid, scene.lane)):
            time.sleep(4 if number else 0)
            if process.poll() is not None:
                return
            with suppress(IndexError, ProcessLookupError):  # one that is not back yet cannot be killed
                os.kill(victim(), signal.SIGKILL)

    scene.beside(kill)


def mlflow_restarted(scene):
    """The MLflow server and its workers are killed, and it is started again."""
    scene.world.stop_mlflow()
    scene.beside(scene.world.start_mlflow)


def mlflow_cut_off(scene):
    """The MLflow server answers nothing more until the run has ended."""
    family = scene.world.mlflow_family()
    for process in family:
        process.suspend()
    scene.afterwards.callback(lambda: [process.resume() for process in family])


def disk_filled(scene):
    """Something else takes all that is left of the disk; it is removed when the run has ended."""
    ballast = fill_disk(scene.case.store)
    scene.afterwards.callback(ballast.unlink)


def node_late(scene):
    """The run has begun with one node of the two that its where-file promises; now the second joins."""
    scene.beside(scene.world.fleet.add)


def pre_emption(scene):
    """The node that works is announced to be taken back in 8 s, another one starts, and it is taken."""
    node, fleet = scene.worked_on(), scene.world.fleet

    def take():
        noticed = time.monotonic()
        scene.beside(fleet.add)
        fleet.drain(node, 8)
        time.sleep(max(0.0, noticed + 8 - time.monotonic()))
        node.kill()

    scene.beside(take)


def node_slow(scene):
    """The workers of the node that works run a fifth of the time, for 12 s."""
    node, process = scene.worked_on(), scene.case.running[0]
    scene.beside(slow, lambda: node.workers() if process.poll() is None else [], 12)


def shard_corrupted(scene):
    """A bit of the shard that has just appeared is flipped."""
    path = max(scene.case.store.glob("pool-*/*.parquet"), key=lambda path: path.stat().st_mtime)
    data = path.read_bytes()
    place = len(data) // 2  # among the images: not all that a Parquet file says of itself means something
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    scene.changed.add(str(path.relative_to(scene.case.store)))


def two_drivers(scene):
    """The same command is given a second time, while the first runs."""
    scene.case.start()


FAULTS = {
    "a node is killed without grace": node_killed,
    "the driver is killed": driver_killed,
    "an actor is killed every 4 s": actors_killed,
    "the object store of a node is lost": object_store_lost,
    "the MLflow server restarts": mlflow_restarted,
    "MLflow is cut off": mlflow_cut_off,
    "the disk is full": disk_filled,
    "a node joins late": node_late,
    "a node is pre-empted with notice": pre_emption,
    "a node is slow": node_slow,
    "a shard is corrupted": shard_corrupted,
    "two drivers at once": two_drivers,
}
AGAIN = {driver_killed, mlflow_cut_off, disk_filled}  # a user gives the same command again
MAY = {shard_corrupted, mlflow_restarted}  # must, where the run has read the shard, or ends before the server is back
ONE_RUN, TWO_RUNS = "within the run", "same command again"

# ------------------------------------------------------------------------------------------------------- the stages


def fitting(case, known):
    return case.in_hand("closedset")


def synthesis(case, known):
    """The first shard of the pool of the new generator is there."""
    return [path for path in case.store.glob("pool-*/*.parquet") if path.parent.name not in known]


def training(case, known):
    """All images are there, and a trial is in hand."""
    return len(synthesis(case, known)) == 2 and case.in_hand("trial")


def a_shard(number):
    """Wait for a shard to appear: of the old pool while the new generator is fitted, or of the new one."""

    def appeared(case, known):
        if number == 0:
            return len(list(case.store.glob("pool-*/*.parquet"))) > 1
        return len(synthesis(case, known)) == number

    return appeared


REACHED = {"fitting": fitting, "synthesis": synthesis, "training": training}
SHARDS = {"fitting": a_shard(0), "synthesis": a_shard(1), "training": a_shard(2)}


# ------------------------------------------------------------------------------------------------------- the world


@dataclass
class World:
    """The cluster and the MLflow server of all cases, what a run leaves that nothing disturbs, and the table."""

    fleet: Fleet
    folder: Path
    server: object = None
    port: int = 0
    base: Path | None = None
    known: set[str] = field(default_factory=set)
    undisturbed: dict = field(default_factory=dict)
    rows: dict[tuple[str, str], str] = field(default_factory=dict)

    def start_mlflow(self):
        self.server = start_mlflow(self.folder, f"sqlite:///{self.folder}/mlflow.db", self.port)
        self.port = int(self.server.uri.rpartition(":")[2])

    def mlflow_family(self):
        parent = psutil.Process(self.server.process.pid)
        return [parent, *parent.children(recursive=True)]

    def stop_mlflow(self):
        family = self.mlflow_family()
        for process in family:
            process.kill()
        self.server.process.wait(timeout=30)
        psutil.wait_procs(family, timeout=30)

    def new_case(self, name):
        """Return a case whose store holds what was made before."""
        case = Case(self.fleet, self.folder / name, name, self.server.uri)
        if self.base:
            shutil.copytree(self.base, case.store, dirs_exist_ok=True)
        return case

    def wait(self, case, condition, seconds=SECONDS):
        """Wait for a condition of a running case; return when it held, in seconds since the epoch."""
        until, process = time.monotonic() + seconds, case.running[0]
        while not condition(case, self.known):
            assert process.poll() is None, f"the run ended before the fault: {case.said()[-1500:]}"
            assert time.monotonic() < until, f"the stage was not reached in {seconds:.0f} s: {case.said()[-1500:]}"
            time.sleep(0.02)
        return time.time()

    def prepare(self):
        """Make the chain that all cases find made, then let one run go undisturbed."""
        first = self.new_case("made-before")
        first.write(study_text(first.name, seeds=(1,), volumes=(0, 40)))
        first.start()
        assert first.finish(2 * SECONDS)[0] == 0, first.said()
        self.known = {path.name for path in first.store.glob("pool-*")}
        self.base = first.store
        shutil.rmtree(self.base / "studies", ignore_errors=True)
        case = self.new_case("undisturbed")
        began = time.time()
        case.start()
        reached = {stage: self.wait(case, REACHED[stage]) for stage in STAGES}
        code, _, _ = case.finish(SECONDS)
        assert code == 0, case.said()
        next_made = {stage: recovery(case, {}, at, KINDS[stage]) for stage, at in reached.items()}
        self.undisturbed = {"state": case.state(), "tracked": kinds(case.tracked()), "next": next_made}
        self.undisturbed["wall"] = time.time() - began

    def table(self):
        """Return what came of all cases as Markdown."""
        usual, wall = self.undisturbed["next"], self.undisturbed["wall"]
        head = " | ".join(f"{WORDS[stage]} ({usual[stage]:.0f} s)" for stage in STAGES)
        lines = [
            f"{datetime.date.today()}, {machine()}: Ray with a head and {fault_cluster.NODES} nodes of "
            f"{fault_cluster.CPUS} logical CPUs; an undisturbed run takes {wall:.0f} s.",
            "Seconds from the fault to the next generator, shard or trial made (in brackets: from that point in the "
            "undisturbed run), and by how much the whole took longer.",
            "",
            f"| fault | {head} |",
            "|---|---|---|---|",
        ]
        for fault in FAULTS:
            cells = [self.rows.get((fault, stage), "not run") for stage in STAGES]
            lines.append(f"| {fault} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


KINDS = {"fitting": "closedset-", "synthesis": "pool-", "training": "trial-"}
WORDS = {"fitting": "generator fitting", "synthesis": "synthesis", "training": "training"}


def machine():
    return f"{os.cpu_count()} cores ({platform.machine()}), {psutil.virtual_memory().total / 2**30:.0f} GiB"


def recovery(case, before, at, kind):
    """Return the seconds from a fault to the next thing of a kind that was made; NaN if none was."""
    new = {path: stamp for path, stamp in case.made().items() if stamp > at and stamp != before.get(path)}
    return min((stamp for path, stamp in new.items() if path.startswith(kind)), default=float("nan")) - at


def kinds(tracked):
    """Return how many runs MLflow has of each kind (addresses of curves hold the name of the study)."""
    return Counter(kind for kind, _ in tracked)


@pytest.fixture(scope="module")
def world(request):
    with (
        tempfile.TemporaryDirectory(prefix="rf-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        ExitStack() as end,
    ):
        dashboard = "--include-dashboard=" + ("false" if ray_head.LACKING else "true")
        fleet = Fleet(ray_head.start(folder, 0, dashboard))
        end.callback(fleet.end)
        built = World(fleet, Path(folder))
        built.start_mlflow()
        end.callback(lambda: built.server.end())
        fleet.fill()
        built.prepare()
        built.rows = earlier()
        yield built
        said = request.config.pluginmanager.getplugin("terminalreporter")
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            said.write_line("\n" + built.table())


def earlier():
    """Return the cells of the table that is there: a part of the cases can be run again."""
    place = os.environ.get("REALFAKE_FAULT_TABLE")
    lines = Path(place).read_text().splitlines() if place and Path(place).is_file() else []
    rows = [line.strip("| ").split(" | ") for line in lines]
    return {
        (row[0], stage): cell for row in rows if row[0] in FAULTS for stage, cell in zip(STAGES, row[1:], strict=True)
    }


@contextmanager
def written(world, fault, stage):
    """Write the cell of a case, whatever comes of it, and the table as it stands."""
    cell = {"text": ""}
    try:
        yield cell
    except BaseException as error:
        if isinstance(error, pytest.skip.Exception):
            raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        cell["text"] = f"**fails**: {reason[0][:150]}"
        raise
    finally:
        world.rows[fault, stage] = cell["text"]
        if place := os.environ.get("REALFAKE_FAULT_TABLE"):
            Path(place).write_text(world.table())


# -------------------------------------------------------------------------------------------------------- the tests


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_all_is_as_if_there_had_been_none(world, fault, stage):
    act = FAULTS[fault]
    with written(world, fault, stage) as cell, ExitStack() as ending:
        _nodes(world, act)
        name = f"{act.__name__}-{stage}"
        if act is disk_filled:
            try:
                ending.enter_context(small_disk(world.folder / name / "store", 64))
            except (OSError, CalledProcessError) as error:
                cell["text"] = "not run: only root may mount a small disk"
                pytest.skip(f"to fill a disk it must be small, and this user may mount none: {error}")
        case = world.new_case(name)
        ending.callback(case.kill)
        afterwards = ending.enter_context(ExitStack())
        cell["text"] = _disturbed(world, act, Scene(world, case, stage, afterwards))


def _nodes(world, act):
    """Let two nodes be there, or one where the other is to come late."""
    world.fleet.fill()
    if act is node_late:
        world.fleet.remove(world.fleet.nodes.pop())


def _disturbed(world, act, scene):
    """Run the study, do the fault, run it again if need be, and check what is left; return what the table says."""
    case, began = scene.case, time.time()
    case.start()
    world.wait(case, (SHARDS if act is shard_corrupted else REACHED)[scene.stage])
    if scene.stage == "fitting" and act is not shard_corrupted:
        time.sleep(1)  # into the fit
    before, at = case.made(), time.time()
    act(scene)
    at = time.time() if scene.changed else at
    code = 1 if act is driver_killed else case.finish(SECONDS)[0]
    scene.afterwards.close()
    print(case.said())  # shown if the case fails
    again = act in AGAIN or bool(code) or not _sound(scene) or "records are safe" in case.said()
    if again:
        case.start()
        code, _, err = case.finish(SECONDS)
        assert code == 0, f"the same command again ends with {code}: {err[-1500:]}"
    wall = time.time() - began - world.undisturbed["wall"]
    _check(world, scene, before)
    assert act in AGAIN | MAY or not again, f"took the command twice: {case.ended[0][2][-1500:]}"
    seconds = recovery(case, before, at, "pool-" if scene.changed else KINDS[scene.stage])
    assert seconds == seconds, "the fault came too late: nothing was made after it"
    return f"{seconds:.0f} s, {wall:+.0f} s; {TWO_RUNS if again else ONE_RUN}"


def _sound(scene):
    """Say whether all shards are as they were written."""
    from realfake.shards import CorruptShard, read_table

    try:
        for path in scene.case.store.glob("pool-*/*.parquet"):
            read_table(path)
    except CorruptShard:
        return False
    return True


def _check(world, scene, before):
    """Nothing differs from the undisturbed run, nothing is lost, and nothing was made twice."""
    case, now = scene.case, scene.case.made()
    state, tracked = case.state(), case.tracked()
    for what, expected in world.undisturbed["state"].items():
        assert state[what] == expected, f"{what} differ"
    assert _sound(scene), "a shard is corrupt"
    lost = before.keys() - now.keys()
    assert not lost, f"lost: {lost}"
    rewritten = {path for path, stamp in before.items() if now[path] != stamp} - scene.changed
    assert not rewritten, f"made twice: {rewritten}"
    doubled = [name for name, count in tracked.items() if count > 1]
    assert not doubled, f"twice in MLflow: {doubled}"
    assert kinds(tracked) == world.undisturbed["tracked"], "MLflow holds other runs"
    for code, out, err in case.ended:
        assert "Traceback" not in err, f"a traceback is printed: {err[-1500:]}"
        assert code or out.replace(case.name, "tiny") == state["table"], "the runs print different tables"


# ------------------------------------------------------------------------------------------- the whole way of a user


@pytest.mark.skipif(ray_head.LACKING, reason="the job server needs more of Ray: uv run --group cluster pytest")
def test_a_submitted_study_outlives_a_node_and_its_curves_are_asked_without_a_store(world, tmp_path):
    world.fleet.fill()
    case, head = world.new_case("submitted"), world.fleet.head
    on = case.folder / "on.toml"
    on.write_text(on.read_text().replace(head.address, "auto"))
    with ExitStack() as ending:
        ending.callback(case.kill)
        case.start("submit", "--to", head.url)
        world.wait(case, fitting)
        Scene(world, case, "fitting", ending).worked_on().kill()
        code, out, err = case.finish(SECONDS)
    assert code == 0, err[-3000:]
    assert out.replace(case.name, "tiny") == world.undisturbed["state"]["table"]
    asked = ("curves", "--study", case.name, "--uri", case.tracking, "--json")
    rows = json.loads(head.run(*asked, folder=tmp_path)[0])
    assert {(row["n_real"], row["n_synthetic"]) for row in rows if row["arm"] == "closed-set"} == {(40, 40), (40, 300)}
    assert not list(tmp_path.iterdir())

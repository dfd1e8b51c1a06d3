"""Where-files: unknown keys, shares that fit, and the shipped files."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from realfake.packing import Node, Sort, admits, always_fit, fit, selector
from realfake.resources import Cluster, ResourceError, Synthesis, Training, Where, read, shares

CLUSTER = Path(__file__).parents[1] / "cluster"


def where_file(tmp_path, text):
    path = tmp_path / "where.toml"
    path.write_text(text)
    return path


def test_no_file_is_one_machine():
    assert read(None) == Where()
    assert Where(store="s").tracking_uri() == f"sqlite:///{Path('s').absolute()}/mlflow.db"


@pytest.mark.parametrize("path", sorted(CLUSTER.glob("*.toml")), ids=lambda path: path.name)
def test_the_shipped_files_are_read(path):
    assert isinstance(read(path), Where)


def test_the_laptop_file_says_what_the_defaults_are():
    assert read(CLUSTER / "laptop.toml") == Where()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nlane = 2", r"Training has no field 'lane'; did you mean 'lanes'\?"),
        ("stor = 's'", r"unknown key 'stor'; did you mean 'store'\?"),
        ("[training]\nlanes = 'two'", r"Training.lanes is 'two', a str; it must be int"),
        ("[training", "where.toml"),
        ("[synthesis]\nactors = 0", "must be at least 1"),
    ],
)
def test_a_bad_file_gets_one_sentence(tmp_path, text, message):
    with pytest.raises(ResourceError, match=message):
        read(where_file(tmp_path, text))


def test_a_secret_is_refused_and_not_repeated(tmp_path):
    path = tmp_path / "shared.toml"
    path.write_text('store = "s"\ntracking = "https://me:hunter22@mlflow.example.org"\n')
    with pytest.raises(
        ResourceError, match=r"shared\.toml:2 holds a password in a URL.*MLFLOW_TRACKING_PASSWORD"
    ) as said:
        read(path)
    assert "hunter22" not in str(said.value)


def test_a_missing_file_names_the_shipped_ones():
    with pytest.raises(ResourceError, match=r"give one of cluster/\*\.toml"):
        read("nowhere.toml")


def test_data_paths(tmp_path):
    where = read(where_file(tmp_path, "[data]\nfashion = '~/fashion'"))
    assert where.data_paths() == {"fashion": Path.home() / "fashion"}


MACHINES = [(1, 0), (2, 0), (8, 0), (16, 1), (4, 2), (4, 4), (64, 8)]


@pytest.mark.parametrize(("cpus", "gpus"), MACHINES)
def test_default_shares_fit_any_machine_however_they_are_started(cpus, gpus):
    node = Node(cpus=cpus, gpus=gpus)
    found = shares(Where(), [node])
    assert found.lanes == (gpus or cpus)
    used = found.lanes * found.cpus_per_lane + found.actors * found.cpus_per_actor + found.cpus_for_feeder
    assert 0.8 * min(cpus, found.lanes) <= used <= cpus + 1e-9
    assert found.lanes * found.gpus_per_lane + found.actors * found.gpus_per_actor <= gpus + 1e-9
    assert found.always_fit([node])


def test_a_part_of_a_gpu_lies_on_one_gpu():
    """Five processes on four GPUs: 0.92 each for four lanes, and 0.3, is less than 4 in all and does not fit."""
    node = Node(cpus=4, gpus=4)
    found = shares(Where(), [node])
    assert (found.lanes, found.gpus_per_lane, found.gpus_per_actor) == (4, 0.5, 0.5)
    with pytest.raises(ResourceError, match=r"however they are placed, .* write lanes = 3 or smaller shares"):
        shares(where(lanes=4, gpus_per_lane=0.92, gpus_per_actor=0.3), [node])


def where(address="auto", labels=((), ()), **given):
    """Return a where-file with these shares, for a cluster that is joined."""
    actors = {key: given.pop(key) for key in ("actors", "cpus_per_actor", "gpus_per_actor") if key in given}
    training, synthesis = Training(labels=labels[0], **given), Synthesis(labels=labels[1], **actors)
    return Where(cluster=Cluster(address=address), training=training, synthesis=synthesis)


def test_what_does_not_fit_is_refused_before_anything_starts():
    with pytest.raises(ResourceError, match=r"4 lanes of 1 CPU, .* and there are 2: the run would wait for ever"):
        shares(where(lanes=4, cpus_per_lane=1.0), [Node(cpus=2)])
    with pytest.raises(ResourceError, match="GPUs at once, and there are 0"):
        shares(where(gpus_per_lane=0.5), [Node(cpus=2)])


def test_a_share_must_fit_on_one_node_and_all_of_them_together():
    two = [Node(cpus=3), Node(cpus=3)]
    with pytest.raises(
        ResourceError, match=r"a lane asks for 4 CPU of one node, and no node has that \(3 CPU; 3 CPU\)"
    ):
        shares(where(lanes=1, cpus_per_lane=4.0), two)
    with pytest.raises(ResourceError, match=r"a synthesis actor asks for .* lower synthesis.cpus_per_actor"):
        shares(where(lanes=1, cpus_per_actor=3.5), two)
    with pytest.raises(ResourceError, match=r"2 lanes of 2 CPU, 1 synthesis actors of 1.5 CPU .* write lanes = 1 "):
        shares(where(lanes=2, cpus_per_lane=2.0, cpus_per_actor=1.5), two)
    assert shares(where(lanes=2, cpus_per_lane=2.0, cpus_per_actor=0.5), two).lanes == 2


def test_nodes_with_few_cpus_beside_their_gpus_still_hold_a_lane_a_gpu():
    found = shares(Where(), [Node(cpus=2, gpus=4), Node(cpus=2, gpus=4), Node(cpus=32)])
    assert found.lanes == 8
    assert found.cpus_per_lane <= 0.5  # four on two CPUs; the CPUs of the third node have no GPU beside them
    assert found.gpus_per_lane == 0.5


def test_several_workers_a_trial_take_a_share_each():
    found = shares(where(workers=4), [Node(cpus=4), Node(cpus=4)])
    train, _ = found.sorts()
    assert (found.lanes, train.count) == (2, 8)
    assert train.count * train.cpus + found.cpus_per_actor + found.beside() <= 8


def test_labels_place_synthesis_and_training_on_their_own_nodes():
    gpu, cpu = Node(cpus=4, gpus=2, labels=("sort=gpu",)), Node(cpus=8, labels=("sort=cpu", "zone=a"))
    found = shares(where(labels=(("sort=!gpu",), ("sort=in(gpu, tpu)",)), actors=2), [gpu, cpu])
    assert (found.lanes, found.gpus_per_lane, found.cpus_per_lane) == (8, 0.0, 0.98)
    assert (found.actors, found.gpus_per_actor) == (2, 1.0)
    with pytest.raises(ResourceError, match=r"\[training\] labels: no node has zone=b \(there are: sort=cpu, sort=gpu"):
        shares(where(labels=(("zone=b",), ())), [gpu, cpu])
    here = shares(where(address="", labels=(("zone=b",), ())), [Node(cpus=2)])  # one machine has no need of them
    assert here.training_labels == ()


@pytest.mark.parametrize(
    ("labels", "fits"),
    [
        ("a=x", True),
        ("a=y", False),
        ("a=!x", False),
        ("a=!y", True),
        ("b=!y", True),
        ("b=y", False),
        ("a=in(x, y)", True),
        ("a=!in(x,y)", False),
        ("ray.io/node-group=gpu", True),
    ],
)
def test_selectors_are_read_as_ray_reads_them(labels, fits):
    """Against Ray's own autoscaler, which has these rules in Python."""
    from ray._private.label_utils import validate_label_selector
    from ray.autoscaler.v2.scheduler import SchedulingNode, SchedulingNodeStatus
    from ray.autoscaler.v2.utils import ResourceRequestUtil
    from ray.core.generated.common_pb2 import LabelSelectorOperator

    have = ("a=x", "ray.io/node-group=gpu")
    assert admits(Node(cpus=1, labels=have), (labels,)) == fits
    ((key, wanted),) = selector((labels,)).items()
    assert validate_label_selector({key: wanted}) is None
    bare = wanted.removeprefix("!")
    values = bare.removeprefix("in(").removesuffix(")").replace(" ", "").split(",")
    rule = LabelSelectorOperator.LABEL_OPERATOR_NOT_IN if wanted[0] == "!" else LabelSelectorOperator.LABEL_OPERATOR_IN
    asked = ResourceRequestUtil.make({"CPU": 1}, label_selectors=[[(key, rule, values)]])
    node = SchedulingNode(
        "gpu",
        {"CPU": 1},
        {"CPU": 1},
        selector(have),
        SchedulingNodeStatus.TO_LAUNCH,
    )
    assert bool(node._satisfies_label_constraints([asked])) == fits


def test_labels_that_ray_would_not_read_are_refused(tmp_path):
    read(where_file(tmp_path, '[training]\nlabels = {"a/b" = "in(x, y)"}\n[synthesis]\nlabels = ["sort=!gpu"]'))
    with pytest.raises(ResourceError, match=r"\[training\] labels: 'a=x y' selects no node; write key = value"):
        read(where_file(tmp_path, '[training]\nlabels = {a = "x y"}'))
    with pytest.raises(ResourceError, match=r"training.gpus_per_lane is 1.5; .* write 1$"):
        read(where_file(tmp_path, "[training]\ngpus_per_lane = 1.5"))
    with pytest.raises(ResourceError, match=r"training = 3 is no section"):
        read(where_file(tmp_path, "training = 3"))


def test_the_mixed_file_fits_the_nodes_that_it_tells_of():
    nodes = [Node(cpus=4, gpus=4, labels=("ray-subcluster=synthesis",))] * 2
    nodes += [Node(cpus=16, labels=("ray-subcluster=training",))] * 2
    given = read(CLUSTER / "mixed.toml")
    found = shares(given, nodes)
    assert found.always_fit(nodes)
    assert (found.gpus_per_lane, found.gpus_per_actor) == (0.0, 1.0)
    assert (given.cluster.cpus, given.cluster.gpus) == (sum(n.cpus for n in nodes), sum(n.gpus for n in nodes))
    with pytest.raises(ResourceError, match=r"find no room at once .* write lanes = 20 "):
        shares(replace(given, training=replace(given.training, lanes=21, cpus_per_lane=1.5)), nodes)


def placements(nodes, one, other):
    """Return every state in which a node of brute force can end: each process on some node and GPU, in any order."""
    start = tuple((node.cpus, (1.0,) * int(node.gpus)) for node in nodes)
    found, todo = set(), [(start, one.count, other.count)]
    while todo:
        state = todo.pop()
        if state in found:
            continue
        found.add(state)
        places, ones, others = state
        for sort, left in ((one, (ones - 1, others)), (other, (ones, others - 1))):
            if min(left) >= 0:
                todo += [(after, *left) for after in placed(places, sort)]
    return found


def placed(places, sort):
    """Yield what is free once one more process runs, in every way that there is."""
    for index, (cpus, devices) in enumerate(places):
        if cpus < sort.cpus - 1e-9:
            continue
        for device in range(len(devices)) if sort.gpus else [None]:
            if device is not None and devices[device] < sort.gpus - 1e-9:
                continue
            less = (
                devices
                if device is None
                else (*devices[:device], round(devices[device] - sort.gpus, 6), *devices[device + 1 :])
            )
            yield (*places[:index], (round(cpus - sort.cpus, 6), less), *places[index + 1 :])


@pytest.mark.parametrize("seed", range(60))
def test_packing_agrees_with_trying_every_placement(seed):
    draw = random.Random(seed)
    gpus = draw.choice([0, 1, 2])
    nodes = [Node(cpus=draw.choice([1, 2, 3]), gpus=draw.choice([0, gpus])) for _ in range(draw.choice([1, 2]))]
    shares_of = [0, 0.3, 0.5, 0.6, 1] if gpus else [0]
    one, other = (
        Sort(count=draw.randint(low, high), cpus=draw.choice([0.25, 0.5, 0.7, 1, 1.5]), gpus=draw.choice(shares_of))
        for low, high in ((1, 4), (0, 2))
    )
    ends = placements(nodes, one, other)
    stuck = [
        state
        for state in ends
        if (state[1] and not any(placed(state[0], one))) or (state[2] and not any(placed(state[0], other)))
    ]
    assert fit(nodes, one, other) == any(state[1:] == (0, 0) for state in ends)
    assert always_fit(nodes, one, other) == (not stuck)


def test_labels_survive_being_sent_with_a_study(tmp_path):
    from realfake.submission import where_file as written

    given = read(CLUSTER / "mixed.toml")
    assert given.training.labels == ("ray-subcluster=training",)
    assert read(where_file(tmp_path, written(given))) == given

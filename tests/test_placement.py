"""Labels and workers on a real cluster of two nodes: which node each thing was made on, as its processes tell."""

from pathlib import Path

import pytest

from realfake import arrival, execution, session
from realfake.resources import Cluster, ResourceError, Synthesis, Training, Where
from realfake.spec import Pool, Study, Subset
from realfake.store import Store
from tests import tiny

SMALL = {"object_store_memory": 80_000_000}


@pytest.fixture(scope="module")
def nodes():
    """Start two nodes of two CPUs each on this machine, labelled a and b; yield the cluster, and raylets by label."""
    from ray.cluster_utils import Cluster as Nodes

    cluster = Nodes(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "labels": {"sort": "a"}, "include_dashboard": False, **SMALL},
    )
    other = cluster.add_node(num_cpus=2, labels={"sort": "b"}, **SMALL)
    raylets = {
        node.all_processes["raylet"][0].process.pid: label for node, label in ((cluster.head_node, "a"), (other, "b"))
    }
    yield cluster.address, raylets
    cluster.shutdown()


def node_of(process, raylets):
    """Return the label of the node that a process belongs to: its raylet started it, or what the raylet started."""
    while process > 1:
        if process in raylets:
            return raylets[process]
        (line,) = [line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line[:5] == "PPid:"]
        process = int(line.split()[1])
    return "no node"


def where(address, store, train, make, **training):
    return Where(
        store=str(store.root),
        cluster=Cluster(address=address),
        training=Training(device="cpu", labels=(f"sort={train}",), **training),
        synthesis=Synthesis(labels=(f"sort={make}",)),
    )


@pytest.mark.cluster
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("train", "make", "workers"), [("b", "a", 1), ("a", "b", 2)])
def test_labels_place_training_and_synthesis_each_on_their_node(nodes, tmp_path, train, make, workers):
    address, raylets = nodes
    store = tiny.import_digits(tmp_path)
    pool = Pool(generator=tiny.closed_set(), sampling_steps=2)
    study = Study(name="placed", trials=(tiny.trial(synthetic=(Subset(of=pool, size=300),)), tiny.trial(seed=1)))
    seen = []

    def on_event(event):
        if "process" in event:
            seen.append((event["kind"], node_of(event["process"], raylets)))

    on = where(address, store, train, make, lanes=1, workers=workers, cpus_per_lane=0.5)
    board = execution.run(study, on, on_event)
    assert board is not None
    assert board.failed == {}
    assert sorted(set(seen)) == [("fit", train), ("images", make), ("trial", train)]
    assert len(seen) == 5  # a fit, two shards, two trials
    worlds = {store.record(spec)["result"]["environment"]["world_size"] for spec in study.trials}
    assert worlds == {workers}


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_room_is_asked_for_where_the_labels_say(nodes, tmp_path, monkeypatch):
    import ray

    monkeypatch.setattr(arrival, "PLACE_SECONDS", 5.0)
    store = Store(tmp_path)
    fits = where(nodes[0], store, "a", "b", lanes=2, cpus_per_lane=0.9)
    with session.connected(fits) as found:
        assert sorted((node.cpus, [label for label in node.labels if label.startswith("sort=")]) for node in found) == [
            (2, ["sort=a"]),
            (2, ["sort=b"]),
        ]
        arrival.check_places(fits, found)
        with pytest.raises(ResourceError, match=r"find no room at once on 2 CPU; 2 CPU, .* write lanes = 2 "):
            arrival.check_places(where(nodes[0], store, "a", "b", lanes=3, cpus_per_lane=0.9), found)
        with pytest.raises(ResourceError, match=r"no node has sort=c \(there are: "):
            arrival.check_places(where(nodes[0], store, "c", "b"), found)
        busy = ray.util.placement_group([{"CPU": 1}], bundle_label_selector=[{"sort": "a"}])  # another job
        assert busy.wait(30)
        with pytest.raises(arrival.ArrivalError, match=r"2 lanes of 0.9 CPU where sort=a .* find no room at once on"):
            arrival.check_places(fits, found)
        ray.util.remove_placement_group(busy)


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_the_object_store_of_a_ray_started_here_is_as_large_as_the_where_file_says(tmp_path):
    import ray

    small = Where(store=str(tmp_path), cluster=Cluster(cpus=1, object_store_mb=100))
    with session.connected(small):
        assert ray.cluster_resources()["object_store_memory"] == 100 * 2**20

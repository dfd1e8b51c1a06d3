"""What a job looks at when it arrives on a cluster, as far as that goes without one (test_cluster_jobs has one)."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from realfake import arrival, resources
from realfake.arrival import ArrivalError
from realfake.jobs import ANSWER, END
from realfake.packing import Node
from realfake.resources import Cluster, ResourceError, Where, shares
from realfake.store import Store

CHECKS = "the cluster cannot run this study: "


@contextmanager
def tracking(code, body, wanted=None):
    """Yield the address of a server that answers so; 401 to any other Authorization than ``wanted``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            refused = wanted and self.headers.get("Authorization") != wanted
            self.send_response(401 if refused else code)
            self.end_headers()
            self.wfile.write(b"refused" if refused else body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("code", "body", "message"),
    [
        (403, b"Invalid Host header - possible DNS rebinding attack detected", "--allowed-hosts"),
        (401, b"", "set MLFLOW_TRACKING_TOKEN"),
        (500, b"", "answers 500"),
        (200, b"<html>hello</html>", "is no MLflow server"),
    ],
)
def test_a_tracking_server_that_will_not_do_gets_one_sentence(code, body, message):
    with tracking(code, body) as uri, pytest.raises(ArrivalError, match=message):
        arrival.check_tracking(uri)


def test_a_tracking_server_that_does_is_asked_with_the_credentials_of_the_nodes(monkeypatch):
    for name in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    good = json.dumps({"experiments": []}).encode()
    with tracking(200, good) as uri:
        arrival.check_tracking(uri)
        arrival.check_tracking(uri + "/")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pass")
    with tracking(200, good, wanted="Basic bWU6cGFzcw==") as uri:
        arrival.check_tracking(uri)
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t")
        with pytest.raises(ArrivalError, match="refuses the cluster's head"):
            arrival.check_tracking(uri)


def test_a_tracking_server_out_of_reach_is_said_and_a_file_is_not_asked():
    with pytest.raises(ArrivalError, match="does not answer the cluster's head"):
        arrival.check_tracking("http://127.0.0.1:9")
    arrival.check_tracking("")
    arrival.check_tracking("sqlite:////nowhere/mlflow.db")


def test_lacking_packages_are_named_and_here_there_are_none():
    arrival.check_packages()
    with pytest.raises(ArrivalError, match="lacks no_such_package; start its nodes from the image"):
        arrival.check_packages(("numpy", "no_such_package"))


def test_a_node_shares_the_store_if_it_reads_the_word_and_leaves_its_own(tmp_path):
    arrival.leave(Store(tmp_path), "arrival-1", "head", "word")
    assert arrival.look(str(tmp_path), "arrival-1", "word", "node") == ""
    assert (tmp_path / "arrival-1/node").read_text() == "word"
    assert arrival.look(str(tmp_path), "arrival-1", "other", "node") == "another word is there"
    assert arrival.look(str(tmp_path / "nowhere"), "arrival-1", "word", "node") == "No such file or directory"
    Store(tmp_path).forget("arrival-1")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("cpus", "gpus"), [(2, 0), (16, 1), (64, 8)])
def test_room_is_asked_for_what_a_run_holds_at_once(cpus, gpus):
    share = shares(Where(), [Node(cpus=cpus, gpus=gpus)])
    wanted = arrival.places(share)
    assert len(wanted) == share.lanes + share.actors + 1
    assert sum(place.get("CPU", 0) for place in wanted) <= cpus + 1e-9
    assert sum(place.get("GPU", 0) for place in wanted) <= gpus + 1e-9
    assert all(amount > 0 for place in wanted for amount in place.values())


def test_a_failed_check_is_one_sentence_and_exit_code_2(tmp_path, capsys):
    (tmp_path / "where.toml").write_text(f'store = "{tmp_path}/store"\ntracking = "http://127.0.0.1:9"\n')
    assert arrival.main(["study.py", str(tmp_path / "where.toml")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(CHECKS)
    assert said.count("\n") == 1
    assert arrival.main(["study.py", str(tmp_path / "missing.toml")]) == 2
    assert "give one of cluster/*.toml" in capsys.readouterr().err


def test_bad_input_keeps_its_exit_code_and_leaves_no_answer(tmp_path, capsys):
    (tmp_path / "none.toml").write_text(f'store = "{tmp_path}/store"\n[cluster]\naddress = "none"\n')
    assert resources.read(tmp_path / "none.toml").cluster == Cluster(address="none")
    assert arrival.main([str(tmp_path / "missing.py"), str(tmp_path / "none.toml")]) == 2
    told = capsys.readouterr()
    assert "there is no study file" in told.err
    assert told.out == ""


def test_the_answer_stands_between_its_two_lines(monkeypatch, capsys):
    from realfake import cli

    monkeypatch.setattr(
        cli, "main", lambda arguments: (print(*arguments), print("table"), (_ for _ in ()).throw(SystemExit(1)))
    )
    assert arrival.run("s.py", "w.toml") == 1
    assert capsys.readouterr().out.splitlines() == [ANSWER, "run s.py --on w.toml", "table", END]


@pytest.fixture(scope="module")
def two_nodes():
    """Two nodes of one CPU each, on this machine; yields their address."""
    from ray.cluster_utils import Cluster as Nodes

    given = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    nodes = Nodes(initialize_head=True, head_node_args=given)
    nodes.add_node(num_cpus=1, object_store_memory=80_000_000)
    yield nodes.address
    nodes.shutdown()


@pytest.mark.cluster
def test_two_nodes_share_the_store_and_a_lane_must_fit_on_one_of_them(two_nodes, tmp_path, monkeypatch):
    from realfake import session
    from realfake.resources import Synthesis, Training
    from realfake.store import Store

    monkeypatch.setattr(arrival, "PLACE_SECONDS", 5.0)
    monkeypatch.setattr(arrival, "GROW_SECONDS", 5.0)
    joined, actor = Cluster(address=two_nodes), Synthesis(cpus_per_actor=0.2)
    fits = Where(cluster=joined, training=Training(lanes=2, cpus_per_lane=0.6), synthesis=actor)
    wide = Where(cluster=joined, training=Training(lanes=1, cpus_per_lane=1.5), synthesis=actor)
    more = Where(cluster=Cluster(address=two_nodes, cpus=4), synthesis=actor)
    store = Store(tmp_path / "store")
    store.check_writable()
    with session.connected(fits) as nodes:
        assert [node.cpus for node in nodes] == [1, 1]
        arrival.check_nodes(store)
        assert not list((store.root / ".scratch").iterdir())
        arrival.check_places(fits, nodes)
        with pytest.raises(
            ResourceError, match=r"a lane asks for 1.5 CPU of one node, and no node has that \(1 CPU; 1"
        ):
            arrival.check_places(wide, nodes)
        with pytest.raises(ArrivalError, match="until the nodes that it promises have come"):
            arrival.check_places(more, nodes)
        monkeypatch.setattr(arrival, "look", lambda place, folder, word, node: "nothing is mounted there")
        with pytest.raises(ArrivalError, match=r"is not shared with node .* \(nothing is mounted there\)"):
            arrival.check_nodes(store)

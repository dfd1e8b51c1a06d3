"""The pipeline that makes images begins anew when the cluster loses it, and gives up where it makes nothing."""

from types import SimpleNamespace

import pytest
from ray.exceptions import RayActorError

from realfake import execution, synthesis
from realfake.board import RETRIES
from realfake.packing import Node
from realfake.resources import Cluster, promised


class Due:
    """The list of shards of one pipeline; ``dead`` takes nothing."""

    def __init__(self, dead=False):
        self.rows, self.add, self.end = [], SimpleNamespace(remote=self._take), SimpleNamespace(remote=lambda: None)
        self.dead = dead

    def _take(self, rows):
        if self.dead:
            raise RayActorError
        self.rows += rows


class Board:
    """Two shards are outstanding until they are made."""

    store = None

    def __init__(self):
        self.outstanding, self.failed = ["first", "second"], ""

    def in_the_making(self):
        return [(made, 0) for made in self.outstanding]

    def shard_made(self, made):
        self.outstanding.remove(made)

    def synthesis_failed(self, why):
        self.failed = why


@pytest.fixture
def dues(monkeypatch):
    """The lists that were started, in order."""
    started = []
    monkeypatch.setattr(synthesis, "due_list", lambda: started.append(Due()) or started[-1])
    monkeypatch.setattr(synthesis, "descriptor", lambda pool, first: pool)
    monkeypatch.setattr("ray.get", lambda taken: taken)
    return started


def test_what_was_outstanding_is_sent_to_the_next_pipeline(monkeypatch, dues):
    def pipeline(store, due):
        if len(dues) == 1:
            yield "first"
            raise RayActorError
        yield from due.rows

    monkeypatch.setattr(synthesis, "pipeline", pipeline)
    board = Board()
    execution._Synthesis(board, {}).run()
    assert len(dues) == 2
    assert dues[1].rows == ["second"]
    assert (board.outstanding, board.failed) == ([], "")


def test_a_pipeline_that_makes_nothing_is_given_up(monkeypatch, dues):
    def pipeline(store, due):
        raise RayActorError
        yield

    monkeypatch.setattr(synthesis, "pipeline", pipeline)
    board = Board()
    execution._Synthesis(board, {}).run()
    assert len(dues) == RETRIES + 1
    assert board.failed.startswith("the synthesis pipeline ended: RayActorError")


def test_a_list_that_died_costs_its_caller_nothing(dues):
    thread = execution._Synthesis(Board(), {})
    thread.due = Due(dead=True)
    thread.add([("third", 0)])
    assert dues[0].rows == []


def test_nodes_that_a_where_file_promises_are_counted_on():
    there = [Node(cpus=0.0), Node(cpus=2.0)]
    assert promised(Cluster(address="auto"), there) == there
    assert promised(Cluster(address="auto", cpus=2), there) == there
    assert promised(Cluster(address="auto", cpus=4), there) == [Node(cpus=4.0, labels=None)]
    assert promised(Cluster(cpus=4), [Node(cpus=2.0)]) == [Node(cpus=2.0)]

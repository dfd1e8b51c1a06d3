"""What a submitted job does on the cluster: it looks whether the study can run there, then runs it.

``python -m realfake.arrival STUDY WHERE-FILE``, on the head, in the folder that ``submission`` packed. A failed check
is one sentence and exit code 2. Not here: how the study is run (``realfake run``).
"""

import contextlib
import importlib.util
import io
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from realfake import resources, session
from realfake.jobs import ANSWER, END
from realfake.packing import Node, Sort, selector
from realfake.resources import ResourceError, Shares, Where, promised, shares
from realfake.store import Store, StoreError, write_whole

NEEDS = ("accelerate", "diffusers", "matplotlib", "mlflow", "numpy", "pandas", "pyarrow", "scipy", "timm", "torch")
PLACE_SECONDS, GROW_SECONDS, NODE_SECONDS, SAY_SECONDS = 60.0, 900.0, 120.0, 15.0


class ArrivalError(RuntimeError):
    """A cluster that cannot run the study; the message says why and what to change."""


def main(arguments: list[str]) -> int:
    """Check the cluster and run the study; return the exit code of ``realfake run``, or 2 if a check failed."""
    study, on = arguments
    try:
        check(resources.read(on))
    except (ArrivalError, ResourceError, StoreError) as error:
        print(f"the cluster cannot run this study: {error}", file=sys.stderr)
        return 2
    return run(study, on)


def run(study: str, on: str) -> int:
    """Run the study as ``realfake run`` does; its answer comes last, between two lines that ``jobs`` knows."""
    from realfake import cli

    os.environ.setdefault("COLUMNS", "120")  # a log has no width of its own
    answer, code = io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(answer):
            cli.main(["run", study, "--on", on])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    if answer.getvalue():
        print(ANSWER, answer.getvalue().rstrip("\n"), END, sep="\n", flush=True)
    return code


def check(where: Where) -> None:
    """Raise ArrivalError, ResourceError or StoreError if packages, MLflow, the store or the nodes will not do."""
    check_packages()
    check_tracking(where.tracking)
    Store(where.store).check_writable()
    if where.cluster.address == "none":
        return
    with session.connected(where) as nodes:
        check_nodes(Store(where.store))
        check_places(where, nodes)


def check_packages(needs: tuple[str, ...] = NEEDS) -> None:
    """Raise ArrivalError if the Python of the cluster lacks what a study is run with."""
    lacking = [name for name in needs if importlib.util.find_spec(name) is None]
    if lacking:
        raise ArrivalError(
            f"its Python lacks {', '.join(lacking)}; start its nodes from the image of cluster/Dockerfile, or install "
            "there what realfake needs"
        )


# --------------------------------------------------------------------------------------------------------------- MLflow


def check_tracking(uri: str, seconds: float = 10.0) -> None:
    """Raise ArrivalError if the MLflow server at ``uri`` does not answer this machine; a file is not asked."""
    if not uri.startswith("http"):
        return
    headers = {"Content-Type": "application/json", **_credentials()}
    url = f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search"
    try:
        asked = urllib.request.Request(url, data=b'{"max_results": 1}', headers=headers)
        json.loads(urllib.request.urlopen(asked, timeout=seconds).read())
    except urllib.error.HTTPError as error:
        raise ArrivalError(_tracking_says(uri, error)) from None
    except ValueError:
        raise ArrivalError(
            f"what answers at tracking = {uri!r} is no MLflow server; correct it in the --on file"
        ) from None
    except OSError as error:
        why = getattr(error, "reason", error)
        raise ArrivalError(
            f"MLflow at tracking = {uri!r} does not answer the cluster's head ({why}); give an address that it can "
            "reach, or leave tracking out and mirror later with realfake track"
        ) from None


def _credentials() -> dict[str, str]:
    """What MLflow's own client reads from the environment of the head: a token, or a user and a password."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if user and password:
        return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}
    return {}


def _tracking_says(uri: str, error: urllib.error.HTTPError) -> str:
    text = error.read(300).decode(errors="replace")
    if "Invalid Host header" in text:
        return f"MLflow at {uri!r} does not know itself by that name; start it with --allowed-hosts naming it"
    if error.code in (401, 403):
        return (
            f"MLflow at {uri!r} refuses the cluster's head ({error.code}); set MLFLOW_TRACKING_TOKEN, or "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, in the environment of its nodes"
        )
    return f"MLflow at {uri!r} answers {error.code} {error.reason}; is it an MLflow server, and well?"


# ---------------------------------------------------------------------------------------- the store, seen by every node


def check_nodes(store: Store) -> None:
    """Raise ArrivalError unless every node reads in the store what the head wrote, and the head what they wrote."""
    import ray

    folder, word = f"arrival-{uuid.uuid4().hex[:12]}", uuid.uuid4().hex
    leave(store, folder, "head", word)
    nodes = {node["NodeID"]: node["NodeName"] for node in ray.nodes() if node["Alive"]}
    asked = {node: _on(node).remote(store.place, folder, word, node) for node in nodes}
    try:
        for node, answer in asked.items():
            why = _answer(answer)
            if not why and not store.file(folder, node).is_file():
                why = "what it writes there does not arrive at the head"
            if why:
                raise ArrivalError(
                    f"the store {store.place!r} is not shared with node {nodes[node]} ({why}); give a folder that "
                    "all nodes have mounted as store = … in the --on file, or an object store that all can open"
                )
    finally:
        store.forget(folder)


def _on(node: str) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    strategy = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    return ray.remote(look).options(num_cpus=0, scheduling_strategy=strategy, name="look at the store")


def leave(store: Store, folder: str, name: str, word: str) -> None:
    """Leave a word in the store, for other machines to read."""
    write_whole(store.root / folder / name, word)
    store.keep(folder, name)


def look(place: str, folder: str, word: str, node: str) -> str:
    """Return why a node does not share the store, "" if it does: it reads the head's word and leaves its own."""
    try:
        store = Store(place)
        if store.file(folder, "head").read_text() != word:
            return "another word is there"
        leave(store, folder, node, word)
    except OSError as error:
        return str(error.strerror)
    except StoreError as error:
        return str(error)
    return ""


def _answer(asked: Any) -> str:
    import ray
    from ray.exceptions import RayError

    try:
        return ray.get(asked, timeout=NODE_SECONDS)
    except RayError as error:
        return f"it does not answer: {type(error).__name__}"


# -------------------------------------------------------------------------------------------- room for lanes and actors


def check_places(where: Where, nodes: Sequence[Node]) -> None:
    """Raise ArrivalError unless all lanes and actors find room at once.

    They are asked for as one placement group, given back at once: so an autoscaler brings the nodes that lack, and a
    lane that no single node can hold is noticed. What [cluster] cpus and gpus promise is waited for; which nodes will
    bring it, and their labels, nobody knows before.
    """
    counted = promised(where.cluster, nodes)
    share, growing = shares(where, counted), counted != nodes
    if not _room(share, GROW_SECONDS if growing else PLACE_SECONDS):
        train, make = share.sorts()
        raise ArrivalError(
            f"{share.lanes} lanes of {_asked(train)} and {share.actors} synthesis actors of {_asked(make)} find no "
            f"room at once on its nodes ({_nodes()}); lower lanes, cpus_per_lane, gpus_per_lane or cpus_per_actor in "
            "the --on file, "
            + (
                "or wait until the nodes that it promises have come"
                if growing
                else "or wait until other jobs have ended"
            )
        )


def places(share: Shares) -> list[dict[str, float]]:
    """Return what each process that trains, each actor, and what else there is, asks of one node."""
    every = [{"CPU": sort.cpus, "GPU": sort.gpus} for sort in share.sorts() for _ in range(sort.count)]
    every += [{"CPU": share.beside()}]
    return [{what: amount for what, amount in place.items() if amount} for place in every]


def selectors(share: Shares) -> list[dict[str, str]]:
    """Return the labels that each of ``places`` asks for."""
    return [*(selector(sort.labels) for sort in share.sorts() for _ in range(sort.count)), {}]


def _room(share: Shares, seconds: float) -> bool:
    from ray.util.placement_group import placement_group, remove_placement_group

    group = placement_group(places(share), name="room for the study", bundle_label_selector=selectors(share))
    until, have = time.monotonic() + seconds, False
    try:
        while not have and (left := until - time.monotonic()) > 0:
            have = group.wait(timeout_seconds=max(1, round(min(left, SAY_SECONDS))))  # Ray counts whole seconds
            if not have:
                print(f"waiting for room: {_nodes()}", file=sys.stderr, flush=True)
    finally:
        remove_placement_group(group)
    return have


def _asked(sort: Sort) -> str:
    return f"{sort} where {', '.join(sort.labels)}" if sort.labels else str(sort)


def _nodes() -> str:
    """Return what the nodes have, and what of it is free, in words."""
    import ray

    free = ray.available_resources()
    return f"{resources.names(session.nodes())}, of which {Node(cpus=free.get('CPU', 0), gpus=free.get('GPU', 0))} free"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What a submitted job does on the cluster: it looks whether the study can run there, then runs it.

``python -m realfake.arrival STUDY WHERE-FILE``, on the head, in the folder that ``submission`` packed. A failed check
is one sentence and exit code 2. Not here: how the study is run (``realfake run``).
"""

import contextlib
import importlib.util
import io
import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
import uuid
from base64 import b64encode
from pathlib import Path
from typing import Any

from realfake import resources, session
from realfake.jobs import ANSWER, END
from realfake.resources import ResourceError, Shares, Where, shares
from realfake.store import Store, StoreError

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
    with session.connected(where) as (cpus, gpus):
        check_nodes(Store(where.store))
        check_places(where, cpus, gpus)


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

    folder, word = store.scratch("arrival"), uuid.uuid4().hex
    (folder / "head").write_text(word)
    nodes = {node["NodeID"]: node["NodeName"] for node in ray.nodes() if node["Alive"]}
    asked = {node: _on(node).remote(str(folder), word, node) for node in nodes}
    try:
        for node, answer in asked.items():
            why = _answer(answer)
            if not why and not (folder / node).is_file():
                why = "what it writes there does not arrive at the head"
            if why:
                raise ArrivalError(
                    f"the store {str(store.root)!r} is not shared with node {nodes[node]} ({why}); give a folder that "
                    "all nodes have mounted as store = … in the --on file"
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _on(node: str) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    strategy = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    return ray.remote(look).options(num_cpus=0, scheduling_strategy=strategy, name="look at the store")


def look(folder: str, word: str, node: str) -> str:
    """Return why a node does not share the store, "" if it does: it reads the head's word and leaves its own."""
    try:
        if Path(folder, "head").read_text() != word:
            return "another word is there"
        Path(folder, node).write_text(word)
    except OSError as error:
        return str(error.strerror)
    return ""


def _answer(asked: Any) -> str:
    import ray
    from ray.exceptions import RayError

    try:
        return ray.get(asked, timeout=NODE_SECONDS)
    except RayError as error:
        return f"it does not answer: {type(error).__name__}"


# -------------------------------------------------------------------------------------------- room for lanes and actors


def check_places(where: Where, cpus: float, gpus: float) -> None:
    """Raise ArrivalError unless all lanes and actors find room at once.

    They are asked for as one placement group, given back at once: so an autoscaler brings the nodes that lack, and a
    lane that no single node can hold is noticed. What [cluster] cpus and gpus promise is waited for.
    """
    wanted = max(cpus, float(where.cluster.cpus)), max(gpus, float(where.cluster.gpus))
    growing = wanted != (cpus, gpus)
    share = shares(where, *wanted)
    if not _room(places(share), GROW_SECONDS if growing else PLACE_SECONDS):
        raise ArrivalError(
            f"{share.lanes} lanes of {_share(share.cpus_per_lane, share.gpus_per_lane)} and {share.actors} synthesis "
            f"actors of {_share(share.cpus_per_actor, share.gpus_per_actor)} find no room at once on its nodes "
            f"({_nodes()}); lower lanes, cpus_per_lane, gpus_per_lane or cpus_per_actor in the --on file, "
            + (
                "or wait until the nodes that it promises have come"
                if growing
                else "or wait until other jobs have ended"
            )
        )


def places(share: Shares) -> list[dict[str, float]]:
    """Return what each lane, each actor and the feeder ask of one node."""
    lane = {"CPU": share.cpus_per_lane, "GPU": share.gpus_per_lane}
    actor = {"CPU": share.cpus_per_actor, "GPU": share.gpus_per_actor}
    every = [lane] * share.lanes + [actor] * share.actors + [{"CPU": share.cpus_for_feeder}]
    return [{what: amount for what, amount in place.items() if amount} for place in every]


def _room(wanted: list[dict[str, float]], seconds: float) -> bool:
    from ray.util.placement_group import placement_group, remove_placement_group

    group, until, have = placement_group(wanted, name="room for the study"), time.monotonic() + seconds, False
    try:
        while not have and (left := until - time.monotonic()) > 0:
            have = group.wait(timeout_seconds=max(1, round(min(left, SAY_SECONDS))))  # Ray counts whole seconds
            if not have:
                print(f"waiting for room: {_nodes()}", file=sys.stderr, flush=True)
    finally:
        remove_placement_group(group)
    return have


def _share(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")


def _nodes() -> str:
    """Return what the nodes have, and what of it is free, in words."""
    import ray

    have = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    free = ray.available_resources()
    each = "; ".join(_share(node.get("CPU", 0), node.get("GPU", 0)) for node in have[:8])
    more = f"; … {len(have)} in all" if len(have) > 8 else ""
    return f"{each}{more}, of which {_share(free.get('CPU', 0), free.get('GPU', 0))} free"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A cluster whose nodes share no folder, only an object store (moto's S3 server): the same study, the same digests."""

import dataclasses
import tempfile
from pathlib import Path

import pytest

from tests.ray_head import LACKING, join, start
from tests.test_end_to_end import files, realfake, study_file

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(LACKING, reason="the job server needs more of Ray: uv run --group cluster pytest -m cluster"),
]
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "a-secret-that-is-nowhere-else"}


@pytest.fixture
def place(monkeypatch):
    """The URI of a prefix in an object store; the credentials are in the environment alone."""
    from moto.server import ThreadedMotoServer
    from pyarrow import fs

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    options = f"scheme=http&endpoint_override=127.0.0.1:{server.get_host_and_port()[1]}&region=us-east-1"
    fs.S3FileSystem.from_uri(f"s3://studies?{options}&allow_bucket_creation=true")[0].create_dir("studies")
    yield f"s3://studies/tiny?{options}"
    server.stop()


@pytest.fixture
def nodes(place, monkeypatch):
    """A head and a node, each with a cache of its own: the head, and the two folders."""
    with tempfile.TemporaryDirectory(prefix="rf-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        caches = [Path(folder) / name for name in ("head-cache", "node-cache")]
        monkeypatch.setenv("REALFAKE_CACHE", str(caches[0]))
        head = start(folder)
        away = dataclasses.replace(head, environment={**head.environment, "REALFAKE_CACHE": str(caches[1])})
        node = join(away, "node")
        yield head, caches
        node.kill()
        head.end()


def test_a_study_on_nodes_that_share_an_object_store_alone(place, nodes, tmp_path):
    head, caches = nodes
    study_file(tmp_path)
    lanes = "[training]\nlanes = 3\ncpus_per_lane = 1.0\n[synthesis]\ncpus_per_actor = 0.5\n"  # so many fit on no node
    (tmp_path / "there.toml").write_text(f'store = "{place}"\n[cluster]\naddress = "auto"\n{lanes}')
    out, err = head.run("submit", "tiny.py", "--to", head.url, "--on", "there.toml", folder=tmp_path, seconds=1200)
    assert "trials 14/14" in err
    made = [{path.parent.name for path in cache.glob("*/*/record.json")} for cache in caches]
    assert all(any(name.startswith("trial-") for name in names) for names in made)  # both nodes trained
    (tmp_path / "plain.toml").write_text('[cluster]\naddress = "none"\n')
    plain, _ = realfake(tmp_path, "run", "tiny.py", "--on", "plain.toml")
    assert plain.strip() in out
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setenv("REALFAKE_CACHE", str(tmp_path / "third"))
        (tmp_path / "look.toml").write_text(f'store = "{place}"\n')
        told, _ = realfake(tmp_path, "status", "tiny.py", "--on", "look.toml")
        assert "14 of     14 made" in told
        (third,) = (tmp_path / "third").iterdir()
        assert files(third)[0] == files(tmp_path / "store")[0]
    held = [path for path in head.folder.rglob("*") if path.is_file() and not path.is_socket()]
    secret = CREDENTIALS["AWS_SECRET_ACCESS_KEY"].encode()
    assert not [str(path) for path in held if secret in path.read_bytes()]

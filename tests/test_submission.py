"""What is sent to a cluster, under which name, and what is refused before anything is sent."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from realfake import resources, studyfile, submission
from realfake.resources import Cluster, Synthesis, Training, Where
from realfake.submission import Submission, SubmissionError

CLUSTER = Path(__file__).parents[1] / "cluster"
HERE, THERE = "http://127.0.0.1:8265", "https://ray.example.org"
STUDY = """from realfake import Dataset, Recipe, Study, Subset, Trial
train, test = Dataset(name="digits"), Dataset(name="digits", split="test")
real = Subset(of=train, size=40, seed=0)
study = Study(name="a-b", trials=(Trial(real=real, test=test, recipe=Recipe(model="test_resnet", examples_seen=64)),))
"""


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "question.py"
    path.write_text(STUDY)
    return path


@pytest.fixture(autouse=True)
def no_token(monkeypatch, tmp_path):
    """A home without a token, and nothing of Ray in the environment."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def sent(study, where=None, to=HERE):
    return submission.prepare(studyfile.read(study), submission.placed(where or Where(), to))


# --------------------------------------------------------------------------------- what is sent, and its name


def test_equal_submissions_have_equal_names_and_a_changed_byte_another(study):
    first = sent(study)
    assert first.name(1) == sent(study).name(1)
    assert first.name(1).startswith("realfake-a-b-")
    assert first.name(1).removesuffix("1") == first.name(2).removesuffix("2")
    assert sent(study, Where(training=Training(lanes=2))).digest != first.digest
    study.write_text(STUDY + "\n")
    assert sent(study).digest != first.digest
    assert replace(first, entrypoint="other").digest != first.digest


def test_files_cannot_be_confused_with_each_other():
    assert Submission("s", {"a": b"1", "b": b"2"}, "c").digest != Submission("s", {"a": b"12", "b": b""}, "c").digest
    assert Submission("s", {"ab": b"1"}, "c").digest != Submission("s", {"a": b"b1"}, "c").digest


def test_comments_of_the_where_file_neither_travel_nor_count(study, tmp_path):
    (tmp_path / "a.toml").write_text("# mine\n[training]\nlanes = 2  # two\n")
    (tmp_path / "b.toml").write_text("[training]\nlanes = 2\n")
    one, two = (sent(study, resources.read(tmp_path / name)) for name in ("a.toml", "b.toml"))
    assert one.digest == two.digest
    assert b"mine" not in one.files["where.toml"]


def test_the_package_that_is_sent_is_whole_and_wins_over_an_installed_one(study, tmp_path):
    folder = tmp_path / "job"
    sent(study).write(folder)
    there = {p.relative_to(submission.PACKAGE) for p in submission.PACKAGE.rglob("*") if p.is_file()}
    assert {p.relative_to(folder / "realfake") for p in (folder / "realfake").rglob("*") if p.is_file()} == {
        path for path in there if "__pycache__" not in path.parts
    }
    code = "import realfake.cli, realfake.arrival, realfake.submission as s; print(realfake.__file__, s.PACKAGE)"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(folder / "realfake/__init__.py"), str(folder / "realfake")]


@pytest.mark.parametrize("path", sorted(CLUSTER.glob("*.toml")), ids=lambda path: path.name)
def test_a_where_file_is_written_as_it_was_read(path, tmp_path):
    where = resources.read(path)
    (tmp_path / "again.toml").write_text(submission.where_file(where))
    assert resources.read(tmp_path / "again.toml") == where


def test_odd_names_and_every_kind_of_value_survive_the_writing(tmp_path):
    where = Where(
        store='/a "b"\\c/ü',
        tracking="http://host:5000",
        cluster=Cluster(address="auto", cpus=3),
        training=Training(cpus_per_lane=0.25, device="cuda", compile=True),
        synthesis=Synthesis(actors=3),
        data=("my images=/data/x = y", "b=~/b"),
    )
    (tmp_path / "odd.toml").write_text(submission.where_file(where))
    assert resources.read(tmp_path / "odd.toml") == where


# --------------------------------------------------------------------------------- the address and the token


@pytest.mark.parametrize(
    ("to", "url"),
    [
        ("127.0.0.1:8265", "http://127.0.0.1:8265"),
        ("http://localhost:8265/", "http://localhost:8265"),
        ("http://[::1]:8265", "http://[::1]:8265"),
        ("http://127.8.9.1", "http://127.8.9.1"),
    ],
)
def test_this_machine_needs_no_token(to, url):
    assert submission.server(to, "") == url
    assert not submission.in_the_clear(url, "t")


@pytest.mark.parametrize("to", ["http://10.0.0.5:8265", "https://ray.example.org", "head:8265", "http://0.0.0.0:8265"])
def test_any_other_machine_does(to):
    with pytest.raises(SubmissionError, match="RAY_AUTH_TOKEN"):
        submission.server(to, "")
    assert submission.in_the_clear(submission.server(to, "t"), "t") == (not to.startswith("https"))


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("ray://head:10001", "jobs go to the dashboard"),
        ("auto", "RAY_AUTH_TOKEN"),
        ("http://", "jobs go to the dashboard"),
        ("http://me:hunter22@127.0.0.1:8265", "--to holds a user or password"),
    ],
)
def test_what_is_no_address_of_a_job_server_is_refused(to, message):
    with pytest.raises(SubmissionError, match=message) as refused:
        submission.server(to, "")
    assert "hunter22" not in str(refused.value)


def test_the_token_is_found_as_ray_finds_it(monkeypatch, tmp_path):
    assert submission.token() == ""
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("of-home\n")
    assert submission.token() == "of-home"
    (tmp_path / "other").write_text("of-file")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "other"))
    assert submission.token() == "of-file"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-variable")
    assert submission.token() == "of-variable"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert submission.token() == ""
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "missing"))
    with pytest.raises(SubmissionError, match="No such file"):
        submission.token()


# --------------------------------------------------------------------------------- secrets and places


@pytest.mark.parametrize(
    "line",
    [
        'tracking = "https://me:hunter22@mlflow.example.org"',
        'store = "s3://AKIAABCDEFGHIJKLMNOP:hunter22@bucket"',
        "# aws_secret_access_key = hunter22hunter22",
        'store = "s3://bucket/x?access_key=hunter22"',
        'store = "https://x.blob.core.windows.net/c?sv=1&sig=hunter22"',
        "# password: hunter22",
        "# hf_hunter22hunter22hunter22hunter22hunter22",
        "# the-token-of-the-cluster hunter22",
    ],
)
def test_a_secret_in_a_where_file_is_refused_and_not_repeated(line, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the-token-of-the-cluster")
    with pytest.raises(SubmissionError, match=r"where\.toml:2 holds") as refused:
        submission.refuse_secrets("where.toml", f"store = 's'\n{line}\n")
    assert "hunter22" not in str(refused.value)


@pytest.mark.parametrize("path", sorted(CLUSTER.glob("*.toml")), ids=lambda path: path.name)
def test_the_shipped_where_files_hold_none(path):
    submission.refuse_secrets(path.name, path.read_text())


def test_a_study_may_speak_of_tokens_but_hold_no_key(study):
    study.write_text(STUDY + "tokens_per_caption = token_count = 77_000\n")
    assert sent(study)
    study.write_text(STUDY + "# AKIAABCDEFGHIJKLMNOP\n")
    with pytest.raises(SubmissionError, match=r"question\.py:5 holds an AWS access key"):
        sent(study)


def test_the_address_becomes_that_of_the_cluster_itself(study):
    assert submission.placed(Where(), HERE).cluster.address == "auto"
    assert submission.placed(Where(cluster=Cluster(address="none")), HERE).cluster.address == "none"
    with pytest.raises(SubmissionError, match="names another cluster than"):
        submission.placed(Where(cluster=Cluster(address="10.0.0.1:6379")), HERE)


def test_paths_beside_the_user_are_made_whole_for_this_machine_and_refused_for_another(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    where = Where(store="made", data=("a=images", "b=~/b"))
    near = submission.placed(where, HERE)
    assert (near.store, near.data) == (str(tmp_path / "made"), (f"a={tmp_path}/images", "b=~/b"))
    with pytest.raises(SubmissionError, match="store = 'made' is a folder beside you"):
        submission.placed(where, THERE)
    with pytest.raises(SubmissionError, match=r"\[data\] a = 'images' is a folder beside you"):
        submission.placed(replace(where, store="/nowhere/else"), THERE)


def test_a_store_on_the_disk_of_this_machine_alone_is_refused_for_another(tmp_path):
    with pytest.raises(SubmissionError, match="is on this machine's own disk"):
        submission.placed(Where(store=str(tmp_path / "store")), THERE)
    assert submission.placed(Where(store="/nowhere/store"), THERE).store == "/nowhere/store"


def test_what_is_mounted_from_a_network_is_no_disk_of_this_machine(tmp_path):
    disk = "/dev/sda1 / ext4 rw 0 0\n"
    assert submission.own_disk(tmp_path / "a/b", disk)
    for kind in ("nfs4", "fuse.gcsfuse", "lustre"):
        assert not submission.own_disk(tmp_path / "a/b", f"{disk}server:/x {tmp_path} {kind} rw 0 0\n")
    assert not submission.own_disk(Path("/somewhere/else"), disk)

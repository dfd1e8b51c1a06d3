"""The store in an object store (moto's S3 server, another's implementation): what lies there, and who may write it."""

import dataclasses
import json
import pickle
import shutil
import threading
from collections import Counter

import pytest

from realfake import arrival, buckets, execution, mirror, studyfile
from realfake.resources import Cluster, Where
from realfake.spec import Dataset, address
from realfake.store import RECORD, Store, StoreError, write_whole
from tests.test_end_to_end import files, study_file

SPEC, OTHER = Dataset(name="digits"), Dataset(name="digits", split="test")
NAME = address(SPEC)


@pytest.fixture(scope="module")
def server():
    """moto's S3 server on a port of its own, with one bucket."""
    from moto.server import ThreadedMotoServer

    serving = ThreadedMotoServer("127.0.0.1", port=0)
    serving.start()
    yield serving.get_host_and_port()[1]
    serving.stop()


@pytest.fixture
def place(server, monkeypatch, request):
    """The URI of an empty prefix; the environment holds the credentials."""
    from pyarrow import fs

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    options = f"scheme=http&endpoint_override=127.0.0.1:{server}&region=us-east-1"
    fs.S3FileSystem.from_uri(f"s3://studies?{options}&allow_bucket_creation=true")[0].create_dir("studies")
    prefix = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    return f"s3://studies/{prefix}?{options}"


@pytest.fixture
def machine(place, tmp_path, monkeypatch):
    """Return a function that opens the store as on a machine of that name, which holds what it itself has fetched."""

    def opened(name="here"):
        monkeypatch.setenv("REALFAKE_CACHE", str(tmp_path / name))
        return Store(place)

    return opened


def make(store, spec=SPEC, content=b"content"):
    with store.making(spec) as (folder, result):
        (folder / "part").mkdir()
        (folder / "part/data.bin").write_bytes(content)
        result["n"] = 3


def objects(store):
    return sorted(store.mirror.bucket.names(""))


@pytest.mark.parametrize(
    "file", ["model.safetensors", "part/data.bin", "a-b.tar.gz", "00000000-00000255.parquet", "LICENSE"]
)
def test_the_name_of_an_object_holds_the_digest_of_its_bytes(file):
    digest = "0123456789abcdef" * 4
    assert buckets.parted(buckets.named(file, digest)) == (file, digest[:16])
    assert buckets.parted(file) == (file, "")


def test_what_is_made_on_one_machine_is_there_on_another(machine):
    make(machine())
    elsewhere = machine("elsewhere")
    assert elsewhere.has(SPEC)
    assert elsewhere.record(SPEC)["result"] == {"n": 3}
    assert (elsewhere.folder(SPEC) / "part/data.bin").read_bytes() == b"content"
    assert elsewhere.find("dataset-") == [NAME]
    assert elsewhere.show("dataset-")["address"] == NAME
    digest = json.loads((elsewhere.root / NAME / RECORD).read_text())["files"]["part/data.bin"][:16]
    assert objects(elsewhere) == [f"files/{NAME}/part/data-{digest}.bin", f"records/dataset/{NAME}.json"]


def test_no_record_is_there_before_all_files_are(machine, monkeypatch):
    store, sent = machine(), []
    monkeypatch.setattr(buckets.Bucket, "write", lambda self, key, content: sent.append(key))
    monkeypatch.setattr(buckets.Bucket, "send", lambda self, path, key: sent.append(key))
    make(store)
    assert [key.split("/")[0] for key in sent] == ["files", "records"]


def test_one_listing_a_kind_tells_what_is_made(machine, monkeypatch):
    make(machine())
    asked = Counter()

    def counted(name, whole):
        return lambda self, *given: (asked.update([name]), whole(self, *given))[1]

    for name in ("read", "fetch", "names"):
        monkeypatch.setattr(buckets.Bucket, name, counted(name, getattr(buckets.Bucket, name)))
    store = machine("elsewhere")
    store.refresh([SPEC, OTHER, *(Dataset(name="digits", pixels=n) for n in range(8, 28))])
    assert store.record(SPEC)
    assert not any(store.has(Dataset(name="digits", pixels=n)) for n in range(8, 28))
    assert asked == {"names": 1, "fetch": 1}


def test_the_first_of_two_writers_counts_everywhere(machine):
    one, other = machine("one"), machine("other")
    with one.making(SPEC) as (folder, _):
        (folder / "data.bin").write_bytes(b"first")
        make(other, content=b"second, and sooner")
    for store in (one, other, machine("third")):
        assert (store.folder(SPEC) / "part/data.bin").read_bytes() == b"second, and sooner"
        assert set(store.record(SPEC)["files"]) == {"part/data.bin"}


def test_two_writers_at_the_same_moment_leave_one_whole_thing(machine):
    stores, barrier = [machine(f"m{i}") for i in range(4)], threading.Barrier(4)

    def slowly(number):
        with stores[number].making(SPEC) as (folder, _):
            (folder / "data.bin").write_bytes(str(number).encode() * 1000)
            barrier.wait()

    threads = [threading.Thread(target=slowly, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    late = machine("late")
    content = (late.folder(SPEC) / "data.bin").read_bytes()
    assert len(content) == 1000
    assert buckets.digest_of(late.folder(SPEC) / "data.bin") == late.record(SPEC)["files"]["data.bin"]


def test_a_thing_that_is_removed_there_is_made_again(machine):
    store = machine()
    make(store)
    store.mirror.bucket.remove(f"records/dataset/{NAME}.json")
    again = machine()
    again.refresh([SPEC])
    assert not again.has(SPEC)
    make(again)
    assert machine("elsewhere").has(SPEC)


def test_what_was_made_while_the_object_store_did_not_answer_is_sent_later(machine, monkeypatch):
    store = machine()

    def away(self, key, content):
        raise StoreError("the object store does not do its part (unplugged)")

    with monkeypatch.context() as patched:
        patched.setattr(buckets.Bucket, "write", away)
        with pytest.raises(StoreError, match="unplugged"):
            make(store)
    assert not machine("elsewhere").has(SPEC)
    machine().refresh([])
    assert (machine("elsewhere").folder(SPEC) / "part/data.bin").read_bytes() == b"content"


def test_a_lane_that_finds_its_thing_made_here_and_not_sent_sends_it(machine, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(mirror.Mirror, "send", lambda self, name: None)
        make(machine())
    assert not machine("elsewhere").has(SPEC)
    assert machine().record(SPEC)
    assert machine("elsewhere").has(SPEC)


def test_a_damaged_file_of_a_record_is_named_with_its_cure(machine):
    store = machine()
    make(store)
    (damaged,) = [key for key in objects(store) if key.startswith("files/")]
    store.mirror.bucket.write(damaged, b"contemt")
    with pytest.raises(StoreError, match=rf"{damaged} is damaged or gone; remove records/dataset/{NAME}.json there"):
        machine("elsewhere").folder(SPEC)


def test_a_damaged_shard_is_removed_as_it_is_read_so_that_it_is_made_anew(machine):
    store = machine()
    write_whole(store.root / "pool-1" / "00000000-00000255.parquet", b"shard")
    store.keep("pool-1", "00000000-00000255.parquet")
    assert machine("a").file("pool-1", "00000000-00000255.parquet").read_bytes() == b"shard"
    assert machine("a").files("pool-1") == {"00000000-00000255.parquet"}
    store.mirror.bucket.write(objects(store)[0], b"shart")
    assert not machine("b").file("pool-1", "00000000-00000255.parquet").exists()
    assert machine("b").files("pool-1") == set()


def test_the_files_of_a_pool_are_listed_once_however_many_are_read(machine, monkeypatch):
    store, asked, names = machine(), [], buckets.Bucket.names
    files = [f"{first:08d}-{first + 255:08d}.parquet" for first in range(0, 1280, 256)]
    for file in files:
        write_whole(store.root / "pool-1" / file, file)
        store.keep("pool-1", file)
    monkeypatch.setattr(buckets.Bucket, "names", lambda self, folder: (asked.append(folder), names(self, folder))[1])
    elsewhere = machine("elsewhere")
    assert [elsewhere.file("pool-1", file).read_text() for file in files] == files
    assert asked == ["files/pool-1"]


def test_checkpoints_go_with_the_work_from_machine_to_machine(machine, monkeypatch):
    monkeypatch.setattr(buckets, "SHADOW_SECONDS", 0.1)
    here = machine()
    seen = threading.Event()

    def half_way():
        with here.making(SPEC):
            write_whole(here.partial(SPEC) / "state.pt", b"step 500")
            seen.wait(0.5)
            other = machine("elsewhere")
            assert (other.partial(SPEC) / "state.pt").read_bytes() == b"step 500"
            write_whole(here.root / ".partial" / NAME / "state.pt", b"step 700")
            raise RuntimeError("the machine is taken away")

    with pytest.raises(RuntimeError, match="taken away"):
        half_way()
    there = machine("elsewhere")
    assert (there.partial(SPEC) / "state.pt").read_bytes() == b"step 700"
    make(there)
    assert not [key for key in objects(there) if key.startswith("partial/")]


def test_views_of_a_study_are_seen_elsewhere(machine):
    here = machine()
    write_whole(here.study_folder("tiny") / "figures/one.svg", "<svg/>")
    here.publish("tiny")
    assert (machine("elsewhere").study_folder("tiny") / "figures/one.svg").read_text() == "<svg/>"


def test_a_store_goes_to_other_processes(machine):
    store = pickle.loads(pickle.dumps(machine()))
    make(store)
    assert Store(store.place).has(SPEC)
    place, system = store.shared(store.scratch(SPEC))
    with system.open_output_stream(f"{place}/snapshot.json") as out:
        out.write(b"{}")
    assert len(objects(store)) == 3


def test_nodes_share_an_object_store(machine, place):
    arrival.leave(machine("head"), "arrival-1", "head", "word")
    machine("node")
    assert arrival.look(place, "arrival-1", "word", "node-1") == ""
    head = machine("head")
    assert head.file("arrival-1", "node-1").read_text() == "word"
    head.forget("arrival-1")
    assert objects(head) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("studies", "no-such-bucket"), "does not do its part .* check its address"),
        (("s3://", "ftp://"), "realfake knows folders, and object stores as s3, gs"),
    ],
)
def test_an_object_store_that_is_not_there_is_one_sentence(place, change, message, monkeypatch):
    monkeypatch.setattr(buckets, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(StoreError, match=message):
        Store(place.replace(*change)).check_writable()


def test_a_study_is_made_once_for_all_machines(place, tmp_path, monkeypatch):
    """The whole way without Ray; beside it the same study in a folder, to the same digests."""
    study = studyfile.read(study_file(tmp_path, seeds=(0,), volumes=(40,))).study
    study = dataclasses.replace(study, trials=study.trials[:1] + study.trials[-1:])
    plain = Where(cluster=Cluster(address="none"))

    def run(store, machine="none"):
        monkeypatch.setenv("REALFAKE_CACHE", str(tmp_path / machine))
        return execution.run(study, dataclasses.replace(plain, store=store))

    assert run(str(tmp_path / "store")).tally == run(place, "one").tally
    assert run(place, "two") is None  # nothing was lacking
    (cache,), (fetched,) = (tmp_path / "one").iterdir(), (tmp_path / "two").iterdir()
    assert files(cache) == files(tmp_path / "store")
    assert not list(fetched.glob("closedset-*/model.safetensors"))  # nobody asked for it
    shutil.rmtree(tmp_path / "two")
    Store(place).mirror.bucket.remove(f"records/trial/{address(study.trials[0])}.json")
    assert run(place, "two").tally["trials"] == 1

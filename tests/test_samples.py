"""Samples: lossless bytes, digests that notice, nested class-proportional subsets, balanced pool labels."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realfake.samples import (
    CorruptShard,
    Samples,
    decode,
    encode,
    from_tables,
    image_seeds,
    load,
    pool_labels,
    read_table,
    seed_of,
    shard_digest,
    shard_made,
    shard_name,
    shards_of,
    stratified_order,
    subset_rows,
    to_table,
    write_table,
)
from realfake.spec import ClosedSet, Dataset, Pool, Subset
from realfake.values import SpecError
from tests.conftest import DIGITS

POOL = Pool(generator=ClosedSet(real=Subset(of=DIGITS, size=50)))


def images(n, channels=1, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 6, 5, channels), dtype=np.uint8)


def samples(labels):
    labels = np.array(labels)
    return Samples(images(len(labels)), labels, np.arange(len(labels)), ("a", "b", "c"))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_survive_the_way_there_and_back(channels):
    for image in images(5, channels):
        assert np.array_equal(decode(encode(image)), image)


def test_a_table_survives_the_file(tmp_path):
    table = to_table(images(7), np.arange(7) % 3, np.arange(7))
    write_table(table, tmp_path / "t.parquet", {"seconds": 1.5})
    back = from_tables([read_table(tmp_path / "t.parquet")], ("a", "b", "c"))
    assert np.array_equal(back.images, images(7))
    assert np.array_equal(back.labels, np.arange(7) % 3)
    assert shard_made(tmp_path / "t.parquet") == {"seconds": 1.5}


def test_how_a_shard_was_made_is_not_part_of_its_digest(tmp_path):
    for name, made in (("a", {"seconds": 1}), ("b", {"seconds": 2})):
        write_table(to_table(images(3), np.zeros(3, int), np.arange(3)), tmp_path / name, made)
    assert shard_digest(tmp_path / "a") == shard_digest(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_every_kind_of_corruption_is_noticed(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(to_table(images(20), np.arange(20) % 3, np.arange(20)), path)
    whole = path.read_bytes()
    image = whole.index(b"IHDR") + 6
    for name, broken in {
        "a flipped bit in an image": whole[:image] + bytes([whole[image] ^ 1]) + whole[image + 1 :],
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "garbage": b"x" * 100,
    }.items():
        path.write_bytes(broken)
        with pytest.raises(CorruptShard) as caught:
            read_table(path)
        assert caught.value.path == path, name


def test_a_swapped_label_is_noticed(tmp_path):
    table = to_table(images(4), np.array([0, 1, 2, 0]), np.arange(4))
    swapped = table.set_column(2, table.schema.field("label"), pa.array([1, 0, 2, 0], pa.int32()))
    pq.write_table(swapped, tmp_path / "t.parquet")
    with pytest.raises(CorruptShard, match="its rows have digest"):
        read_table(tmp_path / "t.parquet")


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.integers(0, 1000))
def test_every_prefix_holds_each_class_in_proportion_within_one(labels, seed):
    labels = np.unique(labels, return_inverse=True)[1]
    order = stratified_order(labels, np.random.default_rng(seed).permutation(len(labels)))
    assert sorted(order) == list(range(len(labels)))
    share = np.bincount(labels) / len(labels)
    held = np.cumsum(np.eye(len(share))[labels[order]], axis=0)
    wanted = np.arange(1, len(labels) + 1)[:, None] * share
    assert np.abs(held - wanted).max() <= max(1, len(share) / 2)


def subset(size, seed=0, by="image"):
    return Subset(of=Dataset(name="x"), size=size, seed=seed, by=by)


def test_smaller_subsets_lie_inside_larger_ones_and_seeds_differ():
    whole = samples(np.arange(300) % 3)
    small, large, other = (set(subset_rows(whole, subset(n, s))) for n, s in ((50, 0), (120, 0), (50, 1)))
    assert small < large
    assert small != other


def test_a_subset_does_not_depend_on_the_order_of_the_data():
    whole = samples(np.arange(90) % 3)
    shuffled = whole.take(np.random.default_rng(1).permutation(90))
    assert set(whole.ids[subset_rows(whole, subset(30))]) == set(shuffled.ids[subset_rows(shuffled, subset(30))])


def test_balanced_pool_labels_are_balanced_in_every_prefix_and_pure_by_index():
    counts = np.array([20, 20, 10])
    labels = pool_labels(POOL, 0, 1000, counts)
    for n in range(1, 200):
        held = np.bincount(labels[:n], minlength=3)
        assert held.max() - held.min() <= 1
    assert np.array_equal(pool_labels(POOL, 256, 256, counts), labels[256:512])
    assert np.array_equal(pool_labels(POOL, 700, 1, counts), labels[700:701])


def test_proportional_pool_labels_repeat_the_proportions_of_the_real_subset():
    pool = Pool(generator=POOL.generator, labels="proportional")
    labels = pool_labels(pool, 0, 500, np.array([30, 15, 5]))
    assert np.bincount(labels).tolist() == [300, 150, 50]
    assert np.array_equal(pool_labels(pool, 256, 100, np.array([30, 15, 5])), labels[256:356])


def test_classes_without_real_images_are_never_asked_for():
    assert set(pool_labels(POOL, 0, 60, np.array([5, 0, 5]))) == {0, 2}


def test_seeds_depend_on_pool_and_index_alone():
    assert image_seeds(POOL, 256, 4) == image_seeds(POOL, 0, 260)[256:]
    assert image_seeds(POOL, 0, 4) != image_seeds(Pool(generator=POOL.generator, seed=1), 0, 4)
    assert len(set(image_seeds(POOL, 0, 1000))) == 1000
    assert 0 <= seed_of("x") < 2**63


def test_shards_are_named_by_their_indices():
    assert shards_of(600) == [0, 256, 512]
    assert shard_name(256) == "00000256-00000511.parquet"


def test_loading_a_subset_of_real_data(digits_store):
    subset = load(digits_store, Subset(of=DIGITS, size=100))
    assert subset.images.shape == (100, 8, 8, 1)
    assert np.ptp(np.bincount(subset.labels, minlength=10)) <= 2
    with pytest.raises(SpecError, match="ask for that many or fewer"):
        load(digits_store, Subset(of=DIGITS, size=10**6))


def test_a_dataset_that_is_not_imported_says_so(digits_store):
    with pytest.raises(RuntimeError, match=r"'mnist5k' .* is not imported"):
        load(digits_store, Dataset(name="mnist5k"))

"""Objects of many images: cut and joined like images, through Arrow and files, in digests, and subsets by sequence."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realfake.objects import OBJECTS, Objects
from realfake.samples import (
    CorruptShard,
    Samples,
    from_tables,
    joined,
    read_table,
    shard_digest,
    stratified_order,
    subset_rows,
    to_table,
    write_table,
)
from realfake.shards import row_hashes
from realfake.spec import Dataset, Subset
from realfake.values import SpecError

COLUMNS = ("start", "box", "label", "crowd", "area")
counts = st.lists(st.integers(0, 4), min_size=1, max_size=8)


def random_objects(per_image, seed=0):
    """Objects of images that have so many of them, with every column drawn."""
    rng = np.random.default_rng(seed)
    return Objects.of(
        [rng.uniform(1, 60, (k, 4)) for k in per_image],
        [rng.integers(-1, 3, k) for k in per_image],
        [rng.random(k) < 0.3 for k in per_image],
        [rng.uniform(1, 900, k) for k in per_image],
    )


def rows(objects):
    """What every image holds, as plain lists: left, top, width, height, label, crowd, area."""
    names = ("label", "crowd", "area")
    return [
        [[*objects.box[i].tolist(), *(getattr(objects, n)[i].item() for n in names)] for i in range(*bounds)]
        for bounds in zip(objects.start[:-1].tolist(), objects.start[1:].tolist(), strict=True)
    ]


def scenes(per_image=(2, 0, 3), seed=0, **columns):
    n = len(per_image)
    images = np.random.default_rng(seed).integers(0, 256, (n, 6, 7, 3), dtype=np.uint8)
    masks = np.random.default_rng(seed).integers(0, 4, (n, 6, 7)).astype(np.uint16)
    made = Samples(images, np.zeros(n, int), np.arange(n), ("person",), random_objects(per_image, seed), masks)
    return dataclasses.replace(made, **columns)


def table(made):
    return to_table(made.images, made.labels, made.ids, made.objects, made.masks, made.groups)


# ------------------------------------------------------------------------------------------------------------- objects


def test_boxes_alone_are_of_class_0_count_and_have_the_area_of_their_box():
    found = Objects.of([[[1, 2, 3, 4]], [], [[0, 0, 2, 2], [5, 5, 1, 9]]])
    assert len(found) == 3
    assert found.start.tolist() == [0, 1, 1, 3]
    assert found.image.tolist() == [0, 2, 2]
    assert [found.of_image(i) for i in range(3)] == [slice(0, 1), slice(1, 1), slice(1, 3)]
    assert found.area.tolist() == [12, 4, 9]
    assert (found.label.tolist(), found.crowd.tolist()) == ([0, 0, 0], [False] * 3)
    assert [getattr(found, name).dtype for name in COLUMNS] == [np.int64, np.float64, np.int64, np.bool_, np.float64]


def test_no_image_and_images_without_objects_are_objects_too():
    nothing = Objects.of([])
    assert (len(nothing), nothing.box.shape, nothing.image.tolist()) == (0, (0, 4), [])
    empty = Objects.of([[], []], [[], []], [[], []], [[], []])
    assert (len(empty), empty.box.shape, empty.start.tolist()) == (2, (0, 4), [0, 0, 0])


@pytest.mark.parametrize("size", [(0, 3), (3, 0), (-1, 3), (float("nan"), 3)])
def test_a_box_without_a_size_is_refused(size):
    with pytest.raises(ValueError, match="1 boxes have no positive width and height; drop them"):
        Objects.of([[[1, 1, 2, 2]], [[0, 0, *size]]])


@settings(deadline=None)
@given(counts, st.data())
def test_objects_go_where_their_images_go(per_image, data):
    objects = random_objects(per_image)
    chosen = data.draw(st.lists(st.integers(0, len(per_image) - 1), max_size=10))
    everything = rows(objects)
    assert rows(objects.take(np.array(chosen, int))) == [everything[i] for i in chosen]
    assert rows(objects.take(slice(1, None))) == everything[1:]
    chosen_by_truth = np.arange(len(per_image)) % 2 == 0
    assert rows(objects.take(chosen_by_truth)) == everything[::2]


@settings(deadline=None)
@given(counts, counts)
def test_joined_objects_are_those_of_one_part_after_another(first, second):
    a, b = random_objects(first), random_objects(second, seed=1)
    whole = Objects.joined([a, b])
    assert rows(whole) == rows(a) + rows(b)
    back = whole.take(slice(len(a), None))
    assert all(np.array_equal(getattr(back, name), getattr(b, name)) for name in COLUMNS)


@settings(deadline=None)
@given(counts, st.integers(0, 3))
def test_arrow_keeps_all_of_it_also_in_pieces(per_image, cut):
    objects = random_objects(per_image)
    array = objects.to_arrow()
    assert array.type == OBJECTS.type
    pieces = [array[:cut], array[cut:]]
    for column in (pa.chunked_array([array]), pa.chunked_array(pieces), pa.chunked_array(pieces[1:], OBJECTS.type)):
        expected = rows(objects) if column.length() == len(objects) else rows(objects)[cut:]
        back = Objects.from_arrow(column)
        assert rows(back) == expected
        assert [getattr(back, name).dtype for name in COLUMNS] == [getattr(objects, name).dtype for name in COLUMNS]


def test_arrow_reads_as_anybody_would_read_it():
    shown = Objects.of([[], [[1, 2, 3, 4]]], [[], [2]], [[], [True]], [[], [7.5]]).to_arrow().to_pylist()
    assert shown == [[], [{"box": [1, 2, 3, 4], "label": 2, "crowd": True, "area": 7.5}]]


# ------------------------------------------------------------------------------------------------------------- digests


@pytest.mark.parametrize(
    ("column", "place", "value"),
    [("box", (0, 2), 9.25), ("label", 1, 2), ("crowd", 3, None), ("area", 4, 0.5)],
)
def test_one_other_number_of_an_object_is_another_hash_of_its_image_alone(column, place, value):
    made = scenes()
    values = getattr(made.objects, column).copy()
    values[place] = not values[place] if value is None else value
    changed = dataclasses.replace(made, objects=dataclasses.replace(made.objects, **{column: values}))
    row = made.objects.image[np.atleast_1d(place)[0]]
    differ = [a != b for a, b in zip(row_hashes(table(made)), row_hashes(table(changed)), strict=True)]
    assert differ == [i == row for i in range(3)]


def test_an_object_that_moves_to_another_image_and_one_pixel_of_a_mask_change_hashes():
    made = scenes()
    start = np.array([0, 1, 2, 5])
    moved = dataclasses.replace(made, objects=dataclasses.replace(made.objects, start=start))
    masks = made.masks.copy()
    masks[2, 0, 0] += 1
    masked = dataclasses.replace(made, masks=masks)
    before = row_hashes(table(made))
    assert [a != b for a, b in zip(before, row_hashes(table(moved)), strict=True)] == [True, True, False]
    assert [a != b for a, b in zip(before, row_hashes(table(masked)), strict=True)] == [False, False, True]
    assert row_hashes(table(dataclasses.replace(made))) == before
    bare = dataclasses.replace(made, objects=None, masks=None)
    assert set(row_hashes(table(bare))).isdisjoint(before)


def test_a_box_that_was_changed_in_the_file_is_noticed(tmp_path):
    made, path = scenes(), tmp_path / "0.parquet"
    write_table(table(made), path)
    said = shard_digest(path)
    whole = pq.read_table(path)
    shifted = dataclasses.replace(made.objects, box=made.objects.box + 1.0)
    pq.write_table(whole.set_column(4, whole.schema.field("objects"), shifted.to_arrow()), path)
    assert shard_digest(path) == said
    with pytest.raises(CorruptShard, match="its rows have digest"):
        read_table(path)


# --------------------------------------------------------------------------------------------------- there and back


def test_samples_come_back_from_a_file_as_they_were(tmp_path):
    made = scenes(groups=np.array([4, -1, 4]))
    write_table(table(made), tmp_path / "0.parquet")
    back = from_tables([read_table(tmp_path / "0.parquet")] * 2, made.classes)
    assert rows(back.objects) == rows(made.objects) * 2
    for name in ("images", "masks", "groups", "ids"):
        assert np.array_equal(getattr(back, name), np.concatenate([getattr(made, name)] * 2))
    assert back.masks.dtype == np.uint16


def test_masks_of_more_than_255_objects_survive(tmp_path):
    masks = np.zeros((2, 20, 20), np.uint16)
    masks[0] = np.arange(1, 401).reshape(20, 20)
    masks[1, 3, 3] = 65535
    objects = Objects.of([np.ones((400, 4)), []])
    images = np.zeros((2, 20, 20, 3), np.uint8)
    write_table(to_table(images, np.zeros(2, int), np.arange(2), objects, masks), tmp_path / "0.parquet")
    assert np.array_equal(from_tables([read_table(tmp_path / "0.parquet")], ("person",)).masks, masks)


def test_samples_are_taken_with_all_that_belongs_to_them():
    made = scenes(groups=np.array([7, 8, 9]))
    back = made.take(np.array([2, 0]))
    assert rows(back.objects) == [rows(made.objects)[2], rows(made.objects)[0]]
    assert np.array_equal(back.masks, made.masks[[2, 0]])
    assert back.groups.tolist() == [9, 7]


def test_joined_samples_keep_objects_masks_and_groups_and_groups_stay_different():
    first = scenes(groups=np.array([0, 5, -1]))
    second, third = (scenes((1, 1), seed=s, groups=np.array(g)) for s, g in ((1, [5, 0]), (2, [-1, 0])))
    whole = joined([first, second, third])
    assert rows(whole.objects) == rows(first.objects) + rows(second.objects) + rows(third.objects)
    assert np.array_equal(whole.masks, np.concatenate([first.masks, second.masks, third.masks]))
    assert whole.groups.tolist()[:3] == [0, 5, -1]
    named = whole.groups[whole.groups >= 0]
    assert len(set(named.tolist())) == len(named) == 5
    assert (whole.groups == -1).tolist() == [False, False, True, False, False, True, False]


def test_what_only_some_parts_have_is_left_out_and_other_sizes_are_refused():
    whole = joined([scenes(groups=np.zeros(3, int)), scenes(masks=None)])
    assert (whole.groups, whole.masks) == (None, None)
    assert len(whole.objects) == 6
    with pytest.raises(SpecError, match="cannot join images of"):
        joined([scenes(), scenes(classes=("car", "person"))])


# --------------------------------------------------------------------------------------------- subsets by sequence


VIDEOS = np.array([3, 3, 8, 3, 8, 1, 1, 8, 8, 5, 5, 5])


def videos(groups=VIDEOS):
    n = len(groups)
    return Samples(
        np.zeros((n, 2, 2, 3), np.uint8), np.zeros(n, int), np.arange(50, 50 + n), ("person",), groups=groups
    )


def by_sequence(size, seed=0, of=None):
    made = of or videos()
    return made.take(subset_rows(made, Subset(of=Dataset(name="x"), size=size, seed=seed, by="sequence")))


@pytest.mark.parametrize("seed", range(4))
def test_a_subset_by_sequence_takes_one_whole_video_after_another_and_smaller_ones_lie_in_it(seed):
    whole = by_sequence(12, seed)
    assert sorted(whole.ids.tolist()) == list(range(50, 62))
    changes = 1 + int((np.diff(whole.groups) != 0).sum())
    assert changes == len(set(VIDEOS.tolist()))
    for size in range(1, 12):
        assert by_sequence(size, seed).ids.tolist() == whole.ids.tolist()[:size]


def test_videos_come_in_another_order_under_another_seed_and_not_by_the_order_of_the_data():
    orders = {tuple(dict.fromkeys(by_sequence(12, seed).groups.tolist())) for seed in range(20)}
    assert len(orders) > 5
    shuffled = videos().take(np.random.default_rng(0).permutation(12))
    assert by_sequence(7, of=shuffled).ids.tolist() == by_sequence(7).ids.tolist()


def test_images_of_no_video_are_drawn_one_by_one():
    groups = np.concatenate([np.full(30, -1), np.repeat([0, 1, 2], 10)])
    alone = by_sequence(60, of=videos(groups)).groups == -1
    assert 0 < alone[:30].sum() < 30
    assert (np.diff(np.flatnonzero(~alone)) > 1).sum() <= 2  # the three videos stay whole


def test_a_subset_by_sequence_needs_sequences():
    with pytest.raises(SpecError, match=r'these images are of no sequences; write by="image"'):
        by_sequence(3, of=dataclasses.replace(videos(), groups=None))


def test_by_image_the_video_does_not_matter():
    made = videos()
    chosen = subset_rows(made, Subset(of=Dataset(name="x"), size=12))
    bare = dataclasses.replace(made, groups=None)
    assert np.array_equal(chosen, subset_rows(bare, Subset(of=Dataset(name="x"), size=12)))
    assert sorted(chosen) == sorted(stratified_order(made.labels, made.ids))

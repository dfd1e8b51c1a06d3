"""Crops of people, there and back: whole within the mask, to the byte beyond it."""

import math

import numpy as np
import pytest

from realfake.syn2real import crops
from realfake.syn2real.crops import People
from tests.drawn_people import people, scenes


def one_person(left, top, width, height, size=64):
    """A noisy image and a mask that fills the box."""
    image = np.random.default_rng(0).integers(90, 150, (size, size, 3), dtype=np.uint8)
    mask = np.zeros((size, size), bool)
    mask[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)] = True
    return image, (left, top, width, height), mask


PLACES = {
    "middle": (20, 24, 12, 20),
    "upper left": (0, 0, 9, 14),
    "lower right": (54, 50, 10, 14),
    "half outside": (-6, 58, 14, 12),
    "tiny": (30, 30, 3, 8),
    "one pixel": (33, 12, 1, 1),
    "larger than the crop": (4, 2, 44, 60),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_crop_of_the_windows_own_size_is_the_window(place):
    image, box, mask = one_person(*PLACES[place])
    left, top, side = crops.window(box)
    crop, inside = crops.cut(image, box, mask, pixels=side)
    around = [(side, side), (side, side)]
    rows, columns = slice(top + side, top + 2 * side), slice(left + side, left + 2 * side)
    np.testing.assert_array_equal(crop, np.pad(image, [*around, (0, 0)], mode="edge")[rows, columns])
    np.testing.assert_array_equal(inside, np.pad(mask, around)[rows, columns])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("pixels", [16, 32, 33])
def test_a_change_comes_back_whole_within_the_mask_and_nowhere_beyond_its_feather(place, pixels):
    from scipy.ndimage import binary_dilation

    image, box, mask = one_person(*PLACES[place])
    crop, inside = crops.cut(image, box, mask, pixels=pixels)
    assert inside.any()
    pasted = crops.paste(image, crop + np.uint8(40), box, mask).astype(int)
    change = pasted - image
    assert (change[mask] == 40).all()
    ring = binary_dilation(mask) & ~mask  # the four neighbours: those within a distance of one pixel
    assert (change[~mask & ~ring] == 0).all()
    left, top, side = crops.window(box)
    window = np.zeros_like(mask)
    window[max(0, top) : top + side, max(0, left) : left + side] = True
    assert (change[ring & window] == 20).all()
    assert (crops.paste(image, crop + np.uint8(40), box, mask, feather=0)[~mask] == image[~mask]).all()


def test_at_equal_size_what_comes_back_is_the_new_crop_to_the_byte():
    image, box, mask = one_person(*PLACES["half outside"])
    left, top, side = crops.window(box)
    new = np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)
    pasted = crops.paste(image, new, box, mask)
    rows, columns = np.nonzero(mask)
    np.testing.assert_array_equal(pasted[mask], new[rows - top, columns - left])


@pytest.mark.parametrize("domain", ["urban", "garden", "synthetic"])
def test_unchanged_people_leave_every_image_as_it_was(domain):
    images, start, boxes, masks = scenes(domain)
    same = people(domain)
    assert len(same) == len(boxes) > 0
    np.testing.assert_array_equal(crops.paste_people(images, start, boxes, masks, same.crops), images)


def test_of_drawn_scenes_only_people_change():
    from scipy.ndimage import binary_dilation

    images, start, boxes, masks = scenes("urban")
    other = np.random.default_rng(0).integers(0, 256, people("urban").crops.shape, dtype=np.uint8)
    pasted = crops.paste_people(images, start, boxes, masks, other)
    beyond = ~binary_dilation(masks > 0, np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]]))
    np.testing.assert_array_equal(pasted[beyond], images[beyond])
    assert (pasted[masks > 0] != images[masks > 0]).any(-1).mean() > 0.9


def test_without_a_mask_the_ellipse_inside_the_box_stands_for_the_person():
    image = np.zeros((200, 200, 3), np.uint8)
    inside = crops.cut(image, (40, 60, 50, 80), pixels=120)[1]  # the window is 120 wide
    assert inside.sum() == pytest.approx(math.pi / 4 * 50 * 80, rel=0.01)
    rows, columns = np.nonzero(inside)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (80, 50)
    assert crops.cut(image, (10, 10, 0.5, 40), pixels=32)[1].any()


def test_boxes_and_masks_that_show_nobody_are_refused():
    image, _, mask = one_person(*PLACES["middle"])
    with pytest.raises(ValueError, match="no area"):
        crops.cut(image, (3, 3, 0, 9))
    with pytest.raises(ValueError, match="outside its image"):
        crops.cut(image, (300, 3, 5, 9))
    with pytest.raises(ValueError, match="no pixel near its box"):
        crops.cut(image, (0, 0, 5, 5), mask)
    with pytest.raises(ValueError, match="nobody to change"):
        People(np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 8, 8), bool))

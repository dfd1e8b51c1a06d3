"""The aerial renderer: geometry against closed forms, labels against the masks, samples against themselves."""

import hashlib
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from realfake.aerial import clutter, grid, people, sensor
from realfake.aerial.camera import Camera, Sun
from realfake.aerial.domains import DOMAINS, GARDEN, KARST, PARK, QUARRY, SYNTHETIC, URBAN, Lens
from realfake.aerial.ground import broad_noise
from realfake.aerial.people import CHARACTERS, POSES, Person, body, figure
from realfake.aerial.sheet import GUTTER, LINE, contact_sheet
from realfake.aerial.solids import Solid, draw
from realfake.generators import procedural
from realfake.generators.procedural import render

NOON = Sun(azimuth=0, elevation=45, strength=0)
CLOSE = Camera(40, 25, 128, (64, 64))
CROWD = replace(URBAN, people=(30, 30), crowding=0.9, clutter=(("tree", 12, 12), ("car", 3, 3)))


def digest(scene):
    """Everything that a scene holds, as one line."""
    parts = [scene.image.tobytes(), scene.labels.tobytes(), scene.boxes.tobytes(), repr(scene.people).encode()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def standing(**fields):
    """A plain person in the middle of the ground."""
    values = {"character": 0, "pose": "stand", "yaw": 0.0, "place": (0.0, 0.0), "stature": 1.7, "gait": (0.0,) * 4}
    colours = {"shirt": (200.0, 0, 0), "trousers": (0, 0, 200.0), "skin": (200.0, 150, 120), "hair": (20.0, 20, 20)}
    return Person(**(values | colours | fields))


def drawn_mask(person, camera, gap=0.0):
    return np.asarray(draw(figure(person, gap), camera, NOON).mask)


# --------------------------------------------------------------------------------------------------------- the geometry


@pytest.mark.parametrize("pitch", [20.0, 45.0, 90.0])
def test_the_camera_is_the_pinhole_that_scipy_builds(pitch):
    from scipy.spatial.transform import Rotation

    camera = Camera(pitch, distance=60, pixels=256, centre=(120, 131))
    points = np.random.default_rng(0).uniform(-9, 9, (50, 3))
    turn = Rotation.from_euler("x", 90 + pitch, degrees=True)  # world z up -> camera z forward, y down
    seen = turn.apply(points) + np.array([0, 0, 60])
    expected = seen[:, :2] / seen[:, 2:] * camera.focal + (120, 131)
    np.testing.assert_allclose(camera.project(points)[:, :2], expected, atol=1e-9)
    np.testing.assert_allclose(camera.project(points)[:, 2], seen[:, 2], atol=1e-12)
    assert camera.altitude == pytest.approx(60 * np.sin(np.radians(pitch)))


def test_ground_is_the_inverse_of_the_projection():
    camera = Camera(33, distance=80, pixels=256, centre=(128, 128))
    for u, v in np.random.default_rng(1).uniform(0, 256, (30, 2)):
        x, y = camera.ground(u, v)
        np.testing.assert_allclose(camera.project(np.array([x, y, 0.0]))[:2], (u, v), atol=1e-9)
    with pytest.raises(ValueError, match="above the horizon"):
        camera.ground(0, -1000)


def test_a_shadow_is_as_long_as_the_sun_is_low():
    shadow = Sun(azimuth=30, elevation=20, strength=1).shadow(np.array([[1.0, 2.0, 3.0]]))[0]
    assert np.hypot(shadow[0] - 1, shadow[1] - 2) == pytest.approx(3 / np.tan(np.radians(20)))
    assert shadow[2] == 0


def test_a_capsule_covers_its_closed_form_area():
    """Seen from straight above: 2 r l + π r² pixels."""
    camera = Camera(90, distance=90, pixels=256, centre=(128, 128))  # 10 pixels a metre at the ground
    lines = np.array([[[-3.0, 0, 0]], [[3.0, 0, 0]]])
    solid = Solid((0, 0), lines, np.array([1.0]), np.full((1, 3), 99.0))
    assert np.asarray(draw(solid, camera, NOON).mask).sum() == pytest.approx(2 * 10 * 60 + np.pi * 100, rel=0.05)


@pytest.mark.parametrize("pose", POSES)
def test_a_person_fills_the_area_and_length_that_the_distance_says(pose):
    """Twice as far away: half as long and a quarter of the pixels."""
    areas, sides = [], []
    for distance in (20, 40, 80):
        mask = drawn_mask(standing(pose=pose, yaw=90.0), Camera(60, distance, 256, (128, 128)))
        areas.append(mask.sum())
        sides.append(max(np.ptp(i) + 1 for i in np.nonzero(mask)))
    np.testing.assert_allclose(np.diff(np.log2(areas)), -2, atol=0.25)  # limbs are 1 to 8 pixels thick here
    np.testing.assert_allclose(np.diff(np.log2(sides)), -1, atol=0.15)


def test_people_are_as_tall_as_they_say():
    """A standing person from the side, and one lying down from above, are their stature long."""
    for person, pitch in ((standing(), 1.0), (standing(pose="prone"), 90.0)):
        camera = Camera(pitch, people.STATURE * 900 / 80, 256, (128, 128))  # 80 pixels a stature
        rows = np.nonzero(drawn_mask(person, camera))[0]
        assert np.ptp(rows) + 1 == pytest.approx(80, rel=0.05)


def test_a_standing_person_shortens_as_the_camera_rises_and_turns_with_its_yaw():
    heights = []
    for pitch in (20, 45, 70, 90):
        rows = np.nonzero(drawn_mask(standing(), Camera(pitch, 30, 256, (128, 128))))[0]
        heights.append(np.ptp(rows))
    assert heights == sorted(heights, reverse=True)
    assert heights[-1] < 0.35 * heights[0]
    above = Camera(90, 30, 256, (128, 128))
    shapes = [drawn_mask(standing(pose="prone", yaw=yaw), above).shape for yaw in (0.0, 90.0)]
    assert shapes[0][0] > shapes[0][1]
    assert shapes[1][1] > shapes[1][0]


# ------------------------------------------------------------------------------------------------------------- the grid


def test_the_grid_is_a_bijection_of_17280_cells():
    assert grid.CELLS == 10 * 6 * 12 * 3 * 8 == 17_280
    cells = [grid.cell(number) for number in range(grid.CELLS)]
    assert len(set(cells)) == grid.CELLS
    assert [grid.number_of(cell) for cell in cells] == list(range(grid.CELLS))


def test_every_round_of_the_pool_visits_every_cell_once_in_a_seeded_order():
    order = [grid.pool_cell(i, seed=3) for i in range(2 * grid.CELLS)]
    assert sorted(order[: grid.CELLS]) == list(range(grid.CELLS)) == sorted(order[grid.CELLS :])
    assert order[:50] != [grid.pool_cell(i, seed=4) for i in range(50)]
    poses = Counter(grid.cell(number).pose for number in order[:900])
    assert all(count == pytest.approx(300, abs=60) for count in poses.values())  # a prefix is no corner of the grid


def test_what_is_off_the_grid_is_refused():
    with pytest.raises(ValueError, match="from 0 to 17279"):
        grid.cell(grid.CELLS)
    with pytest.raises(ValueError, match="not on the grid's axis"):
        grid.number_of(replace(grid.cell(0), pitch=21.0))


@pytest.mark.parametrize("index", range(12))
def test_a_synthetic_scene_shows_its_cell_and_nothing_else(index):
    scene = render("synthetic", index, seed=5, pixels=128)
    cell, (person,) = grid.cell(scene.cell), scene.people
    assert scene.cell == grid.pool_cell(index, 5)
    assert (person.character, person.pose, person.yaw) == (cell.character, cell.pose, cell.yaw)
    assert scene.camera.pitch == cell.pitch
    assert person.stature_pixels == pytest.approx(cell.stature)
    ground = scene.image[scene.labels == 0]
    assert np.median(np.abs(ground - np.median(ground, axis=0))) <= 4  # flat green, no noise, no shadow
    assert np.median(ground, axis=0).argmax() == 1


# ------------------------------------------------------------------------------------------ a pure function of its name


def test_a_scene_is_the_same_in_any_order_and_process():
    names = [(name, index) for name in DOMAINS for index in (0, 7)]
    here = [digest(render(name, index, 2, pixels=96, gap=0.5)) for name, index in names]
    code = (
        "import sys; from tests.test_procedural import digest, render\n"
        f"for name, index in reversed({names!r}): print(digest(render(name, index, 2, pixels=96, gap=0.5)))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert there[::-1] == here
    assert len(set(here)) == len(here)


def test_domain_index_and_seed_each_make_another_scene():
    scenes = [
        render(*key, pixels=64).image for key in (("park", 0, 0), ("park", 1, 0), ("park", 0, 1), ("karst", 0, 0))
    ]
    assert len({scene.tobytes() for scene in scenes}) == 4


def test_rendering_needs_no_torch():
    code = "import realfake.aerial.sheet, sys; assert not {'torch', 'ray', 'mlflow', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ----------------------------------------------------------------------------------------------------------- the labels


def check_labels(scene):
    """Boxes are those of the masks, masks are disjoint and seen, and the people are in the same order."""
    k, (height, width) = len(scene.people), scene.labels.shape
    assert scene.image.shape == (height, width, 3)
    assert (scene.image.dtype, scene.boxes.dtype, scene.labels.dtype) == (np.uint8, np.float64, np.uint16)
    assert scene.boxes.shape == (k, 4)
    assert scene.masks.shape == (k, height, width)
    assert (scene.masks.sum(0) == (scene.labels > 0)).all()
    for mask, box, person in zip(scene.masks, scene.boxes, scene.people, strict=True):
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        assert box.tolist() == [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        assert 0 < person.visible <= 1


@pytest.mark.parametrize("name", DOMAINS)
def test_boxes_are_exactly_those_of_the_masks(name):
    for index in range(6):
        scene = render(name, index, pixels=128)
        assert scene.domain == name
        check_labels(scene)


def test_boxes_are_those_that_pycocotools_finds():
    coco = pytest.importorskip("pycocotools.mask")
    scene = render(CROWD, 0)
    masks = np.asfortranarray(scene.masks.transpose(1, 2, 0).astype(np.uint8))
    np.testing.assert_array_equal(coco.toBbox(coco.encode(masks)), scene.boxes)


def test_crowds_hide_people_and_those_not_seen_are_counted():
    scenes = [render(CROWD, index, pixels=256) for index in range(8)]
    for scene in scenes:
        check_labels(scene)
        assert len(scene.people) + scene.hidden == 30
    assert sum(scene.hidden for scene in scenes) > 0
    shares = np.array([person.visible for scene in scenes for person in scene.people])
    assert (shares == 1).any()
    assert (shares < 0.7).mean() > 0.05


def test_the_nearer_of_two_hides_the_farther():
    camera = Camera(30, 30, 128, (64, 64))
    near, far, alone = (figure(standing(place=(0.0, y))) for y in (-1.0, 1.0, 0.0))
    for figures in ([near, far], [far, near]):
        owners, shares = procedural._paint(Image.new("RGB", (128, 128)), [], figures, camera, NOON)
        visible = dict(zip(("near", "far"), shares if figures[0] is near else shares[::-1], strict=True))
        assert visible["near"] == 1
        assert visible["far"] < 1
        assert np.unique(np.asarray(owners)).tolist() == [0, 1, 2]
    wall = clutter.thing("roof", (0.0, -6.0), URBAN, np.random.default_rng(0))
    _, (share,) = procedural._paint(Image.new("RGB", (128, 128)), [wall], [alone], Camera(12, 60, 128, (64, 64)), NOON)
    assert share == 0


def test_at_the_border_boxes_are_clipped_to_the_image():
    cut = 0
    for index in range(12):
        scene = render(replace(PARK, clutter=(), people=(12, 12)), index, pixels=128)
        check_labels(scene)
        left, top = scene.boxes[:, 0], scene.boxes[:, 1]
        right, bottom = left + scene.boxes[:, 2], top + scene.boxes[:, 3]
        assert min(left.min(), top.min()) >= 0
        assert max(right.max(), bottom.max()) <= 128
        at_border = (left == 0) | (top == 0) | (right == 128) | (bottom == 128)
        cut += sum(at_border[i] and person.visible < 1 for i, person in enumerate(scene.people))
    assert cut > 5


def test_an_image_without_anyone_in_sight_has_no_boxes():
    scenes = (render(replace(KARST, people=(1, 1), clutter=()), index, pixels=48) for index in range(400))
    scene = next(scene for scene in scenes if not scene.people)
    assert scene.hidden >= 1
    assert scene.boxes.shape == (0, 4)
    assert scene.masks.shape == (0, 48, 48)
    assert not scene.labels.any()


# ---------------------------------------------------------------------------------------------------------- the domains


def test_domains_are_those_of_the_reference():
    """Statures (px), pitches (degrees), poses, blur, noise and JPEG quality of the prototype."""
    table = {
        URBAN: ((11, 24), (30, 60), (0.9, 0.1, 0.0), 0.5, 6, 70),
        PARK: ((13, 28), (45, 90), (0.75, 0.15, 0.1), 0.6, 7, 65),
        GARDEN: ((22, 42), (78, 90), (0.8, 0.1, 0.1), 0.3, 3, 85),
        KARST: ((8, 16), (60, 90), (0.5, 0.2, 0.3), 0.7, 9, 60),
        QUARRY: ((12, 26), (40, 75), (0.35, 0.3, 0.35), 0.5, 7, 60),
        SYNTHETIC: ((9, 40), (20, 90), (1 / 3, 1 / 3, 1 / 3), 0, 0, 0),
    }
    assert set(table) == set(DOMAINS.values())
    for d, row in table.items():
        assert (d.statures, d.pitches, d.poses, d.lens.blur, d.lens.noise, d.lens.quality) == row


@pytest.mark.parametrize("domain", [URBAN, PARK, GARDEN, KARST, QUARRY], ids=lambda d: d.name)
def test_cameras_keep_to_the_ranges_of_their_domain(domain):
    cameras = [render(domain, index, pixels=48).camera for index in range(60)]
    statures = [camera.focal * people.STATURE / camera.distance for camera in cameras]
    pitches = [camera.pitch for camera in cameras]
    for values, (low, high) in ((statures, domain.statures), (pitches, domain.pitches)):
        assert low <= min(values) < low + 0.2 * (high - low)
        assert high - 0.2 * (high - low) < max(values) <= high
    assert (
        domain.distances[0]
        <= min(c.distance for c in cameras)
        <= max(c.distance for c in cameras)
        <= domain.distances[1]
    )


def test_poses_come_in_the_shares_of_the_domain():
    shown = [p.pose for index in range(120) for p in render(replace(QUARRY, clutter=()), index, pixels=96).people]
    counts = np.array([shown.count(pose) for pose in POSES])
    expected = np.array(QUARRY.poses) * len(shown)
    assert len(shown) > 80
    assert ((counts - expected) ** 2 / expected).sum() < 13.8  # χ² with 2 degrees of freedom, 99.9 %


def test_larger_images_hold_more_people_of_the_same_size():
    small, large = ([render("urban", i, pixels=pixels) for i in range(12)] for pixels in (96, 288))
    counts = [sum(len(scene.people) + scene.hidden for scene in scenes) for scenes in (small, large)]
    assert counts[1] / counts[0] == pytest.approx(9, rel=0.45)
    statures = [np.median([p.stature_pixels for s in scenes for p in s.people]) for scenes in (small, large)]
    assert statures[0] == pytest.approx(statures[1], rel=0.25)


@pytest.mark.parametrize("kind", clutter.KINDS)
def test_every_thing_can_be_seen_and_casts_a_shadow(kind):
    thing = clutter.thing(kind, (0.0, 0.0), URBAN, np.random.default_rng(0))
    camera = Camera(50, 40, 128, (64, 64))
    assert np.asarray(draw(thing, camera, NOON).mask).sum() > 4
    bright, dark = (Image.new("RGB", (128, 128), (200, 200, 200)) for _ in range(2))
    procedural._shade(bright, [thing], camera, NOON)
    procedural._shade(dark, [thing], camera, replace(NOON, strength=0.5))
    assert np.asarray(bright).min() == 200
    assert 98 <= np.asarray(dark)[..., 0].min() <= 104


def test_things_are_never_labelled():
    """Nor is what they hide: beside a person, a car in front of them only takes pixels away."""
    car = clutter.thing("car", (0.0, -1.5), URBAN, np.random.default_rng(0))
    alone, behind = (
        np.asarray(procedural._paint(Image.new("RGB", (128, 128)), things, [figure(standing())], CLOSE, NOON)[0])
        for things in ([], [car])
    )
    assert 0 < (behind > 0).sum() < (alone > 0).sum()
    assert not ((behind > 0) & (alone == 0)).any()


def test_the_ground_is_noise_of_mean_0_and_deviation_1():
    field = broad_noise(np.random.default_rng(0), Camera(40, 50, 200, (100, 100)), octaves=5)
    assert field.shape == (200, 200)
    assert field.mean() == pytest.approx(0, abs=1e-3)
    assert field.std() == pytest.approx(1, abs=1e-3)


# -------------------------------------------------------------------------------------------------------------- the gap


def test_the_gap_changes_the_person_and_nothing_else():
    for index in range(8):
        plain, wide = (render("synthetic", index, pixels=128, gap=gap) for gap in (0.0, 1.0))
        assert plain.camera == wide.camera
        assert plain.cell == wide.cell
        outside = np.ones((128, 128), bool)
        ys, xs = np.nonzero(plain.labels | wide.labels)
        outside[max(0, ys.min() - 3) : ys.max() + 4, max(0, xs.min() - 3) : xs.max() + 4] = False  # soft edges
        np.testing.assert_array_equal(plain.image[outside], wide.image[outside])
        assert wide.labels.sum() > plain.labels.sum()


def test_real_domains_ignore_the_gap():
    plain, wide = (render("park", 0, pixels=96, gap=gap) for gap in (0.0, 1.5))
    assert digest(plain) == digest(wide)


def test_at_gap_0_a_synthetic_person_is_drawn_as_a_real_one_and_beyond_ever_less():
    """Content alone: the same attributes, seen by the same camera. Intersection over union of the masks falls."""

    def owners(gap):
        return np.asarray(
            procedural._paint(Image.new("RGB", (128, 128)), [], [figure(standing(), gap)], CLOSE, NOON)[0]
        )

    real = owners(0.0) > 0
    overlap = [(real & (owners(gap) > 0)).sum() / (real | (owners(gap) > 0)).sum() for gap in (0, 0.25, 0.5, 1, 1.5)]
    assert overlap[0] == 1
    assert overlap == sorted(overlap, reverse=True)
    assert overlap[3] < 0.75
    assert body(0.0) == people.Body()
    worn, vivid = figure(standing()).colours, figure(standing(), 1.0).colours
    assert standing().shirt in map(tuple, worn)
    assert CHARACTERS[0].shirt in map(tuple, vivid)


# ----------------------------------------------------------------------------------------------------------- the camera


def test_a_camera_without_faults_changes_nothing():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    np.testing.assert_array_equal(sensor.develop(image, Lens(), np.random.default_rng(0)), np.asarray(image))


@pytest.mark.parametrize("sigma", [0.3, 0.5, 0.7, 1.5])
def test_blur_has_the_deviation_it_says(sigma):
    """The response to a bright point: its second moment along one axis is σ²."""
    image = np.zeros((31, 31, 3), np.uint8)
    image[15, 15] = 255
    kernel = sensor.develop(Image.fromarray(image), Lens(blur=sigma), np.random.default_rng(0))[..., 0].astype(float)
    rows = kernel.sum(1) / kernel.sum()
    assert (rows * (np.arange(31) - 15) ** 2).sum() == pytest.approx(sigma**2, rel=0.15, abs=0.02)


def test_noise_gamma_cast_and_jpeg_are_what_they_say():
    grey, rng = Image.new("RGB", (200, 200), (120, 120, 120)), np.random.default_rng(0)
    noisy = sensor.develop(grey, Lens(noise=8), rng)
    assert np.asarray(Image.fromarray(noisy).convert("L")).std() == pytest.approx(8, rel=0.1)
    curved = sensor.develop(grey, Lens(gamma=0.5, cast=(1.1, 1.0, 0.9)), rng)[0, 0]
    np.testing.assert_allclose(curved, 255 * np.array([1.1, 1.0, 0.9]) * (120 / 255) ** 0.5, atol=1)
    photograph = Image.fromarray(render("park", 0, pixels=64).image)
    coarse, fine = (
        np.abs(sensor.develop(photograph, Lens(quality=q), rng) - np.asarray(photograph, float)).mean()
        for q in (20, 95)
    )
    assert 0 < fine < coarse


# ---------------------------------------------------------------------------------------------------------- the picture


def test_a_contact_sheet_shows_scenes_with_their_boxes(tmp_path):
    contact_sheet(tmp_path / "sheet.png", ("garden", "synthetic"), columns=2, pixels=96)
    picture = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert picture.shape == (2 * (96 + GUTTER + 12) + GUTTER, 2 * (96 + GUTTER) + GUTTER, 3)
    scene = render("synthetic", 0, pixels=96)
    x, y = scene.boxes[0, :2].astype(int) - 1
    top = 96 + GUTTER + 12 + GUTTER + 12
    assert picture[top + y, GUTTER + x].tolist() == list(LINE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"domain": "moon"}, "choose one of urban, park"),
        ({"index": -1}, "numbered from 0"),
        ({"pixels": 8}, "from 48 to 1024"),
        ({"gap": -0.5}, "gap=-0.5 is negative"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_cure(arguments, message):
    with pytest.raises(ValueError, match=message):
        render(**({"domain": "synthetic", "index": 0} | arguments))


def test_an_unknown_thing_is_refused():
    with pytest.raises(ValueError, match="no thing called 'ufo'"):
        clutter.thing("ufo", (0.0, 0.0), URBAN, np.random.default_rng(0))

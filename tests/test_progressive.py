"""Progressive transformation learning without Ray: chains of specs, and what two small rounds leave behind."""

import dataclasses
import itertools
import json
import math
import pickle
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.ndimage import binary_dilation

from realfake import samples, training
from realfake.generators import translation
from realfake.objects import Objects
from realfake.progressive import ptl
from realfake.samples import Samples, seed_of, shard_digest, shard_name
from realfake.shards import distance_table
from realfake.spec import Distances, Pool, SpecError, Subset, Translation, Trial, address
from realfake.store import Store
from realfake.syn2real.crops import cut, window
from realfake.tasks import detection, nearness
from realfake.tasks.feature_gaussians import Ruler, read_gaussian
from realfake.tasks.keeping import features_at
from tests import tiny
from tests.tiny_chain import POOL, RECIPE, TEST, TRAIN, VIRTUAL, import_scenes, make_all

REAL, NEW = Subset(of=TRAIN, size=16), 12


def chain(**changes):
    given = {"real": REAL, "virtual": VIRTUAL, "test": TEST, "recipe": RECIPE, "iterations": 2, "per_iteration": NEW}
    return ptl(**{**given, **changes})


CHAIN = chain()
POOLS = [part.of for part in CHAIN[-1].synthetic]
ROUNDS = [pool.generator for pool in POOLS]
RANDOM = Translation(real=REAL, virtual=VIRTUAL, seed=3)
EQUAL = dataclasses.replace(ROUNDS[0], temperature=math.inf, seed=3)
DRAWN = [
    Trial(real=REAL, synthetic=(Subset(of=Pool(generator=made), size=4),), test=TEST, recipe=RECIPE)
    for made in (RANDOM, EQUAL)
]


# --------------------------------------------------------------------------------------------------------------- specs


def test_every_round_adds_as_many_images_ranked_by_the_trial_before():
    trials = chain(iterations=3, per_iteration=20, scales=(32,), seed=5, translator="fourier", strength=0.5)
    assert [(trial.n_real, trial.n_synthetic, trial.seed) for trial in trials] == [(16, 20 * k, 5) for k in range(4)]
    for before, after in itertools.pairwise(trials):
        *kept, new = after.synthetic
        assert tuple(kept) == before.synthetic
        made = new.of.generator
        assert (made.critic, made.distances.size, made.distances.of.scales) == (before, 300, (32,))
        assert (made.translator, made.strength, made.candidates, made.seed, new.of.seed) == ("fourier", 0.5, 20, 5, 5)
        assert (made.real, made.virtual, new.size) == (REAL, VIRTUAL, 20)
    assert trials[0] == Trial(real=REAL, test=TEST, recipe=RECIPE, seed=5)


def test_a_chain_is_the_same_specs_written_out_and_its_rounds_do_not_depend_on_how_many_follow():
    first = Trial(real=REAL, test=TEST, recipe=RECIPE)
    near = Subset(of=Distances(of=POOL, critic=first), size=300)
    made = Translation(real=REAL, virtual=VIRTUAL, distances=near, candidates=NEW)
    second = Trial(real=REAL, synthetic=(Subset(of=Pool(generator=made), size=NEW),), test=TEST, recipe=RECIPE)
    assert [address(trial) for trial in CHAIN[:2]] == [address(first), address(second)]
    assert chain(iterations=5)[:3] == CHAIN
    assert len({address(trial) for seed in range(3) for trial in chain(seed=seed)}) == 9
    assert address(chain(temperature=4.0)[-1]) != address(CHAIN[-1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "give 1 or more of both"),
        ({"per_iteration": 0}, "give 1 or more of both"),
        ({"iterations": 3, "per_iteration": 101}, "taken from 300 virtual ones, once each"),
        ({"virtual": REAL}, r"these images are to become real; give Subset\(of=Pool\(…\), size=…\)"),
        ({"candidates": 50}, r"each round has its own; leave it out \(candidates are per_iteration\)"),
        ({"scales": (8,)}, "sides are 16 pixels or more"),
        ({"temperature": 0.0}, r"Translation\.temperature is 0\.0; it must be at least 1e-06"),
        ({"translator": "sd-img2img"}, "go together; give both"),
    ],
)
def test_chains_that_cannot_be_made_are_refused_in_a_sentence(changes, message):
    with pytest.raises(SpecError, match=message):
        chain(**changes)
    assert len(chain(iterations=3, per_iteration=100)) == 4


def test_a_chain_of_twelve_rounds_is_written_hashed_and_sent_at_once():
    started = time.process_time()
    trials = chain(iterations=12, per_iteration=10)
    assert len({repr(trial) for trial in trials}) == len(set(trials)) == 13
    assert trials == chain(iterations=12, per_iteration=10)
    assert pickle.loads(pickle.dumps(trials[-1])) == trials[-1]
    assert len(pickle.dumps(trials[-1])) < 50_000
    assert time.process_time() - started < 1


# ---------------------------------------------------------------------------------------------------------- end to end


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store in which two rounds are made, and two translations of images that were drawn at random."""
    made = Store(tmp_path_factory.mktemp("chain"))
    import_scenes(made, TRAIN, 40)
    import_scenes(made, TEST, 12)
    board, things = make_all([*CHAIN, *DRAWN], made)
    assert not board.failed, board.failed
    assert board.synthesis_over()
    assert len(things) == 6 + 5 + 4 + 4  # shards of POOL and both distances; trials; translations; their shards
    return made


def chosen(store, made, n=None):
    return pq.read_table(store.folder(made) / translation.SELECTION)["id"].to_numpy()[:n]


def distances_of(store, made):
    tables = [pq.read_table(store.folder(made.distances.of) / shard_name(first)) for first in (0, 256)]
    return np.concatenate([table["distance"].to_numpy() for table in tables])[:300]


def noise(seed, rounds):
    """Standard Gumbel noise of the ids 0 … 299, from numpy's own Philox."""
    name = seed_of("selection", seed, rounds)
    key = np.array([seed_of("gumbel", name), seed_of("gumbel", "high", name)], np.uint64)
    words = [int(np.random.Philox(key=key, counter=(i - 1) % 2**256).random_raw()) for i in range(300)]
    return np.array([-math.log(-math.log(((word >> 12) + 0.5) / 2**52)) for word in words])


def test_no_image_is_taken_twice(store):
    first, second = (chosen(store, made) for made in ROUNDS)
    assert set(first[:NEW]).isdisjoint(second)
    assert len(set(first)) == len(first)
    assert len(second) == len(first) - NEW


@pytest.mark.parametrize("number", [0, 1])
def test_the_order_of_a_round_is_that_of_its_distances_and_gumbel_noise(store, number):
    made = ROUNDS[number]
    away = distances_of(store, made)
    keys = np.where(np.isfinite(away), noise(0, number) - away / 5.0, -np.inf)
    if number:
        keys[chosen(store, ROUNDS[0], NEW)] = -np.inf
    expected = [i for i in np.argsort(-keys, kind="stable").tolist() if np.isfinite(keys[i])]
    assert chosen(store, made).tolist() == expected
    facts = store.record(made)["result"]
    assert facts["available"] == len(expected)
    assert facts["candidate_distance_median"] == pytest.approx(np.median(away[expected[:NEW]]))
    quantiles = np.quantile(away[expected], (0.05, 0.25, 0.5, 0.75, 0.95))
    assert json.loads(facts["pool_distance_quantiles"]) == pytest.approx(quantiles)
    assert np.median(away[expected[:NEW]]) < np.median(away[expected])


def test_images_drawn_at_random_and_at_equal_weights_are_in_the_order_of_the_noise_alone(store):
    by_noise = np.argsort(-noise(3, 0), kind="stable")
    assert chosen(store, RANDOM).tolist() == by_noise.tolist()
    seen = np.isfinite(distances_of(store, EQUAL))
    assert chosen(store, EQUAL).tolist() == [i for i in by_noise.tolist() if seen[i]]
    assert store.record(RANDOM)["result"]["pool_distance_quantiles"] is None


def test_images_that_are_infinitely_far_are_never_taken(store):
    near = Subset(of=Distances(of=POOL, critic=CHAIN[0], scales=(16,)), size=300)
    for first in (0, 256):
        ids = np.arange(first, first + samples.SHARD_ROWS)
        table = distance_table(ids, np.where(ids % 3 == 0, ids / 100, math.inf))
        samples.write_table(table, store.announce(near.of) / shard_name(first))
    made = dataclasses.replace(ROUNDS[0], distances=near)
    assert training.make(made, store, lambda event: None, tiny.CPU)["available"] == 100
    assert sorted(chosen(store, made).tolist()) == list(range(0, 300, 3))


@pytest.mark.parametrize("number", [0, 1])
def test_translated_images_are_the_virtual_ones_changed_at_their_people_only(store, number):
    ids = chosen(store, ROUNDS[number], NEW)
    virtual, made = samples.load(store, VIRTUAL).take(ids), samples.load(store, Subset(of=POOLS[number], size=NEW))
    assert made.ids.tolist() == list(range(NEW))
    for name in ("start", "box", "label", "crowd", "area"):
        assert np.array_equal(getattr(made.objects, name), getattr(virtual.objects, name))
    assert np.array_equal(made.masks, virtual.masks)
    changed = (made.images != virtual.images).any(axis=-1)
    allowed = np.stack([binary_dilation(mask > 0) for mask in virtual.masks])  # and one pixel around
    assert not (changed & ~allowed).any()
    assert changed[virtual.masks > 0].mean() > 0.5


def test_distances_are_those_of_a_plain_loop_over_people(store):
    spec = ROUNDS[0].distances.of
    folder = store.folder(spec.critic)
    model = detection.load(folder, spec.critic)
    ruler = Ruler.of(read_gaussian(folder / "gaussian.npz"), RECIPE.distance)
    virtual, found = samples.load(store, VIRTUAL).take(slice(0, 12)), distances_of(store, ROUNDS[0])
    for i in range(12):
        objects = virtual.objects
        boxes = objects.box[objects.of_image(i)]
        alone = [features_at(model, virtual.images[i : i + 1], Objects.of([[box]])) for box in boxes]
        nearest = min((ruler.distance(one)[0] for one in alone), default=math.inf)
        assert found[i] == pytest.approx(nearest, rel=1e-4)
    everybody = samples.load(store, VIRTUAL).objects
    assert np.array_equal(np.isfinite(found), np.diff(everybody.start) > 0)


def test_the_distance_to_a_critic_is_mahalanobis_own(store):
    """(f − μ)ᵀ (Σ + 10⁻³ · mean variance · I)⁻¹ (f − μ), by numpy, of the features at one person."""
    spec = ROUNDS[0].distances.of
    folder = store.folder(spec.critic)
    fitted = read_gaussian(folder / "gaussian.npz")[0]
    covariance = fitted.scatter / fitted.count
    covariance = covariance + 1e-3 * np.trace(covariance) / fitted.dimension * np.eye(fitted.dimension)
    image = samples.load(store, VIRTUAL).take(np.flatnonzero(np.diff(samples.load(store, VIRTUAL).objects.start))[:1])
    features = features_at(detection.load(folder, spec.critic), image.images, image.objects).feature.astype(float)
    away = [(f - fitted.mean) @ np.linalg.solve(covariance, f - fitted.mean) for f in features]
    assert nearness.distances(nearness.load(spec, store), image)[0] == pytest.approx(min(away), rel=1e-4)


def test_with_scales_every_person_is_cut_out_and_the_nearest_look_counts(store):
    spec = ROUNDS[0].distances.of
    critic = nearness.load(spec, store)
    few = samples.load(store, VIRTUAL).take(slice(0, 5))
    expected = np.full(5, math.inf)
    for row, box in zip(few.objects.image, few.objects.box, strict=True):
        left, top, width = window(box)
        for side in (32, 48):
            crop = cut(few.images[row], box, pixels=side)[0]
            shown = np.array([box[0] - left, box[1] - top, box[2], box[3]]) * side / width
            away = critic.ruler.distance(features_at(critic.model, np.stack([crop]), Objects.of([[shown]])))[0]
            expected[row] = min(expected[row], away)
    found = nearness.distances(critic, few, (32, 48))
    assert found == pytest.approx(expected, rel=1e-4)
    assert not np.allclose(found, nearness.distances(critic, few), rtol=1e-2)
    assert (found <= nearness.distances(critic, few, (32,)) * (1 + 1e-6)).all()


@pytest.mark.parametrize("scales", [(), (32,)])
def test_an_image_without_people_is_infinitely_far(store, scales):
    critic = nearness.load(ROUNDS[0].distances.of, store)
    few = samples.load(store, VIRTUAL).take(np.flatnonzero(np.diff(samples.load(store, VIRTUAL).objects.start))[:2])
    boxes = [few.objects.box[few.objects.of_image(0)], []]
    found = nearness.distances(critic, dataclasses.replace(few, objects=Objects.of(boxes)), scales)
    assert math.isfinite(found[0])
    assert found[1] == math.inf
    nobody = Samples(few.images, few.labels, few.ids, few.classes, Objects.of([[], []]))
    assert nearness.distances(critic, nobody, scales).tolist() == [math.inf, math.inf]


def test_regions_are_no_people(store):
    critic = nearness.load(ROUNDS[0].distances.of, store)
    whole = samples.load(store, VIRTUAL)
    one = whole.take(np.flatnonzero(np.diff(whole.objects.start))[:1])
    boxes = [*one.objects.box[:1], [2, 3, 12, 25], [40, 30, 10, 22]]

    def away(boxes, crowd):
        objects = Objects.of([boxes], crowds=[crowd])
        return nearness.distances(critic, dataclasses.replace(one, objects=objects))[0]

    alone = [away([box], [False]) for box in boxes]
    for crowd in itertools.product((False, True), repeat=3):
        people = [distance for distance, region in zip(alone, crowd, strict=True) if not region]
        assert away(boxes, crowd) == pytest.approx(min(people, default=math.inf), rel=1e-4)
    assert len(set(alone)) == 3


def test_a_trial_of_a_chain_says_what_it_was_made_of(store):
    result = store.record(CHAIN[-1])["result"]
    assert (result["n_real"], result["n_synthetic"], result["n_generator"], result["real_budget"]) == (16, 24, 16, 16)
    assert [(shard["pool"], shard["file"]) for shard in result["shards"]] == [
        (address(p), shard_name(0)) for p in POOLS
    ]


def test_running_again_makes_nothing(store):
    assert make_all([*CHAIN, *DRAWN], store)[1] == []


def test_a_deleted_shard_is_made_again_alone_and_is_the_same(store):
    path = store.folder(POOLS[1]) / shard_name(0)
    before = shard_digest(path)
    path.unlink()
    board, made = make_all(CHAIN, store)
    assert (board.failed, made) == ({}, [(address(POOLS[1]), 0)])
    assert shard_digest(path) == before


def test_deleted_distances_and_the_round_on_them_come_out_the_same(store):
    near, made = ROUNDS[1].distances.of, ROUNDS[1]
    before = shard_digest(store.folder(near) / shard_name(0)), store.record(made)["files"]
    (store.folder(near) / shard_name(0)).unlink()
    for path in sorted(store.folder(made).rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (store.folder(POOLS[1]) / shard_name(0)).unlink()
    _, things = make_all(CHAIN, store)
    assert things == [(address(near), 0), address(made), (address(POOLS[1]), 0)]
    assert (shard_digest(store.folder(near) / shard_name(0)), store.record(made)["files"]) == before

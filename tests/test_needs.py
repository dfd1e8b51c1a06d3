"""What a chain of progressive transformation learning still needs, stage by stage: no more and no less."""

import dataclasses

import pytest

from realfake.needs import foundations, needs
from realfake.progressive import ptl
from realfake.samples import SHARD_ROWS, shard_name
from realfake.spec import (
    ClosedSet,
    Dataset,
    DetectionRecipe,
    Evaluation,
    Pool,
    Procedural,
    Recipe,
    Subset,
    Translation,
    Trial,
    address,
)
from realfake.store import Store
from tests.by_hand import make_distances, make_record, make_shard

TRAIN, TEST = Dataset(name="coco"), Dataset(name="coco", split="test")
REAL, RECIPE = Subset(of=TRAIN, size=50), DetectionRecipe(examples_seen=100)
RENDERED = Pool(generator=Procedural())
CHAIN = ptl(real=REAL, virtual=Subset(of=RENDERED, size=300), test=TEST, recipe=RECIPE, iterations=2, per_iteration=20)
FIRST, SECOND, THIRD = CHAIN
POOL_1, POOL_2 = (part.of for part in THIRD.synthetic)
ROUND_1, ROUND_2 = POOL_1.generator, POOL_2.generator
NEAR_1, NEAR_2 = ROUND_1.distances.of, ROUND_2.distances.of
BOTH = {0, 256}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def put(store, *things, shards=(0, 256)):
    """Write things by hand: records of what has one, both shards of what is sharded (or the shards said)."""
    for thing in things:
        if thing in (POOL_1, POOL_2):
            make_shard(store, thing, 0)
        elif thing.made == "record":
            make_record(store, thing)
        else:
            for first in shards:
                (make_shard if isinstance(thing, Pool) else make_distances)(store, thing, first)


def needed(store, specs=CHAIN):
    """Return the names of what is needed: of records as a set, and which shards of what."""
    found = needs(specs, store)
    assert set(found.pools) >= {name for name, lacking in found.shards.items() if lacking}
    return set(found.specs), {name: lacking for name, lacking in found.shards.items() if lacking}


def names(*specs):
    return {address(spec) for spec in specs}


def shards(*pools):
    return {address(pool): {0} if pool in (POOL_1, POOL_2) else BOTH for pool in pools}


# --------------------------------------------------------------------------------------------------- stage by stage


def test_the_last_trial_of_a_chain_alone_needs_all_of_it(store):
    everything = names(*CHAIN, ROUND_1, ROUND_2), shards(RENDERED, NEAR_1, NEAR_2, POOL_1, POOL_2)
    assert needed(store) == everything
    assert needed(store, [THIRD]) == everything
    found = needs([THIRD], store)
    assert (found.images, found.distances) == (4 * SHARD_ROWS, 4 * SHARD_ROWS)
    assert (set(found.trials), set(found.fits)) == (names(*CHAIN), names(ROUND_1, ROUND_2))


def test_every_stage_of_a_chain_needs_exactly_what_is_after_it(store):
    stages = (RENDERED, FIRST, NEAR_1, ROUND_1, POOL_1, SECOND, NEAR_2, ROUND_2, POOL_2, THIRD)
    for done, thing in enumerate(stages):
        left = stages[done:]
        records = names(*(x for x in left if x.made == "record"))
        assert needed(store) == (records, shards(*(x for x in left if x.made == "shards")))
        put(store, thing)
    assert needs(CHAIN, store).nothing


def test_distances_need_their_critic_and_the_images_that_they_are_of(store):
    put(store, FIRST)
    assert address(RENDERED) in needed(store, [SECOND])[1]
    put(store, RENDERED, shards=[0])
    assert needed(store, [SECOND])[1][address(RENDERED)] == {256}
    put(store, NEAR_1, shards=[0])
    assert needed(store, [SECOND])[1] == {address(RENDERED): {256}, address(NEAR_1): {256}, **shards(POOL_1)}


def test_distances_that_are_there_need_neither_critic_nor_images(store):
    put(store, NEAR_1)
    assert needed(store, [SECOND]) == (names(ROUND_1, SECOND), shards(POOL_1))


def test_a_made_translation_needs_no_distances_and_no_critic(store):
    put(store, ROUND_1)
    assert needed(store, [SECOND]) == (names(SECOND), shards(POOL_1))


def test_a_deleted_shard_of_translated_images_is_needed_alone(store):
    put(store, RENDERED, *CHAIN, NEAR_1, NEAR_2, ROUND_1, ROUND_2, POOL_1, POOL_2)
    assert needs(CHAIN, store).nothing
    (store.folder(POOL_1) / shard_name(0)).unlink()
    assert needed(store) == (set(), shards(POOL_1))


def test_rendered_images_that_only_distances_were_made_of_may_go(store):
    put(store, RENDERED, *CHAIN, NEAR_1, NEAR_2, ROUND_1, ROUND_2, POOL_1, POOL_2)
    for spec in (RENDERED, NEAR_1):
        (store.folder(spec) / shard_name(0)).unlink()
    assert needs(CHAIN, store).nothing


def test_a_round_needs_the_images_and_the_choice_of_the_rounds_before(store):
    """It learns from the people of all that its critic was trained on, and takes none of their images again."""
    put(store, NEAR_2)
    assert needed(store, [THIRD])[0] == names(NEAR_1.critic, ROUND_1, ROUND_2, THIRD)
    put(store, FIRST, RENDERED, NEAR_1, ROUND_1)
    assert needed(store, [THIRD]) == (names(ROUND_2, THIRD), shards(POOL_1, POOL_2))
    put(store, ROUND_2, POOL_1)
    assert needed(store, [THIRD]) == (names(THIRD), shards(POOL_2))


def test_a_random_round_needs_no_critic(store):
    random = Pool(generator=Translation(real=REAL, virtual=Subset(of=RENDERED, size=300)))
    trial = Trial(real=REAL, synthetic=(Subset(of=random, size=20),), test=TEST, recipe=RECIPE)
    assert needed(store, [trial]) == (names(trial, random.generator), {address(random): {0}})


# ------------------------------------------------------------------------------------------------------- evaluations


def test_an_evaluation_needs_its_trial_until_it_is_made(store):
    evaluation = Evaluation(of=SECOND, on=Dataset(name="voc", split="test"))
    trials = names(FIRST, SECOND)
    found = needs([evaluation], store)
    assert (set(found.evaluations), set(found.trials)) == (names(evaluation), trials)
    put(store, SECOND, ROUND_1, POOL_1)
    assert needed(store, [evaluation]) == (names(evaluation), {})
    put(store, evaluation)
    assert needs([evaluation], store).nothing


# ---------------------------------------------------------------------------------------------------------- foundations


def test_what_things_stand_on():
    assert foundations(FIRST) == ()
    assert foundations(SECOND) == SECOND.synthetic
    assert foundations(NEAR_2) == (SECOND,)
    assert foundations(POOL_2) == (ROUND_2,)
    assert foundations(ROUND_1) == (RENDERED.generator, ROUND_1.distances)
    assert foundations(ROUND_2) == (RENDERED.generator, ROUND_2.distances, *SECOND.synthetic, ROUND_1)
    assert foundations(Evaluation(of=FIRST, on=Dataset(name="voc", split="test"))) == (FIRST,)


def test_a_critic_may_be_trained_on_images_that_no_round_made(store):
    closed = Pool(generator=ClosedSet(real=REAL))
    critic = dataclasses.replace(FIRST, synthetic=(Subset(of=closed, size=10),))
    near = dataclasses.replace(NEAR_1, critic=critic)
    later = dataclasses.replace(ROUND_1, distances=Subset(of=near, size=300))
    assert foundations(later) == (RENDERED.generator, later.distances, *critic.synthetic)
    for first in (0, 256):
        make_distances(store, near, first)
    make_shard(store, closed, 0)
    trial = Trial(real=REAL, synthetic=(Subset(of=Pool(generator=later), size=5),), test=TEST, recipe=RECIPE)
    assert needed(store, [trial])[0] == names(later, trial)


def test_recipes_of_classifiers_are_no_critics():
    classifier = Trial(real=REAL, test=TEST, recipe=Recipe(examples_seen=100))
    with pytest.raises(ValueError, match=r"distances are measured to a detector; give it a DetectionRecipe\(…\)"):
        dataclasses.replace(NEAR_1, critic=classifier)

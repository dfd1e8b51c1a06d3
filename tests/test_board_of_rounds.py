"""Rounds of progressive transformation learning on the board: what waits for what, and what falls with what."""

from realfake.progressive import ptl
from realfake.samples import shard_name
from realfake.spec import Dataset, DetectionRecipe, Evaluation, Pool, Procedural, Subset, Trial, address
from realfake.store import Store
from tests.by_hand import OK, board, make_distances, make_record, make_shard, shard

SCENES, OTHER = Dataset(name="coco", split="test"), Dataset(name="voc", split="test")
REAL, RECIPE = Subset(of=Dataset(name="coco"), size=50), DetectionRecipe(examples_seen=100)
RENDERED = Pool(generator=Procedural())
CHAIN = ptl(
    real=REAL,
    virtual=Subset(of=RENDERED, size=300),
    test=SCENES,
    recipe=RECIPE,
    iterations=2,
    per_iteration=20,
)
FIRST, SECOND, THIRD = CHAIN
ALONE = Trial(real=REAL, test=SCENES, recipe=RECIPE, seed=1)
(ROUND_1, NEAR_1), (ROUND_2, NEAR_2) = ((p.of.generator, p.of.generator.distances.of) for p in THIRD.synthetic)
POOL_1, POOL_2 = (part.of for part in THIRD.synthetic)


def names(*specs):
    return {address(spec) for spec in specs}


def finish(made, *specs):
    for spec in specs:
        assert made.next() == address(spec)
        made.finished(address(spec), OK)


def come(made, of, *firsts):
    for first in firsts:
        made.shard_made(shard(of, first))


def test_a_chain_becomes_ready_link_by_link(tmp_path):
    made, sent = board(tmp_path, CHAIN)
    made.feed()
    assert sent == [(RENDERED, 0), (RENDERED, 256)]
    come(made, RENDERED, 0, 256)
    for critic, near, fitted, pool in ((FIRST, NEAR_1, ROUND_1, POOL_1), (SECOND, NEAR_2, ROUND_2, POOL_2)):
        sent.clear()
        finish(made, critic)
        assert sent == [(near, 0), (near, 256)]
        come(made, near, 0)
        assert made.next() is None
        come(made, near, 256)
        sent.clear()
        finish(made, fitted)
        assert sent == [(pool, 0)]
        assert made.next() is None
        come(made, pool, 0)
    assert not made.over()
    finish(made, THIRD)
    assert made.over()
    assert made.synthesis_over()
    assert made.tally == {"fits": 2, "images": 1024, "distances": 1024, "trials": 3, "evaluations": 0}
    assert made.tally == made.total


def test_distances_of_a_shard_are_due_when_critic_and_images_of_that_shard_are_there(tmp_path):
    made, sent = board(tmp_path, CHAIN[:2])
    made.feed()
    sent.clear()
    come(made, RENDERED, 256)
    assert sent == []
    finish(made, FIRST)
    assert sent == [(NEAR_1, 256)]
    come(made, RENDERED, 0)
    assert sent == [(NEAR_1, 256), (NEAR_1, 0)]


def test_a_critic_with_the_most_distances_goes_before_other_trials(tmp_path):
    made, _ = board(tmp_path, [ALONE, *CHAIN])
    assert [made.next(), made.next(), made.next()] == [address(FIRST), address(ALONE), None]


def test_a_critic_that_fails_takes_along_what_stands_on_it_and_nothing_else(tmp_path):
    made, _ = board(tmp_path, [*CHAIN, ALONE])
    made.finished(made.next(), {"error": "ValueError: no"})
    lost = (FIRST, NEAR_1, ROUND_1, POOL_1, SECOND, NEAR_2, ROUND_2, POOL_2, THIRD)
    assert set(made.failed) == names(*lost)
    assert made.failed[address(FIRST)] == "ValueError: no"
    assert all("ValueError: no" in why for why in made.failed.values())
    finish(made, ALONE)
    assert made.over()
    assert not made.synthesis_over()  # the rendered images are still to come


def test_a_critic_that_diverged_is_a_result_and_its_distances_say_so(tmp_path):
    made, sent = board(tmp_path, CHAIN)
    made.feed()
    made.finished(made.next(), {"status": "diverged", "seconds": 1.0})
    assert address(FIRST) not in made.failed
    assert made.tally["trials"] == 1
    assert made.failed[address(NEAR_1)] == f"its critic {address(FIRST)} diverged"
    assert set(made.failed) == names(NEAR_1, ROUND_1, POOL_1, SECOND, NEAR_2, ROUND_2, POOL_2, THIRD)
    assert made.failed[address(ROUND_1)].endswith(f"its critic {address(FIRST)} diverged")
    come(made, RENDERED, 0, 256)
    assert {pool for pool, _ in sent} == {RENDERED}
    assert made.over()
    assert made.synthesis_over()
    make_record(Store(tmp_path), FIRST, status="diverged")
    again, _ = board(tmp_path, CHAIN)
    assert again.failed == made.failed
    assert again.over()


def test_rendered_images_that_fail_spare_the_first_trial(tmp_path):
    made, _ = board(tmp_path, CHAIN)
    made.feed()
    made.shard_made(shard(RENDERED, 256, error="StoreError: no space left"))
    assert set(made.failed) == names(RENDERED, NEAR_1, ROUND_1, POOL_1, SECOND, NEAR_2, ROUND_2, POOL_2, THIRD)
    finish(made, FIRST)
    assert made.over()


def test_a_round_that_fails_spares_what_is_before_it(tmp_path):
    made, _ = board(tmp_path, CHAIN)
    made.feed()
    come(made, RENDERED, 0, 256)
    finish(made, FIRST)
    come(made, NEAR_1, 0, 256)
    made.finished(made.next(), {"error": "SpecError: none is left"})
    assert set(made.failed) == names(ROUND_1, POOL_1, SECOND, NEAR_2, ROUND_2, POOL_2, THIRD)
    assert made.over()
    assert made.synthesis_over()


def test_distances_that_fail_spare_the_critic_and_the_trials_beside_it(tmp_path):
    made, _ = board(tmp_path, [*CHAIN, ALONE])
    made.feed()
    come(made, RENDERED, 0, 256)
    finish(made, FIRST)
    made.shard_made(shard(NEAR_1, 0, error="StoreError: knows no distance"))
    assert set(made.failed) == names(NEAR_1, ROUND_1, POOL_1, SECOND, NEAR_2, ROUND_2, POOL_2, THIRD)
    finish(made, ALONE)


def test_a_round_that_met_corrupt_distances_waits_until_they_are_made_again(tmp_path):
    store = Store(tmp_path)
    for first in (0, 256):
        make_distances(store, NEAR_1, first)
        make_shard(store, RENDERED, first)
    make_record(store, FIRST)
    made, sent = board(tmp_path, CHAIN[:2])
    name = made.next()
    path = store.folder(NEAR_1) / shard_name(256)
    path.write_bytes(b"broken")
    made.finished(name, {"error": "CorruptShard: …", "path": str(path)})
    assert (name, sent) == (address(ROUND_1), [(NEAR_1, 256)])
    assert made.next() is None
    come(made, NEAR_1, 256)
    assert made.next() == name


def test_an_evaluation_waits_for_its_trial_and_falls_with_it(tmp_path):
    one, other = (Evaluation(of=of, on=OTHER) for of in (FIRST, SECOND))
    made, _ = board(tmp_path, [one, other])
    finish(made, FIRST, one)
    assert made.tally["evaluations"] == 1
    assert made.next() is None
    made.shard_made(shard(RENDERED, 0, error="StoreError: gone"))
    assert names(SECOND, other) < set(made.failed)
    assert address(one) not in made.failed
    assert made.over()


def test_an_evaluation_of_a_trial_that_diverged_is_made_too(tmp_path):
    evaluation = Evaluation(of=FIRST, on=OTHER)
    made, _ = board(tmp_path, [evaluation])
    made.finished(made.next(), {"status": "diverged", "seconds": 1.0})
    finish(made, evaluation)
    assert not made.failed

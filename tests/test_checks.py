"""Specs that make no sense together get one sentence; what a review found stays mended."""

import time

import numpy as np
import pytest

from realfake import naming
from realfake.generators.procedural import render
from realfake.generators.rendered import of_scenes
from realfake.needs import needs
from realfake.progressive import ptl
from realfake.samples import RENDERED, pool_classes
from realfake.spec import (
    Choice,
    ClosedSet,
    Dataset,
    DetectionRecipe,
    Distances,
    Pool,
    Procedural,
    Recipe,
    Study,
    Subset,
    Translation,
    Trial,
)
from realfake.store import Store
from realfake.syn2real.crops import paste_people, people
from realfake.values import SpecError

TRAIN, TEST = Dataset(name="aerial-urban"), Dataset(name="aerial-urban", split="test")
RECIPE = DetectionRecipe(examples_seen=100)
VIRTUAL = Subset(of=Pool(generator=Procedural()), size=256)
CLOSED = Subset(of=Pool(generator=ClosedSet(real=Subset(of=TRAIN, size=20))), size=256)


def real(size=20):
    return Subset(of=TRAIN, size=size)


def trial(size=20, **changes):
    return Trial(**{"real": real(size), "test": TEST, "recipe": RECIPE, **changes})


def ranked(critic=None, of=VIRTUAL):
    return Subset(of=Distances(of=of.of, critic=critic or trial()), size=of.size)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Translation(real=real(), virtual=CLOSED), "people are cut out of these images by their masks"),
        (lambda: Translation(real=real(), virtual=real()), "people are cut out of these images by their masks"),
        (lambda: ranked(of=CLOSED), "only images whose people are known have any"),
        (lambda: Translation(real=real(), virtual=VIRTUAL, distances=ranked(trial(40))), "not what its critic was"),
        (lambda: Translation(real=real(), virtual=VIRTUAL, warm_start=True), "there is no round before"),
        (lambda: trial(added=Subset(of=TRAIN, size=5)), "images of another dataset"),
        (lambda: trial(synthetic=(ranked(),)), "a Distances is no pool"),
        (lambda: Distances(of=VIRTUAL.of, critic=trial(), scales=(8,)), "16 pixels or more"),
        (lambda: Choice(candidates=(trial(20), trial(40)), on=TEST, by="error"), "detectors have ap50_error"),
        (lambda: ptl(real=real(), virtual=VIRTUAL, test=TEST, recipe=RECIPE, distances=None), "each round has its own"),
        (lambda: Dataset(name="digits", zoom=2.0), "is not rendered; leave zoom out"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_sentence(make, message):
    with pytest.raises(SpecError, match=message):
        make()


def test_two_choices_among_the_same_trials_are_refused():
    both = (trial(20), trial(40))
    validation = Dataset(name="aerial-urban", split="validation")
    choices = tuple(Choice(candidates=both, on=validation, by=by) for by in ("ap50_error", "ap_error"))
    with pytest.raises(SpecError, match="chooses twice among the same trials"):
        Study(name="a", trials=both, choices=choices)


def test_a_translated_person_is_a_person_whatever_the_real_set_tells_apart(tmp_path):
    pool = Pool(generator=Translation(real=real(), virtual=VIRTUAL))
    assert pool_classes(Store(tmp_path), pool) == RENDERED


def test_arms_of_different_chains_have_different_names():
    def last(**changes):
        return ptl(real=real(), test=TEST, recipe=RECIPE, iterations=1, per_iteration=10, **changes)[-1]

    small = Subset(of=VIRTUAL.of, size=512)
    trials = (last(virtual=VIRTUAL), last(virtual=VIRTUAL, scales=(64,)), last(virtual=small))
    assert len(set(naming.arms(trials).values())) == 3


def test_what_a_long_chain_needs_is_told_in_no_time(tmp_path):
    chain = ptl(real=real(), virtual=VIRTUAL, test=TEST, recipe=RECIPE, iterations=16, per_iteration=10)
    started = time.monotonic()
    found = needs(chain[-1:], Store(tmp_path))
    assert time.monotonic() - started < 1
    assert (len(found.trials), len(found.fits)) == (17, 16)


def test_mixing_names_an_arm_and_not_a_recipe():
    pool = (Subset(of=VIRTUAL.of, size=10),)
    recipe = {"model": "fpn-tiny", "examples_seen": 100}
    later = DetectionRecipe(**recipe, mixing="synthetic_then_real")
    trials = (trial(), trial(synthetic=pool), trial(synthetic=pool, recipe=later))
    assert set(naming.recipes(trials).values()) == {"fpn-tiny"}
    assert len(set(naming.arms(trials).values())) == 3
    assert isinstance(Recipe(examples_seen=1), Recipe)


def test_pasting_unchanged_people_changes_no_pixel_though_they_overlap():
    scenes = of_scenes([s for i in range(40) if len((s := render("urban", i, 3, pixels=96, zoom=3.0)).boxes) > 1])
    assert len(scenes.images) >= 3
    objects = scenes.objects
    cut = people(scenes.images, objects.start, objects.box, scenes.masks)
    crops = cut.crops.copy()
    first = objects.start[:-1]
    crops[first] = np.clip(crops[first].astype(int) + 60, 0, 255)  # one person of each image changes
    pasted = paste_people(scenes.images, objects.start, objects.box, scenes.masks, crops)
    again = paste_people(scenes.images, objects.start, objects.box, scenes.masks, cut.crops)
    assert np.array_equal(again, scenes.images)
    alone = [
        paste_people(
            scenes.images[i : i + 1], np.array([0, 1]), objects.box[[row]], scenes.masks[i : i + 1], crops[[row]]
        )
        for i, row in enumerate(first)
    ]
    assert np.array_equal(pasted, np.concatenate(alone))

"""Open-set generators: every component changes what it names, each sample has its own parent, any batch is the same."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


from realfake import generators  # noqa: E402
from realfake.alignment import Captions, LatentPrior, Prompts, VisualGuidance  # noqa: E402
from realfake.datasets import import_dataset  # noqa: E402
from realfake.generators import captioning, open_set, pipelines  # noqa: E402
from realfake.generators.parents import parents  # noqa: E402
from realfake.samples import image_seeds, load, pool_labels  # noqa: E402
from realfake.spec import BestOf, Dataset, Relabel  # noqa: E402
from realfake.values import SpecError  # noqa: E402
from tests import tiny, tiny_open_set  # noqa: E402
from tests.tiny_open_set import WORDS, drawn, pool, store  # noqa: E402
from tests.tiny_open_set import open_set as generator  # noqa: E402

ALL = {"visual": VisualGuidance(injection="append"), "prior": LatentPrior()}
SWITCHES = {
    "negative prompt": {"prompts": replace(WORDS, negative="blurry")},
    "template": {"prompts": replace(WORDS, templates=("{}",))},
    "own token": {"visual": VisualGuidance()},
    "mean token": {"visual": VisualGuidance(of="class mean")},
    "sampled token": {"visual": VisualGuidance(of="class sample")},
    "appended token": {"visual": VisualGuidance(injection="append")},
    "own latents": {"prior": LatentPrior()},
    "latents of the class": {"prior": LatentPrior(of="same class")},
    "mean latents": {"prior": LatentPrior(of="class mean")},
    "strength": {"prior": LatentPrior(strength=0.5)},
}


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch):
    whole = tiny_open_set.pipeline()
    monkeypatch.setattr(pipelines, "load_pipeline", lambda *_: whole)


def images(of, **fields):
    """The first samples of a pool, with the seeds of one and the same plain pool: only the component differs."""
    plain = pool()
    asked = pool(of, **fields)
    loaded = generators.load_generator(of, store())
    labels = pool_labels(plain, 0, 5, np.ones(10, int))
    return generators.sample(loaded, asked, labels, image_seeds(plain, 0, 5), range(5)).astype(int)


def test_every_switch_changes_the_images_and_all_differently():
    made = {"none": images(generator()), **{name: images(generator(**fields)) for name, fields in SWITCHES.items()}}
    made["guidance"] = images(generator(), guidance=1.5)
    made["steps"] = images(generator(), sampling_steps=6)
    made["solver"] = images(generator(), solver="unipc")
    names = list(made)
    same = [(a, b) for i, a in enumerate(names) for b in names[:i] if np.array_equal(made[a], made[b])]
    assert not same


@pytest.mark.parametrize("fields", [{}, ALL], ids=["words", "everything"])
def test_samples_are_the_same_in_batches_of_one_and_of_seven_and_in_any_order(fields):
    asked = pool(generator(**fields), solver="unipc")
    whole = drawn(asked, range(7)).astype(int)
    alone = np.concatenate([drawn(asked, [i]) for i in (0, 3, 6)])
    assert np.abs(whole[::3] - alone).max() <= 2
    assert np.abs(whole - drawn(asked, range(6, -1, -1))[::-1]).max() <= 2


def test_a_batch_is_the_same_bits_whatever_was_drawn_before():
    asked = pool(generator(**ALL), solver="unipc")
    fresh = drawn(asked, range(4, 8))
    loaded = generators.load_generator(asked.generator, store())
    drawn(asked, range(3), loaded)
    assert np.array_equal(drawn(asked, range(4, 8), loaded), fresh)


def test_images_have_the_size_and_channels_of_the_real_ones_or_of_the_set_they_are_like():
    assert drawn(pool(generator(**ALL)), range(2)).shape == (2, 8, 8, 1)
    larger = Dataset(name="digits", pixels=12)
    import_dataset(larger, store())
    assert drawn(pool(generator(like=larger)), range(2)).shape == (2, 12, 12, 1)


# ------------------------------------------------------------------------------------------------------------ parents


@pytest.mark.parametrize("labels", ["balanced", "proportional"])
def test_each_real_image_is_a_parent_once_a_pass(labels):
    """Three passes over fifty images are 150 samples, and a shorter prefix has the same parents."""
    asked = pool(generator(prior=LatentPrior()), labels=labels)
    real = load(store(), asked.generator.real)
    found = parents(asked, store(), range(150))
    counts = np.bincount(real.labels, minlength=10)
    of_sample = pool_labels(asked, 0, 150, np.ones(10, int) if labels == "balanced" else counts)
    by_id = dict(zip(real.ids.tolist(), real.labels.tolist(), strict=True))
    assert [by_id[i] for i in found.tolist()] == of_sample.tolist()
    for label in range(10):
        turns = found[of_sample == label]
        first = turns[: counts[label]]
        assert sorted(first) == sorted(real.ids[real.labels == label])
        assert all(turns[i] == first[i % counts[label]] for i in range(len(turns)))
    if labels == "proportional":
        assert all(sorted(found[k : k + 50]) == sorted(real.ids) for k in (0, 50, 100))
    assert np.array_equal(parents(asked, store(), range(20)), found[:20])


@pytest.mark.parametrize(
    ("of", "fields"),
    [
        *(("latent", {"prior": LatentPrior()}), ("latent", {"prior": LatentPrior(of="same class")})),
        *(("visual", {"visual": VisualGuidance()}), ("visual", {"visual": VisualGuidance(of="class sample")})),
    ],
)
def test_a_sample_changes_with_its_parent_and_with_no_other_image(of, fields):
    """The strongest words about a parent: another image in its place moves this sample and leaves the others alone."""
    asked = pool(generator(**fields))
    found = parents(asked, store(), range(10), of)
    loaded = generators.load_generator(asked.generator, store())
    changed = loaded.real.images.copy()
    changed[loaded.real.ids == found[3]] ^= 255
    other = replace(loaded, real=replace(loaded.real, images=changed), kept={})
    before, after = drawn(asked, range(10), loaded).astype(int), drawn(asked, range(10), other)
    moved = [i for i in range(10) if np.abs(before[i] - after[i]).max() > 1]
    assert moved == [i for i in range(10) if found[i] == found[3]]


@pytest.mark.parametrize("component", [LatentPrior(of="class mean"), VisualGuidance(of="class mean")])
def test_a_mean_is_moved_by_every_image_of_its_class_and_by_no_other(component):
    fields = {"prior" if isinstance(component, LatentPrior) else "visual": component}
    asked = pool(generator(**fields))
    loaded = generators.load_generator(asked.generator, store())
    changed = loaded.real.images.copy()
    changed[np.flatnonzero(loaded.real.labels == 4)] ^= 255
    other = replace(loaded, real=replace(loaded.real, images=changed), kept={})
    labels = pool_labels(asked, 0, 10, np.ones(10, int))
    before, after = drawn(asked, range(10), loaded).astype(int), drawn(asked, range(10), other)
    assert [i for i in range(10) if np.abs(before[i] - after[i]).max() > 1] == np.flatnonzero(labels == 4).tolist()
    channel = "latent" if "prior" in fields else "visual"
    assert (parents(asked, store(), range(3), channel) == -1).all()


def test_parents_of_relabelled_images_are_of_the_class_that_was_really_asked():
    asked = pool(Relabel(generator=generator(prior=LatentPrior())))
    real = load(store(), asked.generator.generator.real)
    found = parents(asked, store(), range(20))
    labels = pool_labels(asked, 0, 20, np.ones(10, int))
    by_id = dict(zip(real.ids.tolist(), real.labels.tolist(), strict=True))
    assert [by_id[i] for i in found.tolist()] != labels.tolist()


def test_samples_that_begin_at_no_real_image_have_no_parent():
    with pytest.raises(SpecError, match="begin at no real image"):
        parents(pool(), store(), range(3))
    best = BestOf(generator=generator(prior=LatentPrior(of="same class")), by="clip score", critic=tiny_open_set.BASE)
    with pytest.raises(SpecError, match="known to the critic alone"):
        parents(pool(best), store(), range(3), "latent")
    assert len(parents(pool(best), store(), range(3))) == 3


# --------------------------------------------------------------------------------------------- words, facts, refusals


def caption(subset, texts):
    """Put captions of a subset into the store, as if they had been made."""
    spec = Captions(of=subset)
    if store().record(spec) is None:
        real = replace(load(store(), subset), captions=tuple(texts))
        with store().making(spec) as (folder, result):
            accelerator = type("Main", (), {"is_main_process": True})
            result |= captioning.fit(spec, real, folder, print, accelerator=accelerator)
    return spec


def test_a_sample_is_asked_for_with_the_caption_of_its_own_parent():
    subset = tiny.real(50)
    ids = load(store(), subset).ids
    spec = caption(subset, [f"number {i}" for i in ids])
    asked = pool(generator(prompts=replace(WORDS, captions=spec)))
    loaded = generators.load_generator(asked.generator, store())
    labels = pool_labels(asked, 0, 12, np.ones(10, int))
    texts = open_set.prompts_of(loaded, asked, labels, np.arange(12))
    found = parents(asked, store(), range(12))
    assert texts == [f"a photo of a {WORDS.names[c]}, number {i}" for c, i in zip(labels, found, strict=True)]


def test_captions_of_other_images_are_refused():
    few = caption(tiny.real(10), ["a word"] * 10)
    with pytest.raises(SpecError, match="40 of 50 images have no caption"):
        generators.load_generator(generator(prompts=replace(WORDS, captions=few)), store())


def test_what_a_record_says_of_sampling():
    asked = pool(generator(prior=LatentPrior(strength=0.75)), solver="unipc", sampling_steps=8)
    loaded = generators.load_generator(asked.generator, store())
    facts = open_set.facts(loaded, asked)
    assert (facts["executed_steps"], facts["unet_evaluations"]) == (6, 12)
    assert open_set.facts(loaded, replace(asked, guidance=1.0))["unet_evaluations"] == 6
    assert facts["from_real_latents"]


def test_no_image_is_blackened_and_none_is_checked():
    loaded = generators.load_generator(generator(), store())
    assert loaded.pipeline.safety_checker is None
    assert (images(generator()).std(axis=(1, 2, 3)) > 5).all()


def test_large_images_are_decoded_one_at_a_time(monkeypatch):
    monkeypatch.setattr(open_set, "SLICED_SIDE", 16)
    sliced = generators.load_generator(generator(**ALL), store())
    assert sliced.pipeline.vae.use_slicing
    asked = pool(generator(**ALL))
    assert np.abs(drawn(asked, range(3), sliced).astype(int) - drawn(asked, range(3))).max() <= 1


def test_images_that_are_no_squares_are_refused():
    seen = generator(prior=LatentPrior())
    loaded = generators.load_generator(seen, store())
    wide = replace(loaded.real, images=loaded.real.images[:, :4])
    with pytest.raises(SpecError, match="4×8, and pipelines make squares"):
        open_set._form(seen, wide, store())


def test_a_batch_too_large_for_the_memory_says_what_to_lower(monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(open_set.solving, "denoise", full)
    with pytest.raises(pipelines.OutOfMemory, match="drawing 6 images of 8 pixels; lower batch_size"):
        drawn(pool())


def test_prompts_must_name_every_class():
    with pytest.raises(SpecError, match="2 names for 10 classes"):
        drawn(pool(generator(prompts=Prompts(names=("one", "two")))))

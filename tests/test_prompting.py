"""Prompts of images and their text states: which words, in which order, and the same states as diffusers' own."""

import numpy as np
import pytest
import torch

from realfake.alignment import Captions, Prompts
from realfake.generators.prompting import TextStates, captions_of, class_names, texts
from realfake.outside import Dataset
from realfake.spec import Subset
from realfake.values import SpecError
from tests.tiny_pipeline import needs_transformers, tiny_pipeline

CAPTIONS = Captions(of=Subset(of=Dataset(name="digits"), size=10))
CLASSES = ("tabby_cat", "dog")


@pytest.fixture(scope="module")
def pipeline():
    from realfake.generators.pipelines import open_folder

    return open_folder(tiny_pipeline())


def test_templates_take_turns_by_index_and_not_by_position():
    prompts = Prompts(templates=("a {}", "the {}", "one {}"))
    every = texts(prompts, CLASSES, [0, 1, 0, 1], [0, 1, 2, 3])
    assert every == ["a tabby cat", "the dog", "one tabby cat", "a dog"]
    assert texts(prompts, CLASSES, [1, 0], [3, 2]) == [every[3], every[2]]


def test_names_stand_for_the_classes_of_the_data_set():
    assert texts(Prompts(names=("lynx", "wolf")), CLASSES, np.array([1, 0]), np.array([0, 1])) == [
        "a photo of a wolf",
        "a photo of a lynx",
    ]


@pytest.mark.parametrize(
    ("templates", "expected"),
    [
        (("a {}",), "a dog, on a lawn"),
        (("{caption}, a {}",), "on a lawn, a dog"),
        (("{caption}",), "on a lawn"),
    ],
)
def test_captions_stand_where_the_template_says_or_at_the_end(templates, expected):
    assert texts(Prompts(templates=templates, captions=CAPTIONS), CLASSES, [1], [0], [" on a lawn "]) == [expected]


def test_an_empty_caption_adds_nothing():
    assert texts(Prompts(captions=CAPTIONS), CLASSES, [1], [0], [""]) == ["a photo of a dog"]


def test_names_and_captions_are_put_in_literally():
    odd = "{} and {caption}"
    assert texts(Prompts(captions=CAPTIONS), CLASSES, [1], [0], [odd]) == [f"a photo of a dog, {odd}"]
    assert texts(Prompts(names=("{caption}", "b")), CLASSES, [0], [0]) == ["a photo of a {caption}"]


@pytest.mark.parametrize(
    ("prompts", "classes", "captions", "message"),
    [
        (Prompts(names=("one",)), CLASSES, None, "1 names for 2 classes"),
        (Prompts(), ("cat", "_"), None, "class 1 has no name"),
        (Prompts(templates=("{caption} {}",), captions=CAPTIONS), CLASSES, None, "give Prompts\\(captions="),
        (Prompts(captions=CAPTIONS), CLASSES, ["one", "two"], "2 captions for 1 images"),
    ],
)
def test_what_does_not_fit_together_is_refused(prompts, classes, captions, message):
    with pytest.raises(SpecError, match=message):
        texts(prompts, classes, [0], [0], captions)


def test_captions_of_other_images_are_refused():
    assert captions_of({3: "a", 5: "b"}, np.array([5, 3])) == ["b", "a"]
    with pytest.raises(SpecError, match="1 of 2 images have no caption, as the one with id 4"):
        captions_of({3: "a", 5: "b"}, [3, 4])


def test_class_names_lose_their_underscores():
    assert class_names(Prompts(), CLASSES) == ("tabby cat", "dog")


@needs_transformers
def test_states_are_those_that_diffusers_computes(pipeline):
    asked = ["a cat", "a dog", "", "a cat"]
    states = TextStates(pipeline).of(asked)
    theirs, negative = pipeline.encode_prompt(asked, "cpu", 1, True, negative_prompt=[""] * 4)
    assert states.shape == (4, 77, 16)
    torch.testing.assert_close(states, theirs)
    torch.testing.assert_close(states[[2]], negative[:1])
    assert not torch.allclose(states[0], states[1])


@needs_transformers
def test_a_text_is_encoded_once_and_its_bits_do_not_depend_on_others(pipeline, monkeypatch):
    calls, own = [], pipeline.text_encoder.forward
    monkeypatch.setattr(pipeline.text_encoder, "forward", lambda *a, **k: calls.append(1) or own(*a, **k))
    states = TextStates(pipeline)
    several = states.of(["one", "two", "one", "three"])
    assert len(calls) == 3
    assert torch.equal(states.of(["three", "one"]), several[[3, 0]])
    assert len(calls) == 3
    assert torch.equal(TextStates(pipeline).of(["two"])[0], several[1])


@needs_transformers
def test_the_oldest_states_go_when_there_is_no_room(pipeline, monkeypatch):
    from realfake.generators import prompting

    states = TextStates(pipeline)
    first = states.of(["one"])
    monkeypatch.setattr(prompting, "CACHE_BYTES", 2 * first.nbytes)
    whole = states.of(["one", "two", "three", "four"])
    assert list(states._held) == ["three", "four"]
    assert torch.equal(states.of(["one", "two", "three", "four"]), whole)


@needs_transformers
def test_texts_that_are_too_long_are_cut_and_told(pipeline):
    states = TextStates(pipeline)
    long = "word " * 100
    assert states.of([long, "short"]).shape[1] == 77
    assert states.cut == {long}

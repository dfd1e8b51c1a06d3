"""A learned word: it alone moves, no other word does, diffusers reads it, and prompts must hold it."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from realfake.alignment import Prompts
from realfake.generators import adapters, fitting, lora, open_set, pseudoword
from realfake.generators.prompting import TextStates, tokenized
from realfake.kinds import Lora
from realfake.naming import arms
from realfake.spec import Pool, Recipe, Subset, Trial
from realfake.store import Store
from realfake.values import SpecError
from tests import test_lora, tiny, tiny_open_set
from tests.test_lora import fresh, run, spec
from tests.tiny_pipeline import needs_transformers

pytest.importorskip("peft", reason="peft is not installed (uv sync --extra openset)")
pytestmark = needs_transformers
WORD = "<style>"
STYLED = Prompts(templates=(f"a {{}} in {WORD}", f"{WORD} {{}}"), names=("zero", "one", "two"))
quick = test_lora.quick  # pipelines are read once


def worded(**fields) -> Lora:
    return spec(**{"token": WORD, "rank": 0, "prompts": STYLED, **fields})


def learned(folder):
    return load_file(folder / pseudoword.FILE)[WORD]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A word learned without adapters, what it was learned by, and its pipeline's weights before and after."""
    folder, students = tmp_path_factory.mktemp("alone"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lora, "load_pipeline", lambda base, store, weights, device: fresh(weights[base.name]))
        patch.setattr(lora, "write", lambda *parts: (students.append(parts[2]), adapters.write(*parts)))
        facts = run(worded(), folder)
    return folder, students[0], facts


def test_the_word_moves_and_nothing_else_does(alone):
    folder, student, facts = alone
    base = fresh()
    mean = base.text_encoder.get_input_embeddings().weight.mean(0)
    assert (learned(folder) - mean).abs().max() > 1e-3
    assert facts["parameters"] == len(mean) == 16
    trained = [name for name, weight in student.named_parameters() if weight.requires_grad]
    assert [name.rpartition(".")[2] for name in trained] == [pseudoword.ROW]
    assert test_lora.same(dict(student.unet.state_dict()), dict(base.unet.state_dict()))
    theirs = dict(base.text_encoder.state_dict())
    ours = {name.replace(".embedding.", "."): part for name, part in student.text_encoder.state_dict().items()}
    assert all(torch.equal(ours[name], part) for name, part in theirs.items())
    assert len(ours) == len(theirs) + 1
    assert sorted(path.name for path in folder.iterdir()) == ["history.jsonl", pseudoword.FILE, "seen.json"]


def test_diffusers_reads_it_and_says_the_same(alone):
    ours, theirs = fresh(), fresh()
    lora.attach(ours, worded(), alone[0], 1.0)
    theirs.load_textual_inversion(alone[0] / pseudoword.FILE)
    for text in (f"a one in {WORD}", "a one"):
        found = [tokenized(pipeline.tokenizer, [text]) for pipeline in (ours, theirs)]
        assert torch.equal(*found)
        states = [TextStates(pipeline).of([text]) for pipeline in (ours, theirs)]
        torch.testing.assert_close(*states, atol=1e-6, rtol=1e-5)
    assert torch.equal(TextStates(ours).of(["a one"]), TextStates(fresh()).of(["a one"]))


def test_it_is_learned_beside_adapters_and_they_beside_it(tmp_path, alone):
    run(worded(rank=2), tmp_path)
    assert not torch.equal(learned(tmp_path), learned(alone[0]))
    pipeline = fresh()
    lora.attach(pipeline, worded(rank=2), tmp_path, 1.0)
    assert torch.equal(pipeline.text_encoder.get_input_embeddings().pseudoword, learned(tmp_path))
    assert pipeline.get_list_adapters() == {"unet": [adapters.ADAPTER]}
    assert not torch.equal(test_lora.predicted(pipeline), test_lora.predicted(fresh()))


def test_with_the_scope_of_a_class_each_has_a_word_of_its_own(tmp_path):
    made = worded(scope="class")
    run(made, tmp_path)
    pipeline, states = fresh(), []
    for label in (0, 1, 2, 0):
        lora.attach(pipeline, made, tmp_path, 1.0, label)
        assert torch.equal(
            pipeline.text_encoder.get_input_embeddings().pseudoword, learned(tmp_path / f"class-{label}")
        )
        states.append(TextStates(pipeline).of([f"a one in {WORD}"]))
    assert [torch.equal(states[0], other) for other in states[1:]] == [False, False, True]


def test_an_interrupted_fit_learns_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "REPORT_SECONDS", 0.0)
    made = worded(rank=1, scope="class", text_encoder=True)
    run(made, tmp_path / "whole")

    def stop(event):
        if event["done"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(made, tmp_path / "again", report=stop, checkpoint=tmp_path / "kept")
    run(made, tmp_path / "again", checkpoint=tmp_path / "kept")
    for label in range(3):
        place = f"class-{label}"
        assert torch.equal(learned(tmp_path / "whole" / place), learned(tmp_path / "again" / place))
        ours, theirs = (load_file(tmp_path / name / place / lora.WEIGHTS) for name in ("whole", "again"))
        assert test_lora.same(ours, theirs)


def test_images_are_drawn_with_the_word(tmp_path):
    """Two words that differ give other images of one seed; none gives the base's."""
    words = Prompts(templates=(f"a photo of a {{}} {WORD}",), names=tiny_open_set.NAMES)
    made = Lora(base=tiny_open_set.BASE, real=tiny.real(20), prompts=words, token=WORD, rank=0)
    generator = tiny_open_set.open_set(prompts=words, lora=made)
    store = Store(tmp_path)
    (tmp_path / store.folder(generator.base).name).symlink_to(tiny_open_set.store().folder(generator.base))
    tiny.import_digits(tmp_path)
    images = []
    for value in (1.0, -1.0, 1.0):
        store.folder(made).mkdir(exist_ok=True)
        save_file({WORD: value * torch.linspace(-1, 1, 32)}, store.folder(made) / pseudoword.FILE)
        loaded = open_set.load(generator, store)
        pool = Pool(generator=generator, sampling_steps=2)
        images.append(open_set.draw(loaded, pool, np.arange(3), [1, 2, 3], np.arange(3)).images)
    assert np.array_equal(images[0], images[2])
    assert not np.array_equal(images[0], images[1])


# -------------------------------------------------------------------------------------------------------- bad requests


def test_what_makes_no_sense_is_refused_in_one_sentence(tmp_path, alone):
    with pytest.raises(SpecError, match=r"Lora.prompts: the template 'a photo of a \{\}' does not hold"):
        spec(token=WORD)
    with pytest.raises(SpecError, match="is not one word"):
        worded(token="a style")
    with pytest.raises(SpecError, match="rank"):
        spec(rank=0)
    with pytest.raises(SpecError, match="no adapter for it"):
        worded(text_encoder=True)
    with pytest.raises(SpecError, match=r"OpenSet\.prompts: the template"):
        tiny_open_set.open_set(lora=worded(base=tiny_open_set.BASE))
    with pytest.raises(SpecError, match="a word of the base already"):
        run(worded(token="a", prompts=Prompts(templates=("a {}",))), tmp_path)
    with pytest.raises(FileNotFoundError, match="run the study"):
        lora.attach(fresh(), worded(), tmp_path, 1.0)
    torch_file = tmp_path / pseudoword.FILE
    save_file({WORD: torch.zeros(3)}, torch_file)
    with pytest.raises(SpecError, match="an embedding of 3 numbers"):
        lora.attach(fresh(), worded(), tmp_path, 1.0)


def test_an_arm_is_named_after_what_was_learned():
    names = []
    for fields in ({"token": WORD, "rank": 0}, {"token": WORD}, {}):
        prompts = STYLED if fields else Prompts()
        made = Lora(base=tiny_open_set.BASE, real=tiny.real(50), prompts=prompts, **fields)
        pool = Pool(generator=tiny_open_set.open_set(prompts=prompts, lora=made))
        recipe = Recipe(model="test_resnet", examples_seen=100)
        trial = Trial(real=tiny.real(50), synthetic=(Subset(of=pool, size=50),), test=tiny.TEST, recipe=recipe)
        names += arms((trial,)).values()
    assert names == ["open-set + token", "open-set + lora + token", "open-set + lora"]

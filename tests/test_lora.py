"""Adapters: their files against diffusers, the fit against interruption and other workers, switches against none."""

import copy
import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from realfake.alignment import Captions, Matching, Prompts, VisualGuidance
from realfake.generators import Diverged, adapters, alignment_loop, alignment_material, fitting, lora, visual
from realfake.generators.pipelines import open_folder
from realfake.kinds import Lora
from realfake.outside import External
from realfake.samples import Samples
from realfake.spec import Dataset, Subset
from realfake.values import SpecError
from tests import tiny
from tests.tiny_pipeline import needs_transformers, tiny_open_set

pytest.importorskip("peft", reason="peft is not installed (uv sync --extra openset)")
pytestmark = needs_transformers

BASE = External(name="tiny")
REAL = Subset(of=Dataset(name="digits"), size=12)


def few(n=12, classes=3) -> Samples:
    """The first digits of a few classes, with ids that are no row numbers."""
    rows = np.flatnonzero(tiny.digits().labels < classes)[:n]
    found = tiny.digits().take(rows)
    return Samples(found.images, found.labels, found.ids + 1000, found.classes[:classes])


def spec(**fields) -> Lora:
    return Lora(**{"base": BASE, "real": REAL, "rank": 2, "steps": 6, "batch_size": 4, "learning_rate": 1e-2, **fields})


def accelerator(precision="no"):
    from accelerate.state import AcceleratorState, GradientState, PartialState

    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
    torch.set_num_threads(1)
    return Accelerator(cpu=True, mixed_precision=precision)


@functools.cache
def loaded(folder):
    return open_folder(folder)


def fresh(folder=None):
    """A pipeline of random weights that nobody has attached anything to."""
    return copy.deepcopy(loaded(folder or tiny_open_set()))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Copy pipelines that were read once; the fixture ``plain`` reads its own, as fits do."""
    monkeypatch.setattr(lora, "load_pipeline", lambda base, store, weights, device: fresh(weights[base.name]))


def run(made, folder, samples=None, report=lambda event: None, **options):
    """Fit into a folder that the fit finds empty, and return its facts."""
    folder.mkdir(exist_ok=True, parents=True)
    precision = "bf16" if made.precision == "bf16" else "no"
    options.setdefault("weights", {"tiny": tiny_open_set()})
    if "accelerator" not in options:
        options["accelerator"] = accelerator(precision)  # a new one changes the precision of all others
    return lora.fit(made, few() if samples is None else samples, folder, report, **options)


def weights_of(folder):
    """The trained weights as other tools read them."""
    return load_file(folder / lora.WEIGHTS)


def same(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def predicted(pipeline, seed=0):
    """What a pipeline's UNet says of fixed noise under fixed words."""
    random = torch.Generator().manual_seed(seed)
    noisy, words = torch.randn(2, 4, 8, 8, generator=random), torch.randn(2, 77, 16, generator=random)
    with torch.no_grad():
        return pipeline.unet(noisy, torch.tensor([10, 700]), encoder_hidden_states=words).sample


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The folder and the facts of a fit without any switch."""
    folder = tmp_path_factory.mktemp("plain")
    return folder, run(spec(), folder)


# ------------------------------------------------------------------------------------------------------------- files


def test_the_file_is_read_by_diffusers_and_means_what_was_trained(tmp_path, monkeypatch):
    """alpha is not the rank here, so that a reader who does not know alpha would be off by its factor."""
    students = []
    monkeypatch.setattr(lora, "write", lambda *parts: (students.append(parts[2]), adapters.write(*parts)))
    run(spec(alpha=6.0, text_encoder=True), tmp_path)
    trained = students[0].eval()
    pipeline = fresh()
    base = predicted(pipeline)
    pipeline.load_lora_weights(tmp_path)  # diffusers alone, with its own names
    assert pipeline.get_list_adapters() == {"unet": ["default_0"], "text_encoder": ["default_0"]}
    torch.testing.assert_close(predicted(pipeline), predicted(trained), rtol=1e-4, atol=1e-5)
    assert (predicted(pipeline) - base).abs().max() > 1e-3
    words = torch.arange(77)[None] % 50
    with torch.no_grad():
        ours, theirs = trained.text_encoder(words)[0], pipeline.text_encoder(words)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_attached_at_scale_zero_a_pipeline_is_its_base_bit_for_bit(plain):
    pipeline = fresh()
    base = predicted(pipeline)
    found = {}
    for scale in (0.0, 1.0, 0.5, 0.0):
        lora.attach(pipeline, spec(), plain[0], scale)
        found.setdefault(scale, predicted(pipeline))
        assert torch.equal(predicted(pipeline), found[scale])
    assert torch.equal(found[0.0], base)
    assert not torch.equal(found[1.0], base)
    assert not torch.equal(found[0.5], found[1.0])
    assert pipeline.get_list_adapters() == {"unet": [adapters.ADAPTER]}  # read once


def test_a_fresh_adapter_changes_nothing():
    pipeline = fresh()
    base = predicted(pipeline)
    student = adapters.new_student(spec(), pipeline, 0)
    adapters.initialise(student, seed=3)
    assert torch.equal(predicted(student), base)
    drawn = {name: weight.clone() for name, weight in student.named_parameters() if weight.requires_grad}
    assert all(bool(weight.any()) == ("lora_A" in name) for name, weight in drawn.items())
    adapters.initialise(student, seed=4)
    assert not torch.equal(next(p for n, p in student.named_parameters() if "lora_A" in n), next(iter(drawn.values())))


def test_stable_diffusion_has_as_many_trained_weights_as_the_released_recipe():
    """Rank 4 on q, k, v, out of all 32 attentions of Stable Diffusion 1.5: 797,184, computed from the authors' code."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
    assert sum(weight.numel() for weight in unet.parameters()) == 859_520_964

    class Pipeline:
        text_encoder = None

    pipeline = Pipeline()
    pipeline.unet = unet.requires_grad_(False)
    student = adapters.new_student(spec(rank=4), pipeline, 0)
    trained = [weight for weight in student.parameters() if weight.requires_grad]
    assert sum(weight.numel() for weight in trained) == 797_184
    assert not unet.is_gradient_checkpointing  # that is for GPUs


def test_an_adapter_that_is_not_there_or_for_another_base_is_refused(plain, tmp_path):
    pipeline = fresh()
    with pytest.raises(FileNotFoundError, match="run the study"):
        lora.attach(pipeline, spec(), tmp_path, 1.0)
    from diffusers import UNet2DConditionModel

    wide = {"block_out_channels": (16, 32), "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D")}
    settings = {**dict(pipeline.unet.config), **wide}
    pipeline.register_modules(unet=UNet2DConditionModel(**settings))
    with pytest.raises(SpecError, match="attach it to the base"):
        lora.attach(pipeline, spec(), plain[0], 1.0)


# ----------------------------------------------------------------------------------------------------------- the fit


def test_a_fit_says_what_it_saw_and_trained(plain):
    folder, facts = plain
    assert (facts["n_generator"], facts["adapters"]) == (12, 1)
    assert facts["parameters"] == sum(weight.numel() for weight in weights_of(folder).values())
    history = [json.loads(line) for line in (folder / fitting.HISTORY).read_text().splitlines()]
    assert [line["step"] for line in history] == [1, 2, 3, 4, 5, 6]
    assert facts["final_loss"] == history[-1]["loss"]
    assert facts["seconds"] > 0


def test_the_images_that_are_logged_are_the_images_that_were_asked_for(plain):
    """6 steps of 4 are two epochs of 12: every requested id, no other, each twice."""
    logged = json.loads((plain[0] / lora.SEEN).read_text())
    assert {int(id_): times for id_, times in logged.items()} == dict.fromkeys(few().ids.tolist(), 2)
    assert plain[1]["images_seen"] == 12


def test_the_log_counts_what_steps_draw(monkeypatch, tmp_path):
    drawn = []

    def spied(*inputs):
        batch = alignment_material.draw(*inputs)
        drawn.append(batch.clean)
        return batch

    monkeypatch.setattr(alignment_loop, "draw", spied)
    monkeypatch.setattr(alignment_material, "posteriors", lambda pipeline, images: numbered(images))
    facts = run(spec(steps=2, scope="data set"), tmp_path)
    rows = torch.cat(drawn)[:, 0, 0, 0].round().int().tolist()
    logged = json.loads((tmp_path / lora.SEEN).read_text())
    assert sorted(int(id_) for id_ in logged) == sorted(few().ids[rows].tolist())
    assert facts["images_seen"] == 8


def numbered(images):
    """Posteriors whose latents are the number of the row, without any width."""
    rows = torch.arange(float(len(images)))[:, None, None, None].expand(-1, 4, 8, 8)
    return rows, torch.zeros_like(rows)


def test_an_adapter_learns_its_images(tmp_path):
    """On fixed noise of four images the loss falls below that of the base, whose weights are random."""
    made, samples = spec(steps=60, batch_size=4, rank=4, learning_rate=3e-2, snr_gamma=None), few(4)
    run(made, tmp_path, samples)
    pipeline = fresh()
    material = alignment_material.gather(made, pipeline, samples, {}, None)
    part = alignment_material.Part(0, np.arange(4), 0, 1)
    one = accelerator()

    def loss():
        total = 0.0
        for step in range(5, 10):
            batch = alignment_material.draw(made, pipeline.scheduler, material, part, 1000 + step, one)
            kept = pipeline.scheduler.alphas_cumprod[batch.times][:, None, None, None]
            noisy = kept.sqrt() * batch.clean + (1 - kept).sqrt() * batch.noise
            with torch.no_grad():
                said = pipeline.unet(noisy, batch.times, encoder_hidden_states=material.words(batch.texts)).sample
            total += float((said - batch.noise).square().mean()) / 5
        return total

    before = loss()
    lora.attach(pipeline, made, tmp_path, 1.0)
    assert loss() < 0.95 * before


@pytest.mark.parametrize(
    "fields",
    [
        {"matching": Matching(weight=0.5, gather="global"), "caption_dropout": 0.5},
        {"scope": "class", "steps": 7, "visual": VisualGuidance(injection="projection")},
        {"text_encoder": True},
    ],
    ids=["matching", "class", "text encoder"],
)
def test_a_fit_that_was_interrupted_ends_with_the_same_bits(tmp_path, monkeypatch, fields):
    monkeypatch.setattr(fitting, "REPORT_SECONDS", 0.0)
    made = spec(**fields)
    run(made, tmp_path / "whole")

    def stop(event):
        if event["done"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(made, tmp_path / "again", report=stop, checkpoint=tmp_path / "kept")
    assert not any((tmp_path / "again").iterdir())
    seen = []
    run(made, tmp_path / "again", report=lambda event: seen.append(event["done"]), checkpoint=tmp_path / "kept")
    assert seen[0] == 5
    whole, again = (
        {str(p.relative_to(tmp_path / d)): p for p in (tmp_path / d).rglob("*.*")} for d in ("whole", "again")
    )
    assert whole.keys() == again.keys()
    for name in whole:
        if name.endswith("safetensors"):
            assert same(load_file(whole[name]), load_file(again[name])), name
        else:
            assert whole[name].read_text() == again[name].read_text(), name


def test_reports_come_with_steps_and_a_loss_that_is_not_finite_ends_the_fit(tmp_path):
    events = []
    run(spec(steps=2), tmp_path, report=events.append)
    assert {**events[-1], "loss": 0} == {"done": 2, "total": 2, "unit": "steps", "loss": 0}
    with pytest.raises(Diverged, match="lower learning_rate"):
        run(spec(learning_rate=1e30), tmp_path)


# ---------------------------------------------------------------------------------------------------------- switches


SWITCHES = {
    "rank": {"rank": 3},
    "alpha": {"alpha": 1.0},
    "seed": {"seed": 1},
    "weight decay": {"weight_decay": 5.0},
    "min-snr": {"snr_gamma": None},
    "dropout": {"caption_dropout": 0.5},
    "text encoder": {"text_encoder": True},
    "bf16": {"precision": "bf16"},
    "template": {"prompts": Prompts(templates=("{} drawn by hand",))},
    "names": {"prompts": Prompts(names=("zero", "one", "two"))},
    "matching": {"matching": Matching(weight=1.0)},
    "sum": {"matching": Matching(weight=1.0, reduction="sum")},
    "shared times": {"matching": Matching(weight=1.0, times="shared")},
    "class scope": {"matching": Matching(weight=1.0, scope="class")},
    "latent": {"matching": Matching(weight=1.0, space="latent")},
    "feature": {"matching": Matching(weight=1.0, space="feature")},
    "rbf": {"matching": Matching(weight=1.0, kernel="rbf")},
    "instance": {"visual": VisualGuidance()},
    "class mean": {"visual": VisualGuidance(of="class mean")},
    "class sample": {"visual": VisualGuidance(of="class sample")},
    "append": {"visual": VisualGuidance(injection="append")},
    "projection": {"visual": VisualGuidance(injection="projection")},
}


def test_every_switch_changes_what_is_learned(tmp_path):
    """All outcomes differ from the plain one and from each other."""
    found = {}
    for name, fields in {"none": {}, **SWITCHES}.items():
        run(spec(steps=2, **fields), tmp_path / name)
        found[name] = weights_of(tmp_path / name)
    names = list(found)
    for i, one in enumerate(names):
        for other in names[:i]:
            assert not same(found[one], found[other]), f"{one} is {other}"
    assert {name for name in SWITCHES if (tmp_path / name / visual.PROJECTION).is_file()} == {"projection"}
    assert {name for name in SWITCHES if any("text_encoder" in key for key in found[name])} == {"text encoder"}


def test_matching_of_weight_zero_is_the_plain_fit_bit_for_bit(plain, tmp_path):
    run(spec(matching=Matching(weight=0.0, space="feature")), tmp_path)
    assert same(weights_of(tmp_path), weights_of(plain[0]))


def test_shared_times_are_one_a_batch_and_dropout_has_its_share():
    made = spec(matching=Matching(times="shared"), caption_dropout=0.3, batch_size=500, prompts=Prompts(negative="no"))
    pipeline, samples = fresh(), few()
    material = alignment_material.gather(made, pipeline, samples, {}, None)
    part = lora.parts_of(made, samples)[0]
    batch = alignment_material.draw(made, pipeline.scheduler, material, part, 0, accelerator())
    assert len(batch.times.unique()) == 1
    assert [text == "no" for text in batch.texts] == (~batch.kept).tolist()
    assert 0.2 < (~batch.kept).float().mean() < 0.4
    independent = alignment_material.draw(spec(batch_size=500), pipeline.scheduler, material, part, 0, accelerator())
    assert len(independent.times.unique()) > 300
    assert independent.times.max() > 900


def test_captions_are_said_of_their_own_images(tmp_path):
    made = spec(prompts=Prompts(templates=("{}: {caption}",), captions=Captions(of=REAL)))
    own = [f"number {id_}" for id_ in few().ids]
    pipeline = fresh()
    material = alignment_material.gather(made, pipeline, few(), {}, own)
    rows = np.array([5, 2])
    assert material.texts(rows, rows) == [f"{few().labels[row]}: number {few().ids[row]}" for row in rows]
    with pytest.raises(SpecError, match="Captions"):
        run(made, tmp_path)


def test_states_do_not_depend_on_what_was_asked_before(monkeypatch):
    """Held ones are encoded in one order; where memory does not suffice, each step's own alone."""
    pipeline = fresh()
    said, held = ["a photo of a zero", "b"], ["a photo of a zero", "b", "c"]
    with torch.no_grad():
        expected = pipeline.encode_prompt(said, "cpu", 1, False)[0]
    for room in (1 << 30, 10):
        monkeypatch.setattr(alignment_material, "CACHE_BYTES", room)
        words = alignment_material._words(spec(), pipeline, held)
        words(["c"])
        torch.testing.assert_close(words(said), expected)


# ---------------------------------------------------------------------------------------------------- visual guidance


@pytest.mark.parametrize("injection", ["replace last", "append", "projection"])
def test_where_words_are_dropped_there_is_no_image_either(injection):
    """A dropped row is predicted from the negative prompt alone, a kept one from its own token in its place."""
    pipeline = fresh()
    guidance = VisualGuidance(injection=injection)
    student = adapters.new_student(spec(visual=guidance, caption_dropout=0.5), pipeline, 16).eval()
    random = torch.Generator().manual_seed(0)
    noisy, states = torch.randn(2, 4, 8, 8, generator=random), torch.randn(2, 77, 16, generator=random)
    tokens, times = torch.randn(2, 16, generator=random), torch.tensor([5, 900])
    with torch.no_grad():
        found = student(noisy, times, states, tokens, torch.tensor([True, False]))
        dropped = pipeline.unet(noisy, times, encoder_hidden_states=states).sample
        token = student.projection(tokens) if injection == "projection" else tokens
        words = states[:, :-1] if injection == "replace last" else states
        kept = pipeline.unet(noisy, times, encoder_hidden_states=torch.cat([words, token[:, None]], 1)).sample
    torch.testing.assert_close(found[0], kept[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1], dropped[1], rtol=1e-4, atol=1e-5)
    assert (kept - dropped).abs().max() > 1e-4


def test_each_image_of_a_batch_has_its_own_token():
    made, samples = spec(visual=VisualGuidance()), few()
    pipeline = fresh()
    material = alignment_material.gather(made, pipeline, samples, {}, None)
    part = lora.parts_of(made, samples)[0]
    batch = alignment_material.draw(made, pipeline.scheduler, material, part, 1, accelerator())
    rows = alignment_material.rows_of(made, part, 1)
    alone = [visual.embeddings(pipeline, samples.images[row : row + 1], made.visual)[0] for row in rows]
    torch.testing.assert_close(batch.tokens, torch.stack(alone), rtol=1e-4, atol=1e-5)
    assert batch.labels.tolist() == samples.labels[rows].tolist()


def test_the_learned_projection_lies_beside_the_adapter_and_has_learned(tmp_path):
    made = spec(visual=VisualGuidance(injection="projection"))
    facts = run(made, tmp_path)
    found = visual.load_projection(tmp_path)
    assert found.weight.shape == (16, 16)
    assert found.bias.any()  # it began at zero
    assert facts["parameters"] == sum(w.numel() for w in [*weights_of(tmp_path).values(), *found.parameters()])


# --------------------------------------------------------------------------------------------------- one for each class


def test_each_class_has_its_own_adapter_which_saw_nothing_else(tmp_path):
    made, samples = spec(scope="class", steps=8), few()
    facts = run(made, tmp_path / "all", samples)
    assert facts["adapters"] == 3
    ends = [(part.first, part.last) for part in lora.parts_of(made, samples)]
    assert ends == [(0, 2), (2, 5), (5, 8)]  # 8 steps in all, shared out
    pipeline = fresh()
    base, found = predicted(pipeline), []
    for label in (0, 1, 2, 0):
        lora.attach(pipeline, made, tmp_path / "all", 1.0, label)
        found.append(predicted(pipeline))
        alone = fresh()
        alone.load_lora_weights(lora.part_folder(tmp_path / "all", made, label))
        torch.testing.assert_close(found[-1], predicted(alone))
    assert torch.equal(found[0], found[3])
    assert all(not torch.equal(found[i], found[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    lora.attach(pipeline, made, tmp_path / "all", 0.0, 1)
    assert torch.equal(predicted(pipeline), base)
    images = samples.images.copy()
    images[samples.labels == 2] = 255 - images[samples.labels == 2]
    run(made, tmp_path / "other", Samples(images, samples.labels, samples.ids, samples.classes))
    pairs = [[weights_of(tmp_path / f / f"class-{c}") for f in ("all", "other")] for c in range(3)]
    assert [same(*pair) for pair in pairs] == [True, True, False]


# -------------------------------------------------------------------------------------------------------- bad requests


def test_what_cannot_be_trained_is_refused_with_the_cure(tmp_path, monkeypatch):
    missing = Samples(few().images, np.minimum(few().labels, 1), few().ids, few().classes)
    with pytest.raises(SpecError, match="class '2' has no image"):
        run(spec(scope="class"), tmp_path, missing)
    with pytest.raises(SpecError, match="steps=2 cannot be shared out among 3"):
        run(spec(scope="class", steps=2), tmp_path)
    with pytest.raises(ValueError, match="mixed_precision='bf16'"):
        run(spec(precision="bf16"), tmp_path, accelerator=accelerator())
    with pytest.raises(SpecError, match="empty"):
        run(spec(), tmp_path, few(0))

    class Three:
        num_processes, mixed_precision = 3, "no"

    with pytest.raises(SpecError, match="shared equally by 3"):
        run(spec(), tmp_path, accelerator=Three())
    with pytest.raises(SpecError, match="injection="):
        run(spec(visual=VisualGuidance()), tmp_path, weights={"tiny": tiny_open_set(12)})
    pipeline = fresh()
    pipeline.register_modules(image_encoder=None)
    with pytest.raises(SpecError, match='space="latent"'):
        alignment_material.gather(spec(matching=Matching(space="feature")), pipeline, few(), {}, None)
    monkeypatch.setattr(adapters.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match="uv sync --extra openset"):
        run(spec(), tmp_path)


# ------------------------------------------------------------------------------------------------------ several workers


def worker(rank, port, folder):
    import os

    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    torch.set_num_threads(1)
    facts = run(TOGETHER, Path(folder) / str(rank))
    (Path(folder) / f"{rank}.json").write_text(json.dumps(facts))


TOGETHER = spec(
    matching=Matching(weight=1.0, gather="global", scope="class", kernel="rbf"),
    visual=VisualGuidance(injection="projection"),
    caption_dropout=0.3,
)


@pytest.mark.cluster
def test_two_workers_learn_what_one_learns(tmp_path):
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    torch.multiprocessing.spawn(worker, (port, str(tmp_path)), nprocs=2)
    run(TOGETHER, tmp_path / "alone")
    assert not any((tmp_path / "1").iterdir())  # only the main one writes
    ours, theirs = weights_of(tmp_path / "0"), weights_of(tmp_path / "alone")
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in theirs)
    assert (tmp_path / "0" / lora.SEEN).read_text() == (tmp_path / "alone" / lora.SEEN).read_text()

"""Stable Diffusion XL: images and adapters of a miniature, beside diffusers' own pipelines on the same files."""

import functools
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

from diffusers import EulerDiscreteScheduler, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline  # noqa: E402

from realfake import generators  # noqa: E402
from realfake.alignment import LatentPrior, Prompts, VisualGuidance  # noqa: E402
from realfake.generators import fitting, lora, open_set, pipelines, solving  # noqa: E402
from realfake.generators.pipeline_files import PipelineError, files_of  # noqa: E402
from realfake.kinds import Lora  # noqa: E402
from realfake.outside import External  # noqa: E402
from realfake.samples import load as load_samples  # noqa: E402
from realfake.spec import OpenSet, Pool  # noqa: E402
from realfake.syn2real import sd_img2img  # noqa: E402
from realfake.values import SpecError  # noqa: E402
from tests import tiny  # noqa: E402
from tests.test_lora import accelerator  # noqa: E402
from tests.tiny_open_set import NAMES, drawn  # noqa: E402
from tests.tiny_open_set import store as digits  # noqa: E402
from tests.tiny_xl import tiny_xl  # noqa: E402

BASE = External(name="someone/tiny-xl")
WORDS = Prompts(templates=("a photo of a {}",), names=NAMES)
SOLVERS = ("own", "ddim", "unipc", "dpm++", "lcm")


def generator(**fields) -> OpenSet:
    like = {} if {"real", "lora"} & fields.keys() else {"like": tiny.TRAIN}
    return OpenSet(**{"base": BASE, "prompts": WORDS, **like, **fields})


def loaded(of, **options):
    return generators.load_generator(of, digits(), weights={BASE.name: tiny_xl()}, **options)


def at_full_size(of):
    """The images that a pipeline makes itself: three channels, 16 pixels."""
    return replace(loaded(of), pixels=16, channels=3)


@functools.cache
def diffusers_own(kind=StableDiffusionXLPipeline):
    """The same files, read by diffusers alone."""
    whole = kind.from_pretrained(tiny_xl(), add_watermarker=False)
    whole.set_progress_bar_config(disable=True)
    return whole


def theirs(pool, label, seed, kind=StableDiffusionXLPipeline, whole=None, **options):
    whole = whole or diffusers_own(kind)
    whole.scheduler = solving._scheduler(EulerDiscreteScheduler.from_pretrained(tiny_xl() / "scheduler"), pool.solver)
    made = whole(
        f"a photo of a {NAMES[label]}", negative_prompt=pool.generator.prompts.negative or None,
        num_inference_steps=pool.sampling_steps, guidance_scale=pool.guidance, output_type="np",
        generator=torch.Generator().manual_seed(seed), **options,
    ).images  # fmt: skip
    return np.round(made * 255)


def compared(pool, pipeline=None, **options):
    """The largest difference from diffusers' images in grey levels, and how much words change ours."""
    ours = pipeline or at_full_size(pool.generator)
    made = generators.sample(ours, pool, [3, 7], [11, 11], [0, 1]).astype(int)
    expected = np.concatenate([theirs(pool, label, 11, **options) for label in (3, 7)])
    return np.abs(made - expected).max(), np.abs(made[0] - made[1]).max()


@pytest.mark.parametrize(
    ("solver", "guidance", "negative"), [("own", 1.0, ""), *((s, 4.0, "") for s in SOLVERS), ("unipc", 4.0, "blurry")]
)
def test_images_are_those_of_diffusers_own_pipeline(solver, guidance, negative):
    """Without a negative prompt the other branch reads zeros, with one its states."""
    of = generator(prompts=replace(WORDS, negative=negative))
    far, worded = compared(Pool(generator=of, guidance=guidance, sampling_steps=5, solver=solver))
    assert far <= 1
    assert worded > 3


def test_what_the_files_say_of_empty_prompts_is_done(tmp_path):
    folder = shutil.copytree(tiny_xl(), tmp_path / "xl")
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"force_zeros_for_empty_prompt": False}))
    pool = Pool(generator=generator(), guidance=4.0, sampling_steps=4)
    whole = StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    whole.set_progress_bar_config(disable=True)
    other = generators.load_generator(pool.generator, digits(), weights={BASE.name: folder})
    assert compared(pool, replace(other, pixels=16, channels=3), whole=whole)[0] <= 1
    assert compared(pool, replace(other, pixels=16, channels=3))[0] > 2


@pytest.mark.parametrize("solver", SOLVERS)
def test_images_that_begin_at_real_ones_are_those_of_diffusers_own_pipeline(solver):
    of = generator(real=tiny.real(50), prior=LatentPrior(strength=0.5))
    pool = Pool(generator=of, guidance=3.0, sampling_steps=6, solver=solver)
    ours = at_full_size(of)
    made = generators.sample(ours, pool, [3], [12], [0]).astype(int)
    rows = open_set._own_rows(ours, pool, np.array([3]), np.array([0]))
    pixels = pipelines.to_pixels(ours.real.images[rows], 16)
    with torch.inference_mode():
        start = solving.encode(ours.pipeline.vae, pixels)
    options = {"kind": StableDiffusionXLImg2ImgPipeline, "image": start, "strength": 0.5}
    assert np.abs(made - theirs(pool, 3, 12, **options)).max() <= 1


def test_samples_are_the_same_in_batches_of_one_and_of_seven():
    pool = Pool(generator=generator(), guidance=3.0, sampling_steps=4, solver="unipc")
    once = loaded(pool.generator)
    whole = drawn(pool, range(7), once).astype(int)
    alone = np.concatenate([drawn(pool, [i], once) for i in (0, 3, 6)])
    assert np.abs(whole[::3] - alone).max() <= 2
    assert whole.shape == (7, 8, 8, 1)


def test_half_precision_is_near_the_whole():
    pool = Pool(generator=generator(), guidance=3.0, sampling_steps=4, solver="unipc")
    whole, half = (drawn(pool, range(4), loaded(generator(precision=p))).astype(int) for p in ("fp32", "bf16"))
    assert np.abs(whole - half).max() > 0
    assert np.abs(whole - half).mean() < 4  # of 255


def test_latents_with_a_mean_and_a_width_of_their_own_are_scaled_as_diffusers_does():
    pool = Pool(generator=generator(), guidance=3.0, sampling_steps=4)
    ours, whole = at_full_size(pool.generator), StableDiffusionXLPipeline(**diffusers_own().components)
    whole.set_progress_bar_config(disable=True)
    for vae in (ours.pipeline.vae, whole.vae):
        vae.register_to_config(latents_mean=[0.5, -1.0, 0.2, 0.0], latents_std=[2.0, 1.0, 0.5, 3.0])
    try:
        assert compared(pool, ours, whole=whole)[0] <= 1
        latents = torch.randn(2, 4, 8, 8)
        torch.testing.assert_close(solving.scaled(whole.vae, solving.unscaled(whole.vae, latents)), latents)
    finally:
        whole.vae.register_to_config(latents_mean=None, latents_std=None)
    assert compared(pool)[0] <= 1  # and without, as before


# ----------------------------------------------------------------------------------------------------------- adapters


def spec(**fields) -> Lora:
    return Lora(
        **{"base": BASE, "real": tiny.real(20), "prompts": WORDS, "rank": 2, "steps": 6, "batch_size": 4,
           "learning_rate": 3e-2, **fields}
    )  # fmt: skip


def fitted(made, folder, base=None, report=lambda event: None, **options):
    folder.mkdir(exist_ok=True, parents=True)
    precision = "bf16" if made.precision == "bf16" else "no"
    options |= {"weights": {BASE.name: base or tiny_xl()}, "accelerator": accelerator(precision)}
    return lora.fit(made, load_samples(digits(), made.real), folder, report, **options)


@pytest.mark.parametrize("fields", [{}, {"text_encoder": True, "alpha": 6.0}], ids=["unet", "text encoders"])
def test_diffusers_draws_the_same_images_with_our_adapter(fields):
    made = spec(**fields)
    with digits().making(made) as (folder, result):
        result |= fitted(made, folder)
    of = generator(lora=made)
    ours = at_full_size(of)
    whole = StableDiffusionXLPipeline.from_pretrained(tiny_xl(), add_watermarker=False)
    whole.set_progress_bar_config(disable=True)
    whole.load_lora_weights(digits().folder(made))
    expected = {"unet", "text_encoder", "text_encoder_2"} if fields else {"unet"}
    assert set(whole.get_list_adapters()) == expected
    pool = Pool(generator=of, guidance=3.0, sampling_steps=4, solver="ddim")
    assert compared(pool, ours, whole=whole)[0] <= 1
    plain = generators.sample(at_full_size(generator()), pool, [3], [11], [0])
    assert np.abs(plain.astype(int) - generators.sample(ours, pool, [3], [11], [0])).max() > 2


@pytest.mark.parametrize("trained", [False, True])
def test_a_step_reads_what_sampling_reads(trained):
    """The student's prediction is the UNet's for what ``encode_prompt`` gives; where words were dropped, of zeros."""
    from realfake.generators import adapters, alignment_material

    pipeline = pipelines.open_folder(tiny_xl())
    made = spec(text_encoder=trained, caption_dropout=0.5)
    said = ["a photo of a three", ""]
    words = alignment_material._words(made, pipeline, said)(said)
    read, _, pooled, _ = diffusers_own().encode_prompt(said, device="cpu", do_classifier_free_guidance=False)
    read[1], pooled[1] = 0, 0
    student = adapters.new_student(made, pipeline, 0).eval()
    adapters.initialise(student, seed=0)
    noisy, times = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([10, 900])
    added = {"text_embeds": pooled, "time_ids": torch.tensor([[16.0, 16, 0, 0, 16, 16]] * 2)}
    with torch.no_grad():
        ours = student(noisy, times, words, None, torch.tensor([True, False]))
        expected = diffusers_own().unet(noisy, times, encoder_hidden_states=read, added_cond_kwargs=added).sample
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_all_that_is_trained_has_a_gradient():
    """Workers wait for every weight's gradient: the first encoder's last layer, which nobody reads, has no adapter."""
    from realfake.generators import adapters, alignment_material

    pipeline = pipelines.open_folder(tiny_xl())
    made = spec(text_encoder=True)
    student = adapters.new_student(made, pipeline, 0)
    adapters.initialise(student, seed=0)
    words = alignment_material._words(made, pipeline, ["a"])(["a", "b"])
    student(torch.randn(2, 4, 8, 8), torch.tensor([1, 2]), words, None, torch.ones(2).bool()).sum().backward()
    trained = {name: weight for name, weight in student.named_parameters() if weight.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"unet", "text_encoder", "text_encoder_2"}
    assert [name for name, weight in trained.items() if weight.grad is None] == []


def worker(rank, port, folder, made):
    import os
    from pathlib import Path

    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    torch.set_num_threads(1)
    fitted(made, Path(folder) / str(rank), str(Path(folder) / "xl"))


@pytest.mark.cluster
def test_two_workers_learn_what_one_learns(tmp_path, folder):
    import socket

    from safetensors.torch import load_file

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    made = spec(text_encoder=True, caption_dropout=0.3)
    torch.multiprocessing.spawn(worker, (port, str(tmp_path), made), nprocs=2)
    fitted(made, tmp_path / "alone")
    ours, theirs = (load_file(tmp_path / name / lora.WEIGHTS) for name in ("0", "alone"))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-3) for name in theirs)  # Adam enlarges rounding


def test_an_interrupted_fit_ends_with_the_same_bits(tmp_path, monkeypatch):
    from safetensors.torch import load_file

    monkeypatch.setattr(fitting, "REPORT_SECONDS", 0.0)
    made = spec(text_encoder=True, caption_dropout=0.3, scope="class", steps=20)
    fitted(made, tmp_path / "whole")

    def stop(event):
        if event["done"] == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(made, tmp_path / "again", report=stop, checkpoint=tmp_path / "kept")
    fitted(made, tmp_path / "again", checkpoint=tmp_path / "kept")
    for label in range(10):
        places = (lora.part_folder(tmp_path / name, made, label) for name in ("whole", "again"))
        whole, again = (load_file(place / lora.WEIGHTS) for place in places)
        assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_bf16_trains_too(tmp_path):
    facts = fitted(spec(precision="bf16", text_encoder=True, steps=2), tmp_path)
    assert np.isfinite(facts["final_loss"])


# ----------------------------------------------------------------------------------------------------------- refusals


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(tiny_xl(), tmp_path / "xl")


def edited(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_the_files_of_both_encoders_are_needed(folder):
    names = {file.relative_to(folder).as_posix() for file in files_of(folder)[0]}
    assert {"text_encoder_2/model.safetensors", "text_encoder_2/config.json"} <= names
    assert any(name.startswith("tokenizer_2/") for name in names)
    (folder / "text_encoder_2" / "model.safetensors").unlink()
    with pytest.raises(PipelineError, match=r"lacks .*text_encoder_2/model.safetensors"):
        pipelines.open_folder(folder)


def test_of_a_hub_id_all_parts_are_fetched(folder, monkeypatch):
    import fnmatch

    import huggingface_hub

    wanted = []

    def snapshot(name, allow_patterns, local_files_only=False):
        wanted.extend(allow_patterns)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert pipelines.load_pipeline(BASE, None).text_encoder_2.config.projection_dim == 12
    names = [file.relative_to(folder).as_posix() for file in files_of(folder)[0]]
    assert all(any(fnmatch.fnmatch(name, pattern) for pattern in wanted) for name in names)


@pytest.mark.parametrize(
    ("file", "values", "match"),
    [
        ("model_index.json", {"text_encoder": [None, None]}, "whose text_encoder is missing.*give a Stable Diffusion"),
        ("unet/config.json", {"cross_attention_dim": 16}, "cannot be read as a UNet2DConditionModel"),
    ],
)
def test_refiners_and_mixtures_are_refused(folder, file, values, match):
    edited(folder / file, **values)
    with pytest.raises(PipelineError, match=match):
        pipelines.open_folder(folder)


@pytest.mark.parametrize(
    ("part", "values", "match"),
    [
        ("unet", {"cross_attention_dim": 16}, "width 16 and the two text encoders' have 40"),
        ("unet", {"addition_embed_type": None}, "reads no pooled text state"),
        ("unet", {"projection_class_embeddings_input_dim": 52}, "reads 52 numbers.*are 60; it is a refiner"),
    ],
)
def test_parts_that_do_not_fit_are_refused(part, values, match):
    parts = {name: held for name, held in pipelines.open_folder(tiny_xl()).components.items() if held is not None}
    parts[part].register_to_config(**values)
    with pytest.raises(PipelineError, match=match):
        pipelines.assembled(parts, "tiny")


def test_what_is_for_one_encoder_is_refused_with_the_cure(folder, tmp_path):
    seen = generator(real=tiny.real(50), visual=VisualGuidance())
    with pytest.raises(SpecError, match=r"VisualGuidance .* XL has two; leave visual out"):
        loaded(seen)
    with pytest.raises(SpecError, match=r"VisualGuidance .* XL has two; leave visual out"):
        fitted(spec(visual=VisualGuidance()), tmp_path / "a")
    learned = spec(token="<style>", prompts=replace(WORDS, templates=("a {} <style>",)))
    with pytest.raises(SpecError, match=r"Lora\.token='<style>' is learned in one text encoder"):
        fitted(learned, tmp_path / "b")
    with pytest.raises(SpecError, match="is learned in one text encoder"):
        loaded(generator(lora=learned, prompts=learned.prompts))
    with pytest.raises(SpecError, match="is a Stable Diffusion XL, which does not translate here"):
        sd_img2img._pipeline(str(folder))

"""Pretraining a miniature: the losses against closed forms and CLIP's own, resuming, duplicates, and what is saved."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from PIL import Image

from realfake.alignment import Captions, Prompts
from realfake.generators import Diverged, fitting, miniature, pretraining, stages
from realfake.generators.miniature import MINIATURES, Miniature, miniature_for, new_parts, new_tokenizer, standardise
from realfake.generators.overlap import nearest, overlapping, thumbnails
from realfake.generators.pipelines import open_folder, to_pixels
from realfake.kinds import Pretrained
from realfake.values import SpecError
from tests import tiny
from tests.tiny_pipeline import needs_transformers

pytestmark = needs_transformers
SMALL = Miniature(
    pixels=8, autoencoder=(8, 8), latent_channels=2, unet=(8,), width=16, text_layers=1, vision_layers=1, vision_patch=4
)
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PROMPTS = Prompts(templates=("a handwritten {}", "the digit {}"), names=WORDS)
STEPS = {"autoencoder_steps": 4, "text_steps": 4, "steps": 4}


def fresh(precision="no"):
    """An accelerator with nothing left of the one before: they share their state within a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    torch.set_num_threads(1)
    return Accelerator(cpu=True, mixed_precision=precision)


@pytest.fixture
def accelerator():
    return fresh()


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setitem(MINIATURES, "sd-test", SMALL)


def pretrained(**fields):
    values = {"real": tiny.real(), "network": "sd-test", "prompts": PROMPTS, "batch_size": 8, **STEPS, **fields}
    return Pretrained(**values)


def fit(spec, folder, accelerator, report=lambda event: None, n=40, **options):
    Path(folder).mkdir(exist_ok=True, parents=True)
    samples = tiny.digits().take(slice(0, n))
    return pretraining.fit(spec, samples, Path(folder), report, accelerator=accelerator, **options)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A fit that nothing disturbed: its folder, what it returned and what it reported."""
    folder, events = tmp_path_factory.mktemp("fitted"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MINIATURES, "sd-test", SMALL)
        return folder, fit(pretrained(), folder, fresh(), events.append), events


# --------------------------------------------------------------------------------------------------------- the losses


def test_with_one_text_an_image_the_contrast_is_that_of_clip():
    parts = new_parts(SMALL, ["a b c d"], seed=0)
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    tokens = pretraining.tokenized(parts.tokenizer, ["a", "b", "c", "d"])
    theirs = parts.clip(input_ids=tokens, pixel_values=images, return_loss=True).loss
    torch.testing.assert_close(stages.Contrast(parts.clip)(images, tokens, torch.eye(4, dtype=torch.bool)), theirs)


def test_the_contrast_of_several_images_for_one_text_has_its_closed_form():
    positive = torch.tensor([[True, False], [True, False], [False, True]])
    assert stages.contrastive_loss(torch.zeros(3, 2), positive) == pytest.approx((math.log(2) + math.log(3)) / 2)
    sure = torch.where(positive, 50.0, 0.0)
    assert stages.contrastive_loss(sure, positive) == pytest.approx((0 + math.log(2) / 2) / 2)  # of [½, ½] and [1]
    lonely = torch.cat([torch.zeros(3, 2), torch.zeros(3, 1)], 1)
    padded = torch.cat([positive, torch.zeros(3, 1, dtype=torch.bool)], 1)
    assert stages.contrastive_loss(lonely, padded) == pytest.approx((math.log(3) + math.log(3)) / 2)


def test_texts_of_a_class_belong_to_all_its_images_and_captions_to_their_own():
    def belongs(captions):
        material = pretraining.Material(
            pretrained(),
            torch.zeros(3, 3, 8, 8),
            np.array([4, 4, 7]),
            WORDS,
            captions,
            torch.device("cpu"),
            slice(None),
        )
        return pretraining._belongs(material, np.array([0, 1, 2]), ["x four", "y four", "x seven"], distinct).tolist()

    distinct = ["x four", "y four", "x seven"]
    assert belongs(None) == [[True, True, False], [True, True, False], [False, False, True]]
    assert belongs(["", "", ""]) == np.eye(3, dtype=bool).tolist()


def test_an_untrained_unet_has_the_loss_of_predicting_no_noise():
    parts = new_parts(SMALL, ["a"], seed=0)
    noise = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    loss = stages.NoisePrediction(parts.unet, parts.scheduler)(
        torch.zeros(2, 2, 4, 4), noise, torch.tensor([3, 900]), torch.zeros(2, 77, 16)
    )
    assert loss.item() == pytest.approx(noise.square().mean().item())


def test_the_unet_sees_latents_noised_by_the_closed_form():
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, noisy, times, states):
            seen.append(noisy)
            return type("Out", (), {"sample": torch.zeros_like(noisy)})

    random = torch.Generator().manual_seed(2)
    latents, noise = torch.randn(3, 2, 4, 4, generator=random), torch.randn(3, 2, 4, 4, generator=random)
    times = torch.tensor([0, 500, 999])
    stages.NoisePrediction(Spy(), miniature._scheduler())(latents, noise, times, torch.zeros(3, 77, 16))
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2  # Stable Diffusion 1.5's
    kept = (1 - betas).cumprod(0)[times].float()[:, None, None, None]
    torch.testing.assert_close(seen[0], kept.sqrt() * latents + (1 - kept).sqrt() * noise, atol=1e-5, rtol=1e-5)


def test_standardising_gives_latents_mean_0_and_deviation_1_and_changes_no_image():
    autoencoder = new_parts(SMALL, ["a"], seed=0).autoencoder.eval()
    images = to_pixels(tiny.digits().images[:64], 8)
    with torch.no_grad():
        before = autoencoder.encode(images).latent_dist
        made = autoencoder.decode(before.mean).sample
        standardise(autoencoder, before.mean.mean((0, 2, 3)), before.mean.std((0, 2, 3)))
        after = autoencoder.encode(images).latent_dist
        torch.testing.assert_close(autoencoder.decode(after.mean).sample, made, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(after.mean.mean((0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(after.mean.std((0, 2, 3)), torch.ones(2))
    scale = before.mean.std((0, 2, 3))[:, None, None]
    torch.testing.assert_close(after.std * scale, before.std)


# -------------------------------------------------------------------------------------------------------- the tokenizer


def test_the_tokenizer_knows_the_words_of_its_prompts_whole_and_all_others_by_their_bytes():
    tokenizer = new_tokenizer(["a handwritten three", "a photo of a horse", "another photo"])
    words = ["a", "handwritten", "horse", "another", "three"]
    assert tokenizer.tokenize(" ".join(words).upper()) == [f"{word}</w>" for word in words]
    assert new_tokenizer(["another photo", "a photo of a horse", "a handwritten three"]).get_vocab() == (
        tokenizer.get_vocab()
    )
    odd = "zebra, naïve 日本 12!?"
    ids = tokenizer(odd)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert ids.index(tokenizer.eos_token_id) == len(ids) - 1  # and nothing is unknown, which would be the same token
    assert tokenizer.decode(ids[1:-1]).replace(" ", "") == odd.replace(" ", "")


# ---------------------------------------------------------------------------------------------------------- duplicates


def as_jpeg(image):
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0]).save(buffer, "JPEG", quality=90)
    return np.asarray(Image.open(buffer))[..., None]


def test_copies_are_found_even_if_resized_compressed_or_coloured_and_others_are_not():
    digits = np.stack([np.asarray(Image.fromarray(i[..., 0]).resize((24, 24)))[..., None] for i in _digits(60)])
    assert overlapping(digits, [digits[:5]]).tolist() == [True] * 5 + [False] * 55
    larger = np.stack([np.asarray(Image.fromarray(i[..., 0]).resize((48, 48)))[..., None] for i in digits])
    for changed in (larger, np.stack([as_jpeg(i) for i in digits]), digits.repeat(3, -1)):
        assert overlapping(digits, [digits[:0], changed[10:20]]).nonzero()[0].tolist() == list(range(10, 20))
    assert not overlapping(digits, [255 - digits, np.roll(digits, 3, axis=2)]).any()
    assert not overlapping(digits, []).any()


def _digits(n):
    return tiny.digits().images[:n]


def test_the_nearest_distance_is_the_one_of_scipy(monkeypatch):
    from scipy.spatial.distance import cdist

    from realfake.generators import overlap

    monkeypatch.setattr(overlap, "ROWS", 7)
    a, b = thumbnails(_digits(20), 8), thumbnails(_digits(45)[20:], 8)
    np.testing.assert_allclose(nearest(a, b), cdist(a, b).min(1) / math.sqrt(192), rtol=1e-4)


def test_images_of_the_target_are_left_out_and_counted(tmp_path, accelerator):
    target = tiny.digits().take(slice(30, 60))
    facts = fit(pretrained(), tmp_path, accelerator, without=[target])
    assert (facts["n_pretrained"], facts["duplicates_left_out"]) == (30, 10)
    with pytest.raises(SpecError, match="all 40 images are also in the sets of without"):
        fit(pretrained(), tmp_path, accelerator, without=[tiny.digits()])


# -------------------------------------------------------------------------------------------------------------- the fit


def test_what_is_saved_is_a_stable_diffusion_that_diffusers_loads(fitted):
    from diffusers import StableDiffusionPipeline

    folder, facts, _ = fitted
    pipeline = StableDiffusionPipeline.from_pretrained(folder / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    asked = {"num_inference_steps": 2, "guidance_scale": 2.0, "output_type": "np"}
    images = pipeline(["a handwritten three", "ein Gürteltier"], **asked).images
    assert images.shape == (2, 8, 8, 3)
    assert np.isfinite(images).all()
    assert type(pipeline.image_encoder).__name__ == "CLIPVisionModelWithProjection"
    assert {file.name for file in (folder / "pipeline" / "tokenizer").iterdir()} >= {"vocab.json", "merges.txt"}
    assert facts["parameters"]["unet"] == pipeline.unet.num_parameters()
    loaded = open_folder(folder / "pipeline")
    assert loaded.unet.config.sample_size * loaded.vae_scale_factor == 8
    for ours, theirs in zip(loaded.unet.parameters(), pipeline.unet.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_encoders_are_saved_with_both_projections_and_are_those_of_the_pipeline(fitted):
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    folder, _, _ = fitted
    clip, pipeline = CLIPModel.from_pretrained(folder / "clip").eval(), open_folder(folder / "pipeline")
    words = CLIPTokenizer.from_pretrained(folder / "clip")(["a handwritten two"], return_tensors="pt").input_ids
    pictures = [Image.fromarray(image.repeat(3, -1)) for image in _digits(2)]
    pixels = CLIPImageProcessor.from_pretrained(folder / "clip")(pictures, return_tensors="pt").pixel_values
    torch.testing.assert_close(pixels, to_pixels(_digits(2), 8), atol=1e-5, rtol=0)
    with torch.no_grad():
        out = clip(input_ids=words, pixel_values=pixels)
        own = pipeline.image_encoder(pixels).image_embeds
        torch.testing.assert_close(own / own.norm(dim=1, keepdim=True), out.image_embeds)
        states = pipeline.text_encoder(words)[0]
        torch.testing.assert_close(states, out.text_model_output.last_hidden_state)
    assert own.shape[1] == states.shape[2]  # an image can stand in the place of a word


def test_what_is_returned_and_reported(fitted):
    folder, facts, events = fitted
    assert set(facts["losses"]) == set(facts["seconds_by_stage"]) == {"autoencoder", "encoders", "unet"}
    assert events[-1].items() >= {"done": 12, "total": 12, "unit": "steps"}.items()
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in history] == [
        (stage, step) for stage in ("autoencoder", "encoders", "unet") for step in (1, 2, 3, 4)
    ]


def test_every_stage_learns(tmp_path, accelerator):
    spec = pretrained(autoencoder_steps=120, text_steps=60, steps=120, batch_size=32, learning_rate=5e-3)
    fit(spec, tmp_path, accelerator, n=200)
    history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    for stage, share in {"autoencoder": 0.5, "encoders": 0.7, "unet": 0.9}.items():
        losses = [line["loss"] for line in history if line["stage"] == stage]
        assert np.mean(losses[-5:]) < share * losses[0], stage


@pytest.mark.parametrize("done", [2, 6, 11, 12])
def test_a_fit_that_is_interrupted_in_any_stage_resumes_to_the_same_bits(
    tmp_path, accelerator, fitted, monkeypatch, done
):
    monkeypatch.setattr(fitting, "REPORT_SECONDS", 0.0)
    events = []

    def interrupting(event):
        if event["done"] == done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(pretrained(), tmp_path / "out", accelerator, interrupting, checkpoint=tmp_path / "kept")
    fit(pretrained(), tmp_path / "out", accelerator, events.append, checkpoint=tmp_path / "kept")
    assert events[0]["done"] == done + 1 if done < 12 else not events  # of all its steps nothing is left to do
    files = [path for path in fitted[0].rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix == ".safetensors"]) == 5
    for path in files:
        assert (tmp_path / "out" / path.relative_to(fitted[0])).read_bytes() == path.read_bytes(), path


def test_the_seed_and_the_prompts_decide_the_weights(tmp_path, accelerator, fitted):
    def unet(folder):
        return (folder / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()

    torch.manual_seed(5)  # whatever else was drawn in this process
    changes = {
        "same": {},
        "seed": {"seed": 1},
        "prompts": {"prompts": Prompts(names=WORDS)},
        "dropout": {"caption_dropout": 1.0},
    }
    made = {name: fit(pretrained(**change), tmp_path / name, accelerator) for name, change in changes.items()}
    assert {name: unet(tmp_path / name) == unet(fitted[0]) for name in made} == {
        "same": True,
        "seed": False,
        "prompts": False,
        "dropout": False,
    }


def test_captions_are_words_of_the_vocabulary_and_follow_their_images(tmp_path, accelerator):
    captions = [f"caption {chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(40)]
    prompts = Prompts(names=WORDS, captions=Captions(of=tiny.real()))
    asked, own = [], pretraining.texts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "texts", lambda *parts: asked.extend(own(*parts)) or own(*parts))
        fit(pretrained(prompts=prompts), tmp_path, accelerator, captions=captions, without=[tiny.digits().take([3])])
    labels = tiny.digits().labels
    expected = {f"a photo of a {WORDS[labels[i]]}, {captions[i]}" for i in range(40) if i != 3}
    assert set(asked) == expected
    tokens = open_folder(tmp_path / "pipeline").tokenizer.tokenize(captions[7])
    assert tokens == ["caption</w>", "ah</w>"]
    with pytest.raises(SpecError, match="3 captions for 40 images"):
        fit(pretrained(prompts=prompts), tmp_path, accelerator, captions=captions[:3])


def test_shares_of_a_batch_together_are_the_batch():
    def material(share):
        images = torch.arange(10.0)[:, None, None, None].expand(10, 3, 8, 8)
        return pretraining.Material(pretrained(), images, np.arange(10), WORDS, None, torch.device("cpu"), share)

    whole = pretraining._autoencoder(material(slice(None)), new_parts(SMALL, ["a"], 0)).batch(3)
    halves = [
        pretraining._autoencoder(material(slice(k, None, 2)), new_parts(SMALL, ["a"], 0)).batch(3) for k in (0, 1)
    ]
    for part, (even, odd) in zip(whole, zip(*halves, strict=True), strict=True):
        assert torch.equal(part[0::2], even)
        assert torch.equal(part[1::2], odd)


def test_a_fit_that_diverges_says_so(tmp_path, accelerator):
    with pytest.raises(Diverged, match="give a lower learning_rate"):
        fit(pretrained(learning_rate=1e30), tmp_path, accelerator)


def test_bf16_makes_a_pipeline_too(tmp_path):
    facts = fit(pretrained(precision="bf16"), tmp_path, fresh("bf16"))
    assert all(math.isfinite(loss) for loss in facts["losses"].values())
    assert open_folder(tmp_path / "pipeline").unet.dtype == torch.float32


def test_what_does_not_fit_together_is_refused(tmp_path, accelerator):
    with pytest.raises(SpecError, match=r"network 'sd-tinny' is unknown.*sd-tiny"):
        fit(pretrained(network="sd-tinny"), tmp_path, accelerator)
    with pytest.raises(SpecError, match="1 names for 10 classes"):
        fit(pretrained(prompts=Prompts(names=("one",))), tmp_path, accelerator)
    with pytest.raises(ValueError, match=r"computes in 'no' and Pretrained\.precision is 'bf16'"):
        fit(pretrained(precision="bf16"), tmp_path, accelerator)
    with pytest.raises(SpecError, match="cannot be halved so often"):
        Miniature(pixels=10, autoencoder=(8, 8), latent_channels=2, unet=(8, 8))


@pytest.mark.parametrize("name", ["sd-mini", "sd-tiny"])
def test_the_miniatures_encode_and_decode_at_the_sizes_they_say(name):
    size = miniature_for(name)
    parts = new_parts(size, ["a"], seed=0)
    with torch.no_grad():
        latents = parts.autoencoder.encode(torch.zeros(1, 3, size.pixels, size.pixels)).latent_dist.mean
        assert latents.shape == (1, size.latent_channels, size.latent_pixels, size.latent_pixels)
        assert parts.unet(latents, 3, torch.zeros(1, 77, size.width)).sample.shape == latents.shape
        assert parts.autoencoder.decode(latents).sample.shape == (1, 3, size.pixels, size.pixels)


# ----------------------------------------------------------------------------------------------------- two processes


def worker(rank, port, folder):
    import os

    os.environ.update(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    torch.set_num_threads(1)
    MINIATURES["sd-test"] = SMALL
    events = []
    fit(pretrained(), Path(folder) / str(rank), Accelerator(cpu=True), events.append)
    (Path(folder) / f"{rank}.json").write_text(json.dumps(len(events)))


@pytest.mark.cluster
def test_two_workers_learn_what_one_learns(tmp_path, fitted):
    import socket

    from safetensors.torch import load_file

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    torch.multiprocessing.spawn(worker, (port, str(tmp_path)), nprocs=2)
    assert json.loads((tmp_path / "0.json").read_text()) > 0
    assert json.loads((tmp_path / "1.json").read_text()) == 0
    assert not (tmp_path / "1" / "pipeline").exists()
    for part, file in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        name = f"pipeline/{part}/{file}.safetensors"
        ours, theirs = load_file(tmp_path / "0" / name), load_file(fitted[0] / name)
        assert all(torch.allclose(ours[key], theirs[key], atol=2e-3) for key in theirs)

"""Pretrained pipelines: the same networks as diffusers loads, and one sentence for all that can be wrong with files."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from realfake.generators import pipeline_files, pipelines
from realfake.generators.pipeline_files import PipelineError, fingerprint
from realfake.generators.pipelines import from_pixels, load_pipeline, memory_explained, open_folder, to_pixels
from realfake.outside import Dataset, External
from realfake.spec import Pretrained, Subset
from realfake.store import Store
from tests.tiny_pipeline import needs_transformers, tiny_pipeline

pytestmark = needs_transformers
NAME = "someone/tiny-diffusion"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(tiny_pipeline(), tmp_path / "tiny")


def refused(folder, match):
    with pytest.raises(PipelineError, match=match):
        load_pipeline(External(name=NAME), None, {NAME: folder})


def edited(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_folder_gives_what_diffusers_loads(folder):
    from diffusers import StableDiffusionPipeline

    ours = load_pipeline(External(name=NAME), None, {NAME: folder})
    theirs = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False)
    theirs.set_progress_bar_config(disable=True)
    made = [
        pipe("a cat", num_inference_steps=2, generator=torch.Generator().manual_seed(1), output_type="np").images
        for pipe in (ours, theirs)
    ]
    np.testing.assert_array_equal(*made)
    assert ours.safety_checker is None
    for part in (ours.unet, ours.vae, ours.text_encoder):
        assert not part.training
        assert not any(weight.requires_grad for weight in part.parameters())
    facts = pipelines.facts(ours)
    assert facts["pipeline_pixels"] == 16
    assert facts["safety_checker"] == "off"
    assert facts["parameters"]["unet"] == theirs.unet.num_parameters()


def test_a_pipeline_of_the_store_is_found_by_its_record(tmp_path):
    spec, store = Pretrained(real=Subset(of=Dataset(name="digits"), size=10)), Store(tmp_path)
    with pytest.raises(FileNotFoundError, match="not trained yet"):
        load_pipeline(spec, store)
    shutil.copytree(tiny_pipeline(), store.folder(spec) / "pipeline")
    assert load_pipeline(spec, store).unet.config.sample_size == 8


@pytest.mark.parametrize(
    "lost",
    [
        "model_index.json",
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "vae/config.json",
        "scheduler/scheduler_config.json",
    ],
)
def test_a_file_that_is_missing_is_named(folder, lost):
    (folder / lost).unlink()
    refused(folder, lost.replace("/", ".") if "/" in lost else "holds no model_index")


def test_a_tokenizer_is_one_file_or_two(folder):
    tokenizer = folder / "tokenizer"
    whole = json.loads((tokenizer / "tokenizer.json").read_text())["model"]
    (tokenizer / "tokenizer.json").unlink()
    refused(folder, "vocab.json")
    (tokenizer / "vocab.json").write_text(json.dumps(whole["vocab"]))
    refused(folder, "merges.txt")
    (tokenizer / "merges.txt").write_text("#version: 0.2\n")
    words = load_pipeline(External(name=NAME), None, {NAME: folder}).tokenizer("a cat")
    assert words == open_folder(tiny_pipeline()).tokenizer("a cat")


def test_weights_that_lack_a_layer_are_refused(folder):
    from safetensors.torch import load_file, save_file

    for part, file in (("text_encoder", "model"), ("unet", "diffusion_pytorch_model")):
        path = folder / part / f"{file}.safetensors"
        state = load_file(path)
        lost = sorted(state)[0]
        save_file({name: value for name, value in state.items() if name != lost}, path, {"format": "pt"})
        refused(folder, f"{part}.*{lost.split('.')[-2]}")
        save_file(state, path, {"format": "pt"})
    path.write_bytes(path.read_bytes()[:1000])
    refused(folder, "unet cannot be read as a UNet2DConditionModel")


def test_half_precision_files_are_read_where_there_are_no_others(folder):
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    unet.half().save_pretrained(folder / "unet", variant="fp16")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    loaded = load_pipeline(External(name=NAME), None, {NAME: folder}).unet
    assert loaded.dtype == torch.float32
    torch.testing.assert_close(loaded.conv_in.weight, unet.float().conv_in.weight)


def test_a_pickle_is_refused_with_the_cure(folder):
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    path.rename(path.with_suffix(".bin"))
    refused(folder, r"only a pickle \(diffusion_pytorch_model.bin\).*save_pretrained")


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ({"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]}, "whose tokenizer_2 is missing"),
        ({"unet": ["diffusers", "UNet2DModel"]}, "whose unet is UNet2DModel, not UNet2DConditionModel"),
        ({"vae": [None, None]}, "whose vae is missing"),
        ({"scheduler": ["diffusers", "NoSuchScheduler"]}, "diffusers has no NoSuchScheduler"),
    ],
)
def test_pipelines_of_another_kind_are_refused(folder, parts, match):
    edited(folder / "model_index.json", **parts)
    refused(folder, match)


def test_a_unet_for_inpainting_is_refused(folder):
    from diffusers import UNet2DConditionModel

    config = UNet2DConditionModel.load_config(folder / "unet") | {"in_channels": 9}
    UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")
    refused(folder, "takes 9 channels and latents have 4")


def test_a_fingerprint_is_the_hash_of_the_lines_of_sha256sum(folder):
    files = sorted(str(file.relative_to(folder)) for file in pipeline_files.files_of(folder)[0])
    assert "unet/config.json" in files
    assert "vae/diffusion_pytorch_model.safetensors" in files
    lines = "".join(f"{hashlib.sha256((folder / file).read_bytes()).hexdigest()}  {file}\n" for file in files)
    found = hashlib.sha256(lines.encode()).hexdigest()
    assert fingerprint(folder) == found
    (folder / "README.md").write_text("not read")
    assert load_pipeline(External(name=NAME, fingerprint=found), None, {found: folder})
    edited(folder / "unet" / "config.json", sample_size=16)
    with pytest.raises(PipelineError, match=r"have the fingerprint .* and the spec says"):
        load_pipeline(External(name=NAME, fingerprint=found), None, {NAME: folder})


def test_without_a_network_a_hub_id_is_explained():
    with pytest.raises(PipelineError) as error:
        load_pipeline(External(name=NAME), None, {})
    for part in ("hf download someone/tiny-diffusion --local-dir FOLDER", "model_index.json", "[data]", "unet"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_a_hub_id_comes_from_the_cache_if_it_is_whole_there(folder, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot(name, allow_patterns, local_files_only=False):
        asked.append(local_files_only)
        if not local_files_only:
            raise ConnectionError("no network")
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert load_pipeline(External(name=NAME), None, {}).unet.config.sample_size == 8
    assert asked == [True]
    (folder / "unet" / "config.json").unlink()
    with pytest.raises(PipelineError, match=r"lacks .*unet/config.json"):  # the part that is there says what is not
        load_pipeline(External(name=NAME), None, {})
    assert asked[1:] == [True, False]


# ------------------------------------------------------------------------------------------------- images and memory


def test_images_go_in_and_come_out_as_they_were():
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(from_pixels(to_pixels(images, 16), 16, 3), images)
    grey = images[..., :1]
    np.testing.assert_array_equal(from_pixels(to_pixels(grey, 16), 16, 1), grey)
    assert to_pixels(grey, 32).shape == (3, 3, 32, 32)


def test_one_channel_is_the_luma_that_pil_computes():
    images = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    theirs = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])
    assert np.abs(from_pixels(to_pixels(images, 8), 8, 1)[..., 0].astype(int) - theirs).max() <= 1


def test_images_are_shrunk_as_pil_shrinks_them():
    image = np.random.default_rng(2).integers(0, 256, (1, 28, 28, 1), dtype=np.uint8)
    theirs = np.asarray(Image.fromarray(image[0, ..., 0]).resize((16, 16), Image.Resampling.BICUBIC)).astype(int)
    ours = from_pixels(to_pixels(image, 16), 16, 1)[0, ..., 0].astype(int)
    assert np.abs(ours - theirs).max() <= 1


def test_slicing_changes_no_image():
    pipeline = open_folder(tiny_pipeline())
    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = pipeline.vae.decode(latents).sample
    sliced = pipelines.save_memory(pipeline).vae.decode(latents).sample
    assert pipeline.vae.use_slicing
    torch.testing.assert_close(sliced, plain)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("[enforce] can't allocate memory: 8 B"),
    ],
)
def test_memory_that_does_not_suffice_is_explained(error):
    with (
        pytest.raises(pipelines.OutOfMemory, match="drawing 64 images; lower batch_size under"),
        memory_explained("drawing 64 images"),
    ):
        raise error


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="something else"), memory_explained("drawing"):
        raise RuntimeError("something else")

"""How open-set images are made fast: a small autoencoder, half precision, and memory formats that change no number."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import huggingface_hub  # noqa: E402

from realfake import generators  # noqa: E402
from realfake.alignment import LatentPrior  # noqa: E402
from realfake.generators import decoders, pipelines, solving  # noqa: E402
from realfake.generators import open_set as open_set_module  # noqa: E402
from realfake.generators.pipeline_files import PipelineError, hashed  # noqa: E402
from realfake.kinds import Lora  # noqa: E402
from realfake.outside import External  # noqa: E402
from realfake.resources import Synthesis, Where  # noqa: E402
from realfake.spec import address, external_budget  # noqa: E402
from tests import tiny, tiny_open_set  # noqa: E402
from tests.tiny_open_set import drawn, open_set, pool, store  # noqa: E402

NAME = "someone/taesd"
DECODER = External(name=NAME)


def tiny_decoder(folder, **fields):
    """Save a small autoencoder with random weights; its latents are half as wide as its images."""
    from diffusers import AutoencoderTiny

    torch.manual_seed(5)
    widths = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    blocks = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    made = AutoencoderTiny(**{**widths, **blocks, "latent_channels": 4, **fields})
    with torch.no_grad():
        made.decoder.layers[-1].weight.mul_(6)  # random ones are almost grey
    made.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    return tiny_decoder(tmp_path / "taesd")


def loaded(of, folder=None, **options):
    return generators.load_generator(of, store(), weights={NAME: folder}, **options)


# ------------------------------------------------------------------------------------------------------------ decoders


def test_images_of_a_small_autoencoder_are_those_of_diffusers_pipeline_with_it(folder):
    from diffusers import AutoencoderTiny

    asked = pool(open_set(decoder=DECODER), solver="ddim")
    ours = replace(loaded(asked.generator, folder), pixels=16, channels=3)
    made = generators.sample(ours, asked, [3], [11], [0]).astype(int)
    plain = pipelines.load_pipeline(tiny_open_set.BASE, store())
    parts = {**plain.components, "vae": AutoencoderTiny.from_pretrained(folder)}
    parts["scheduler"] = solving._scheduler(plain.scheduler, "ddim")
    whole = type(plain)(**parts, requires_safety_checker=False)
    whole.set_progress_bar_config(disable=True)
    expected = whole(
        "a photo of a three", negative_prompt="", num_inference_steps=4, guidance_scale=3.0, output_type="np",
        generator=torch.Generator().manual_seed(11),
    ).images  # fmt: skip
    assert np.abs(made - np.round(expected * 255)).max() <= 1
    with_its_own = replace(loaded(open_set()), pixels=16, channels=3)
    assert np.abs(made - generators.sample(with_its_own, asked, [3], [11], [0])).max() > 3
    assert made.std() > 5


def test_latents_of_real_images_are_those_of_the_pipelines_own_autoencoder(folder, monkeypatch):
    of = open_set(decoder=DECODER, prior=LatentPrior())
    ours, seen = loaded(of, folder), []
    monkeypatch.setattr(solving, "encode", lambda vae, pixels: seen.append(vae) or torch.zeros(len(pixels), 4, 8, 8))
    drawn(pool(of), range(2), ours)
    assert seen == [ours.pipeline.vae]
    assert ours.vae is not ours.pipeline.vae


def test_a_decoder_is_in_the_address_and_in_the_external_budget():
    assert address(open_set(decoder=DECODER)) != address(open_set())
    assert address(open_set(precision="bf16")) != address(open_set())
    assert external_budget(open_set()) == 20  # what the miniature was trained on
    assert external_budget(open_set(decoder=replace(DECODER, n_images=100))) == 120
    assert external_budget(open_set(decoder=DECODER)) is None  # nobody knows


def test_a_decoder_that_cannot_be_used_is_refused_with_the_cure(folder, tmp_path, monkeypatch):
    other = tiny_decoder(tmp_path / "other", latent_channels=8)
    with pytest.raises(PipelineError, match=r"of 8 channels and images 2 times as wide, and the base has 4 and 2"):
        loaded(open_set(decoder=DECODER), other)
    found = hashed(folder, [folder / name for name in decoders.FILES])
    assert loaded(open_set(decoder=External(name=NAME, fingerprint=found)), folder)
    with pytest.raises(PipelineError, match=r"have the fingerprint .* and the spec says"):
        loaded(open_set(decoder=External(name=NAME, fingerprint="0" * 64)), folder)
    weights = folder / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(PipelineError, match="cannot be read as an AutoencoderTiny"):
        loaded(open_set(decoder=DECODER), folder)
    shutil.rmtree(folder)
    with pytest.raises(PipelineError, match=r"holds no config.json; put a folder of an AutoencoderTiny"):
        loaded(open_set(decoder=DECODER), folder)

    def no_network(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_network)
    with pytest.raises(PipelineError, match=r"hf download someone/taesd --local-dir FOLDER.*\[data\]"):
        generators.load_generator(open_set(decoder=DECODER), store())


def test_weights_that_lack_a_layer_are_refused(folder):
    from safetensors.torch import load_file, save_file

    path = folder / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    save_file({name: value for name, value in state.items() if "decoder.layers.0." not in name}, path, {"format": "pt"})
    with pytest.raises(PipelineError, match="lacks weights of an AutoencoderTiny"):
        loaded(open_set(decoder=DECODER), folder)


# ------------------------------------------------------------------------------------------- precision and where-files


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_of_the_unet_alone_and_near_the_whole(precision):
    asked = pool(open_set(), solver="unipc")
    plain = drawn(asked, range(4)).astype(int)
    ours = loaded(open_set(precision=precision))
    assert ours.pipeline.unet.dtype == {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert ours.pipeline.vae.dtype == ours.pipeline.text_encoder.dtype == torch.float32
    made = drawn(asked, range(4), ours)
    assert np.abs(made - plain).max() > 0
    assert np.abs(made - plain).mean() < 4  # of 255


def test_channels_last_changes_no_image(folder):
    of = open_set(decoder=DECODER, prior=LatentPrior())
    last = loaded(of, folder, channels_last=True)
    for part in (last.pipeline.unet, last.pipeline.vae, last.vae):
        kernels = [weight for weight in part.parameters() if weight.shape[2:] == (3, 3)]
        assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels)
    asked = pool(of, solver="unipc")
    assert np.abs(drawn(asked, range(5), last).astype(int) - drawn(asked, range(5), loaded(of, folder))).max() <= 1


def test_compiled_are_unet_and_decoder_but_no_unet_of_an_adapter_for_each_class(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **_: asked.append(type(self).__name__))
    loaded(open_set(), compiled=True)
    assert asked == ["UNet2DConditionModel", "Decoder"]
    asked.clear()
    ours = loaded(open_set())
    assert asked == []
    each = Lora(base=tiny_open_set.BASE, real=tiny.real(20), scope="class")
    open_set_module._compile(open_set(lora=each), ours.pipeline, ours.vae)
    assert asked == ["Decoder"]


@pytest.mark.gpu
def test_compiled_images_are_the_images():
    of = open_set()
    asked, device = pool(of, solver="unipc"), torch.device("cuda")
    plain, fast = (generators.load_generator(of, store(), device, compiled=compiled) for compiled in (False, True))
    for rows in (range(6), range(3)):  # a shorter batch, too
        assert np.abs(drawn(asked, rows, fast).astype(int) - drawn(asked, rows, plain)).max() <= 2


def test_where_files_say_how_and_makers_do_it(monkeypatch):
    from realfake import execution, synthesis

    made = execution._maker(Where(synthesis=Synthesis(channels_last=True)))
    assert (made["channels_last"], made["compiled"]) == (True, False)
    asked = {}
    monkeypatch.setattr(generators, "load_generator", lambda *_, **options: asked.update(options))
    monkeypatch.setattr(generators, "facts", lambda *_: {})
    maker = synthesis.Maker(store(), **{**made, "device": "cpu"})
    maker._load(pool())
    assert asked == {"channels_last": True, "compiled": False}
    assert maker.environment["channels_last"] is True  # in the footer of every shard
    assert "compiled" not in maker.environment

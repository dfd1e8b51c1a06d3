"""A Stable Diffusion pipeline of one hundred thousand random weights, for images of 16 pixels. Made once a process."""

import atexit
import functools
import importlib.util
import shutil
import tempfile
from pathlib import Path

import pytest

needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="transformers is not installed (uv sync --extra openset)"
)


@functools.cache
def tiny_pipeline():
    """Return the folder that the pipeline is saved in."""
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionImg2ImgPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {name: i for i, name in enumerate(names)}
    small = {"block_out_channels": (8, 16), "norm_num_groups": 4, "layers_per_block": 1}
    text = CLIPTextConfig(
        vocab_size=len(names), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        bos_token_id=len(names) - 2, eos_token_id=len(names) - 1, pad_token_id=len(names) - 1,
    )  # fmt: skip
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    StableDiffusionImg2ImgPipeline(
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, **small
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77),
        unet=UNet2DConditionModel(
            sample_size=8, cross_attention_dim=16, attention_head_dim=2, **small,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        scheduler=PNDMScheduler(beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


@functools.cache
def tiny_open_set(width=16):
    """Return the folder of the same with a CLIP image encoder whose embeddings have this width."""
    import torch
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    from realfake.generators import pipelines

    pipeline = pipelines.open_folder(tiny_pipeline())
    torch.manual_seed(1)
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8,
        projection_dim=width,
    )  # fmt: skip
    parts = {**pipeline.components, "image_encoder": CLIPVisionModelWithProjection(vision)}
    side = {"height": 16, "width": 16}
    parts["feature_extractor"] = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=side)
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    there = {name: part for name, part in parts.items() if part is not None}
    pipelines.assembled(there, "tiny").save_pretrained(folder)
    return folder

"""A Stable Diffusion XL of a few thousand random weights, for images of 16 pixels. Made once a process."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path


@functools.cache
def tiny_xl():
    """Return the folder that diffusers saved the pipeline in."""
    import torch
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    torch.manual_seed(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    n = len(names)
    small = {"block_out_channels": (8, 16), "norm_num_groups": 4, "layers_per_block": 1}
    text = {"vocab_size": n, "num_attention_heads": 2, "bos_token_id": n - 2, "eos_token_id": n - 1, "pad_token_id": 0}
    words = {"vocab": {name: i for i, name in enumerate(names)}, "merges": [], "model_max_length": 77}
    sizes = {"hidden_size": 24, "intermediate_size": 24, "projection_dim": 12}
    first = CLIPTextConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2, **text)
    pipeline = StableDiffusionXLPipeline(
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, **small,
            scaling_factor=0.13025,
        ),
        text_encoder=CLIPTextModel(first),
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**sizes, num_hidden_layers=3, **text)),
        tokenizer=CLIPTokenizer(**words),
        tokenizer_2=CLIPTokenizer(**words, pad_token="a"),  # another filling than the first's, as in the real one
        unet=UNet2DConditionModel(
            sample_size=8, cross_attention_dim=40, attention_head_dim=2, **small, use_linear_projection=True,
            addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=60,
            transformer_layers_per_block=(1, 2), down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
            timestep_spacing="leading",
        ),
        add_watermarker=False,
    )  # fmt: skip
    for name, weight in pipeline.unet.named_parameters():
        if "attn2" in name or "add_embedding" in name:
            torch.nn.init.normal_(weight, std=0.5)  # so that words and pooled states matter
    torch.nn.init.normal_(pipeline.unet.conv_out.weight, std=0.2)
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    pipeline.save_pretrained(folder)
    return folder

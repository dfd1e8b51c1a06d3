"""Stable Diffusion in small: the same classes of networks, of a size that two cores can train. Built here, saved here.

Autoencoder, CLIP text and image encoders, a tokenizer for any text, conditional UNet, and the noise schedule of
Stable Diffusion 1.5. How they are trained is in ``pretraining`` and ``stages``; loading them is in ``pipelines``.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import nn

from realfake.generators.pipelines import FOLDER, assembled, needs_transformers, quiet
from realfake.samples import seed_of
from realfake.values import SpecError, Value, at_least, nearest

LENGTH = 77  # tokens of a prompt, as in CLIP
START, END = "<|startoftext|>", "<|endoftext|>"
WHOLE_WORDS = 1000  # the most frequent, which are one token each
CLIP_FOLDER = "clip"  # beside the pipeline: the encoders with both projections, for scores


class Miniature(Value):
    """Sizes of a small Stable Diffusion for RGB images of ``pixels``; grey images become colour.

    ``autoencoder`` and ``unet`` are the channels at each resolution, each half the one before, so that latents are
    ``pixels`` / 2^(len(autoencoder) − 1) wide with ``latent_channels``. Both CLIP encoders have ``width`` and project
    to ``width``: an image's embedding can stand in the place of a word's state.
    """

    pixels: int
    autoencoder: tuple[int, ...]
    latent_channels: int
    unet: tuple[int, ...]
    unet_layers: int = 1
    width: int = 64
    text_layers: int = 2
    vision_layers: int = 3
    vision_patch: int = 4

    def check(self) -> None:
        at_least(self, pixels=8, latent_channels=1, unet_layers=1, width=16, text_layers=1, vision_layers=1)
        if self.pixels % self.vision_patch or self.pixels % 2 ** (len(self.autoencoder) + len(self.unet) - 2):
            raise SpecError(f"Miniature.pixels={self.pixels} cannot be halved so often or cut into such patches")

    @property
    def latent_pixels(self) -> int:
        """The side of the latents."""
        return self.pixels // 2 ** (len(self.autoencoder) - 1)


MINIATURES: dict[str, Miniature] = {
    "sd-mini": Miniature(pixels=16, autoencoder=(16, 32), latent_channels=4, unet=(32, 64)),
    "sd-tiny": Miniature(pixels=32, autoencoder=(16, 32, 64), latent_channels=8, unet=(64, 128)),
}


@dataclass(frozen=True)
class Parts:
    """The networks of a miniature: autoencoder, both CLIP encoders in one model, the UNet, and the tokenizer."""

    miniature: Miniature
    autoencoder: AutoencoderKL
    clip: Any
    unet: UNet2DConditionModel
    tokenizer: Any
    scheduler: DDIMScheduler


def miniature_for(name: str) -> Miniature:
    """Return the sizes called ``name``; raises SpecError when there are none."""
    if name not in MINIATURES:
        raise SpecError(f"Pretrained.network {name!r} is unknown; {nearest(name, MINIATURES)}")
    return MINIATURES[name]


def new_parts(miniature: Miniature, texts: Sequence[str], seed: int) -> Parts:
    """Return untrained networks, whose tokenizer knows the words of these texts whole and all others by their bytes.

    Raises PipelineError where transformers is not installed.
    """
    needs_transformers()
    tokenizer = new_tokenizer(texts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("pretrained", "weights", seed))
        return Parts(
            miniature,
            _autoencoder(miniature),
            _clip(miniature, tokenizer),
            _unet(miniature),
            tokenizer,
            _scheduler(),
        )


def new_tokenizer(texts: Sequence[str]) -> Any:
    """Return a CLIP tokenizer with byte-level merges learned from these texts: no text is unknown to it."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    backend = CLIPTokenizer(vocab={START: 0, END: 1}, merges=[]).backend_tokenizer
    words: Counter[str] = Counter()
    for text in texts:
        pieces = backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
        words.update(piece for piece, _ in pieces)
    merges = learned_merges(sorted(words, key=lambda word: (-words[word], word))[:WHOLE_WORDS])
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
    vocabulary = {name: i for i, name in enumerate(dict.fromkeys(names))}
    merged: Any = merges  # pairs, as its own backend wants them
    return CLIPTokenizer(vocab=vocabulary, merges=merged, model_max_length=LENGTH)


def learned_merges(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return the byte-pair merges that make each word one token (Sennrich et al. 2016, arXiv 1508.07909, algorithm 1).

    Ties go to the pair that is last in the alphabet: the library's own trainer breaks them at random.
    """
    split = [[*word[:-1], f"{word[-1]}</w>"] for word in words]
    merges = []
    while counts := Counter(pair for word in split for pair in pairwise(word)):
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        split = [_merged(word, best) for word in split if len(word) > 1]
    return merges


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    made: list[str] = []
    for symbol in word:
        if made and (made[-1], symbol) == pair:
            made[-1] += symbol
        else:
            made.append(symbol)
    return made


def standardise(autoencoder: AutoencoderKL, mean_c: torch.Tensor, std_c: torch.Tensor) -> None:
    """Change the autoencoder so that latents with this mean and deviation a channel have 0 and 1.

    Exact: the maps before and after the latents are linear, and images through both stay the same. Stable Diffusion
    scales by one factor and shifts by nothing, which a schedule that never ends in pure noise cannot make up for.
    """
    before: Any = autoencoder.quant_conv
    after: Any = autoencoder.post_quant_conv
    channels = len(mean_c)
    with torch.no_grad():
        before.weight[:channels] /= std_c[:, None, None, None]
        before.bias[:channels] = (before.bias[:channels] - mean_c) / std_c
        before.bias[channels:] -= 2 * std_c.log()
        after.bias += after.weight[:, :, 0, 0] @ mean_c
        after.weight *= std_c[None, :, None, None]


def save(parts: Parts, folder: Path) -> None:
    """Write ``pipeline/`` as ``StableDiffusionPipeline.save_pretrained`` does, and ``clip/`` as a ``CLIPModel``."""
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    vision = CLIPVisionModelWithProjection(parts.clip.config.vision_config)
    vision.vision_model.load_state_dict(parts.clip.vision_model.state_dict())
    vision.visual_projection.load_state_dict(parts.clip.visual_projection.state_dict())
    side, half = {"height": parts.miniature.pixels, "width": parts.miniature.pixels}, [0.5] * 3
    extractor = CLIPImageProcessor(size=side, crop_size=side, image_mean=half, image_std=half)
    pipeline = assembled(
        {
            "vae": parts.autoencoder,
            "text_encoder": parts.clip.text_model,
            "tokenizer": parts.tokenizer,
            "unet": parts.unet,
            "scheduler": parts.scheduler,
            "image_encoder": vision,
            "feature_extractor": extractor,
        },
        "a miniature",
    )
    quiet()
    pipeline.save_pretrained(folder / FOLDER, safe_serialization=True)
    parts.tokenizer.backend_tokenizer.model.save(str(folder / FOLDER / "tokenizer"))  # vocab.json and merges.txt too
    for whole in (parts.clip, parts.tokenizer, extractor):
        whole.save_pretrained(folder / CLIP_FOLDER)


# ----------------------------------------------------------------------------------------------------------- networks


def _autoencoder(size: Miniature) -> AutoencoderKL:
    levels = len(size.autoencoder)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,  # pyright: ignore[reportArgumentType]
        up_block_types=("UpDecoderBlock2D",) * levels,  # pyright: ignore[reportArgumentType]
        block_out_channels=size.autoencoder,  # pyright: ignore[reportArgumentType]
        latent_channels=size.latent_channels,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=size.pixels,
        scaling_factor=1.0,
        mid_block_add_attention=False,
        force_upcast=False,
    )


def _unet(size: Miniature) -> UNet2DConditionModel:
    levels = len(size.unet)
    unet = UNet2DConditionModel(
        sample_size=size.latent_pixels,
        in_channels=size.latent_channels,
        out_channels=size.latent_channels,
        block_out_channels=size.unet,
        layers_per_block=size.unet_layers,
        down_block_types=("CrossAttnDownBlock2D",) * levels,
        up_block_types=("CrossAttnUpBlock2D",) * levels,
        cross_attention_dim=size.width,
        attention_head_dim=4,  # which diffusers takes for the number of heads here
        norm_num_groups=8,
    )
    nn.init.zeros_(unet.conv_out.weight)  # a new network predicts no noise at all
    nn.init.zeros_(unet.conv_out.bias)  # pyright: ignore[reportArgumentType]
    return unet


def _clip(size: Miniature, tokenizer: Any) -> Any:
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    shared: dict[str, Any] = {
        "hidden_size": size.width,
        "intermediate_size": 4 * size.width,
        "projection_dim": size.width,
    }
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=LENGTH,
        num_hidden_layers=size.text_layers,
        num_attention_heads=4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **shared,
    )
    vision = CLIPVisionConfig(
        image_size=size.pixels,
        patch_size=size.vision_patch,
        num_hidden_layers=size.vision_layers,
        num_attention_heads=4,
        **shared,
    )
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=size.width))


def _scheduler() -> DDIMScheduler:
    """Return the noise schedule of Stable Diffusion 1.5; sampling starts at its very last step."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )

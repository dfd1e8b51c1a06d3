"""Stable Diffusion XL (Podell et al. 2023, 2307.01952): what it has beside 1.x and 2.x, and what is refused of it.

Two text encoders, whose last hidden layers but one stand side by side in each word's state; the pooled state of the
second, projected, which is added to the time step; and sizes in pixels, added there too. Loading is in ``pipelines``,
states held for prompts are in ``prompting``.
"""

from collections.abc import Mapping
from typing import Any

import torch

from realfake.alignment import VisualGuidance
from realfake.generators.pipeline_files import PipelineError
from realfake.values import SpecError

SIZES = 6  # numbers added to the time step: the original height and width, the crop's top and left, the target's two


def is_xl(pipeline: Any) -> bool:
    """Tell whether a pipeline has two text encoders."""
    return getattr(pipeline, "text_encoder_2", None) is not None


def assembled(parts: Mapping[str, Any], name: str, zeros: bool) -> Any:
    """Return the pipeline of these parts, without a watermark; ``zeros``: whether it reads zeros for no words.

    Raises PipelineError when the widths of its parts do not fit each other.
    """
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    unet, first, second = (parts[part].config for part in ("unet", "text_encoder", "text_encoder_2"))
    width = first.hidden_size + second.hidden_size
    if unet.cross_attention_dim != width:
        raise PipelineError(
            f"{name}: the unet reads text states of width {unet.cross_attention_dim} and the two text encoders' have "
            f"{width}; parts of two pipelines were mixed: fetch it again"
        )
    if unet.addition_embed_type != "text_time":
        raise PipelineError(f"{name}: the unet reads no pooled text state; it is none of an XL: fetch it again")
    width = second.projection_dim + SIZES * unet.addition_time_embed_dim
    if unet.projection_class_embeddings_input_dim != width:
        raise PipelineError(
            f"{name}: beside words the unet reads {unet.projection_class_embeddings_input_dim} numbers, and the pooled "
            f"text state and {SIZES} sizes are {width}; it is a refiner or the like: give the base"
        )
    if parts["tokenizer"].model_max_length != parts["tokenizer_2"].model_max_length:
        raise PipelineError(f"{name}: its two tokenizers fill prompts up to different lengths; fetch it again")
    return StableDiffusionXLPipeline(**parts, force_zeros_for_empty_prompt=zeros, add_watermarker=False)  # pyright: ignore[reportArgumentType]


def encoded(first: Any, second: Any, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return states ``(n, t, w)`` and pooled states ``(n, p)`` of token ids ``(n, 2, t)``, one row a text encoder."""
    own = first(ids[:, 0], output_hidden_states=True).hidden_states[-2]
    other = second(ids[:, 1], output_hidden_states=True)
    return torch.cat([own, other.hidden_states[-2]], dim=-1), other.text_embeds


def added(pooled: torch.Tensor, pixels: int) -> dict[str, torch.Tensor]:
    """Return what the UNet reads beside words, of pooled states ``(n, p)`` and images of that side, not cropped.

    Sizes are those that the pipeline's own images have, whatever real images were resized from: the same in training
    as in sampling.
    """
    sizes = torch.tensor([pixels, pixels, 0, 0, pixels, pixels], dtype=torch.float32, device=pooled.device)
    return {"text_embeds": pooled, "time_ids": sizes.expand(len(pooled), -1)}


def check(pipeline: Any, visual: VisualGuidance | None, token: str) -> None:
    """Refuse what is for one text encoder; raises SpecError with the cure."""
    if is_xl(pipeline) and visual is not None:
        raise SpecError(
            "VisualGuidance puts an image's embedding among the word states of one text encoder, and a Stable "
            "Diffusion XL has two; leave visual out, or give a 1.x or 2.x as base"
        )
    if is_xl(pipeline) and token:
        raise SpecError(
            f"Lora.token={token!r} is learned in one text encoder, and a Stable Diffusion XL has two; leave token out, "
            "or give a 1.x or 2.x as base"
        )

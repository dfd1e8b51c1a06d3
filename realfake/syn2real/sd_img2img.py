"""Image-to-image with a pretrained Stable Diffusion that the user names: a folder in diffusers' format, or a hub id.

Nothing is fitted: real and virtual crops only say for which size it is used. The prompt and the strength (0.2 to 0.4
keep the pose) are settings. Needs the optional package transformers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from realfake.generators.pipeline_files import PipelineError, of_hub
from realfake.generators.pipelines import open_folder
from realfake.samples import seed_of
from realfake.syn2real.crops import People
from realfake.syn2real.settings import Settings
from realfake.values import SpecError


@dataclass(frozen=True)
class Fitted:
    """A pipeline on its device, how it is to be used, and the side of the images that it was trained on."""

    pipeline: Any
    settings: Settings
    pixels: int


def fit(settings: Settings, source: People, target: People, folder: Path, **options: Any) -> dict[str, Any]:
    """Check that there is a pipeline to use, and return its ``parameters``. Raises SpecError when there is none."""
    fitted = load(folder, settings, "cpu")
    parts = [part for part in fitted.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    parameters = sum(weight.numel() for part in parts for weight in part.parameters())
    return {"parameters": parameters, "weights": settings.weights, "pipeline_pixels": fitted.pixels}


def load(folder: Path, settings: Settings, device: str) -> Fitted:
    """Return the pipeline that the settings name. Raises SpecError when it cannot be loaded, and says why."""
    pipeline = _pipeline(settings.weights).to(device, torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return Fitted(pipeline, settings, pipeline.unet.config.sample_size * pipeline.vae_scale_factor)


def _pipeline(weights: str) -> Any:
    if not weights:
        raise SpecError("sd-img2img has no model of its own; set weights to a diffusers folder or a hub id")
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import StableDiffusionImg2ImgPipeline

    try:
        parts = open_folder(Path(weights) if Path(weights).is_dir() else of_hub(weights)).components
    except PipelineError as error:
        raise SpecError(f"weights={weights!r} is no Stable Diffusion pipeline that can be loaded: {error}") from error
    if "text_encoder_2" in parts:
        raise SpecError(
            f"weights={weights!r} is a Stable Diffusion XL, which does not translate here; give a 1.x or 2.x"
        )
    return StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)


def transform(fitted: Fitted, people: People, seeds: Sequence[int]) -> np.ndarray:
    """Return the crops ``(k, s, s, 3)``; one at a time, each with its own generator, at the pipeline's own size."""
    if not fitted.settings.executed_steps:
        return people.crops.copy()
    return np.stack([_one(fitted, crop, int(seed)) for crop, seed in zip(people.crops, seeds, strict=True)])


def _one(fitted: Fitted, crop: np.ndarray, seed: int) -> np.ndarray:
    settings, side = fitted.settings, fitted.pixels
    image = Image.fromarray(crop).resize((side, side), Image.Resampling.LANCZOS)
    made = fitted.pipeline(
        prompt=settings.prompt,
        image=image,
        strength=settings.strength,
        num_inference_steps=settings.sampling_steps,
        guidance_scale=settings.guidance,
        generator=torch.Generator().manual_seed(seed_of("sd-img2img", seed)),
        output_type="pil",
    ).images[0]
    return np.asarray(made.convert("RGB").resize((len(crop), len(crop)), Image.Resampling.LANCZOS))

"""Pretrained text-to-image pipelines, ready for use: Stable Diffusion 1.x, 2.x or XL of a record, a folder or the hub.

Also what all open-set modules need of one: images in and out, and an explanation when memory does not suffice. Which
files there must be is in ``pipeline_files``; what XL has beside the others in ``xl``; training a miniature pipeline is
in ``pretraining``; prompts are in ``prompting``. A pipeline is loaded without its safety checker: images are training
data, and black ones spoil it.
"""

import contextlib
import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch.nn import functional

from realfake.generators import xl
from realfake.generators.pipeline_files import PipelineError, empties_are_zeros, files_of, find_folder, parts_of
from realfake.kinds import Pretrained
from realfake.outside import External
from realfake.store import Store

FOLDER = "pipeline"  # in the folder of a Pretrained
LIBRARIES = {"vae": "diffusers", "unet": "diffusers", "scheduler": "diffusers"}  # the others are of transformers
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as PIL's "L"
UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, SafetensorError)


class OutOfMemory(RuntimeError):
    """The memory of a device did not suffice; the message says what to lower."""


def load_pipeline(
    base: Pretrained | External,
    store: Store | None,
    weights: Mapping[str, Path] | None = None,
    device: torch.device | str = "cpu",
) -> Any:
    """Return a ``StableDiffusionPipeline`` in fp32 on ``device``: without gradients or a safety checker, in eval mode.

    Where there are two text encoders it is a ``StableDiffusionXLPipeline``. Of a Pretrained from the store's record; of
    an External from the folder that ``weights`` gives for its name or fingerprint, else from the Hugging Face cache or
    hub. Its ``image_encoder`` and ``feature_extractor`` are None where
    the files hold none. Raises FileNotFoundError when a Pretrained is not made, and PipelineError.
    """
    if isinstance(base, External):
        return open_folder(find_folder(base, weights or {})).to(device)
    folder = store.folder(base) / FOLDER if store else Path(FOLDER)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: this pipeline is not trained yet; run the study that holds it")
    return open_folder(folder).to(device)


def open_folder(folder: Path) -> Any:
    """Return the pipeline in a folder of diffusers' format, on the CPU. Raises PipelineError, which names the file."""
    needs_transformers()
    quiet()
    kinds, (_, variant) = parts_of(folder), files_of(folder)
    parts = {part: _part(folder / part, LIBRARIES.get(part, "transformers"), kinds[part], variant) for part in kinds}
    return assembled(parts, str(folder), empties_are_zeros(folder))


def assembled(parts: Mapping[str, Any], name: str, zeros: bool = True) -> Any:
    """Return the pipeline of these parts, frozen. Raises PipelineError when they do not fit each other.

    ``zeros``: whether an XL reads zeros for no words.
    """
    unet, vae = parts["unet"].config, parts["vae"].config
    if unet.in_channels != vae.latent_channels:
        raise PipelineError(
            f"{name}: the unet takes {unet.in_channels} channels and latents have {vae.latent_channels}; it is for "
            "inpainting or the like: give one for text to image"
        )
    there = {"image_encoder": None, "feature_extractor": None, **parts}
    pipeline = xl.assembled(there, name, zeros) if "text_encoder_2" in parts else _of_one_encoder(there, name)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False).eval()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _of_one_encoder(parts: Mapping[str, Any], name: str) -> Any:
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

    unet, text = parts["unet"].config, parts["text_encoder"].config
    if unet.cross_attention_dim != text.hidden_size:
        raise PipelineError(
            f"{name}: the unet reads text states of width {unet.cross_attention_dim} and the text encoder's have "
            f"{text.hidden_size}; parts of two pipelines were mixed: fetch it again"
        )
    return StableDiffusionPipeline(**parts, safety_checker=None, requires_safety_checker=False)  # pyright: ignore[reportArgumentType]


def needs_transformers() -> None:
    """Raise PipelineError where transformers, whose text encoders pipelines use, is not installed."""
    if importlib.util.find_spec("transformers") is None:
        raise PipelineError("open-set generators need transformers for their prompts; type: uv sync --extra openset")


def quiet() -> None:
    """Keep the libraries' progress bars, one for every part of a pipeline, off the terminal."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    of_diffusers.disable_progress_bar()
    of_transformers.disable_progress_bar()


def facts(pipeline: Any) -> dict[str, Any]:
    """Return what a record says of a pipeline: parameters of each part, the side of its images, its scheduler."""
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    return {
        "parameters": {name: sum(weight.numel() for weight in part.parameters()) for name, part in parts.items()},
        "pipeline_pixels": pixels_of(pipeline),
        "scheduler": type(pipeline.scheduler).__name__,
        "prediction": pipeline.scheduler.config.prediction_type,
        "safety_checker": "off",
    }


def _part(folder: Path, library: str, kind: str, variant: str | None) -> Any:
    """Return one part of a pipeline, all of whose weights are in its files."""
    cls = getattr(importlib.import_module(library), kind, None)
    if cls is None:
        raise PipelineError(f"{folder}: {library} has no {kind}; a newer version may have it: uv sync --upgrade")
    try:
        if not (isinstance(cls, type) and issubclass(cls, torch.nn.Module)):
            return cls.from_pretrained(folder, local_files_only=True)
        dtype = {"torch_dtype" if library == "diffusers" else "dtype": torch.float32}
        options = {"use_safetensors": True, "output_loading_info": True, "local_files_only": True, **dtype}
        only_half = all(".fp16." in file.name for file in folder.glob("*.safetensors"))
        part, info = cls.from_pretrained(folder, variant=variant if only_half else None, **options)  # pyright: ignore[reportAttributeAccessIssue]
    except UNREADABLE as error:
        why = str(error).strip().split("\n")[0]
        raise PipelineError(f"{folder} cannot be read as a {kind} ({why}); fetch its files again") from error
    if missing := sorted(info["missing_keys"]):
        raise PipelineError(
            f"{folder} lacks {len(missing)} of the weights of its {kind}, as {missing[0]!r}; fetch its files again"
        )
    return part


# ------------------------------------------------------------------------------------------------------------- images


def pixels_of(pipeline: Any) -> int:
    """Return the side in pixels of the images that a pipeline was trained on."""
    return pipeline.unet.config.sample_size * pipeline.vae_scale_factor


def to_pixels(images: np.ndarray, side: int) -> torch.Tensor:
    """Return uint8 images ``(n, h, w, c)`` as float ``(n, 3, side, side)`` in [−1, 1]; grey ones become colour."""
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    return (_resized(x, side) / 127.5 - 1).expand(-1, 3, -1, -1).contiguous()


def from_pixels(pixels: torch.Tensor, side: int, channels: int) -> np.ndarray:
    """Return images ``(n, 3, h, w)`` in [−1, 1] as uint8 ``(n, side, side, channels)``; one channel is their luma."""
    x = (pixels.float().cpu() + 1) * 127.5
    if channels == 1:
        x = (x * torch.tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    return _resized(x, side).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _resized(x: torch.Tensor, side: int) -> torch.Tensor:
    """Return images of 0 … 255 with this side: bicubic, with the low-pass that shrinking needs."""
    if x.shape[-2:] == (side, side):
        return x
    return functional.interpolate(x, (side, side), mode="bicubic", antialias=True).clamp(0, 255)


# ------------------------------------------------------------------------------------------------------------- memory


def save_memory(pipeline: Any, slicing: bool = True, tiling: bool = False) -> Any:
    """Return the pipeline that decodes image by image (the same images), and by overlapping tiles (other seams)."""
    vae = pipeline.vae
    (vae.enable_slicing if slicing else vae.disable_slicing)()
    (vae.enable_tiling if tiling else vae.disable_tiling)()
    return pipeline


@contextlib.contextmanager
def memory_explained(doing: str, lower: str = "batch_size under [synthesis] in the --on file") -> Iterator[None]:
    """Raise OutOfMemory instead of the device's own error: ``doing`` what ("drawing 64 images"), and what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        full = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        if not full:
            raise
        where = "the GPU" if isinstance(error, torch.OutOfMemoryError) else "this machine"
        raise OutOfMemory(f"the memory of {where} does not suffice for {doing}; lower {lower}") from error

"""A small autoencoder that decodes in place of a pipeline's own, such as TAESD (AutoencoderTiny of diffusers).

Its images are not those of the autoencoder that it imitates, so it is a field of ``OpenSet``. Latents of real images
are still those of the pipeline's own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from realfake.generators.pipeline_files import PipelineError, hashed, out_of_reach
from realfake.outside import External

FILES = ("config.json", "diffusion_pytorch_model.safetensors")
UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError)


def load_decoder(decoder: External, weights: Mapping[str, Path], pipeline: Any) -> Any:
    """Return an ``AutoencoderTiny`` in fp32 on the pipeline's device: from the folder in ``weights``, or the hub.

    Raises PipelineError when it is not there, has another fingerprint, or does not fit the pipeline's latents.
    """
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    folder = _folder(decoder, weights)
    if decoder.fingerprint and (found := hashed(folder, [folder / name for name in FILES])) != decoder.fingerprint:
        raise PipelineError(
            f"OpenSet.decoder {decoder.name!r}: the files of {folder} have the fingerprint {found[:12]}… and the spec "
            f"says {decoder.fingerprint[:12]}…; correct the path in the --on file or External.fingerprint"
        )
    options: dict[str, Any] = {"use_safetensors": True, "output_loading_info": True, "torch_dtype": torch.float32}
    try:
        made, info = AutoencoderTiny.from_pretrained(folder, local_files_only=True, **options)  # pyright: ignore[reportGeneralTypeIssues]
        whole = not info["missing_keys"] and not info["mismatched_keys"]
    except UNREADABLE as error:
        why = str(error).strip().split("\n")[0]
        raise PipelineError(f"{folder} cannot be read as an AutoencoderTiny ({why}); fetch its files again") from error
    if not whole:
        raise PipelineError(f"{folder} lacks weights of an AutoencoderTiny; fetch its files again")
    _check(made, pipeline, decoder.name)
    return made.eval().requires_grad_(False).to(pipeline.unet.device)


def _folder(decoder: External, weights: Mapping[str, Path]) -> Path:
    given = weights.get(decoder.name) or weights.get(decoder.fingerprint)
    folder = Path(given).expanduser() if given else _of_hub(decoder.name)
    if lost := [name for name in FILES if not (folder / name).is_file()]:
        raise PipelineError(
            f"OpenSet.decoder {decoder.name!r}: {folder} holds no {lost[0]}; put a folder of an AutoencoderTiny there, "
            "or correct the path under [data] in the --on file"
        )
    return folder


def _of_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))  # of the cache where there is no network
    except (OSError, ValueError, RuntimeError, HfHubHTTPError) as error:
        raise out_of_reach(name, f"OpenSet.decoder {name!r}", error) from error


def _check(made: Any, pipeline: Any, name: str) -> None:
    """Refuse an autoencoder for latents of another number of channels or another size."""
    factor = made.config.upsampling_scaling_factor ** (len(made.config.decoder_block_out_channels) - 1)
    ours, theirs = (pipeline.unet.config.in_channels, pipeline.vae_scale_factor), (made.config.latent_channels, factor)
    if ours != theirs:
        raise PipelineError(
            f"OpenSet.decoder {name!r} is for latents of {theirs[0]} channels and images {theirs[1]} times as wide, "
            f"and the base has {ours[0]} and {ours[1]}; give one that was trained for this base, or leave decoder out"
        )

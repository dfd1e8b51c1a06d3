"""Visual guidance: embeddings of real images beside the words of a prompt (Real-Fake, 2310.10402; `alignment`).

An image's embedding is the *projected* output of a CLIP image encoder, not normalised. The released code replaced the
last word state by it, and at sampling scrambled a batch of more than one: n vectors (d,) were stacked into (d, n) and
that was *viewed* as (n, 1, d), so that every token was a mixture of all n images. Here row i of a batch is embedding i.

The null branch of classifier-free guidance has the states of the negative prompt and *no* visual token: guidance moves
away from "these words, no image". Where a token is appended, the negative states are one shorter; they are filled up
and the filling is masked out of the attention, which is exact. How words become states is in ``prompting``, which
image is whose parent in ``parents``, the learned projection is trained and kept by ``lora``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from realfake.alignment import VisualGuidance
from realfake.generators.parents import others
from realfake.samples import seed_of
from realfake.spec import External
from realfake.values import SpecError

PROJECTION = "projection.safetensors"  # beside the adapter's weights
BATCH = 64  # images at a time through the encoder; fixed, so that the mean of a class is the same bits every time


# ------------------------------------------------------------------------------------------------- images to embeddings


def encoder_of(pipeline: Any, visual: VisualGuidance, weights: Mapping[str, Path]) -> tuple[nn.Module, Any]:
    """Return the image encoder and its image processor: those of ``visual.encoder``, else the pipeline's own.

    Raises SpecError when there is none, or when it cannot be loaded.
    """
    if visual.encoder is not None:
        device, dtype = pipeline.unet.device, pipeline.unet.dtype
        return load_encoder(visual.encoder, weights, device, dtype)
    encoder = getattr(pipeline, "image_encoder", None)
    if encoder is None:
        raise SpecError(
            "VisualGuidance: this pipeline has no image encoder of its own; give "
            'encoder=External(name="openai/clip-vit-large-patch14") or another CLIP model'
        )
    return encoder, getattr(pipeline, "feature_extractor", None) or processor_for(encoder)


def load_encoder(
    external: External, weights: Mapping[str, Path], device: torch.device | str, dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, Any]:
    """Return a CLIP image encoder with its projection, frozen, and its image processor.

    From the folder that ``weights`` says, else by hub id. Raises SpecError when it is not there.
    """
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    place = str(weights.get(external.name) or external.name)
    try:
        encoder: Any = CLIPVisionModelWithProjection.from_pretrained(place)
        processor = CLIPImageProcessor.from_pretrained(place)
    except (OSError, ValueError) as error:
        raise SpecError(
            f"image encoder {external.name!r} cannot be loaded from {place} ({str(error).splitlines()[0]}); fetch a "
            "CLIP model in transformers' format (config.json, model.safetensors, preprocessor_config.json) and name "
            "its folder in the --on file"
        ) from error
    return encoder.to(device, dtype).eval().requires_grad_(False), processor


def processor_for(encoder: Any) -> Any:
    """Return CLIP's usual preparation of images at the size of an encoder, for pipelines saved without one."""
    from transformers import CLIPImageProcessor

    side = encoder.config.image_size
    return CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


@torch.inference_mode()
def embedded(encoder: Any, processor: Any, images: np.ndarray) -> torch.Tensor:
    """Return the projected embeddings ``(n, d)`` float32 of images ``(n, h, w, c)`` uint8; grey ones as if coloured."""
    found = []
    for first in range(0, len(images), BATCH):
        colour = images[first : first + BATCH].repeat(3 // images.shape[3], axis=3)
        pixels = processor(images=list(colour), return_tensors="pt", input_data_format="channels_last")["pixel_values"]
        parameter = next(encoder.parameters())
        found.append(encoder(pixels.to(parameter.device, parameter.dtype)).image_embeds.float())
    return torch.cat(found)


def embeddings(
    pipeline: Any, images: np.ndarray, visual: VisualGuidance, weights: Mapping[str, Path] | None = None
) -> torch.Tensor:
    """Return the embeddings ``(n, d)`` of images ``(n, h, w, c)`` uint8; row i is that of image i."""
    return embedded(*encoder_of(pipeline, visual, weights or {}), images)


# ---------------------------------------------------------------------------------------------------- whose embedding


def sources(visual: VisualGuidance, labels: np.ndarray, rows: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
    """Return of which real images ``(n,)`` the tokens are made, for those whose own images are ``rows``.

    For "class mean" it is the first image of the class, which stands for all of it. ``labels`` are of all real images.
    """
    if visual.of == "class sample":
        return others(labels, rows, seeds, "visual")
    if visual.of == "class mean":
        return np.array([np.flatnonzero(labels == label)[0] for label in labels[rows]], np.int64)
    return np.asarray(rows, np.int64)


def tokens(
    embedded: torch.Tensor, labels: np.ndarray, visual: VisualGuidance, rows: np.ndarray, seeds: Sequence[int]
) -> torch.Tensor:
    """Return one token ``(n, d)`` a sample, from the embeddings of all real images ``(m, d)`` and labels ``(m,)``.

    ``rows (n,)`` are the samples' own images, ``seeds`` their own seeds (read by "class sample" only).
    """
    rows = np.asarray(rows, np.int64)
    if visual.of != "class mean":
        return embedded[torch.from_numpy(sources(visual, labels, rows, seeds)).to(embedded.device)]
    classes, of_row = np.unique(labels[rows], return_inverse=True)
    means = [embedded[torch.from_numpy(np.flatnonzero(labels == c)).to(embedded.device)].mean(dim=0) for c in classes]
    return torch.stack(means)[torch.from_numpy(of_row).to(embedded.device)]


# ------------------------------------------------------------------------------------------------- tokens beside words


def inject(
    states: torch.Tensor, tokens: torch.Tensor, visual: VisualGuidance, projection: nn.Module | None = None
) -> torch.Tensor:
    """Return the states ``(n, t, w)`` with token i ``(d,)`` in row i: ``(n, t, w)``, or ``(n, t + 1, w)`` if appended.

    Raises SpecError when the widths differ and there is no learned projection between them.
    """
    if visual.injection == "projection":
        if projection is None:
            raise SpecError('VisualGuidance(injection="projection") is learned with an adapter; give OpenSet(lora=…)')
        tokens = projection(tokens.to(next(projection.parameters()).dtype))
    if tokens.shape[-1] != states.shape[-1]:
        raise SpecError(
            f"VisualGuidance.injection={visual.injection!r}: embeddings of {tokens.shape[-1]} values do not fit word "
            f'states of {states.shape[-1]}; write injection="projection"'
        )
    token_n1w = tokens.to(states.device, states.dtype)[:, None]
    kept = states[:, :-1] if visual.injection == "replace last" else states
    return torch.cat([kept, token_n1w], dim=1)


def with_null(states: torch.Tensor, negative: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the states ``(2n, t, w)`` of both branches of guidance, negative ones first, and a mask where needed.

    ``negative`` is ``(n, s, w)`` with s ≤ t; where it is shorter, it is filled up with zeros that the mask ``(2n, t)``
    (1: attended to) takes out of the attention.
    """
    missing = states.shape[1] - negative.shape[1]
    if not missing:
        return torch.cat([negative, states]), None
    filled = torch.cat([negative, negative.new_zeros(len(negative), missing, negative.shape[2])], dim=1)
    mask = torch.ones(2 * len(states), states.shape[1], device=states.device, dtype=states.dtype)
    mask[: len(states), negative.shape[1] :] = 0
    return torch.cat([filled, states]), mask


# --------------------------------------------------------------------------------------------- the learned projection


def new_projection(width: int, states_width: int, seed: int) -> nn.Linear:
    """Return a linear map from embeddings of ``width`` to word states, with weights drawn from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("visual", "projection", seed))
        return nn.Linear(width, states_width)


def save_projection(folder: Path, projection: nn.Module) -> None:
    """Write the projection beside the adapter."""
    weights = {name: part.detach().cpu().float().contiguous() for name, part in projection.state_dict().items()}
    save_file(weights, folder / PROJECTION)


def load_projection(folder: Path, device: torch.device | str = "cpu") -> nn.Linear | None:
    """Return the projection that was saved with an adapter, or None where it has none."""
    if not (folder / PROJECTION).is_file():
        return None
    weights = load_file(folder / PROJECTION)
    width_out, width_in = weights["weight"].shape
    projection = nn.Linear(width_in, width_out)
    projection.load_state_dict(weights)
    return projection.to(device).eval().requires_grad_(False)

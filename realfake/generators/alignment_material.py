"""What adapters are trained on: latents, prompts and embeddings of the real images, and what a step draws from them.

What is done with a batch is in ``alignment_loop``, which parts there are in ``lora``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch

from realfake.generators import solving, visual, xl
from realfake.generators.batches import batch_rows
from realfake.generators.pipelines import pixels_of, to_pixels
from realfake.generators.prompting import CACHE_BYTES, TextStates, ids_of, texts
from realfake.kinds import Lora
from realfake.samples import Samples, seed_of
from realfake.values import SpecError

ENCODED_AT_ONCE = 8  # images through the autoencoder
WORDED_AT_ONCE = 64  # prompts through the text encoder
Words = torch.Tensor | tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Material:
    """What steps draw from, one row a real image: posteriors of its latent ``mean``, ``std`` (n, c, h, w), ``labels``.

    ``texts`` gives the prompts of rows at positions of the endless row of epochs; ``words`` makes of prompts what the
    student reads: states ``(b, t, w)`` (in XL with pooled ones beside them), or token ids ``(b, t)`` (in XL ``(b, 2,
    t)``) where it trains text encoders or a word.
    ``embeddings (n, d)`` are there with visual guidance.
    """

    mean: torch.Tensor
    std: torch.Tensor
    labels: np.ndarray
    texts: Callable[[np.ndarray, np.ndarray], list[str]]
    words: Callable[[Sequence[str]], Words]
    embeddings: torch.Tensor | None


@dataclass(frozen=True)
class Part:
    """One adapter's share of the work: its ``number``, the ``rows`` it sees, and ``first`` … ``last`` step of all."""

    number: int
    rows: np.ndarray
    first: int
    last: int


@dataclass(frozen=True)
class Batch:
    """A worker's share of a step: ``clean`` latents and ``noise`` (b, c, h, w); prompts; visual tokens (b, d).

    And ``times``, ``labels``, ``kept`` (b,): False where caption dropout took away the words and the image beside them.
    """

    clean: torch.Tensor
    noise: torch.Tensor
    times: torch.Tensor
    labels: torch.Tensor
    kept: torch.Tensor
    texts: list[str]
    tokens: torch.Tensor | None


# -------------------------------------------------------------------------------------------------- encoded only once


def gather(
    spec: Lora, pipeline: Any, samples: Samples, weights: Mapping[str, Path], captions: Sequence[str] | None
) -> Material:
    """Return what steps draw from: each image is encoded once, and each distinct prompt where states stay as they are.

    Raises SpecError for prompts, captions or embeddings that do not fit images or pipeline.
    """
    xl.check(pipeline, spec.visual, spec.token)
    if spec.matching and spec.matching.space == "feature" and getattr(pipeline, "image_encoder", None) is None:
        raise SpecError('Matching(space="feature"): the base has no image encoder; write space="latent"')

    def prompts(rows: np.ndarray, positions: np.ndarray) -> list[str]:
        own = None if captions is None else [captions[int(row)] for row in rows]
        return texts(spec.prompts, samples.classes, samples.labels[rows], positions, own)

    every = np.arange(len(samples))
    templates = range(len(spec.prompts.templates))
    distinct = [text for t in templates for text in prompts(every, np.full(len(every), t))]
    mean, std = posteriors(pipeline, samples.images)
    found = None
    if spec.visual is not None:
        found = visual.embeddings(pipeline, samples.images, spec.visual, weights).cpu()
    words = _words(spec, pipeline, sorted({*distinct, spec.prompts.negative}))
    return Material(mean, std, samples.labels, prompts, words, found)


@torch.no_grad()
def posteriors(pipeline: Any, images: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation ``(n, c, h, w)`` of the latents of images ``(n, h, w, c)`` uint8, on the CPU.

    In the UNet's scale. Images are resized to the square that the pipeline was trained on.
    """
    vae, means, stds = pipeline.vae, [], []
    for first in range(0, len(images), ENCODED_AT_ONCE):
        pixels = to_pixels(images[first : first + ENCODED_AT_ONCE], pixels_of(pipeline))
        found = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
        mean, factor = solving.scale_of(vae, found.mean.float())
        means.append(((found.mean.float() - mean) * factor).cpu())
        stds.append((found.std.float() * factor).cpu())
    return torch.cat(means), torch.cat(stds)


def _words(spec: Lora, pipeline: Any, distinct: list[str]) -> Callable[[Sequence[str]], Words]:
    """Return what makes of prompts what the student reads.

    States are held for all prompts if they fit, encoded in one fixed order; else each step encodes its own. Either way
    the states of a step do not depend on what was asked before: another split into batches rounds differently.
    """
    device = pipeline.text_encoder.device
    if spec.text_encoder or spec.token:
        return lambda said: ids_of(pipeline, said).to(device)
    if TextStates(pipeline).of(distinct[:1]).nbytes * len(distinct) > CACHE_BYTES:
        return lambda said: _read(TextStates(pipeline), said)
    states = TextStates(pipeline)
    for first in range(0, len(distinct), WORDED_AT_ONCE):
        states.of(distinct[first : first + WORDED_AT_ONCE])
    return lambda said: _read(states, said)


def _read(states: TextStates, said: Sequence[str]) -> Words:
    found, pooled = states.both(said)
    return found if pooled is None else (found, pooled)


# ------------------------------------------------------------------------------------------------------------- a step


def draw(
    spec: Lora, scheduler: Any, material: Material, part: Part, step: int, accelerator: accelerate.Accelerator
) -> Batch:
    """Return this worker's share of a step's batch.

    The whole batch is drawn on the CPU from the step's own seed: the same on any device and for any number of workers,
    and whatever was drawn before.
    """
    size, within = spec.batch_size, step - part.first
    random = torch.Generator().manual_seed(seed_of("lora", "step", spec.seed, step))
    rows = rows_of(spec, part, step)
    mean, std = material.mean[rows], material.std[rows]
    clean = mean + std * torch.randn(mean.shape, generator=random)
    noise = torch.randn(mean.shape, generator=random)
    shared = spec.matching is not None and spec.matching.times == "shared"
    times = torch.randint(len(scheduler.alphas_cumprod), (1 if shared else size,), generator=random).expand(size)
    kept = torch.rand(size, generator=random) >= spec.caption_dropout
    texts = material.texts(rows, within * size + np.arange(size))
    said = [text if keep else spec.prompts.negative for text, keep in zip(texts, kept.tolist(), strict=True)]
    tokens = _tokens(spec, material, rows, step)
    own, device = slice(accelerator.process_index, None, accelerator.num_processes), accelerator.device
    held = [part_of_all[own].to(device) for part_of_all in (clean, noise, times)]
    labels, kept = torch.from_numpy(material.labels[rows])[own].to(device), kept[own].to(device)
    tokens = None if tokens is None else tokens[own].to(device)
    return Batch(held[0], held[1], held[2], labels, kept, said[own], tokens)


def rows_of(spec: Lora, part: Part, step: int) -> np.ndarray:
    """Return which real images make up the whole batch of a step: one endless row of shuffled epochs of the part."""
    seed = seed_of("lora", "rows", spec.seed, part.number)
    return part.rows[batch_rows(len(part.rows), spec.batch_size, seed, step - part.first)]


def _tokens(spec: Lora, material: Material, rows: np.ndarray, step: int) -> torch.Tensor | None:
    if spec.visual is None or material.embeddings is None:
        return None
    seeds = [seed_of("lora", "token", spec.seed, step, place) for place in range(len(rows))]
    return visual.tokens(material.embeddings, material.labels, spec.visual, rows, seeds)

"""A miniature text-to-image pipeline trained by us on real images: an external budget that is known image by image.

Three stages: the autoencoder; CLIP's encoders, by contrast of images and prompts; the UNet on the latents, which are
computed once, under the text states. Their losses and the training loop are in ``stages``, the networks in
``miniature``, which images are left out in ``overlap``. Aligning a pipeline to a target is in ``lora``.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import accelerate
import numpy as np
import torch

from realfake.generators.batches import batch_rows
from realfake.generators.fitting import check_accelerator, final_loss, telling, write_history
from realfake.generators.miniature import Miniature, Parts, miniature_for, new_parts, save, standardise
from realfake.generators.overlap import overlapping
from realfake.generators.pipelines import to_pixels
from realfake.generators.prompting import TextStates, class_names, texts, tokenized
from realfake.generators.stages import Contrast, NoisePrediction, Reconstruction, Stage, run
from realfake.kinds import Pretrained
from realfake.samples import Samples, seed_of
from realfake.values import SpecError

EMA_DECAY = 0.995  # of the UNet
ENCODED = 256  # images at a time


@dataclass(frozen=True)
class Material:
    """What is learned from: images ``(n, 3, h, w)`` in [−1, 1], labels, class names, captions; and who takes which."""

    spec: Pretrained
    images: torch.Tensor
    labels: np.ndarray
    classes: tuple[str, ...]
    captions: Sequence[str] | None
    device: torch.device
    share: slice  # of a batch, for this process

    def rows(self, stage: str, step: int) -> np.ndarray:
        """Return which images make up a step's batch; stages see them in orders of their own."""
        return batch_rows(len(self.labels), self.spec.batch_size, seed_of("pretrained", stage, self.spec.seed), step)

    def random(self, stage: str, step: int) -> torch.Generator:
        """Return the randomness of a step, on the CPU: the same on any device, and whatever was drawn before."""
        return torch.Generator().manual_seed(seed_of("pretrained", stage, self.spec.seed, step))

    def prompts(self, rows: np.ndarray, random: torch.Generator) -> list[str]:
        """Return a prompt for each of these images, its template drawn at random."""
        turns = torch.randint(len(self.spec.prompts.templates), (len(rows),), generator=random).numpy()
        captions = self.captions and [self.captions[int(row)] for row in rows]
        return texts(self.spec.prompts, self.classes, self.labels[rows], turns, captions)

    def shared(self, *parts: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return this process's share of a batch, on its device."""
        return tuple(part[self.share].to(self.device) for part in parts)


def fit(
    spec: Pretrained,
    samples: Samples,
    folder: Path,
    report: Callable[[dict[str, Any]], None],
    *,
    checkpoint: Path | None = None,
    accelerator: accelerate.Accelerator,
    without: Sequence[Samples] = (),
    captions: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Train a miniature on samples that are in none of ``without``; write ``pipeline/``, ``clip/``, ``history.jsonl``.

    ``captions`` are one for each sample. All randomness comes from the spec's seed and the step, and each stage keeps
    its state in ``checkpoint``, so a fit that resumes ends with the same bits as one that was never disturbed. Of
    several processes each takes its share of every batch; the small encoders see the whole batch in each.

    Returns ``n_pretrained`` (images seen), ``duplicates_left_out``, ``parameters`` and ``losses`` (mean over the last
    tenth) by stage, ``seconds_by_stage`` and ``seconds``. Raises Diverged, SpecError when network, images, captions or
    batch do not fit together, and ValueError when the accelerator's precision is not the spec's.
    """
    started, size = time.monotonic(), miniature_for(spec.network)
    check_accelerator(spec, accelerator)
    material, left_out = _material(spec, samples, without, captions, size, accelerator)
    parts = new_parts(size, _vocabulary(material), spec.seed)
    total, done, results = spec.autoencoder_steps + spec.text_steps + spec.steps, 0, {}

    def train(stage: Stage) -> None:
        tell = telling(report, accelerator, total, before=done, stage=stage.name)
        results[stage.name] = run(stage, accelerator, checkpoint, tell)

    for stage in (_autoencoder, _encoders, _unet):  # each from what the one before has left
        made = stage(material, parts)
        train(made)
        done += made.steps
        made.network.requires_grad_(False).eval()
    history = [line for result in results.values() for line in result["history"]]
    if accelerator.is_main_process:
        tokenized(parts.tokenizer, [""])  # its file tells how it was last used: the same after a resume that has not
        save(parts, folder)
        write_history(folder, history)
    networks = {"autoencoder": parts.autoencoder, "encoders": parts.clip, "unet": parts.unet}
    return {
        "n_pretrained": len(material.labels),
        "duplicates_left_out": left_out,
        "network": {"name": spec.network, "pixels": size.pixels, "latent_pixels": size.latent_pixels},
        "parameters": {name: sum(part.numel() for part in net.parameters()) for name, net in networks.items()},
        "losses": {name: final_loss(result["history"]) for name, result in results.items()},
        "seconds_by_stage": {name: result["seconds"] for name, result in results.items()},
        "seconds": time.monotonic() - started,
    }


def latents_of(autoencoder: Any, images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the mean latents ``(n, c, h, w)`` of images on the CPU, encoded in batches of one size."""
    made = []
    with torch.no_grad():
        for first in range(0, len(images), ENCODED):
            part = images[first : first + ENCODED].to(device)
            made.append(autoencoder.encode(part).latent_dist.mean.float().cpu())
    return torch.cat(made)


# ------------------------------------------------------------------------------------------------------------- stages


def _autoencoder(material: Material, parts: Parts) -> Stage:
    spec, size = material.spec, parts.miniature

    def batch(step: int) -> tuple[torch.Tensor, ...]:
        images = material.images[material.rows("autoencoder", step)]
        shape = (len(images), size.latent_channels, size.latent_pixels, size.latent_pixels)
        return material.shared(images, torch.randn(shape, generator=material.random("autoencoder", step)))

    network = Reconstruction(parts.autoencoder)
    return Stage("autoencoder", network, batch, spec.autoencoder_steps, spec.learning_rate)


def _encoders(material: Material, parts: Parts) -> Stage:
    spec, tokens = material.spec, {}

    def batch(step: int) -> tuple[torch.Tensor, ...]:
        rows = material.rows("encoders", step)
        asked = material.prompts(rows, material.random("encoders", step))
        distinct = list(dict.fromkeys(asked))
        for text in distinct:
            if text not in tokens:
                tokens[text] = tokenized(parts.tokenizer, [text])[0]
        ids = torch.stack([tokens[text] for text in distinct])
        positive = _belongs(material, rows, asked, distinct)
        return tuple(part.to(material.device) for part in (material.images[rows], ids, positive))

    return Stage("encoders", Contrast(parts.clip), batch, spec.text_steps, spec.learning_rate)


def _unet(material: Material, parts: Parts) -> Stage:
    """Return the last stage: latents get mean 0 and deviation 1 a channel first, once and for all."""
    spec, scheduler = material.spec, parts.scheduler
    latents = latents_of(parts.autoencoder, material.images, material.device)
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3)).clamp_min(1e-6)
    standardise(parts.autoencoder, mean.to(material.device), std.to(material.device))
    latents = (latents - mean[:, None, None]) / std[:, None, None]
    states = TextStates(SimpleNamespace(tokenizer=parts.tokenizer, text_encoder=parts.clip.text_model))
    times_in_all = int(scheduler.config["num_train_timesteps"])

    def batch(step: int) -> tuple[torch.Tensor, ...]:
        rows, random = material.rows("unet", step), material.random("unet", step)
        asked = material.prompts(rows, random)
        dropped = torch.rand(len(rows), generator=random) < spec.caption_dropout
        asked = ["" if drop else text for drop, text in zip(dropped.tolist(), asked, strict=True)]
        times = torch.randint(times_in_all, (len(rows),), generator=random)
        noise = torch.randn(latents[rows].shape, generator=random)
        return (*material.shared(latents[rows], noise, times), states.of(asked[material.share]))

    return Stage("unet", NoisePrediction(parts.unet, scheduler), batch, spec.steps, spec.learning_rate, EMA_DECAY)


def _belongs(material: Material, rows: np.ndarray, asked: list[str], distinct: list[str]) -> torch.Tensor:
    """Return which texts ``(b, u)`` belong to which images: those of their class, with captions their own alone."""
    if material.captions is not None:
        return torch.tensor([[own == text for text in distinct] for own in asked])
    labels = material.labels[rows]
    of_text = np.array([labels[asked.index(text)] for text in distinct])
    return torch.from_numpy(labels[:, None] == of_text[None, :])


# ------------------------------------------------------------------------------------------------------------- checks


def _material(
    spec: Pretrained,
    samples: Samples,
    without: Sequence[Samples],
    captions: Sequence[str] | None,
    size: Miniature,
    accelerator: accelerate.Accelerator,
) -> tuple[Material, int]:
    """Return what is learned from, and how many images were left out since they are also in ``without``."""
    class_names(spec.prompts, samples.classes)
    if captions is not None and len(captions) != len(samples):
        raise SpecError(f"{len(captions)} captions for {len(samples)} images; give Captions(of=…) of the same images")
    found = overlapping(samples.images, [other.images for other in without])
    kept = np.flatnonzero(~found)
    if not len(kept):
        raise SpecError(f"Pretrained: all {len(samples)} images are also in the sets of without; nothing is left")
    return Material(
        spec=spec,
        images=to_pixels(samples.images[kept], size.pixels),
        labels=samples.labels[kept],
        classes=samples.classes,
        captions=captions and [captions[int(row)] for row in kept],
        device=accelerator.device,
        share=slice(accelerator.process_index, None, accelerator.num_processes),
    ), int(found.sum())


def _vocabulary(material: Material) -> list[str]:
    """Return all prompts that there can be: every template for every class, with captions for every image."""
    spec, captions = material.spec, material.captions
    labels = np.arange(len(material.classes)) if captions is None else material.labels
    turns = range(len(spec.prompts.templates))
    asked = (texts(spec.prompts, material.classes, labels, np.full(len(labels), turn), captions) for turn in turns)
    return [text for part in asked for text in part]

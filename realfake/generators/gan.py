"""A class-conditional GAN fitted from scratch on one real subset: fit, load, sample.

The same contract as ``closed_set``, for comparisons on identical subsets. The networks are in ``adversaries``, what the
discriminator's images go through in ``diffaugment``, sizes in ``networks``. The loss is the hinge loss (Lim & Ye 2017,
arXiv:1705.02894); mode seeking (Mao et al. 2019, arXiv:1903.05628) keeps the images of a class apart. Which images and
labels a pool asks for is not decided here (``samples``).
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file

from realfake.generators.adversaries import Discriminator, Generator, Shape
from realfake.generators.batches import (
    batch_rows,
    mirrored,
    normal,
    pixels,
    scaled,
    schedule,
    set_rate,
    shape_of,
    share,
    states,
)
from realfake.generators.diffaugment import NUMBERS, augmented
from realfake.generators.fitting import (
    Pace,
    Progress,
    check_accelerator,
    final_loss,
    restore,
    telling,
    write_history,
)
from realfake.generators.networks import Adversaries, adversaries_for
from realfake.samples import Samples, seed_of
from realfake.spec import Gan
from realfake.store import write_whole
from realfake.values import fields

WEIGHTS, CONFIG = "model.safetensors", "config.json"
BETAS = (0.0, 0.99)  # of Adam: without momentum, as Miyato et al. 2018


@dataclass(frozen=True)
class Loaded:
    """A fitted generator, ready to make images on its device."""

    generator: Generator
    device: torch.device


@dataclass(frozen=True)
class Batch:
    """What one update sees: real images ``(b, c, h, w)``, labels ``(b,)`` of both, latents ``(b, latent)`` of the made
    ones and others to compare with, and the numbers ``(b, 7)`` that vary the real and the made ones."""

    real: torch.Tensor
    labels: torch.Tensor
    latents: torch.Tensor
    others: torch.Tensor
    vary_real: torch.Tensor
    vary_made: torch.Tensor

    def of(self, accelerator: accelerate.Accelerator) -> "Batch":
        """Return what this process takes of it."""
        return Batch(**{name: share(part, accelerator) for name, part in vars(self).items()})


# ------------------------------------------------------------------------------------------------------------ fitting


def fit(
    spec: Gan,
    samples: Samples,
    folder: Path,
    report: Callable[[dict[str, Any]], None],
    *,
    checkpoint: Path | None = None,
    accelerator: accelerate.Accelerator,
) -> dict[str, Any]:
    """Fit both networks on ``samples``; the files, the randomness, resuming and the errors of ``closed_set.fit``.

    The weights that are written are the generator's averaged ones. Returns ``n_generator``,
    ``final_loss`` (the discriminator's hinge loss, mean over the last tenth: 2 is a guess, 0 a certainty),
    ``parameters`` (of the generator), ``discriminator_parameters`` and ``seconds``.
    """
    started = time.monotonic()
    check_accelerator(spec, accelerator)
    network, shape = adversaries_for(spec.network, *shape_of(samples)[:2]), shape_of(samples)
    generator, discriminator = _new(network, shape, len(samples.classes), spec.seed, accelerator.device)
    average = EMAModel(generator.parameters(), decay=spec.ema_decay, foreach=True)
    creating = torch.optim.Adam(generator.parameters(), lr=spec.learning_rate, betas=BETAS)
    judging = torch.optim.Adam(discriminator.parameters(), lr=spec.discriminator_learning_rate, betas=BETAS)
    parts = {"generator": generator, "discriminator": discriminator, "average": average}
    parts |= {"creating": creating, "judging": judging}
    progress = Progress()
    restore(parts, progress, checkpoint, accelerator.device)
    creator, judge, creating, judging = accelerator.prepare(generator, discriminator, creating, judging)
    images, labels = scaled(samples.images), torch.from_numpy(samples.labels)
    varied = augmented if spec.augment == "diffaugment" else _as_it_is
    tell = telling(report, accelerator, spec.steps)
    with Pace(progress, spec.steps, spec.steps, tell, lambda: states(parts), accelerator, checkpoint) as pace:
        while progress.step < spec.steps:
            factor = schedule(progress.step, spec.steps)
            set_rate(creating, factor * spec.learning_rate)
            set_rate(judging, factor * spec.discriminator_learning_rate)
            with pace.update():
                for turn in range(spec.discriminator_steps):
                    batch = draw(spec, images, labels, network.latent, progress.step, turn).of(accelerator)
                    judged = _judge(batch, generator, judge, varied, accelerator)
                    accelerator.backward(judged)
                    _step(judging)
                batch = draw(spec, images, labels, network.latent, progress.step, spec.discriminator_steps)
                created, spread = _create(batch.of(accelerator), creator, discriminator, varied, accelerator)
                accelerator.backward(created - spec.mode_seeking * spread)
                _step(creating)
                average.step(generator.parameters())
                if (means := pace.counted(torch.stack([judged, created, spread]))) is not None:
                    line = dict(zip(("loss", "generator_loss", "spread"), means.tolist(), strict=True))
                    progress.history.append({"step": progress.step, **line})
            pace.rest()
    average.copy_to(generator.parameters())
    if accelerator.is_main_process:
        _write(folder, spec, samples, network, generator, progress.history)
    return {
        "n_generator": len(samples),
        "final_loss": final_loss(progress.history),
        "parameters": _count(generator),
        "discriminator_parameters": _count(discriminator),
        "seconds": time.monotonic() - started,
    }


def draw(spec: Gan, images: torch.Tensor, labels: torch.Tensor, latent: int, step: int, turn: int) -> Batch:
    """Return the whole batch of one update of a step: turns below ``discriminator_steps`` are the discriminator's.

    Made images have the labels of the real ones. Drawn on the CPU from the update's own seed.
    """
    random = torch.Generator().manual_seed(seed_of("gan", "step", spec.seed, step, turn))
    size, turns = spec.batch_size, spec.discriminator_steps
    rows = batch_rows(len(labels), size, spec.seed, step * turns + min(turn, turns - 1))
    real = mirrored(images[rows], random) if spec.flip else images[rows]
    vary = torch.rand(2, size, NUMBERS, generator=random)
    return Batch(real, labels[rows], *torch.randn(2, size, latent, generator=random), *vary)


def hinge(real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """Return the discriminator's loss of scores ``(b,)`` of real and of made images (Lim & Ye 2017)."""
    return (1 - real).relu().mean() + (1 + made).relu().mean()


def _step(optimizer: Any) -> None:
    optimizer.step()
    optimizer.zero_grad()


def _judge(
    batch: Batch, generator: Generator, judge: torch.nn.Module, varied: Any, accelerator: accelerate.Accelerator
) -> torch.Tensor:
    with accelerator.autocast():
        with torch.no_grad():
            made = generator(batch.latents, batch.labels)
        both = torch.cat([varied(batch.real, batch.vary_real), varied(made.float(), batch.vary_made)])
        scores = judge(both, batch.labels.repeat(2))
    return hinge(*scores.float().chunk(2))


def _create(
    batch: Batch,
    creator: torch.nn.Module,
    discriminator: Discriminator,
    varied: Any,
    accelerator: accelerate.Accelerator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the generator's hinge loss, and how far images of one label lie apart for how far their latents do."""
    discriminator.requires_grad_(False)
    with accelerator.autocast():
        both = creator(torch.cat([batch.latents, batch.others]), batch.labels.repeat(2)).float()
        made, others = both.chunk(2)
        scores = discriminator(varied(made, batch.vary_made), batch.labels)
    discriminator.requires_grad_(True)
    apart = (made - others).abs().mean((1, 2, 3)) / (batch.latents - batch.others).abs().mean(1)
    return -scores.float().mean(), apart.mean()


def _as_it_is(images: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return images


def _new(
    network: Adversaries, shape: Shape, classes: int, seed: int, device: torch.device
) -> tuple[Generator, Discriminator]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("gan", "weights", seed))
        return Generator(network, shape, classes).to(device), Discriminator(network, shape, classes).to(device)


def _count(network: torch.nn.Module) -> int:
    return sum(part.numel() for part in network.parameters())


# -------------------------------------------------------------------------------------------------------------- files


def _write(
    folder: Path,
    spec: Gan,
    samples: Samples,
    network: Adversaries,
    generator: Generator,
    history: list[dict[str, Any]],
) -> None:
    """Write the weights and what is needed to load them, even if the presets change one day."""
    preset = {"name": spec.network, **{f.name: getattr(network, f.name) for f in fields(network)}}
    config = {"image_shape": shape_of(samples), "classes": samples.classes, "network": preset}
    save_file({name: part.cpu().contiguous() for name, part in generator.state_dict().items()}, folder / WEIGHTS)
    write_whole(folder / CONFIG, json.dumps(config, indent=1))
    write_history(folder, history)


# ----------------------------------------------------------------------------------------------------------- sampling


def load(spec: Gan, folder: Path, device: torch.device | str) -> Loaded:
    """Return the fitted generator of ``spec`` from its folder; raises FileNotFoundError when it is not fitted."""
    config = json.loads((folder / CONFIG).read_text())
    preset = {name: value for name, value in config["network"].items() if name != "name"}
    generator = Generator(Adversaries(**preset), tuple(config["image_shape"]), len(config["classes"]))
    generator.load_state_dict(load_file(folder / WEIGHTS))
    return Loaded(generator.to(device).eval(), torch.device(device))


@torch.inference_mode()
def sample(loaded: Loaded, labels: Sequence[int] | np.ndarray, seeds: Sequence[int]) -> np.ndarray:
    """Return one image a label and seed, uint8 ``(n, h, w, c)``, in one pass.

    An image depends on its own label and seed, not on its batch: sums may round differently in another batch, which
    moves few pixels by one grey level.
    """
    latents = normal(seeds, loaded.generator.latent).to(loaded.device)
    label = torch.as_tensor(np.asarray(labels, dtype=np.int64), device=loaded.device)
    return pixels(loaded.generator(latents, label))

"""A class-conditional diffusion model fitted from scratch on one real subset: fit, load, sample.

The network and the objective's formulas are in ``denoiser``. Samples come from DPM-Solver++ 2M (Lu et al. 2022,
arXiv:2211.01095), deterministic once the first noise is drawn. Which images and labels a pool asks for is not decided
here (``samples``), nor where its shards go (``synthesis``).
"""

import functools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch
from diffusers.schedulers.scheduling_edm_dpmsolver_multistep import EDMDPMSolverMultistepScheduler
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file

from realfake.generators.denoiser import SIGMA_DATA, Denoiser, guided, precondition
from realfake.generators.fitting import (
    Pace,
    Progress,
    check_accelerator,
    final_loss,
    read_state,
    telling,
    write_history,
)
from realfake.generators.networks import Network, network_for
from realfake.samples import Samples, seed_of
from realfake.spec import ClosedSet
from realfake.store import write_whole
from realfake.values import fields

P_MEAN, P_STD = -1.2, 1.2  # of ln σ while training (Karras et al. 2022, table 1)
SIGMA_MIN, SIGMA_MAX = 0.02, 40.0  # while sampling: 8-bit grey levels are 0.008 apart, images at most 32 pixels wide
WARM_UP_STEPS = 50
WEIGHTS, CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True)
class Loaded:
    """A fitted denoiser, ready to sample on its device."""

    denoiser: Denoiser
    device: torch.device


# ------------------------------------------------------------------------------------------------------------ fitting


def fit(
    spec: ClosedSet,
    samples: Samples,
    folder: Path,
    report: Callable[[dict[str, Any]], None],
    *,
    checkpoint: Path | None = None,
    accelerator: accelerate.Accelerator,
) -> dict[str, Any]:
    """Fit the model on ``samples``; write ``model.safetensors`` (averaged weights), ``config.json``, ``history.jsonl``.

    All randomness comes from the spec's seed and the step number, so a fit that resumes from ``checkpoint`` ends with
    the same bits as one that was never disturbed. Of several processes each takes its share of every batch, and only
    the main one writes and reports.

    Returns ``n_generator``, ``final_loss`` (mean over the last tenth), ``parameters`` (how many) and ``seconds``
    (since the start or the last resume). Raises Diverged when the loss is no longer finite, SpecError when network,
    images or batch do not fit together, and ValueError when the accelerator's precision is not the spec's.
    """
    started = time.monotonic()
    check_accelerator(spec, accelerator)
    network = network_for(spec.network, *_shape(samples)[:2])
    denoiser = _new_denoiser(network, _shape(samples), len(samples.classes), spec.seed).to(accelerator.device)
    average = EMAModel(denoiser.parameters(), decay=spec.ema_decay, foreach=True)
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=spec.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
    parts, progress = {"model": denoiser, "optimizer": optimizer, "average": average}, Progress()
    if state := read_state(checkpoint):
        for name, part in parts.items():
            part.load_state_dict(state[name])
        average.to(accelerator.device)
        progress.resume(state)
    parallel, optimizer = accelerator.prepare(denoiser, optimizer)
    images, labels = _scaled(samples.images), torch.from_numpy(samples.labels)
    tell = telling(report, accelerator, spec.steps)
    with Pace(progress, spec.steps, spec.steps, tell, lambda: _states(parts), accelerator, checkpoint) as pace:
        while progress.step < spec.steps:
            batch = draw(spec, images, labels, len(samples.classes), progress.step)
            x, target, c_noise, label = (_share(part, accelerator) for part in batch)
            for group in optimizer.param_groups:
                group["lr"] = spec.learning_rate * schedule(progress.step, spec.steps)
            with accelerator.autocast():
                predicted = parallel(x, c_noise, label)
            loss = (predicted.float() - target).square().mean()
            accelerator.backward(loss)
            with pace.update():
                optimizer.step()
                optimizer.zero_grad()
                average.step(denoiser.parameters())
                if (mean := pace.counted(loss)) is not None:
                    progress.history.append({"step": progress.step, "loss": mean.item()})
            pace.rest()
    average.copy_to(denoiser.parameters())
    if accelerator.is_main_process:
        _write(folder, spec, samples, network, denoiser, progress.history)
    return {
        "n_generator": len(samples),
        "final_loss": final_loss(progress.history),
        "parameters": sum(part.numel() for part in denoiser.parameters()),
        "seconds": time.monotonic() - started,
    }


def draw(
    spec: ClosedSet, images: torch.Tensor, labels: torch.Tensor, classes: int, step: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the whole batch of a step: network input, target ``(b, c, h, w)``, c_noise and labels ``(b,)``.

    Eq. 8 weighs |D − y|² by 1 / c_out², which is the plain squared distance of F_θ from (y − c_skip·x) / c_out. Drawn
    on the CPU from the step's own seed: the same batch on any device, and whatever was drawn before.
    """
    random = torch.Generator().manual_seed(seed_of("closed-set", "step", spec.seed, step))
    rows = batch_rows(len(labels), spec.batch_size, spec.seed, step)
    size, clean, label = spec.batch_size, images[rows], labels[rows]
    if spec.flip:
        mirrored = torch.rand(size, generator=random) < 0.5
        clean = torch.where(mirrored[:, None, None, None], clean.flip(-1), clean)
    label = torch.where(torch.rand(size, generator=random) < spec.label_dropout, classes, label)
    sigma = (P_MEAN + P_STD * torch.randn(size, 1, 1, 1, generator=random)).exp()
    noisy = clean + sigma * torch.randn(clean.shape, generator=random)
    c_skip, c_out, c_in, c_noise = precondition(sigma)
    return c_in * noisy, (clean - c_skip * noisy) / c_out, c_noise.flatten(), label


def batch_rows(n: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Return which of ``n`` images make up a step's batch: one endless row of shuffled epochs, cut into batches."""
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    return np.array([_epoch(n, seed, int(p) // n)[p % n] for p in positions])


def schedule(step: int, steps: int) -> float:
    """Return the factor on the learning rate: a linear warm-up, and a cosine to 0 over the whole fit."""
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (1 + math.cos(math.pi * step / steps)) / 2


@functools.lru_cache(maxsize=4)
def _epoch(n: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng(seed_of("closed-set", "epoch", seed, epoch)).permutation(n)


def _states(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part.state_dict() for name, part in parts.items()}


def _new_denoiser(network: Network, shape: tuple[int, int, int], classes: int, seed: int) -> Denoiser:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("closed-set", "weights", seed))
        return Denoiser(network, shape, classes)


def _shape(samples: Samples) -> tuple[int, int, int]:
    _, height, width, channels = samples.images.shape
    return height, width, channels


def _scaled(images: np.ndarray) -> torch.Tensor:
    """Return uint8 ``(n, h, w, c)`` as float ``(n, c, h, w)`` in [−1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def _share(part: torch.Tensor, accelerator: accelerate.Accelerator) -> torch.Tensor:
    return part[accelerator.process_index :: accelerator.num_processes].to(accelerator.device)


# -------------------------------------------------------------------------------------------------------------- files


def _write(
    folder: Path, spec: ClosedSet, samples: Samples, network: Network, denoiser: Denoiser, history: list[dict[str, Any]]
) -> None:
    """Write the weights and what is needed to load them, even if the presets change one day."""
    preset = {"name": spec.network, **{f.name: getattr(network, f.name) for f in fields(network)}}
    config = {"image_shape": _shape(samples), "classes": samples.classes, "network": preset}
    save_file({name: part.cpu().contiguous() for name, part in denoiser.state_dict().items()}, folder / WEIGHTS)
    write_whole(folder / CONFIG, json.dumps(config, indent=1))
    write_history(folder, history)


# ----------------------------------------------------------------------------------------------------------- sampling


def load(spec: ClosedSet, folder: Path, device: torch.device | str) -> Loaded:
    """Return the fitted model of ``spec`` from its folder; raises FileNotFoundError when it is not fitted."""
    config = json.loads((folder / CONFIG).read_text())
    preset = {name: value for name, value in config["network"].items() if name != "name"}
    denoiser = _new_denoiser(Network(**preset), tuple(config["image_shape"]), len(config["classes"]), spec.seed)
    denoiser.load_state_dict(load_file(folder / WEIGHTS))
    return Loaded(denoiser.to(device).eval(), torch.device(device))


@torch.inference_mode()
def sample(
    loaded: Loaded, labels: Sequence[int] | np.ndarray, seeds: Sequence[int], *, guidance: float, sampling_steps: int
) -> np.ndarray:
    """Return one image a label and seed, uint8 ``(n, h, w, c)``.

    An image depends on its own label and seed, not on its batch: sums may round differently in another batch, which
    moves few pixels by one grey level. ``guidance`` is the weight w, ``sampling_steps`` the evaluations of D.
    """
    denoiser, device = loaded.denoiser, loaded.device
    solver = EDMDPMSolverMultistepScheduler(
        sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, sigma_data=SIGMA_DATA, solver_order=2, algorithm_type="dpmsolver++"
    )
    solver.set_timesteps(sampling_steps)
    x = (_noise(seeds, denoiser.shape) * solver.init_noise_sigma).to(device)
    label = torch.as_tensor(np.asarray(labels, dtype=np.int64), device=device)
    for c_noise in solver.timesteps:  # diffusers' EDM schedulers count time in c_noise
        scaled = solver.scale_model_input(x, c_noise)
        predicted = guided(denoiser, scaled, c_noise.to(device).expand(len(label)), label, guidance)
        x = solver.step(predicted, c_noise, x, return_dict=False)[0]
    pixels = ((x + 1) * 127.5).round().clamp(0, 255)
    return pixels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def _noise(seeds: Sequence[int], shape: tuple[int, int, int]) -> torch.Tensor:
    """Return standard noise ``(n, c, h, w)``, each image from its own generator on the CPU: the same on any device."""
    height, width, channels = shape
    drawn = [torch.randn(channels, height, width, generator=torch.Generator().manual_seed(int(s))) for s in seeds]
    return torch.stack(drawn)

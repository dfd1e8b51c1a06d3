"""A class-conditional diffusion model fitted from scratch on one real subset: fit, load, sample.

The network and the objective's formulas are in ``denoiser``. Samples come from DPM-Solver++ 2M (Lu et al. 2022,
arXiv:2211.01095), deterministic once the first noise is drawn. Which images and labels a pool asks for is not decided
here (``samples``), nor where its shards go (``synthesis``).
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
from diffusers.schedulers.scheduling_edm_dpmsolver_multistep import EDMDPMSolverMultistepScheduler
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file

from realfake.generators.batches import WARM_UP_STEPS as WARM_UP_STEPS
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
from realfake.generators.denoiser import SIGMA_DATA, Denoiser, guided, precondition
from realfake.generators.fitting import (
    Pace,
    Progress,
    check_accelerator,
    final_loss,
    restore,
    telling,
    write_history,
)
from realfake.generators.networks import Network, network_for
from realfake.samples import Samples, seed_of
from realfake.spec import ClosedSet
from realfake.store import write_whole
from realfake.values import fields

P_MEAN, P_STD = -1.2, 1.2  # of ln σ while training (Karras et al. 2022, table 1)
SIGMA_MIN, SIGMA_MAX = 0.02, 40.0  # while sampling: 8-bit grey levels are 0.008 apart
WIDEST = 32  # pixels that SIGMA_MAX is for: twice as wide, noise of σ averages to σ/2 at the same coarseness
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
    network = network_for(spec.network, *shape_of(samples)[:2])
    denoiser = _new_denoiser(network, shape_of(samples), len(samples.classes), spec.seed).to(accelerator.device)
    average = EMAModel(denoiser.parameters(), decay=spec.ema_decay, foreach=True)
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=spec.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
    parts, progress = {"model": denoiser, "optimizer": optimizer, "average": average}, Progress()
    restore(parts, progress, checkpoint, accelerator.device)
    parallel, optimizer = accelerator.prepare(denoiser, optimizer)
    images, labels = scaled(samples.images), torch.from_numpy(samples.labels)
    tell = telling(report, accelerator, spec.steps)
    with Pace(progress, spec.steps, spec.steps, tell, lambda: states(parts), accelerator, checkpoint) as pace:
        while progress.step < spec.steps:
            batch = draw(spec, images, labels, len(samples.classes), progress.step)
            x, target, c_noise, label = (share(part, accelerator) for part in batch)
            set_rate(optimizer, spec.learning_rate * schedule(progress.step, spec.steps))
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
        clean = mirrored(clean, random)
    label = torch.where(torch.rand(size, generator=random) < spec.label_dropout, classes, label)
    sigma = (P_MEAN + P_STD * torch.randn(size, 1, 1, 1, generator=random)).exp()
    noisy = clean + sigma * torch.randn(clean.shape, generator=random)
    c_skip, c_out, c_in, c_noise = precondition(sigma)
    return c_in * noisy, (clean - c_skip * noisy) / c_out, c_noise.flatten(), label


def _new_denoiser(network: Network, shape: tuple[int, int, int], classes: int, seed: int) -> Denoiser:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("closed-set", "weights", seed))
        return Denoiser(network, shape, classes)


# -------------------------------------------------------------------------------------------------------------- files


def _write(
    folder: Path, spec: ClosedSet, samples: Samples, network: Network, denoiser: Denoiser, history: list[dict[str, Any]]
) -> None:
    """Write the weights and what is needed to load them, even if the presets change one day."""
    preset = {"name": spec.network, **{f.name: getattr(network, f.name) for f in fields(network)}}
    config = {"image_shape": shape_of(samples), "classes": samples.classes, "network": preset}
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
    sigma_max = SIGMA_MAX * max(1.0, max(denoiser.shape[:2]) / WIDEST)
    solver = EDMDPMSolverMultistepScheduler(
        sigma_min=SIGMA_MIN, sigma_max=sigma_max, sigma_data=SIGMA_DATA, solver_order=2, algorithm_type="dpmsolver++"
    )
    solver.set_timesteps(sampling_steps)
    height, width, channels = denoiser.shape
    x = (normal(seeds, channels, height, width) * solver.init_noise_sigma).to(device)
    label = torch.as_tensor(np.asarray(labels, dtype=np.int64), device=device)
    for c_noise in solver.timesteps:  # diffusers' EDM schedulers count time in c_noise
        seen = solver.scale_model_input(x, c_noise)
        predicted = guided(denoiser, seen, c_noise.to(device).expand(len(label)), label, guidance)
        x = solver.step(predicted, c_noise, x, return_dict=False)[0]
    return pixels(x)

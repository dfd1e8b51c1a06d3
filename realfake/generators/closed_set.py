"""A class-conditional diffusion model fitted from scratch on one real subset: fit, load, sample.

The network and the objective's formulas are in ``denoiser``. Samples come from DPM-Solver++ 2M (Lu et al. 2022,
arXiv:2211.01095), deterministic once the first noise is drawn. Which images and labels a pool asks for is not decided
here (``samples``), nor where its shards go (``synthesis``).
"""

import functools
import io
import json
import math
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

from realfake.generators import Diverged
from realfake.generators.denoiser import SIGMA_DATA, Denoiser, guided, precondition
from realfake.generators.networks import Network, network_for
from realfake.samples import Samples, seed_of
from realfake.spec import ClosedSet
from realfake.store import write_whole
from realfake.values import SpecError, fields

P_MEAN, P_STD = -1.2, 1.2  # of ln σ while training (Karras et al. 2022, table 1)
SIGMA_MIN, SIGMA_MAX = 0.02, 40.0  # while sampling: 8-bit grey levels are 0.008 apart, images at most 32 pixels wide
WARM_UP_STEPS = 50
HISTORY_LINES = 100
CHECKPOINT_SECONDS = 20.0
REPORT_SECONDS = 1.0
WEIGHTS, CONFIG, HISTORY, CHECKPOINT = "model.safetensors", "config.json", "history.jsonl", "checkpoint.pt"


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
    network = _checked_network(spec, samples, accelerator)
    device, main = accelerator.device, accelerator.is_main_process
    denoiser = _new_denoiser(network, _shape(samples), len(samples.classes), spec.seed).to(device)
    average = EMAModel(denoiser.parameters(), decay=spec.ema_decay, foreach=True)
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=spec.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
    step, history, loss_sum = 0, [], torch.zeros((), device=device)
    if checkpoint is not None and (state := _read_checkpoint(checkpoint)):
        denoiser.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.load_state_dict(state["average"])
        average.to(device)
        step, history, loss_sum = state["step"], state["history"], state["loss_sum"].to(device)
    parallel, optimizer = accelerator.prepare(denoiser, optimizer)
    images, labels = _scaled(samples.images), torch.from_numpy(samples.labels)
    line_steps = math.ceil(spec.steps / HISTORY_LINES)

    def save() -> None:
        if checkpoint is not None and main:
            parts = {"model": denoiser, "optimizer": optimizer, "average": average}
            state = {name: part.state_dict() for name, part in parts.items()}
            _write_checkpoint(checkpoint, {**state, "step": step, "history": history, "loss_sum": loss_sum})

    saved = reported = started
    settled = True  # False while an update is half made: such a state is never kept
    try:
        while step < spec.steps:
            batch = draw(spec, images, labels, len(samples.classes), step)
            x, target, c_noise, label = (_share(part, accelerator) for part in batch)
            for group in optimizer.param_groups:
                group["lr"] = spec.learning_rate * schedule(step, spec.steps)
            with accelerator.autocast():
                predicted = parallel(x, c_noise, label)
            loss = (predicted.float() - target).square().mean()
            accelerator.backward(loss)
            settled = False
            optimizer.step()
            optimizer.zero_grad()
            average.step(denoiser.parameters())
            loss_sum += loss.detach()
            step += 1
            if step % line_steps == 0 or step == spec.steps:
                total: Any = accelerator.reduce(loss_sum, "mean")  # over the processes
                mean = total.item() / ((step - 1) % line_steps + 1)
                if not math.isfinite(mean):
                    raise Diverged(step)
                history.append({"step": step, "loss": mean})
                loss_sum.zero_()
            settled = True
            now = time.monotonic()
            if main and history and (now - reported >= REPORT_SECONDS or step == spec.steps):
                report({"done": step, "total": spec.steps, "unit": "steps", "loss": history[-1]["loss"]})
                reported = now
            if now - saved >= CHECKPOINT_SECONDS:
                save()
                saved = now
    except KeyboardInterrupt:
        if settled:
            save()
        raise
    average.copy_to(denoiser.parameters())
    if main:
        _write(folder, spec, samples, network, denoiser, history)
    return {
        "n_generator": len(samples),
        "final_loss": float(np.mean([line["loss"] for line in history[-max(1, len(history) // 10) :]])),
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


def _checked_network(spec: ClosedSet, samples: Samples, accelerator: accelerate.Accelerator) -> Network:
    height, width, _ = _shape(samples)
    if spec.batch_size % accelerator.num_processes:
        raise SpecError(
            f"ClosedSet.batch_size {spec.batch_size} cannot be shared equally by {accelerator.num_processes} workers, "
            "and unequal shares would weigh images unequally; choose a multiple"
        )
    precision = "bf16" if spec.precision == "bf16" else "no"
    if accelerator.mixed_precision != precision:
        raise ValueError(
            f"the accelerator computes in {accelerator.mixed_precision!r} and ClosedSet.precision is "
            f"{spec.precision!r}; make it with Accelerator(mixed_precision={precision!r})"
        )
    return network_for(spec.network, height, width)


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
    write_whole(folder / HISTORY, "".join(f"{json.dumps(line)}\n" for line in history))


def _write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(folder / CHECKPOINT, buffer.getvalue())


def _read_checkpoint(folder: Path) -> dict[str, Any] | None:
    path = folder / CHECKPOINT
    return torch.load(path, map_location="cpu", weights_only=True) if path.is_file() else None


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

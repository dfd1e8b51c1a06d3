"""What every preset of a generator costs: a training step, an evaluation, a fit, sampling, and the bare loop beside.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_presets [--names unet-xs dit-xs gan-xs] [--sides 14 32] [--gpu]

CPU milliseconds of this process on one core, an image, after one warm-up that does not count: another process on the
machine lengthens the wall clock, not these (caches apart). A step is one of our fit, from drawing the batch to the
averaged weights; images a second are one over it, sampling is at 8 steps (one pass for a GAN), images of one channel.
The ratio is ours over a loop of the same network in bare torch: no draws by seed, no history, no averaging. With
``--gpu``, wall milliseconds on the GPU at a batch of 256. Prints a table, then one JSON document.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from realfake.generators import closed_set, gan
from realfake.generators.adversaries import Discriminator, Generator
from realfake.generators.denoiser import Denoiser, precondition
from realfake.generators.networks import ADVERSARIES, NETWORKS
from realfake.samples import Samples
from realfake.spec import ClosedSet, Gan
from tests import tiny

SIDES, CLASSES, SAMPLING_STEPS = (8, 14, 28, 32, 64), 10, 8
SLOW = {"unet-m-64", "dit-ti", "dit-s", "dit-b", "dit-s-64", "dit-b-64", "gan-m"}  # a GPU's, unless named


def main():
    """Measure the presets asked for at the sides that they are for."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--names", nargs="*", default=[n for n in (*NETWORKS, *ADVERSARIES) if n not in SLOW])
    asked.add_argument("--sides", nargs="*", type=int, default=SIDES)
    asked.add_argument("--batch", type=int, default=0)
    asked.add_argument("--gpu", action="store_true")
    given = asked.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if given.gpu else "cpu")
    batch = given.batch or (256 if given.gpu else 32)
    print(f"{'preset':11}{'side':>5}{'step':>9}{'eval':>9}{'fit/s':>9}{'sample/s':>10}{'ratio':>7}{'M params':>10}")
    found = []
    for name in given.names:
        preset = {**NETWORKS, **ADVERSARIES}[name]
        for side in (side for side in given.sides if preset.smallest <= side <= preset.largest):
            row = {"preset": name, "side": side, **measured(name, side, batch, device)}
            found.append(row)
            print(
                f"{name:11}{side:5}{row['step_ms']:9.2f}{row['evaluation_ms']:9.2f}{row['fit_images_a_second']:9.0f}"
                f"{row['sampled_images_a_second']:10.0f}{row['ratio_to_bare']:7.2f}{row['parameters'] / 1e6:10.2f}",
                flush=True,
            )
    device_name = torch.cuda.get_device_name() if given.gpu else "cpu"
    print(json.dumps({"device": device_name, "batch": batch, "torch": torch.__version__, "presets": found}))


def measured(name, side, batch, device):
    """Return what one preset costs at one side, in milliseconds an image."""
    kind = ClosedSet if name in NETWORKS else Gan
    ours, loaded = fit_ms(kind, name, side, batch, device)
    bare = bare_ms(name, side, batch, device)
    labels, seeds = np.arange(batch) % CLASSES, list(range(batch))
    if kind is ClosedSet:
        network = loaded.denoiser
        x, c = torch.randn(batch, 1, side, side, device=device), torch.zeros(batch, device=device)
        label = torch.zeros(batch, dtype=torch.int64, device=device)
        evaluate = torch.inference_mode()(lambda: network(x, c, label))
        settings = {"guidance": 1.0, "sampling_steps": SAMPLING_STEPS}
        draw = lambda: closed_set.sample(loaded, labels, seeds, **settings)  # noqa: E731
    else:
        network = loaded.generator
        z, label = (
            torch.randn(batch, network.latent, device=device),
            torch.zeros(batch, dtype=torch.int64, device=device),
        )
        evaluate = torch.inference_mode()(lambda: network(z, label))
        draw = lambda: gan.sample(loaded, labels, seeds)  # noqa: E731
    evaluation, sampling = (timed(work, device) / batch for work in (evaluate, draw))
    return {
        "step_ms": ours,
        "evaluation_ms": evaluation,
        "fit_images_a_second": 1000 / ours,
        "sampled_images_a_second": 1000 / sampling,
        "bare_step_ms": bare,
        "ratio_to_bare": ours / bare,
        "parameters": sum(part.numel() for part in network.parameters()),
    }


def fit_ms(kind, name, side, batch, device):
    """Return the milliseconds an image of a step of our fit, a longer one less a shorter one, and the fitted model."""
    from accelerate import Accelerator

    from realfake import generators

    images = np.random.default_rng(0).integers(0, 256, (64, side, side, 1), dtype=np.uint8)
    samples = Samples(images, np.arange(64) % CLASSES, np.arange(64), tuple("0123456789"))
    accelerator, module = Accelerator(cpu=device.type == "cpu"), closed_set if kind is ClosedSet else gan
    with tempfile.TemporaryDirectory() as folder:
        seconds = []
        for steps in (1, 1, 4):  # the first pays for what torch prepares
            spec = kind(real=tiny.real(), network=name, steps=steps, batch_size=batch)
            started = clock(device)
            generators.fit(spec, samples, Path(folder), lambda event: None, accelerator=accelerator)
            seconds.append(clock(device) - started)
        loaded = module.load(spec, Path(folder), device)
    return 1000 * (seconds[2] - seconds[1]) / 3 / batch, loaded


def bare_ms(name, side, batch, device):
    """Return the milliseconds an image of a step of the loop that one would write by hand."""
    shape, label = (side, side, 1), (torch.arange(batch) % CLASSES).to(device)
    images = torch.rand(batch, 1, side, side, device=device) * 2 - 1
    if name in NETWORKS:
        network = Denoiser(NETWORKS[name], shape, CLASSES).to(device)
        optimizer = torch.optim.AdamW(network.parameters())

        def step():
            sigma = (1.2 * torch.randn(batch, 1, 1, 1, device=device) - 1.2).exp()
            c_skip, c_out, c_in, c_noise = precondition(sigma)
            noisy = images + sigma * torch.randn_like(images)
            loss = (network(c_in * noisy, c_noise.flatten(), label) - (images - c_skip * noisy) / c_out).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return timed(step, device, 3) / batch
    preset = ADVERSARIES[name]
    generator, judge = (part(preset, shape, CLASSES).to(device) for part in (Generator, Discriminator))
    creating, judging = (torch.optim.Adam(part.parameters(), betas=gan.BETAS) for part in (generator, judge))

    def both():
        z = torch.randn(batch, preset.latent, device=device)
        scores = judge(torch.cat([images, generator(z, label).detach()]), label.repeat(2)).chunk(2)
        judging.zero_grad()
        gan.hinge(*scores).backward()
        judging.step()
        judge.requires_grad_(False)
        creating.zero_grad()
        (-judge(generator(torch.cat([z, -z]), label.repeat(2))[:batch], label).mean()).backward()
        judge.requires_grad_(True)
        creating.step()

    return timed(both, device, 3) / batch


def timed(work, device, times=2):
    """Return the milliseconds of a call, after one that does not count."""
    work()
    started = clock(device)
    for _ in range(times):
        work()
    return 1000 * (clock(device) - started) / times


def clock(device):
    """Return seconds: of this process's CPU, or of the wall once the GPU is done."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()

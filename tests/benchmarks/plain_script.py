"""The scripts' way, for comparison: one process fits one generator, or samples images and trains one classifier.

Plain torch, timm and diffusers, as such scripts are written; it shares nothing with the package but the Parquet files
of the data set and the order of subsets, so that both ways see the same images. Run by ``bench_quickstart``.
"""

import io
import json
import math
import os
import random
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pyarrow.parquet as pq
import timm
import torch
import torch.nn.functional as F
from diffusers import EDMDPMSolverMultistepScheduler
from PIL import Image

torch.set_num_threads(1)


def data(folder):
    """Read a data set into tensors: images in [-1, 1] and labels."""
    tables = [pq.read_table(path) for path in sorted(Path(folder).glob("*.parquet"))]
    rows = [row for table in tables for row in zip(table["image"].to_pylist(), table["label"].to_pylist(), strict=True)]
    images = np.stack([np.asarray(Image.open(io.BytesIO(data))) for data, _ in rows])
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return torch.tensor(images).float() / 127.5 - 1, torch.tensor([label for _, label in rows])


def subset(images, labels, size, seed):
    """Draw a class-balanced subset."""
    order = list(range(len(labels)))
    random.Random(seed).shuffle(order)
    by_class = {}
    for i in order:
        by_class.setdefault(int(labels[i]), []).append(i)
    rows = [i for group in zip(*by_class.values(), strict=False) for i in group][:size]
    return images[rows], labels[rows]


def denoiser(network, side, channels):
    """Build the same network as the study's, from its configuration."""
    from realfake.generators.denoiser import Denoiser
    from realfake.generators.networks import network_for

    return Denoiser(network_for(network, side, side), (side, side, channels), 10)


def fit(job):
    """Train a class-conditional denoiser with the EDM loss and save it."""
    images, labels = subset(*data(job["train"]), job["n_generator"], job["subset_seed"])
    torch.manual_seed(job["generator_seed"])
    model = denoiser(job["network"], images.shape[-1], images.shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=job["rate"])
    average = {k: v.clone() for k, v in model.state_dict().items()}
    from realfake.generators.denoiser import precondition

    for _ in range(job["steps"]):
        rows = torch.randint(len(images), (job["batch"],))
        x, y = images[rows], labels[rows].clone()
        y[torch.rand(len(y)) < 0.1] = 10
        sigma = torch.exp(torch.randn(len(x)) * 1.2 - 1.2)
        c_skip, c_out, c_in, c_noise = (c[:, None, None, None] for c in precondition(sigma))
        noisy = x + sigma[:, None, None, None] * torch.randn_like(x)
        out = c_skip * noisy + c_out * model(c_in * noisy, c_noise.flatten(), y)
        weight = (sigma**2 + 0.25) / (sigma * 0.5) ** 2
        loss = (weight[:, None, None, None] * (out - x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for k, v in model.state_dict().items():
            average[k].lerp_(v, 0.005) if v.is_floating_point() else average[k].copy_(v)
    torch.save(average, job["save"])
    return 0.0


@torch.no_grad()
def sample(job, side, channels, count):
    """Sample images with diffusers' scheduler, 64 at a time."""
    from realfake.generators.denoiser import precondition

    model = denoiser(job["network"], side, channels)
    model.load_state_dict(torch.load(job["generator"]))
    model.eval()
    labels = torch.arange(count) % 10
    images = []
    for part in labels.split(64):
        scheduler = EDMDPMSolverMultistepScheduler(sigma_min=0.02, sigma_max=40.0, sigma_data=0.5)
        scheduler.set_timesteps(job["sampling_steps"])
        x = torch.randn(len(part), channels, side, side) * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            sigma = scheduler.sigmas[scheduler.step_index or 0].expand(len(part))
            scaled = scheduler.scale_model_input(x, t)
            x = scheduler.step(model(scaled, precondition(sigma)[3], part), t, x).prev_sample
        images.append(x.clamp(-1, 1))
    return torch.cat(images), labels


def trial(job):
    """Train a classifier on real and freshly sampled images; return its error on the test set."""
    images, labels = subset(*data(job["train"]), job["n_real"], job["subset_seed"])
    if "generator" in job:
        more, their = sample(job, images.shape[-1], images.shape[1], job["n_synthetic"])
        images, labels = torch.cat([images, more]), torch.cat([labels, their])
    torch.manual_seed(job["trial_seed"])
    model = timm.create_model(job["model"], num_classes=10, in_chans=images.shape[1])
    steps = math.ceil(job["examples_seen"] / job["batch"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=job["rate"], weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, job["rate"], total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(images), (job["batch"],))
        loss = F.cross_entropy(model(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    x, y = data(job["test"])
    with torch.no_grad():
        found = torch.cat([model(part).argmax(1) for part in x.split(256)])
    return (found != y).float().mean().item()


if __name__ == "__main__":
    print({"fit": fit, "trial": trial}[sys.argv[1]](json.loads(sys.argv[2])))

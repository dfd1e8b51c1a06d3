"""How much slower are our LoRA steps than those of a script by hand with diffusers and peft? Ours ÷ bare.

    OMP_NUM_THREADS=1 uv run python -m tests.benchmarks.bench_lora

Both train the same adapters on the same UNet from the same cached latents and text states (the fastest that a script by
hand can do), with Min-SNR weights, the same optimizer and clipping, turn by turn in one process. The best turn counts,
and seconds are of the process's own CPU time, so that another process on the machine counts little. Further lines train
with the matching term in each space, ours alone: what it costs over the plain step. The last line counts, on no device,
the arithmetic of Stable Diffusion 1.5 at 512 pixels: the UNet's beside the decoder's, which the feature space adds.
"""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn import functional

from realfake.alignment import Matching
from realfake.generators import adapters, alignment_loop, alignment_material, fitting, lora, pipelines
from realfake.kinds import Lora
from realfake.outside import External
from realfake.samples import Samples
from realfake.spec import Dataset, Subset
from tests import tiny
from tests.tiny_pipeline import tiny_open_set

TURNS = 3
SIZES = {"tiny": (8, 16), "small": (64, 128)}  # widths of the UNet


def pipeline_of(widths):
    """The tiny pipeline with a UNet of these widths and random weights."""
    from diffusers import UNet2DConditionModel

    pipeline = pipelines.open_folder(tiny_open_set())
    settings = {**dict(pipeline.unet.config), "block_out_channels": widths}
    torch.manual_seed(0)
    pipeline.register_modules(unet=UNet2DConditionModel(**settings).requires_grad_(False))
    return pipeline


def images(n=64) -> Samples:
    """Some digits."""
    return tiny.digits().take(slice(0, n))


def ours(folder, spec):
    """Steps a second of the loop of ``lora.fit``, after its images and words are encoded."""
    pipeline = pipelines.open_folder(folder)
    material = alignment_material.gather(spec, pipeline, images(), {}, None)
    student = adapters.new_student(spec, pipeline, 0)
    adapters.initialise(student, 0)
    accelerator = Accelerator(cpu=True)
    model = accelerator.prepare(student)
    part = lora.parts_of(spec, images())[0]
    run = alignment_loop.Run(spec, pipeline, student, model, material, lambda event: None, None, accelerator)
    started = time.process_time()
    alignment_loop.align(run, part, fitting.Progress(), None)
    return spec.steps / (time.process_time() - started)


def bare(folder, spec):
    """Steps a second of what one would write by hand after diffusers' training script, on cached latents and states."""
    from diffusers import StableDiffusionPipeline
    from diffusers.training_utils import cast_training_params, compute_snr
    from peft import LoraConfig

    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    unet, scheduler = pipeline.unet.requires_grad_(False), pipeline.scheduler
    layers = ["to_q", "to_k", "to_v", "to_out.0"]
    unet.add_adapter(LoraConfig(r=spec.rank, lora_alpha=spec.rank, init_lora_weights="gaussian", target_modules=layers))
    cast_training_params(unet)
    data = images()
    with torch.no_grad():
        pixels = torch.from_numpy(data.images).permute(0, 3, 1, 2).float().expand(-1, 3, -1, -1) / 127.5 - 1
        latents = pipeline.vae.encode(functional.interpolate(pixels, (16, 16))).latent_dist.sample() * 0.18215
        words = torch.cat([pipeline.encode_prompt(f"a photo of a {name}", "cpu", 1, False)[0] for name in data.classes])
    states = words[torch.from_numpy(data.labels)]
    trained = [weight for weight in unet.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=spec.learning_rate, weight_decay=spec.weight_decay)
    unet.train()
    started = time.process_time()
    for _ in range(spec.steps):
        rows = torch.from_numpy(np.random.choice(len(latents), spec.batch_size, replace=False))
        clean = latents[rows]
        noise, times = torch.randn_like(clean), torch.randint(0, scheduler.config.num_train_timesteps, (len(rows),))
        noisy = scheduler.add_noise(clean, noise, times)
        predicted = unet(noisy, times, states[rows], return_dict=False)[0]
        snr = compute_snr(scheduler, times)
        weights = torch.stack([snr, spec.snr_gamma * torch.ones_like(times)], dim=1).min(dim=1)[0] / snr
        loss = functional.mse_loss(predicted.float(), noise.float(), reduction="none")
        loss = (loss.mean(dim=list(range(1, len(loss.shape)))) * weights).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return spec.steps / (time.process_time() - started)


def arithmetic():
    """Multiply-adds ×2 of one image forward through UNet and decoder of Stable Diffusion 1.5's sizes, in 10¹²."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from torch.utils.flop_counter import FlopCounterMode

    widths = (128, 256, 512, 512)
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=widths,
            layers_per_block=2,
        )
        latents, words, when = torch.empty(1, 4, 64, 64), torch.empty(1, 77, 768), torch.zeros(1, dtype=torch.long)
        found = []
        for call in (lambda: unet(latents, when, words), lambda: vae.decode(latents)):
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                call()
            found.append(counter.get_total_flops() / 1e12)
    return found


def main():
    """Print one line a size, one for the spaces, and the arithmetic."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    real = Subset(of=Dataset(name="digits"), size=64)
    for name, widths in SIZES.items():
        plain = Lora(base=External(name=name), real=real, steps=options.steps)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            pipeline_of(widths).save_pretrained(folder)
            ours(folder, plain), bare(folder, plain)  # imports
            rates = [(ours(folder, plain), bare(folder, plain)) for _ in range(TURNS)]
            best, by_hand = (max(of_kind) for of_kind in zip(*rates, strict=True))
            print(f"{name} UNet {widths}: ours {best:.1f} steps/s ÷ bare {by_hand:.1f} = {best / by_hand:.2f}")
            for space in ("noise", "latent", "feature"):
                with_term = dataclasses.replace(plain, matching=Matching(space=space))
                rate = max(ours(folder, with_term) for _ in range(TURNS))
                print(f"{name} UNet, matching in {space} space: {rate / best:.2f} of the plain steps a second")
    unet, decoder = arithmetic()
    print(f"Stable Diffusion 1.5, an image forward: UNet {unet:.2f}, decoder {decoder:.2f} · 10¹² operations")


if __name__ == "__main__":
    main()

"""How many images a second does the open-set loop make, beside diffusers' own pipeline on the same networks and batch?

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_open_set --batch 16 --steps 10 --repeats 7

An untrained miniature ("sd-mini", 16 pixels) with random weights, classifier-free guidance, DDIM, one thread of a CPU:
speed does not depend on weights. Both are timed in turn (CPU seconds of the process) and the median ratio counts.
"Words" is text to image, "real" begins at noised real latents. Ours includes what a pool asks of it: prompts, parents,
one seed an image, and images of the real ones' size and channels. Prints one JSON document.
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace

import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline

from realfake import generators
from realfake.alignment import LatentPrior
from realfake.generators import miniature, pipelines
from realfake.samples import image_seeds, pool_labels
from realfake.spec import Pool
from realfake.store import Store
from tests import tiny, tiny_open_set

GUIDANCE, STRENGTH = 2.0, 0.75


def store_in(root) -> Store:
    """A store with digits and the miniature."""
    store = tiny.import_digits(root)
    parts = miniature.new_parts(miniature.MINIATURES["sd-mini"], list(tiny_open_set.NAMES), seed=0)
    torch.nn.init.normal_(parts.unet.conv_out.weight, std=0.1)
    with store.making(tiny_open_set.BASE) as (folder, result):
        miniature.save(parts, folder)
        result |= {"status": "ok"}
    return store


def cpu_seconds(work) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def compared(store, prior, batch, steps, repeats) -> dict[str, float]:
    """Images a second of ours and of theirs, and the median of the ratios of neighbouring runs."""
    generator = tiny_open_set.open_set(**({"prior": prior} if prior else {}))
    pool = Pool(generator=generator, guidance=GUIDANCE, sampling_steps=steps, solver="ddim")
    loaded = generators.load_generator(generator, store)
    labels, seeds = pool_labels(pool, 0, batch, np.ones(10, int)), image_seeds(pool, 0, batch)
    whole = pipelines.load_pipeline(tiny_open_set.BASE, store)
    if prior:
        whole = StableDiffusionImg2ImgPipeline(**whole.components, requires_safety_checker=False)
        whole.set_progress_bar_config(disable=True)
    texts = [f"a photo of a {tiny_open_set.NAMES[label]}" for label in labels]
    begins = {}
    if prior:
        begins = {"image": pipelines.to_pixels(loaded.real.images[:batch], 16), "strength": prior.strength}

    def ours():
        generators.sample(loaded, pool, labels, seeds, range(batch))

    def theirs():
        random = [torch.Generator().manual_seed(seed) for seed in seeds]
        options = {"num_inference_steps": steps, "guidance_scale": GUIDANCE, "generator": random, **begins}
        whole(texts, output_type="np", **options)

    ours(), theirs()  # what is done once
    pairs = [(cpu_seconds(ours), cpu_seconds(theirs)) for _ in range(repeats)]
    ratios = [b / a for a, b in pairs]
    return {
        "ours_images_a_second": round(batch / statistics.median(a for a, _ in pairs), 1),
        "diffusers_images_a_second": round(batch / statistics.median(b for _, b in pairs), 1),
        "ratio": round(statistics.median(ratios), 3),
        "lowest_ratio": round(min(ratios), 3),
        "highest_ratio": round(max(ratios), 3),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        store = store_in(root)
        settings = options.batch, options.steps, options.repeats
        words = compared(store, None, *settings)
        real = compared(store, replace(LatentPrior(), strength=STRENGTH), *settings)
    print(json.dumps({"batch": options.batch, "steps": options.steps, "words": words, "real": real}, indent=1))


if __name__ == "__main__":
    main()

"""An untrained miniature Stable Diffusion in a store beside some digits. Made once a process."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np

from realfake import generators
from realfake.samples import class_counts, image_seeds, pool_labels
from realfake.spec import OpenSet, Pool, Pretrained, Prompts
from realfake.store import Store
from tests import tiny

BASE = Pretrained(real=tiny.real(20))
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS = Prompts(templates=("a photo of a {}",), names=NAMES)


@functools.cache
def store() -> Store:
    """Return the store: digits of 8 pixels, and a pipeline for images of 16 pixels with random weights everywhere."""
    import torch

    from realfake.generators import miniature

    root = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, root)
    found = tiny.import_digits(root)
    size = miniature.Miniature(
        pixels=16, autoencoder=(8, 16), latent_channels=4, unet=(16, 32), width=32, text_layers=1, vision_layers=1
    )
    parts = miniature.new_parts(size, [f"a photo of a {name}" for name in WORDS.names], seed=0)
    torch.manual_seed(0)
    torch.nn.init.normal_(parts.unet.conv_out.weight, std=0.2)  # a new one says nothing of its input
    for name, weight in parts.unet.named_parameters():
        if "attn2" in name:
            torch.nn.init.normal_(weight, std=0.5)  # so that words and tokens matter
    with found.making(BASE) as (folder, result):
        miniature.save(parts, folder)
        result |= {"status": "ok"}
    return found


@functools.cache
def pipeline():
    """Return the pipeline, loaded once a process: what a load costs is paid by the tests of loading."""
    from realfake.generators import pipelines

    return pipelines.load_pipeline(BASE, store())


def open_set(**fields) -> OpenSet:
    """Return a pipeline of digits; one that sees real images sees fifty."""
    words = fields.get("prompts", WORDS)
    sees = fields.get("visual") or fields.get("prior") or words.captions
    wanted = {"real": tiny.real(50)} if sees else {} if "lora" in fields else {"like": tiny.TRAIN}
    return OpenSet(**{"base": BASE, "prompts": words, **wanted, **fields})


def pool(generator=None, **fields) -> Pool:
    return Pool(**{"generator": generator or open_set(), "guidance": 3.0, "sampling_steps": 4, **fields})


def drawn(asked: Pool, indices=range(6), loaded=None) -> np.ndarray:
    """Return the images of samples of a pool, as a maker of shards asks for them."""
    loaded = loaded or generators.load_generator(asked.generator, store())
    counts = class_counts(store(), asked)
    labels = np.array([pool_labels(asked, i, 1, counts)[0] for i in indices])
    seeds = [image_seeds(asked, i, 1)[0] for i in indices]
    return generators.sample(loaded, asked, labels, seeds, list(indices))

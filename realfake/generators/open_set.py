"""A pretrained text-to-image pipeline as a generator: which words, tokens and real latents each sample begins with.

The components of Real-Fake (2310.10402) as switches of ``OpenSet``: prompts and captions, an adapter, visual guidance,
a latent prior. Which real image a sample begins at is decided in ``parents``: its caption, its visual token and its
first latents are those of its own parent; "same class" and "class sample" take another image of the class by the
sample's own seed. The safety checker of a pipeline is never run, so that no image is silently blackened.

The loop is in ``solving``, words in ``prompting``, tokens in ``visual``, adapters in ``lora``, loading and pixels in
``pipelines``, a decoder of its own in ``decoders``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from realfake.generators import Drawn, captioning, decoders, lora, pipelines, prompting, solving, visual, xl
from realfake.generators.parents import begins_at_real, others, own_rows
from realfake.samples import Samples
from realfake.samples import load as load_samples
from realfake.spec import OpenSet, Pool, real_of
from realfake.store import Store
from realfake.values import SpecError

ENCODED = 16  # images at a time into the autoencoder; fixed, so that a class mean is the same bits every time
SLICED_SIDE, TILED_SIDE = 256, 1025  # pixels from which the autoencoder takes images one by one, and in tiles


@dataclass(frozen=True)
class Loaded:
    """A pipeline with its adapter, the real images that samples begin at, and what has been computed of them.

    ``captions`` are those of the real images; images are made ``pixels`` wide and high with ``channels``; ``adapters``
    is the folder of the LoRA; ``vae`` decodes; ``kept`` holds what is computed once: text states, projections, means of
    classes.
    """

    generator: OpenSet
    pipeline: Any
    adapters: Path | None
    classes: tuple[str, ...]
    pixels: int
    channels: int
    real: Samples | None
    captions: tuple[str, ...] | None
    encoder: tuple[Any, Any] | None
    vae: Any
    kept: dict[tuple[str, int], Any] = field(default_factory=dict)


def load(
    generator: OpenSet,
    store: Store,
    device: torch.device | str = "cpu",
    weights: Mapping[str, Path] | None = None,
    channels_last: bool = False,
    compiled: bool = False,
) -> Loaded:
    """Return a pipeline ready for ``draw``, its UNet and decoder in ``channels_last`` or ``compiled`` if asked.

    Raises SpecError for parts that do not fit together, and StoreError or FileNotFoundError for what is not made.
    """
    weights = weights or {}
    pipeline = pipelines.load_pipeline(generator.base, store, weights, device)
    xl.check(pipeline, generator.visual, generator.lora.token if generator.lora else "")
    subset = real_of(generator)
    real = load_samples(store, subset) if subset else None
    form = _form(generator, real, store)
    loaded_encoder = visual.encoder_of(pipeline, generator.visual, weights) if generator.visual else None
    if generator.precision != "fp32":  # the others stay: the decoder of an XL overflows in fp16
        pipeline.unet.to({"bf16": torch.bfloat16, "fp16": torch.float16}[generator.precision])
    adapters = store.folder(generator.lora) if generator.lora else None
    if generator.lora is not None and adapters is not None:
        lora.attach(pipeline, generator.lora, adapters, generator.lora_scale)
    side = pipelines.pixels_of(pipeline)
    pipelines.save_memory(pipeline, slicing=side >= SLICED_SIDE, tiling=side >= TILED_SIDE)
    vae = pipeline.vae
    if generator.decoder is not None:
        vae = decoders.load_decoder(generator.decoder, weights, pipeline)
        (vae.enable_slicing if side >= SLICED_SIDE else vae.disable_slicing)()
    if channels_last:
        for part in (pipeline.unet, pipeline.vae, vae):
            part.to(memory_format=torch.channels_last)
    if compiled:
        _compile(generator, pipeline, vae)
    captions = _captions(generator, store, real)
    return Loaded(generator, pipeline, adapters, *form, real, captions, loaded_encoder, vae)


def _compile(generator: OpenSet, pipeline: Any, vae: Any) -> None:
    """Let torch compile the UNet and the decoder at their first batch; not a UNet whose adapters change with classes.

    A batch of another size, as a shard's last where ``batch_size`` does not divide 256, is compiled for once more.
    """
    if generator.lora is None or generator.lora.scope == "data set":
        pipeline.unet.compile()
    vae.decoder.compile()


def _form(generator: OpenSet, real: Samples | None, store: Store) -> tuple[tuple[str, ...], int, int]:
    """Return classes, side and channels of the images: those of the real ones, or of the data set ``like``."""
    if real is None:
        assert generator.like is not None
        facts = (store.record(generator.like) or {"result": {}})["result"]
        return tuple(facts["classes"]), facts["pixels"], facts["channels"]
    height, width, channels = real.images.shape[1:]
    if height != width:
        raise SpecError(f"OpenSet.real: images of {height}×{width}, and pipelines make squares; give Dataset(pixels=…)")
    return real.classes, height, channels


def _captions(generator: OpenSet, store: Store, real: Samples | None) -> tuple[str, ...] | None:
    """Return the captions of the real images, in their order; raises SpecError when they are of other images."""
    spec = generator.prompts.captions
    if spec is None or real is None:
        return None
    subset = real_of(generator)
    if subset is not None and spec.of.of != subset.of:
        raise SpecError("Prompts.captions are of another data set than OpenSet.real; give Captions(of=real)")
    return tuple(prompting.captions_of(captioning.load(spec, store), real.ids))


# ----------------------------------------------------------------------------------------------------------- sampling


def draw(
    loaded: Loaded,
    pool: Pool,
    labels: Sequence[int] | np.ndarray,
    seeds: Sequence[int],
    indices: Sequence[int] | np.ndarray,
) -> Drawn:
    """Return the images ``(n, h, w, c)`` uint8 of samples with these labels, seeds and indices.

    An image depends on its own label, seed and index: in another batch sums round differently, which moves few pixels
    by a grey level or two. Where every class has its own adapter, the classes of a batch come one after another.
    Raises pipelines.OutOfMemory when a batch does not fit into the memory of the device.
    """
    labels, indices = np.asarray(labels, np.int64), np.asarray(indices, np.int64)
    images = np.empty((len(labels), loaded.pixels, loaded.pixels, loaded.channels), np.uint8)
    for rows in _at_once(loaded, labels):
        if loaded.generator.lora is not None and loaded.adapters is not None:
            scale, label = loaded.generator.lora_scale, int(labels[rows[0]])
            lora.attach(loaded.pipeline, loaded.generator.lora, loaded.adapters, scale, label)
        with pipelines.memory_explained(f"drawing {len(rows)} images of {loaded.pixels} pixels"):
            images[rows] = _batch(loaded, pool, labels[rows], [seeds[row] for row in rows], indices[rows])
    return Drawn(images)


def _at_once(loaded: Loaded, labels: np.ndarray) -> list[np.ndarray]:
    """Return the rows of a batch that go through the pipeline together."""
    if loaded.generator.lora is None or loaded.generator.lora.scope == "data set":
        return [np.arange(len(labels))] if len(labels) else []
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


@torch.inference_mode()
def _batch(loaded: Loaded, pool: Pool, labels: np.ndarray, seeds: Sequence[int], indices: np.ndarray) -> np.ndarray:
    generator, pipeline = loaded.generator, loaded.pipeline
    rows = _own_rows(loaded, pool, labels, indices)
    asked = _condition(loaded, pool, labels, rows, seeds, indices)
    plan = plan_of(loaded, pool)
    drawn = solving.randoms(seeds)
    channels, side = pipeline.unet.config.in_channels, pipeline.unet.config.sample_size
    start = _start(loaded, rows, seeds) if rows is not None and generator.prior else None
    latents = solving.begin(plan, (channels, side, side), drawn, start).to(pipeline.unet.device)
    options = {"guidance": pool.guidance, "mask": asked.mask, "added": asked.added}
    latents = solving.denoise(pipeline.unet, plan, latents, asked.states, drawn, **options)
    return pipelines.from_pixels(solving.decode(loaded.vae, latents), loaded.pixels, loaded.channels)


def plan_of(loaded: Loaded, pool: Pool) -> solving.Plan:
    """Return the solver of a pool and the steps that it makes; raises what ``solving.plan`` raises."""
    prior = loaded.generator.prior
    strength = prior.strength if prior else None
    own, device = loaded.pipeline.scheduler, loaded.pipeline.unet.device
    return solving.plan(own, pool.solver, pool.sampling_steps, strength, device)


def facts(loaded: Loaded, pool: Pool) -> dict[str, Any]:
    """Return what a record states of sampling: steps, t*, SNR, and evaluations of the UNet an image."""
    plan = plan_of(loaded, pool)
    branches = 2 if solving.is_guided(loaded.pipeline.unet, pool.guidance) else 1
    return {**plan.facts(), "unet_evaluations": len(plan.times) * branches}


def prompts_of(loaded: Loaded, pool: Pool, labels: np.ndarray, indices: np.ndarray) -> list[str]:
    """Return what the pipeline is asked for of samples with these labels and indices."""
    rows = _own_rows(loaded, pool, labels, indices)
    captions = [loaded.captions[row] for row in rows] if loaded.captions and rows is not None else None
    return prompting.texts(loaded.generator.prompts, loaded.classes, labels, indices, captions)


@dataclass(frozen=True)
class Condition:
    """What the UNet reads: ``states`` ``(n, t, w)``, negative ones first if guided, ``mask``, and XL's ``added``."""

    states: torch.Tensor
    mask: torch.Tensor | None
    added: dict[str, torch.Tensor] | None


def _condition(
    loaded: Loaded, pool: Pool, labels: np.ndarray, rows: np.ndarray | None, seeds: Sequence[int], indices: np.ndarray
) -> Condition:
    generator, pixels = loaded.generator, pipelines.pixels_of(loaded.pipeline)
    states = _once(loaded, "states", _part(loaded, labels), lambda: prompting.TextStates(loaded.pipeline))
    asked, pooled = states.both(prompts_of(loaded, pool, labels, indices))
    if generator.visual and rows is not None:
        projection = _once(loaded, "projection", _part(loaded, labels), lambda: _projection(loaded, labels))
        asked = visual.inject(asked, _tokens(loaded, rows, seeds), generator.visual, projection)
    if not solving.is_guided(loaded.pipeline.unet, pool.guidance):
        return Condition(asked, None, None if pooled is None else xl.added(pooled, pixels))
    negative, pooled_negative = states.null(generator.prompts.negative)
    both, mask = visual.with_null(asked, negative.expand(len(labels), -1, -1))
    if pooled is None:
        return Condition(both, mask, None)
    return Condition(both, mask, xl.added(torch.cat([pooled_negative.expand(len(labels), -1), pooled]), pixels))


def _part(loaded: Loaded, labels: np.ndarray) -> int:
    """Return the number of the adapter that these labels are drawn with."""
    adapter = loaded.generator.lora
    return int(labels[0]) if adapter and adapter.scope == "class" else 0


def _projection(loaded: Loaded, labels: np.ndarray) -> torch.nn.Module | None:
    if loaded.generator.lora is None or loaded.adapters is None:
        return None
    folder = lora.part_folder(loaded.adapters, loaded.generator.lora, _part(loaded, labels))
    return visual.load_projection(folder, loaded.pipeline.unet.device)


def _once(loaded: Loaded, what: str, number: int, make: Callable[[], Any]) -> Any:
    """Return what is kept under this name, made at its first use."""
    if (what, number) not in loaded.kept:
        loaded.kept[what, number] = make()
    return loaded.kept[what, number]


# ------------------------------------------------------------------------------------------- what real images give


def _own_rows(loaded: Loaded, pool: Pool, labels: np.ndarray, indices: np.ndarray) -> np.ndarray | None:
    if loaded.real is None or not begins_at_real(loaded.generator):
        return None
    return own_rows(loaded.real, pool, labels, indices)


def _tokens(loaded: Loaded, rows: np.ndarray, seeds: Sequence[int]) -> torch.Tensor:
    real, guidance = loaded.real, loaded.generator.visual
    assert real is not None
    assert guidance is not None
    assert loaded.encoder is not None
    encoder = loaded.encoder

    def of(images: np.ndarray) -> torch.Tensor:
        return visual.embedded(*encoder, images)

    if guidance.of == "class mean":
        return _means(loaded, "embedding", real.labels[rows], of, visual.BATCH)
    return _distinct(visual.sources(guidance, real.labels, rows, seeds), real.images, of, visual.BATCH)


def _start(loaded: Loaded, rows: np.ndarray, seeds: Sequence[int]) -> torch.Tensor:
    """Return the latents ``(n, c, h, w)`` of the real images that sampling begins at, not noised yet."""
    real, prior = loaded.real, loaded.generator.prior
    assert real is not None
    assert prior is not None

    def of(images: np.ndarray) -> torch.Tensor:
        pixels = pipelines.to_pixels(images, pipelines.pixels_of(loaded.pipeline))
        return solving.encode(loaded.pipeline.vae, pixels)

    if prior.of == "class mean":
        return _means(loaded, "latent", real.labels[rows], of, ENCODED).cpu()
    wanted = others(real.labels, rows, seeds, "latent") if prior.of == "same class" else rows
    return _distinct(wanted, real.images, of, ENCODED).cpu()


def _distinct(
    wanted: np.ndarray, images: np.ndarray, of: Callable[[np.ndarray], torch.Tensor], batch: int
) -> torch.Tensor:
    """Return what is computed of the wanted images; of one that is wanted several times, once."""
    rows, places = np.unique(wanted, return_inverse=True)
    found = torch.cat([of(images[rows[first : first + batch]]) for first in range(0, len(rows), batch)])
    return found[torch.from_numpy(places).to(found.device)]


def _means(
    loaded: Loaded, what: str, labels: np.ndarray, of: Callable[[np.ndarray], torch.Tensor], batch: int
) -> torch.Tensor:
    """Return the mean over all real images of each sample's class, of that class alone."""
    real = loaded.real
    assert real is not None

    def mean(label: int) -> torch.Tensor:
        images = real.images[real.labels == label]
        return torch.cat([of(images[first : first + batch]) for first in range(0, len(images), batch)]).mean(dim=0)

    return torch.stack([_once(loaded, what, c, lambda c=c: mean(c)) for c in labels.tolist()])

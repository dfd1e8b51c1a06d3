"""Generators: what makes synthetic images. One door for all kinds: fit, load, sample.

How each kind works is in its own module (``closed_set``, ``controls``). Which image has which label and seed is in
``samples``; the shards are made in ``synthesis``. torch and diffusers are imported on the first fit or load, not here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from realfake.objects import Objects
from realfake.samples import Samples
from realfake.spec import (
    BestOf,
    Captions,
    ClosedSet,
    Gan,
    Generator,
    Lora,
    OpenSet,
    Pool,
    Pretrained,
    Procedural,
    Relabel,
    Repeat,
    Translation,
)
from realfake.store import Store

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Drawn:
    """Images ``(n, h, w, c)`` uint8 as a generator made them, and for detection their objects and masks (n, h, w)."""

    images: np.ndarray
    objects: Objects | None = None
    masks: np.ndarray | None = None


class Diverged(RuntimeError):
    """The loss of a fit is no longer finite. ``step``: how many steps had been made when that was seen."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the loss is not finite after {step} steps; give a lower learning_rate, or fewer steps")
        self.step = step

    def __reduce__(self) -> Any:
        return Diverged, (self.step,)


def device(name: str = "auto", threads: int = 1) -> torch.device:
    """Return the device called "auto", "cpu" or "cuda", and give torch that many threads in this process."""
    import torch

    torch.set_num_threads(threads)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Return what a record calls a device: the GPU's name, or the processor's architecture."""
    import platform

    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


def fit(
    spec: ClosedSet | Gan | Pretrained | Lora | Captions,
    samples: Samples,
    folder: Path,
    report: Callable[[dict[str, Any]], None],
    **options: Any,
) -> dict[str, Any]:
    """Fit what a generator needs on its real samples, write it into ``folder``, and return facts for its record.

    Options are those of the kind's own ``fit``. Raises Diverged, and TypeError for a kind that is not fitted.
    """
    match spec:
        case ClosedSet():
            from realfake.generators import closed_set as kind
        case Gan():
            from realfake.generators import gan as kind
        case Pretrained():
            from realfake.generators import pretraining as kind
        case Lora():
            from realfake.generators import lora as kind
        case Captions():
            from realfake.generators import captioning as kind
        case _:
            raise TypeError(
                f"a {type(spec).__name__} is not fitted: its images come from what it holds; load it instead"
            )
    return kind.fit(spec, samples, folder, report, **options)  # type: ignore[arg-type]


def load_generator(
    generator: Generator,
    store: Store,
    device: torch.device | str = "cpu",
    weights: Mapping[str, Path] | None = None,
    **faster: bool,
) -> Any:
    """Return a generator ready for ``sample``; raises FileNotFoundError or StoreError if what it needs is not made.

    ``weights`` says where pretrained weights lie, by name; ``faster`` is ``channels_last`` and ``compiled``, for the
    networks of open-set generators: no number of a spec, they round otherwise.
    """
    from realfake.generators import controls

    match generator:
        case ClosedSet():
            from realfake.generators import closed_set

            return closed_set.load(generator, store.folder(generator), device)
        case Gan():
            from realfake.generators import gan

            return gan.load(generator, store.folder(generator), device)
        case Repeat():
            return controls.load_repeat(generator, store)
        case Relabel():
            inner = load_generator(generator.generator, store, device, weights, **faster)
            return controls.load_relabel(generator, store, inner)
        case Procedural():
            return None  # a renderer needs nothing but its spec
        case Translation():
            from realfake.generators import translation

            return translation.load(generator, store, device)
        case OpenSet():
            from realfake.generators import open_set

            return open_set.load(generator, store, device, weights or {}, **faster)
        case BestOf():
            from realfake.generators import best_of

            inner = load_generator(generator.generator, store, device, weights, **faster)
            return best_of.load(generator, store, device, weights or {}, inner)


def sample(
    loaded: Any, pool: Pool, labels: Sequence[int] | np.ndarray, seeds: Sequence[int], indices: Sequence[int]
) -> np.ndarray:
    """Return the images ``(n, h, w, c)`` uint8 of a pool's samples with these labels, seeds and indices.

    ``loaded`` is what ``load_generator(pool.generator, …)`` returned. Any split into batches gives the same images.
    """
    return draw(loaded, pool, labels, seeds, indices).images


def draw(
    loaded: Any, pool: Pool, labels: Sequence[int] | np.ndarray, seeds: Sequence[int], indices: Sequence[int]
) -> Drawn:
    """Return what ``sample`` does with the objects and masks of the images, where the generator knows them."""
    return _draw(pool.generator, loaded, pool, np.asarray(labels), seeds, indices)


def facts(loaded: Any, pool: Pool, store: Store) -> dict[str, Any]:
    """Return what is recorded of drawing from a pool: where sampling begins, what one image costs, who chose it.

    ``unet_evaluations`` are those of one image of the pool, with all its candidates. Empty for kinds with nothing to
    tell. ``loaded`` is as for ``sample``.
    """
    return _facts(pool.generator, loaded, pool, store)


def _facts(generator: Generator, loaded: Any, pool: Pool, store: Store) -> dict[str, Any]:
    match generator:
        case OpenSet():
            from realfake.generators import open_set

            return open_set.facts(loaded, pool)
        case Relabel():
            return _facts(generator.generator, loaded.inner, pool, store)
        case BestOf():
            from realfake.generators import best_of

            each = _facts(generator.generator, loaded.inner, pool, store)
            cost = {"unet_evaluations": generator.k * each["unet_evaluations"]} if "unet_evaluations" in each else {}
            return {**each, **cost, **best_of.facts(generator, store)}
    return {}


def _draw(
    generator: Generator, loaded: Any, pool: Pool, labels: np.ndarray, seeds: Sequence[int], indices: Sequence[int]
) -> Drawn:
    from realfake.generators import controls

    match generator:
        case ClosedSet():
            from realfake.generators import closed_set

            settings = {"guidance": pool.guidance, "sampling_steps": pool.sampling_steps}
            return Drawn(closed_set.sample(loaded, labels, seeds, **settings))
        case Gan():
            from realfake.generators import gan

            return Drawn(gan.sample(loaded, labels, seeds))
        case Repeat():
            rows = controls.repeat(loaded, pool, labels, indices)
            return Drawn(loaded.images[rows], loaded.objects and loaded.objects.take(rows))
        case Relabel():
            others = controls.permuted_labels(loaded, generator, pool, seeds)
            return _draw(generator.generator, loaded.inner, pool, others, seeds, indices)
        case Procedural():
            from realfake.generators import rendered

            return rendered.draw(generator, pool.seed, indices)
        case Translation():
            from realfake.generators import translation

            return translation.draw(loaded, seeds, indices)
        case OpenSet():
            from realfake.generators import open_set

            return open_set.draw(loaded, pool, labels, seeds, indices)
        case BestOf():
            from realfake.generators import best_of

            def candidates(labels: np.ndarray, seeds: Sequence[int], indices: Sequence[int]) -> np.ndarray:
                return _draw(generator.generator, loaded.inner, pool, labels, seeds, indices).images

            return best_of.draw(loaded, pool, labels, seeds, indices, candidates)

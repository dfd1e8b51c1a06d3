"""Virtual people made to look real: one door for all translators, as for generators: fit, load, transform.

    facts = fit("colour", Settings(), source, target, folder, seed=1)
    crops = transform(load("colour", folder), crops, masks, seeds)

``source`` and ``target`` are virtual and real ``People``. Each result depends on its crop, mask, seed and the fitted
translator alone, so any split into batches gives the same bytes. How people are cut out and put back is in ``crops``,
which of them are taken is in ``selection``, how each translator works is in its own module; torch and diffusers are
imported only for those that need them. No part of this reads a spec or a store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from realfake.syn2real.crops import People
from realfake.syn2real.settings import Settings, read_settings, write_settings
from realfake.values import SpecError, nearest

TRANSLATORS = ("identity", "colour", "fourier", "sdedit", "cyclegan", "sd-img2img")
STRENGTH = ("sdedit", "sd-img2img")  # those that execute a share of their sampling steps
NETWORKS = ("sdedit", "cyclegan")  # those whose weights are fitted here, and can start from earlier ones


@dataclass(frozen=True)
class Loaded:
    """A fitted translator, ready for ``transform``, and the side of the crops that it is for."""

    name: str
    pixels: int
    fitted: Any


def fit(
    name: str,
    settings: Settings,
    source: People,
    target: People,
    folder: Path,
    report: Callable[[dict[str, Any]], None] = lambda progress: None,
    *,
    seed: int = 0,
    warm_start: Path | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Fit a translator, write it into ``folder``, and return facts for its record.

    Facts are ``n_source``, ``n_target``, ``crop_pixels``, ``warm_start``, ``executed_steps`` where there are any, and
    those of the translator's own ``fit``. ``warm_start`` is the folder of an earlier fit of the same kind and size;
    translators without weights of their own have nothing to start from and leave it aside.

    Raises SpecError for an unknown name or what does not fit together, ValueError when there is nobody to fit on, and
    ``losses.TranslatorDiverged`` (a ``generators.Diverged``) when a loss is no longer finite.
    """
    translator = _module(name)
    if not len(source) or not len(target):
        raise ValueError(
            f"{len(source)} virtual and {len(target)} real people: a translator needs both; give images that show some"
        )
    if source.pixels != target.pixels:
        raise ValueError(f"virtual crops have {source.pixels} pixels and real ones {target.pixels}; cut both alike")
    warm_start = _checked_warm_start(name, warm_start, source.pixels)
    folder.mkdir(parents=True, exist_ok=True)
    facts = translator.fit(
        settings, source, target, folder, report=report, seed=seed, warm_start=warm_start, device=device
    )
    write_settings(folder, settings, source.pixels)
    executed = {"executed_steps": settings.executed_steps, "strength": settings.strength} if name in STRENGTH else {}
    counts = {"n_source": len(source), "n_target": len(target), "crop_pixels": source.pixels}
    return {**counts, "warm_start": warm_start is not None, **executed, **facts}


def load(name: str, folder: Path, device: str = "cpu") -> Loaded:
    """Return a fitted translator; raises FileNotFoundError when its folder does not hold one."""
    translator = _module(name)
    settings, pixels = read_settings(folder)
    return Loaded(name, pixels, translator.load(folder, settings, device))


def transform(loaded: Loaded, crops: np.ndarray, masks: np.ndarray, seeds: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the translated crops ``(k, s, s, 3)`` uint8 of crops like that, masks ``(k, s, s)`` bool and k seeds.

    Raises ValueError for crops of another size than the translator was fitted for, or another number of seeds.
    """
    people = People(np.ascontiguousarray(crops), np.ascontiguousarray(masks))
    seeds = [int(seed) for seed in seeds]
    if len(seeds) != len(people):
        raise ValueError(f"{len(people)} crops and {len(seeds)} seeds; give each crop its own seed")
    if people.pixels != loaded.pixels:
        raise ValueError(f"this translator was fitted for crops of {loaded.pixels} pixels, not {people.pixels}")
    return _module(loaded.name).transform(loaded.fitted, people, seeds) if seeds else crops.copy()


def _module(name: str) -> Any:
    if name not in TRANSLATORS:
        raise SpecError(f"translator {name!r} is unknown; {nearest(name, TRANSLATORS)}")
    return import_module(f"realfake.syn2real.{name.replace('-', '_')}")


def _checked_warm_start(name: str, warm_start: Path | None, pixels: int) -> Path | None:
    if warm_start is None or name not in NETWORKS:
        return None
    earlier = read_settings(warm_start)[1]
    if earlier != pixels:
        raise ValueError(f"{warm_start} was fitted for crops of {earlier} pixels, not {pixels}; start {name} afresh")
    return warm_start

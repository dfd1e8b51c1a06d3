"""One round of progressive transformation learning as a generator: which virtual images, and how they are made real.

Fitted are an order of the virtual images, nearest to the critic's training distribution first, and a translator of
people. The draw itself is in ``syn2real.selection``, the translators in ``syn2real``, distances in ``tasks.nearness``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from realfake import generators, syn2real
from realfake.generators import Drawn
from realfake.samples import Samples, image_seeds, load_distances, pool_labels, seed_of
from realfake.samples import load as load_samples
from realfake.spec import Pool, Translation, address
from realfake.store import Store
from realfake.syn2real import crops, selection
from realfake.syn2real.settings import Settings
from realfake.values import SpecError

SELECTION = "selection.parquet"  # id, distance and key of the virtual images, in the order in which they are taken


@dataclass(frozen=True)
class Loaded:
    """The ids ``(n,)`` of the virtual images in order, what draws them, and the translator of their people."""

    ids: np.ndarray
    virtual: Pool
    inner: Any
    translator: syn2real.Loaded
    seed: int


def fit(
    spec: Translation,
    store: Store,
    folder: Path,
    report: Callable[[dict[str, Any]], None],
    *,
    device: str = "cpu",
    weights: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Order the virtual images and fit the translator; write both into ``folder`` and return facts for the record.

    Facts: ``available`` virtual images, quantiles of their distances, the median distance and height of the people
    of the candidates, and those of the translator. Raises SpecError when nothing is left to take or nobody is seen,
    ``Diverged`` when the translator's loss does, and what ``samples.load`` raises.
    """
    order = _order(spec, store)
    pq.write_table(order, folder / SELECTION)
    ids = order["id"].to_numpy()[: spec.candidates]
    source = drawn(spec.virtual.of, generators.load_generator(_pool(spec).generator, store, device), ids)
    if source.masks is None or source.objects is None:
        raise SpecError(
            "Translation.virtual: these images have no masks of their people, and only people are to change; "
            "use a Procedural generator"
        )
    fitted = syn2real.fit(
        spec.translator,
        _settings(spec, weights or {}),
        _people(source),
        _target(spec, store),
        folder / "translator",
        report,
        seed=spec.seed,
        warm_start=_warm_start(spec, store),
        device=device,
    )
    return {**_facts(order, source, spec), **{f"translator_{key}": value for key, value in fitted.items()}}


def load(spec: Translation, store: Store, device: Any) -> Loaded:
    """Return a fitted translation ready for ``draw``."""
    folder = store.folder(spec)
    return Loaded(
        pq.read_table(folder / SELECTION)["id"].to_numpy(),
        _pool(spec),
        generators.load_generator(_pool(spec).generator, store, device),
        syn2real.load(spec.translator, folder / "translator", str(device)),
        spec.seed,
    )


def draw(loaded: Loaded, seeds: Sequence[int], indices: Sequence[int]) -> Drawn:
    """Return the virtual images at these places of the order with their people translated, boxes unchanged.

    Beyond the last one they come again, translated under other seeds.
    """
    ids = loaded.ids[np.asarray(indices, np.int64) % len(loaded.ids)]
    virtual = drawn(loaded.virtual, loaded.inner, ids)
    assert virtual.objects is not None
    assert virtual.masks is not None
    objects = virtual.objects
    people = _people(virtual, loaded.translator.pixels)
    own = [
        seed_of("person", seeds[row], place) for row, place in zip(objects.image, _places(objects.start), strict=True)
    ]
    changed = syn2real.transform(loaded.translator, people.crops, people.masks, own)
    images = crops.paste_people(virtual.images, objects.start, objects.box, virtual.masks, changed)
    return Drawn(images, objects, virtual.masks)


def drawn(pool: Any, loaded: Any, ids: np.ndarray) -> Drawn:
    """Return the images of a pool with these ids, made from its generator: no shard of it need be there."""
    seeds = [image_seeds(pool, int(i), 1)[0] for i in ids]
    labels = [int(pool_labels(pool, int(i), 1, np.ones(1, np.int64))[0]) for i in ids]
    return generators.draw(loaded, pool, labels, seeds, ids.tolist())


def taken(spec: Translation, store: Store) -> np.ndarray:
    """Return the ids of the virtual images that the critic was trained on already, translated or as they are."""
    plain = [
        np.arange(part.size) for part in (spec.critic.synthetic if spec.critic else ()) if part.of == spec.virtual.of
    ]
    ids = [pq.read_table(store.file(r, SELECTION))["id"].to_numpy()[:size] for r, size in _rounds(spec)]
    return np.unique(np.concatenate([*plain, *ids, np.empty(0, np.int64)]).astype(np.int64))


def _order(spec: Translation, store: Store) -> pa.Table:
    """Return id, distance and key of the virtual images that are left, the one to be taken first at the top."""
    before = taken(spec, store)
    ids, distance = np.arange(spec.virtual.size), np.zeros(spec.virtual.size)
    if spec.distances is not None:
        ids, distance = load_distances(store, spec.distances)
    seen = np.isfinite(distance)  # images without a person have none
    ids, distance = ids[seen], distance[seen]
    temperature = spec.temperature if spec.distances is not None else math.inf
    keys = selection.keys(ids, distance, temperature, seed_of("selection", spec.seed, len(_rounds(spec))))
    order = selection.order(ids, keys, without=before.tolist())
    if not len(order):
        raise SpecError(
            f"Translation: none of the {spec.virtual.size} virtual images is left ({len(before)} are taken already); "
            "give a larger virtual subset"
        )
    rows = np.searchsorted(ids, order)
    return pa.table({"id": order, "distance": distance[rows], "key": keys[rows]})


def _rounds(spec: Translation) -> list[tuple[Translation, int]]:
    """Return the rounds over the same virtual images that the critic was trained on, each with its volume."""
    found = []
    for part in spec.critic.synthetic if spec.critic else ():
        before = part.of.generator if isinstance(part.of, Pool) else None
        if isinstance(before, Translation) and before.virtual.of == spec.virtual.of:
            found.append((before, part.size))
    return found


def _pool(spec: Translation) -> Pool:
    assert isinstance(spec.virtual.of, Pool)
    return spec.virtual.of


def _target(spec: Translation, store: Store) -> crops.People:
    """Return the people that are to be resembled: of all that the critic was trained on, else of the real images."""
    found = []
    for part in spec.critic.parts if spec.critic else (spec.real,):
        samples: Samples = load_samples(store, part)
        if samples.objects is None:
            raise SpecError(f"{address(part.of)} has no boxes, so no people can be cut out; give a detection data set")
        found.append(_people(Drawn(samples.images, samples.objects, samples.masks)))
    return crops.People(np.concatenate([p.crops for p in found]), np.concatenate([p.masks for p in found]))


def _people(images: Drawn, pixels: int = crops.PIXELS) -> crops.People:
    """Return the people of images; regions and crowds, in which nobody is told apart, are none."""
    objects = images.objects
    assert objects is not None
    found = crops.people(images.images, objects.start, objects.box, images.masks, pixels=pixels)
    own = ~objects.crowd & (objects.label >= 0)
    return crops.People(found.crops[own], found.masks[own])


def _places(start: np.ndarray) -> np.ndarray:
    """Return the place of every object within its image."""
    return np.arange(start[-1]) - np.repeat(start[:-1], np.diff(start))


def _settings(spec: Translation, weights: Mapping[str, Path]) -> Settings:
    options = {"strength": spec.strength, "steps": spec.steps}
    if spec.weights is not None:
        options["weights"] = str(weights.get(spec.weights.name, spec.weights.name))
    return Settings(**options)


def _warm_start(spec: Translation, store: Store) -> Path | None:
    """Return the folder of the translator of the round before, if it is to be started from."""
    same = [before for before, _ in _rounds(spec) if before.translator == spec.translator]
    return store.folder(same[-1]) / "translator" if spec.warm_start and same else None


def _facts(order: pa.Table, source: Drawn, spec: Translation) -> dict[str, Any]:
    assert source.objects is not None
    distance = order["distance"].to_numpy()
    quantiles = np.quantile(distance, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist() if spec.distances else None
    return {
        "available": order.num_rows,
        "pool_distance_quantiles": json.dumps(quantiles) if quantiles else None,
        "candidate_distance_median": float(np.median(distance[: spec.candidates])) if quantiles else None,
        "candidate_height_median": float(np.median(source.objects.box[:, 3])) if len(source.objects.box) else None,
    }

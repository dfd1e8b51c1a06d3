"""The pools of a study beside the real images of their generators, and the measures beside what the pools were worth.

What is measured is in ``comparison``, what a pool is worth in ``statistics``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from realfake.fidelity.comparison import compare_images, compared
from realfake.fidelity.feature_spaces import Space, space_name
from realfake.samples import Samples, load, load_dataset, shard_name, shards_of
from realfake.spec import Dataset, Fidelity, Pool, Study, Subset, Trial, address, real_budget, real_of
from realfake.statistics.ranks import spearman
from realfake.store import Store

if TYPE_CHECKING:
    import pandas as pd

IMAGES = 2048  # of a pool, and held-out ones, unless asked otherwise
COUNTS = ("n_real", "n_synthetic", "n_held_out")


def compare_pools(
    study: Study,
    store: Store,
    *,
    images: int = IMAGES,
    space: Space = "pixels",
    classifier: Trial | None = None,
    weights: Mapping[str, Path] | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> pd.DataFrame:
    """Return ``compare_images`` of every made pool of a study against the real images of its generator.

    At most ``images`` of a pool, and no more than there are real images outside its generator's, so that what is held
    out is as many; columns pool (address), generator (kind) and n_generator say which. Raises ValueError when there is
    none to compare.
    """
    import pandas as pd

    tables = []
    for pool, subset, size in _made_pools(study, store):
        fresh = held_out(store, subset, min(size, images))
        made = Subset(of=pool, size=min(size, images, len(fresh) or images))
        options: dict[str, Any] = {"space": space, "classifier": classifier, "weights": weights, "device": device}
        table = compare_images(subset, made, held_out=fresh if len(fresh) else None, store=store, seed=seed, **options)
        names = {"pool": address(pool), "generator": pool.generator.kind, "n_generator": subset.size}
        tables.append(table.assign(**names))
    if not tables:
        raise ValueError(f"study {study.name!r} has no made pool of a generator that saw real images; run it first")
    return pd.concat(tables, ignore_index=True)


def rank_correlations(table: pd.DataFrame, worth: Mapping[str, float]) -> pd.DataFrame:
    """Return Spearman's rank correlation of every measure with what the pools were worth, by measure and space.

    ``table`` is of ``compare_pools``; ``worth`` is a number for each pool, by address: an equivalent, or an error.
    Columns: measure, space, correlation, low, high, pools. The 95 % interval is that of Bonett and Wright 2000
    (Psychometrika 65:23) for independent pools: pools of one generator, or of nested real subsets, are fewer than they
    seem. Raises ValueError when fewer than 5 pools have a worth.
    """
    import pandas as pd

    known: Any = table[table["pool"].isin(list(worth)) & table["value"].notna()]
    if (pools := known["pool"].nunique()) < 5:
        raise ValueError(f"{pools} pools have a worth, too few to rank; give 5 or more")
    rows = []
    for (measure, space), part in known.groupby(["measure", "space"], sort=False):
        found = spearman(part["value"].to_numpy(float), part["pool"].map(worth).to_numpy(float))
        rows.append((measure, space, found.point, found.low, found.high, len(part)))
    return pd.DataFrame(rows, columns=["measure", "space", "correlation", "low", "high", "pools"])


def _made_pools(study: Study, store: Store) -> Iterator[tuple[Pool, Subset, int]]:
    """Yield every pool whose images are all there, the real subset of its generator, and how many images."""
    largest: dict[Pool, int] = {}
    for part in (part for trial in study.trials for part in trial.synthetic):
        if isinstance(part.of, Pool):
            largest[part.of] = max(largest.get(part.of, 0), part.size)
    for pool, size in largest.items():
        real = real_of(pool.generator)
        if real is not None and store.files(pool) >= {shard_name(first) for first in shards_of(size)}:
            yield pool, real, size


def measured(
    spec: Fidelity, store: Store, *, weights: Mapping[str, Path] | None = None, device: str = "cpu"
) -> dict[str, Any]:
    """Return what the record of a ``Fidelity`` keeps: ``space``, counts, and ``measures``, a row of ``compare_images``
    each, without what it has no number of; ``classes``, a row for every class and measure of single classes. Raises
    what ``compare_images`` raises."""
    fresh = held_out(store, spec.real, spec.of.size, seen=real_budget(spec.of))
    options = {"space": spec.space, "classifier": spec.classifier, "weights": weights, "device": device}
    held = fresh if len(fresh) else None
    found = compared(spec.real, spec.of, held_out=held, store=store, seed=spec.seed, **options)
    table = found.table
    counts = {name: int(table[name].iloc[0]) for name in COUNTS}
    rows, of_classes = _told(table.drop(columns=list(COUNTS)).to_dict("records")), _told(found.by_class)
    return {"space": space_name(spec.space), **counts, "measures": rows, "classes": of_classes}


def _told(rows: Iterable[Mapping[Any, Any]]) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items() if v not in ("", None) and v == v} for row in rows]


def held_out(store: Store, real: Subset, count: int, seen: Iterable[Subset] = ()) -> Samples:
    """Return at most ``count`` images of the dataset of a subset, evenly spread, that are not in it, nor ``seen``."""
    assert isinstance(real.of, Dataset)
    whole = load_dataset(store, real.of)
    inside = [load(store, part).ids for part in (real, *seen) if part.of == real.of]
    outside = np.flatnonzero(~np.isin(whole.ids, np.concatenate(inside)))
    return whole.take(outside[np.linspace(0, len(outside) - 1, min(count, len(outside))).astype(int)])

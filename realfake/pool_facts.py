"""How the images of a pool were drawn: steps made, t*, signal-to-noise ratio, evaluations of the UNet, who chose them.

Each shard's footer keeps it, outside the digest; from there it comes into the records of trials, their tables and the
report. Not here: who computes it (``generators.facts``). A shard from before it was kept says nothing, as does one of
a generator that has nothing to tell.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from realfake.shards import SHARD_ROWS, shard_made
from realfake.store import Store

DRAWN = "drawn"  # the key in a footer
NUMBERS = ("executed_steps", "t_start", "snr", "unet_evaluations", "candidates_per_kept", "critic_real_budget")
WORDS = ("chosen_by", "critic")
COLUMNS = (*NUMBERS, *WORDS)


def of_pool(store: Store, name: str) -> dict[str, Any]:
    """Return what the footers of a pool's shards say of how they were drawn, {} where none says anything.

    ``name`` is the pool's address. It follows from the pool's spec, so the first shard that speaks, be it of nothing to
    tell, speaks for all; only those from before it was kept are silent.
    """
    told = (made.get(DRAWN) for made in shards_made(store, name))
    return next((facts for facts in told if facts is not None), {})


def shards_made(store: Store, name: str) -> Iterator[dict[str, Any]]:
    """Yield what the footer of every shard of a pool says of how it was made; of an object store, of those that this
    machine has looked at, or of the first."""
    files = sorted(file for file in store.files(name) if file.endswith(".parquet"))
    here = [file for file in files if (store.root / name / file).is_file()]
    for file in here or files[:1]:
        yield shard_made(store.file(name, file))


def in_columns(pools: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the pools of one trial say alike, as columns of its row; what they differ in stays in the record."""
    told = [pool for pool in pools if any(name in pool for name in COLUMNS)]
    found: dict[str, Any] = {}
    for name in COLUMNS:
        values = {pool[name] for pool in told if pool.get(name) is not None}
        if len(values) == 1:
            (value,) = values
            found[name] = float(value) if name in NUMBERS else value
    return found


def shown(store: Store, prefix: str) -> dict[str, Any]:
    """Return what is known of the one made thing whose address begins so: its record, or of a pool its spec, how many
    images there are and how they were drawn. Raises StoreError if none or several do."""
    found = store.show(prefix)
    if "result" in found:
        return found
    shards = list(shards_made(store, found["address"]))
    made = {
        "shards": len(shards),
        "rows": SHARD_ROWS * len(shards),
        "seconds": sum(s.get("seconds", 0) for s in shards),
    }
    return {**found, **made, DRAWN: of_pool(store, found["address"])}

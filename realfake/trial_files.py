"""The table of a study's trials as files beside the study, so that a reader can fit it again without the store.

``NAME.csv`` has a row a trial; ``NAME.images.parquet`` what every test image said of every trial, in half precision,
where that is less than a megabyte and there is a ladder to read off: without it intervals hold for these test images
alone, and are shorter by what others would change. Here: writing and reading both. Not here: the table itself
(``records``), fits.
"""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from realfake import records
from realfake.naming import pools_of
from realfake.pool_facts import shards_made
from realfake.shards import SHARD_ROWS
from realfake.spec import Dataset, Pool, Pretrained, Study, Trial, address, order, root_generator
from realfake.store import Store, write_whole
from realfake.studyfile import StudyFile

LARGEST = 1_000_000  # bytes of a file that is kept beside a study
DIGITS = "%.10g"
Images = Mapping[str, Mapping[str, np.ndarray]]


def costed(rows: Iterable[Mapping[str, Any]], study: Study, store: Store) -> list[dict[str, Any]]:
    """Return the rows with what the parts of each trial took: generator_seconds, and pool_seconds for its volume.

    Both stand only where the trial has synthetic images, the second where the store has their files.
    """
    of = {address(trial): trial for trial in study.trials} | {address(e): e.of for e in study.evaluations}
    known: dict[Pool, dict[str, float]] = {}
    return [{**row, **_parts(of.get(row["address"].split(":")[0]), store, known)} for row in rows]


def _parts(trial: Trial | None, store: Store, known: dict[Pool, dict[str, float]]) -> dict[str, float]:
    """The seconds of a trial's generators and of the image files that it drew on."""
    found: dict[str, float] = {}
    for pool in pools_of(trial) if trial else ():
        if pool not in known:
            fitted = [spec for spec in order([root_generator(pool.generator)]) if _is_fit(spec)]
            seconds = [record["seconds"] for spec in fitted if (record := store.record(spec))]
            shards = [made["seconds"] for made in shards_made(store, address(pool)) if "seconds" in made]
            known[pool] = {"generator_seconds": sum(seconds)} | ({"a_shard": float(np.mean(shards))} if shards else {})
        volume = max(part.size for part in trial.synthetic if part.of == pool) if trial else 0
        took = {"generator_seconds": known[pool]["generator_seconds"]}
        if "a_shard" in known[pool]:
            took["pool_seconds"] = known[pool]["a_shard"] * -(-volume // SHARD_ROWS)
        found = {name: found.get(name, 0.0) + value for name, value in took.items()}
    return found


def _is_fit(spec: Any) -> bool:
    """Whether a spec is fitted for a generator: not data, nor the trial that is its critic, nor what all share."""
    return spec.made == "record" and not isinstance(spec, Dataset | Trial | Pretrained)


def images_beside(path: Path) -> Path:
    """Return where the results of single test images stand beside a table."""
    return path.with_suffix(".images.parquet")


def write(file: StudyFile, store: Store, path: Path) -> list[Path]:
    """Write the table of what is made of a study, and the results of single test images beside it if they are small.

    Return what was written; a file of images from before is removed where it would not fit the table any more.
    """
    import pandas as pd

    rows = records.of_study(file.study, store)
    table = pd.DataFrame(costed(rows, file.study, store)).dropna(axis="columns", how="all")
    write_whole(path, table.to_csv(index=False, float_format=DIGITS))
    ladder = {row["n_real"] for row in rows if row["arm"] == records.REAL_ONLY}
    images = _packed(records.per_image(rows, store)) if len(ladder) > 1 else None
    beside = images_beside(path)
    if images is None or len(images) > LARGEST:
        beside.unlink(missing_ok=True)
        return [path]
    write_whole(beside, images)
    return [path, beside]


def _packed(images: Images) -> bytes | None:
    """The results of single images as a Parquet file, a row a trial; None where there are none."""
    if not images:
        return None
    names, held = list(images), io.BytesIO()
    losses = pa.array([images[name]["cross_entropy"].astype(np.float16) for name in names])
    wrong = pa.array([images[name]["error"].astype(bool) for name in names])
    table = pa.table({"address": names, "cross_entropy": losses, "error": wrong})
    pq.write_table(table, held, compression="zstd", compression_level=19)
    return held.getvalue()


def read_images(path: Path) -> dict[str, dict[str, np.ndarray]] | None:
    """Return, by address, the cross-entropy and the 0/1 error of every test image ``(n_test,)``; None without them."""
    beside = images_beside(path)
    if not beside.is_file():
        return None
    table = pq.read_table(beside).to_pydict()
    pairs = zip(table["cross_entropy"], table["error"], strict=True)
    numbers = ({"cross_entropy": np.array(loss, float), "error": np.array(wrong, float)} for loss, wrong in pairs)
    return dict(zip(table["address"], numbers, strict=True))

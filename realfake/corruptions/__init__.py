"""Standard corruptions of a test set: fourteen kinds at five severities, after Hendrycks & Dietterich (ICLR 2019).

Here: a set of images corrupted, each by its own random numbers. What a corruption does is in ``values`` and ``places``,
how strong it is in ``severities``, the summary over all of them in ``statistics.robustness``.

Left out: glass blur, snow, frost, fog and spatter, which need photographs of frost or are not defined at 8 pixels; so
a mean over these corruptions is not the paper's mCE. Own code, and not a library: imagecorruptions 1.1.2 refuses images
below 32 pixels and imagenet-c 0.0.2 all but 224, both know the strengths of ImageNet-C alone, draw from numpy's global
random state, and fail with today's scikit-image; general libraries of augmentations have no severities.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from realfake.corruptions import places, values
from realfake.corruptions.severities import strength, table_side
from realfake.samples import load_dataset, seed_of, to_table, write_table
from realfake.sources import DatasetError
from realfake.spec import Dataset
from realfake.store import Store

KINDS: dict[str, Callable[..., np.ndarray]] = {
    "gaussian-noise": values.gaussian_noise,
    "shot-noise": values.shot_noise,
    "impulse-noise": values.impulse_noise,
    "speckle-noise": values.speckle_noise,
    "gaussian-blur": places.gaussian_blur,
    "defocus-blur": places.defocus_blur,
    "motion-blur": places.motion_blur,
    "zoom-blur": places.zoom_blur,
    "brightness": values.brightness,
    "contrast": values.contrast,
    "saturate": values.saturate,
    "elastic": places.elastic,
    "pixelate": places.pixelate,
    "jpeg": places.jpeg,
}
FILE_ROWS = 10_000


def corrupt(images: np.ndarray, ids: np.ndarray, corruption: str) -> np.ndarray:
    """Return images ``(n, h, w, c)`` uint8 corrupted, "gaussian-noise-3" say; ``ids (n,)`` seed their randomness.

    One image's random numbers depend on the kind and on its id alone: all severities share them, so that they differ
    in strength and in nothing else. Values are rounded (the published sets are cut off, half a level darker). Raises
    DatasetError for the saturation of grey images.
    """
    kind, _, severity = corruption.rpartition("-")
    if kind == "saturate" and images.shape[-1] == 1:
        raise DatasetError(f"corruption={corruption!r}: grey images have no saturation; leave that corruption out")
    strong = strength(kind, int(severity), min(images.shape[1:3]))
    made = [_one(image, id, kind, strong) for image, id in zip(images, ids, strict=True)]
    return np.stack(made) if made else images.copy()


def _one(image: np.ndarray, id: int, kind: str, strong: tuple[float, ...]) -> np.ndarray:
    random = np.random.default_rng(seed_of("corruption", kind, id))
    return np.round(np.clip(KINDS[kind](image / 255, random, *strong), 0, 1) * 255).astype(np.uint8)


def write(dataset: Dataset, store: Store, folder: Path, clean: dict[str, Any]) -> dict[str, Any]:
    """Corrupt the images of an imported data set into files of ``folder``; return the facts of the new record.

    ``clean`` are the facts of the record without corruption; labels, ids, boxes, masks and captions stay. Raises
    DatasetError where boxes would no longer be where things are.
    """
    whole = load_dataset(store, dataset.clean)
    kind = dataset.corruption.rpartition("-")[0]
    if whole.objects is not None and kind == "elastic":
        raise DatasetError(
            f"corruption={dataset.corruption!r} moves what is in the images of {dataset.name!r} away from its boxes; "
            "take another corruption"
        )
    for part, first in enumerate(range(0, len(whole), FILE_ROWS)):
        own = whole.take(slice(first, first + FILE_ROWS))
        images = corrupt(own.images, own.ids, dataset.corruption)
        table = to_table(images, own.labels, own.ids, own.objects, own.masks, own.groups, own.captions)
        write_table(table, folder / f"part-{part:05d}.parquet")
    known = table_side(min(whole.images.shape[1:3]))
    return {**clean, "source": f"{clean.get('source', dataset.name)}; {dataset.corruption}, strength as at {known} px"}

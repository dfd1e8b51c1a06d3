"""Feature spaces by name: pixels, a network of timm, or what a trained trial sees.

A distance has no meaning without its space, so every number is printed with ``space_name``. The networks themselves are
in ``tasks.feature_networks``.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from realfake.fidelity.copying import pixels
from realfake.spec import Trial, address
from realfake.store import Store

PIXELS = "pixels"
Space = str | Trial


def features(
    images: np.ndarray,
    space: Space = PIXELS,
    *,
    store: Store | None = None,
    weights: Mapping[str, Path] | None = None,
    device: str = "cpu",
) -> np.ndarray:
    """Return images ``(n, h, w, c)`` uint8 as features ``(n, d)`` float32.

    ``space`` is "pixels" (values in [0, 1]), a timm name with its weights ("inception_v3.tv_in1k",
    "vit_base_patch32_clip_224.openai", "vit_small_patch14_dinov2.lvd142m"), or a made Trial of ``store``: what its
    network sees before the last layer. ``weights`` says where weights files lie, by name, as [data] of a where-file
    does. Published FIDs are of other Inception weights than timm's. Raises ValueError for images that are not uint8
    ``(n, h, w, c)`` or a Trial without a store, SpecError for a name that timm does not know, WeightsError, StoreError.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.dtype != np.uint8:
        raise ValueError(f"images are {images.dtype} {images.shape}; give uint8 (images, height, width, channels)")
    if space == PIXELS:
        return pixels(images).astype(np.float32)
    from realfake.tasks.feature_networks import named_features, trial_features

    if isinstance(space, str):
        return named_features(images, space, weights=weights, device=device)
    if store is None:
        raise ValueError(f"{address(space)} is a trial, and its network lies in a store; give store=Store(…)")
    return trial_features(space, images, store, weights=weights, device=device)[0]


def space_name(space: Space) -> str:
    """Return what stands beside every number: the name of a space, or the address of a trial."""
    return space if isinstance(space, str) else address(space)

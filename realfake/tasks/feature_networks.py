"""What frozen networks see in images: features by timm name, and those of a trained trial beside its probabilities.

Weights are found as for any recipe (``models``). Comparing sets of features is in ``fidelity``.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from realfake.samples import load_dataset
from realfake.spec import External, Recipe, Trial, address
from realfake.store import Store, StoreError
from realfake.tasks.models import build_model, pixel_statistics
from realfake.tasks.packaged import PACKAGED

BATCH = 128


def named_features(
    images: np.ndarray, name: str, *, weights: Mapping[str, Path] | None = None, device: Any = "cpu"
) -> np.ndarray:
    """Return what a network sees before its last layer: a timm name with its weights, or packaged ones (``packaged``).

    ``images (n, h, w, c)`` uint8 → ``(n, d)`` float32. Grey images become three equal channels, and all are resized
    (bicubic, antialiased, values cut to 0 … 1) to what the network was trained on. ``weights`` says where files lie;
    otherwise they are timm's own, from the hub. Raises SpecError for a name that timm does not know and WeightsError.
    """
    import timm

    architecture = PACKAGED[name].model if name in PACKAGED else name.split(".")[0]
    config = timm.get_pretrained_cfg(architecture if name in PACKAGED else name)
    side = config.input_size[-1] if config else images.shape[1]
    recipe = Recipe(model=architecture, init=External(name=name), examples_seen=1)  # nothing is trained
    model = build_model(recipe, 2, 3, side, weights).to(device)
    return np.concatenate([features for features, _ in _seen(model, images, device, 3, side)])


def trial_features(
    trial: Trial, images: np.ndarray, store: Store, *, weights: Mapping[str, Path] | None = None, device: Any = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a made trial's network sees before its last layer ``(n, d)``, and its probabilities ``(n, k)``.

    ``images (n, h, w, c)`` uint8, of the channels it was trained on; both float32. Raises StoreError for a trial that
    is not made, or has diverged and left no network.
    """
    look = trial_network(trial, images.shape[1:], store, weights=weights, device=device)
    return look(images)


def trial_network(
    trial: Trial,
    shape: tuple[int, ...],
    store: Store,
    *,
    weights: Mapping[str, Path] | None = None,
    device: Any = "cpu",
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return what gives ``trial_features`` of images of one shape (h, w, c), its network loaded once."""
    from safetensors.torch import load_file

    path = store.folder(trial) / "model.safetensors"
    if not path.is_file():
        raise StoreError(
            f"{address(trial)} has no network in {store.root}; run the study that holds it, or take another"
        )
    classes = len(load_dataset(store, trial.test).classes)
    model = build_model(trial.recipe, classes, shape[2], shape[0], weights)
    model.load_state_dict(load_file(path))
    model = model.to(device)

    def look(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = list(_seen(model, images, device, shape[2], shape[0]))
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    return look


@torch.no_grad()
def _seen(model: Any, images: np.ndarray, device: Any, channels: int, side: int) -> Any:
    """Yield features and probabilities of a batch of images at a time."""
    mean, std = (s.to(device) for s in pixel_statistics(model, channels))
    model.eval()
    for first in range(0, len(images), BATCH):
        x_bchw = torch.from_numpy(images[first : first + BATCH]).to(device).permute(0, 3, 1, 2) / 255
        x_bchw = x_bchw.expand(-1, channels, -1, -1)
        if x_bchw.shape[2:] != (side, side):
            x_bchw = functional.interpolate(x_bchw, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        body = model.forward_features((x_bchw - mean) / std)
        features = model.forward_head(body, pre_logits=True)
        logits = model.forward_head(body)
        yield features.flatten(1).float().cpu().numpy(), logits.float().softmax(1).cpu().numpy()

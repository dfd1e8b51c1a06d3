"""Image classifiers by timm name: from scratch, from pretrained weights by name, from a package or a weights file.

Only building lives here: small images, other channel counts, and clear errors where timm's are not. Training is in
``classification``.
"""

import difflib
import hashlib
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from realfake.spec import External, Recipe
from realfake.tasks.packaged import PACKAGED, as_timm, is_foreign
from realfake.values import SpecError

SMALLEST_GRID = 4  # patches a side that a transformer sees of a small image


class WeightsError(RuntimeError):
    """Pretrained weights that are not there or not what they should be; the message says which file, and where."""


def build_model(
    recipe: Recipe, classes: int, channels: int, pixels: int, weights: Mapping[str, Path] | None = None
) -> nn.Module:
    """Return a timm model for ``(n, channels, pixels, pixels)`` images; ``frozen`` leaves only its last layer to train.

    ``weights`` says where weights files lie, by the name or fingerprint of an External. A transformer whose patches
    would leave fewer than 4 × 4 of them gets smaller patches (pretrained ones are resized, as in FlexiViT).
    Raises SpecError for a model that timm does not know or that cannot look at such images, and WeightsError.
    """
    _known(recipe.model)
    if recipe.frozen and recipe.augment != "none":
        raise SpecError("Recipe(frozen=True): features are computed once, of images as they are; write augment='none'")
    options = {"num_classes": classes, "in_chans": channels, **_size_options(recipe.model, pixels)}
    model = _pretrained(recipe, options, weights or {}) if recipe.init else _create(recipe.model, **options)
    _try_out(model, recipe.model, channels, pixels)
    return _freeze(model, recipe.model) if recipe.frozen else model


def pixel_statistics(model: nn.Module, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation ``(channels, 1, 1)`` of 0 … 1 pixels that the model was made for."""
    config: Any = getattr(model, "pretrained_cfg", {})
    mean, std = (torch.tensor(config.get(key) or (0.5, 0.5, 0.5)) for key in ("mean", "std"))
    if len(mean) != channels:
        mean, std = mean.mean().repeat(channels), std.mean().repeat(channels)
    return mean.view(-1, 1, 1), std.view(-1, 1, 1)


def _known(name: str) -> None:
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "see timm.list_models()"
        raise SpecError(f"Recipe.model {name!r} is no timm model; {hint}")


def _create(name: str, **options: Any) -> nn.Module:
    import timm

    logging.getLogger("timm.models._builder").setLevel(logging.ERROR)  # it warns that a backbone leaves out the head
    return timm.create_model(name, **options)


def _size_options(name: str, pixels: int) -> dict[str, int]:
    """Return ``img_size``, and a smaller ``patch_size`` for small images, for models that are made for one size."""
    import timm

    config = timm.get_pretrained_cfg(name)
    if not config or not config.fixed_input_size:
        return {}
    with torch.device("meta"):
        own = getattr(getattr(_create(name), "patch_embed", None), "patch_size", (1,))[0]
    largest = max(1, pixels // SMALLEST_GRID)
    if own <= largest and pixels % own == 0:
        return {"img_size": pixels}
    patch = max(size for size in range(1, largest + 1) if pixels % size == 0 and size <= own)
    return {"img_size": pixels, "patch_size": patch}


def _try_out(model: nn.Module, name: str, channels: int, pixels: int) -> None:
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, channels, pixels, pixels))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise SpecError(
            f"Recipe.model {name!r} cannot look at images of {pixels} x {pixels} pixels ({error}); choose another "
            "model, or larger images with Dataset(pixels=…)"
        ) from error
    model.train()


def _freeze(model: nn.Module, name: str) -> nn.Module:
    head: Any = model.get_classifier()  # type: ignore[operator]
    if not isinstance(head, nn.Linear):
        raise SpecError(f"Recipe(model={name!r}, frozen=True): its last layer is not linear; choose another model")
    model.requires_grad_(False)
    head.requires_grad_(True)
    return model


# --------------------------------------------------------------------------------------------------- pretrained weights


def _pretrained(recipe: Recipe, options: dict[str, Any], weights: Mapping[str, Path]) -> nn.Module:
    init = recipe.init
    assert init is not None
    path = weights.get(init.name) or weights.get(init.fingerprint)
    if init.name in PACKAGED:
        path = _from_package(recipe.model, init.name, path)
    if path is not None:
        return _from_file(recipe.model, init, path, options)
    if init.fingerprint:
        raise WeightsError(
            f"weights {init.name!r} (sha256 {init.fingerprint[:12]}…) are a file, and no place is given for it; "
            f'write {init.name!r} = "PATH" under [data] in the --on file'
        )
    return _from_hub(recipe.model, init.name, options)


def _from_package(model: str, name: str, path: Path | None) -> Path:
    """Return where packaged weights lie, unless a ``path`` says otherwise."""
    package = PACKAGED[name]
    if model != package.model:
        raise SpecError(
            f"Recipe(model={model!r}, init=External(name={name!r})): these are weights of another model; write "
            f"model={package.model!r} (of a detector, 'fpn:{package.model}')"
        )
    if (path := path or package.path) is None:
        raise WeightsError(
            f"weights {name!r} come in a package that is not installed; uv sync --extra {package.extra}, or "
            f'write {name!r} = "PATH" under [data] in the --on file'
        )
    return path


def _from_file(model: str, init: External, path: Path, options: dict[str, Any]) -> nn.Module:
    if not path.is_file():
        raise WeightsError(f"weights {init.name!r}: there is no file {path}; put it there, or correct the --on file")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if init.fingerprint and found != init.fingerprint:
        raise WeightsError(
            f"weights {init.name!r}: {path} has sha256 {found[:12]}…, the spec says {init.fingerprint[:12]}…; it is "
            "another file: correct the path in the --on file or the fingerprint in the study"
        )
    import timm

    state = timm.models.load_state_dict(str(path))
    if is_foreign(state):
        return _from_foreign(model, state, path, options)
    _same_layers(model, state, path)
    return _create(model, pretrained=True, pretrained_cfg_overlay={"file": str(path)}, **options)


def _from_foreign(model: str, state: Mapping[str, Any], path: Path, options: dict[str, Any]) -> nn.Module:
    """Return a model of weights that timm names otherwise: by a file, for timm keeps what it is given in memory."""
    from safetensors.torch import save_file

    try:
        state = as_timm(state)
    except LookupError as error:
        raise WeightsError(
            f"{path} holds another network than EfficientNet-Lite0: that has no layer {error}; give timm's own file"
        ) from None
    _same_layers(model, state, path)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        save_file({name: value.contiguous() for name, value in state.items()}, file)
        return _create(model, pretrained=True, pretrained_cfg_overlay={"file": str(file)}, **options)


def _same_layers(model: str, found: Mapping[str, Any], path: Path) -> None:
    """Raise WeightsError when the file lacks layers of the model: timm would leave them random without a word."""
    with torch.device("meta"):
        plain: Any = _create(model)
        body = _create(model, num_classes=0).state_dict()
    missing = sorted(set(body) - set(found))
    if missing:
        raise WeightsError(
            f"{path} holds no weights of a timm {model!r} ({plain.__class__.__name__}): {len(missing)} of {len(body)} "
            f"tensors are missing, such as {missing[0]!r}"
        )


def _from_hub(model: str, name: str, options: dict[str, Any]) -> nn.Module:
    import timm

    if name.split(".")[0] != model.split(".")[0]:
        raise SpecError(f"Recipe(model={model!r}, init=External(name={name!r})): these are weights of another model")
    if name not in timm.list_pretrained():
        near = difflib.get_close_matches(name, timm.list_pretrained(), n=3, cutoff=0.4)
        raise WeightsError(f"timm knows no weights {name!r}; it knows {', '.join(near) or 'none like it'}")
    try:
        return _create(name, pretrained=True, **options)
    except (OSError, RuntimeError) as error:
        config = timm.get_pretrained_cfg(name)
        url = f"https://huggingface.co/{config.hf_hub_id if config else name}/resolve/main/model.safetensors"
        raise WeightsError(
            f"weights {name!r} cannot be fetched ({type(error).__name__}): fetch {url} elsewhere, and "
            f'write {name!r} = "PATH" under [data] in the --on file'
        ) from error

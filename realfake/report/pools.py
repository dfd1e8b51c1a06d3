"""What a report says of a study's pools: how their images were drawn, and what each one cost.

Here: this section, a row an arm and way of drawing. Not here: who keeps the facts (`pool_facts`), how like real images
they are (`fidelity`).
"""

from __future__ import annotations

import math
from typing import Any

from realfake.report.page import Html, Part, section, table, tag, words
from realfake.tables import NOTHING, count

HEADER = {
    "executed_steps": "steps made",
    "t_start": "first time step t*",
    "snr": "SNR at t*",
    "unet_evaluations": "UNet evaluations an image",
    "candidates_per_kept": "candidates for one",
    "chosen_by": "chosen by",
    "critic": "critic",
    "critic_real_budget": "real images the critic saw",
}
NOTE = (
    "Sampling begins at time step t* of the base pipeline: at noise or, with a latent prior, at a real latent noised "
    "to this ratio of signal to noise, a²/s². Evaluations count both branches of guidance and all candidates. What a "
    "critic saw is part of the real budget of every trial on such images."
)


def drawn(facts: dict[str, Any]) -> Html:
    """The section on how images were drawn; nothing where no pool says."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for pool in facts.get("drawn") or ():
        groups.setdefault((pool["arm"], *map(pool.get, HEADER)), []).append(pool)
    told = [name for i, name in enumerate(HEADER, 1) if any(place[i] is not None for place in groups)]
    rows = [_row(own, told) for own in groups.values()]
    header = ("arm", "pools", "images", *(HEADER[name] for name in told))
    below = tag("p", NOTE, class_="note")
    return section("How synthetic images were drawn", *([table(header, rows), below] if rows else []))


def _row(pools: list[dict[str, Any]], told: list[str]) -> list[Part]:
    images = sum(pool["images"] for pool in pools)
    return [pools[0]["arm"], count(len(pools)), count(images), *(_cell(pools[0].get(name)) for name in told)]


def _cell(value: Any) -> Part:
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return words(value)
    return count(value) if float(value).is_integer() else f"{value:.{3 if math.fabs(value) >= 0.1 else 2}g}"

"""realfake: how many synthetic images are worth how many real ones?

The public names; each is imported when it is first asked for, so that ``import realfake`` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realfake.corruptions import corrupt as corrupt
    from realfake.effects import Effect as Effect
    from realfake.effects import Term as Term
    from realfake.effects import change as change
    from realfake.execution import run as run
    from realfake.fidelity.comparison import compare_images as compare_images
    from realfake.fidelity.pools import compare_pools as compare_pools
    from realfake.hypotheses import Claim as Claim
    from realfake.hypotheses import wang_claims as wang_claims
    from realfake.intervals import Interval as Interval
    from realfake.laws import LAWS as LAWS
    from realfake.likeness import fidelities as fidelities
    from realfake.planning.plans import Costs as Costs
    from realfake.planning.plans import plan as plan
    from realfake.privacy import lira as lira
    from realfake.privacy import membership as membership
    from realfake.progressive import ptl as ptl
    from realfake.queries import audits as audits
    from realfake.queries import curves as curves
    from realfake.queries import trials as trials
    from realfake.representation.closeness import average_precision_t2t as average_precision_t2t
    from realfake.representation.distances import train2test as train2test
    from realfake.resources import Where as Where
    from realfake.shadows import shadow_models as shadow_models
    from realfake.spec import Adaptive as Adaptive
    from realfake.spec import Audit as Audit
    from realfake.spec import BestOf as BestOf
    from realfake.spec import Captions as Captions
    from realfake.spec import Choice as Choice
    from realfake.spec import ClosedSet as ClosedSet
    from realfake.spec import Dataset as Dataset
    from realfake.spec import DetectionRecipe as DetectionRecipe
    from realfake.spec import DistanceRule as DistanceRule
    from realfake.spec import Distances as Distances
    from realfake.spec import Evaluation as Evaluation
    from realfake.spec import External as External
    from realfake.spec import Fidelity as Fidelity
    from realfake.spec import Gan as Gan
    from realfake.spec import LatentPrior as LatentPrior
    from realfake.spec import Lora as Lora
    from realfake.spec import Matching as Matching
    from realfake.spec import OpenSet as OpenSet
    from realfake.spec import Pool as Pool
    from realfake.spec import Pretrained as Pretrained
    from realfake.spec import Procedural as Procedural
    from realfake.spec import Prompts as Prompts
    from realfake.spec import Recipe as Recipe
    from realfake.spec import Relabel as Relabel
    from realfake.spec import Repeat as Repeat
    from realfake.spec import Study as Study
    from realfake.spec import Subset as Subset
    from realfake.spec import Translation as Translation
    from realfake.spec import Trial as Trial
    from realfake.spec import VisualGuidance as VisualGuidance
    from realfake.spec import address as address
    from realfake.spec import real_budget as real_budget
    from realfake.statistics.analysis import analyse as analyse
    from realfake.statistics.choice import compare as compare
    from realfake.statistics.choice import fit as fit
    from realfake.statistics.claims import judge as judge
    from realfake.statistics.components import variance_components as variance_components
    from realfake.statistics.matched_pairs import wang as wang
    from realfake.statistics.robustness import robustness as robustness
    from realfake.statistics.slopes import scaling_slopes as scaling_slopes
    from realfake.store import Store as Store
    from realfake.timelines import timeline as timeline
    from realfake.values import SpecError as SpecError

_HOME = {
    "corruptions": ("corrupt",),
    "statistics.analysis": ("analyse",),
    "statistics.robustness": ("robustness",),
    "statistics.slopes": ("scaling_slopes",),
    "statistics.claims": ("judge",),
    "statistics.choice": ("compare", "fit"),
    "statistics.components": ("variance_components",),
    "representation.closeness": ("average_precision_t2t",),
    "effects": ("Effect", "Term", "change"),
    "execution": ("run",),
    "fidelity.comparison": ("compare_images",),
    "fidelity.pools": ("compare_pools",),
    "hypotheses": ("Claim", "wang_claims"),
    "intervals": ("Interval",),
    "laws": ("LAWS",),
    "likeness": ("fidelities",),
    "statistics.matched_pairs": ("wang",),
    "planning.plans": ("Costs", "plan"),
    "privacy": ("lira", "membership"),
    "progressive": ("ptl",),
    "queries": ("audits", "curves", "trials"),
    "representation.distances": ("train2test",),
    "resources": ("Where",),
    "shadows": ("shadow_models",),
    "spec": (
        *("Adaptive", "Audit"),
        *("BestOf", "Captions", "Choice", "ClosedSet", "Dataset", "DetectionRecipe", "DistanceRule"),
        *("Distances", "Evaluation", "External", "Fidelity", "Gan", "LatentPrior", "Lora", "Matching"),
        *("OpenSet", "Pool"),
        *(
            "Pretrained",
            "Procedural",
            "Prompts",
            "Recipe",
            "Relabel",
            "Repeat",
            "Study",
            "Subset",
            "Translation",
            "Trial",
        ),
        *("VisualGuidance", "address", "real_budget"),
    ),
    "store": ("Store",),
    "timelines": ("timeline",),
    "values": ("SpecError",),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'realfake' has no attribute {name!r}")
    return getattr(importlib.import_module(f"realfake.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return __all__

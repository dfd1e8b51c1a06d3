"""How models are trained: budgets, mixing, optimisation, and for detectors how boxes are kept and distances measured.

All that changes a number is here, nothing about devices is. The loops that follow a recipe are in ``tasks``.
"""

from typing import Literal

from realfake.outside import External
from realfake.values import SpecError, Value, at_least, within


class Recipe(Value):
    """How a classifier is trained; all that changes a number is here, nothing about devices is.

    Exactly one budget: ``examples_seen`` (the default of the field: fixed compute whatever the mixture),
    ``epochs`` of real and synthetic together, or ``real_examples_seen`` (every real image is seen equally often
    whatever is added). ``mixing``: "pool" shuffles real and synthetic together; "weighted" draws half of each batch
    from either and weighs their losses (1 − synthetic_weight : synthetic_weight); "synthetic_then_real" spends
    ``synthetic_share`` of the budget on synthetic images first. ``frozen`` trains a linear head on fixed features.
    ``augment``: "shift" by up to an eighth of the width, "flip-shift" also left and right, "randaugment" both and then
    two operations of RandAugment (Cubuk et al. 2020, arXiv 1909.13719).
    """

    model: str = "test_resnet"
    init: External | None = None
    frozen: bool = False
    examples_seen: int | None = None
    epochs: float | None = None
    real_examples_seen: int | None = None
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    augment: Literal["none", "shift", "flip-shift", "randaugment"] = "shift"
    mixing: Literal["pool", "weighted", "synthetic_then_real"] = "pool"
    synthetic_weight: float = 0.5
    synthetic_share: float = 0.5
    precision: Literal["fp32", "bf16"] = "fp32"

    def check(self) -> None:
        _one_budget(self)
        within(self, 0, 1, "synthetic_weight", "synthetic_share")
        if self.frozen and self.init is None:
            raise SpecError("Recipe.frozen: features of random weights are useless; give init=External(name=…)")
        if self.frozen and self.augment != "none":
            raise SpecError("Recipe.frozen: features are computed once, so images cannot vary; give augment='none'")

    @property
    def budget(self) -> str:
        """The budget rule as text, for tables: 'examples_seen=20000'."""
        return next(f"{k}={v}" for k in ("examples_seen", "epochs", "real_examples_seen") if (v := getattr(self, k)))


def _one_budget(recipe: Recipe) -> None:
    budgets = {k: getattr(recipe, k) for k in ("examples_seen", "epochs", "real_examples_seen")}
    given = {k: v for k, v in budgets.items() if v is not None}
    if len(given) != 1:
        raise SpecError(
            f"{type(recipe).__name__}: {len(given)} budgets are given, and a trial needs exactly one; "
            "write one of examples_seen=…, epochs=…, real_examples_seen=…"
        )
    at_least(recipe, batch_size=1, **dict.fromkeys(given, 1))


class DistanceRule(Value):
    """How the train2test distance is measured (2408.14559; the switches that the paper leaves open are all here).

    The Gaussian is fitted to penultimate features of detections on the training images that score at least
    ``least_score`` and overlap an object by more than one half: the best for each object, or all of them;
    ``fitted_on`` all training images or the real ones only. ``ridge`` adds that share of the mean variance to every
    variance; ``covariance`` and ``squared`` are those of ``realfake.train2test``.
    """

    squared: bool = True
    covariance: Literal["full", "ledoit-wolf", "diagonal", "pseudo-inverse"] = "full"
    ridge: float = 1e-3
    least_score: float = 0.05
    one_per_truth: bool = True
    fitted_on: Literal["all", "real"] = "all"

    def check(self) -> None:
        at_least(self, ridge=0)
        within(self, 0, 1, "least_score")


class DetectionRecipe(Recipe):
    """How a detector is trained and how its boxes are kept; budgets and mixing are those of ``Recipe``.

    ``model``: "fpn-tiny" (``width`` channels, for two cores), "fpn:<timm backbone>", or torchvision's
    "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2". Kept are at most ``max_detections``
    boxes an image that score ``score_threshold`` or more, after non-maximum suppression above ``nms_iou``.
    ``protocol`` is COCO's average precision or VisDrone's.
    """

    model: str = "fpn-tiny"
    width: int = 32
    batch_size: int = 8
    augment: Literal["none", "flip", "flip-light"] = "flip-light"  # pyright: ignore[reportIncompatibleVariableOverride]
    score_threshold: float = 0.01
    nms_iou: float = 0.5
    max_detections: int = 100
    protocol: Literal["coco", "visdrone"] = "coco"
    distance: DistanceRule = DistanceRule()

    def check(self) -> None:
        if self.frozen and self.init is None:
            raise SpecError("DetectionRecipe.frozen: a frozen random backbone is useless; give init=External(name=…)")
        _one_budget(self)
        at_least(self, width=8, max_detections=1)
        within(self, 0, 1, "score_threshold", "nms_iou", "synthetic_weight", "synthetic_share")

"""What is measured of a trial, in words: every column of the table of trials that is a number and no size or seed.

One table for effects, tables and figures. Responses, which laws are fitted to, have their own in ``responses``; how
measures come about is in ``tasks`` and ``records``. Standard library only.

``BY_COUNT`` are those that fall as training detections become more, whatever is added: a covariance from n detections
in d features makes a new one look d (n + 1) / (n − d − 2) away, not d. Not among them, and so to be compared between
training sets of unequal size: ρ, distances at equal counts (``…_at_64``), and medians ``…_relative`` to what the same
Gaussian says of the trained domain's own test images (not the relative spread: few detections make heavy tails too).
AP_t2t ranks, so a common factor does not matter to it, only the noise of directions.
"""

import difflib
from collections.abc import Iterable

from realfake.responses import OF_CLASSIFIERS, RESPONSES

SCORES = (0.01, 0.1, 0.5)  # least scores of detections: low, medium, high (arXiv 2408.14559)
COUNTS = (32, 64, 128, 256, 512)  # training detections that distances at equal counts are measured to
SURE = 0.1  # least score of those

KINDS = {"true": "true positives", "false": "false positives"}
_APS = {"": "AP", "_50": "AP50", "_75": "AP75"}
_PRECISIONS = {
    **{f"average_precision{key}": words for key, words in _APS.items()},
    **{f"average_precision_{area}": f"AP of {area} objects" for area in ("small", "medium", "large")},
    **{f"average_precision{key}_visdrone": f"{_APS[key]} by VisDrone's rules" for key in ("", "_50")},
    **{f"average_precision{key}_coco": f"{_APS[key]} by COCO's rules" for key in ("", "_50")},
}
_BANDS = {f"{low}_to_{high}": f"from {low} to {high}" for low, high in zip(SCORES, (*SCORES[1:], 1), strict=True)}
_CLOSENESS = {
    f"{name}_{key}": f"AP_t2t {where}{of}"
    for key, where in ({f"{least}": f"at {least}" for least in SCORES} | _BANDS).items()
    for name, of in (("ap_t2t", ""), ("ap_t2t_of_true", " of objects found"))
}
_RAW = {
    f"distance_{kind}_{least}": f"median distance of {words} at {least}"
    for least in SCORES
    for kind, words in KINDS.items()
}
_EQUAL = {
    f"distance_{kind}_{SURE}_at_{count}": f"{_RAW[f'distance_{kind}_{SURE}']}, to {count} training detections"
    for count in COUNTS
    for kind in KINDS
}
_RELATIVE = {f"{name}_relative": f"{words}, relative to the trained domain" for name, words in _RAW.items()}
_OF_OBJECTS = {
    "distribution_gap": "distribution gap",
    "distance_objects": "median distance of objects",
    "distance_missed": "median distance of missed objects",
}
_RANKED = {
    "ranked_median": "median distance of the pool's images in the last round",
    "ranked_spread": "spread of the pool's distances in the last round",
}
_RANKED_RELATIVE = {f"{name}_relative": f"{words}, relative to the trained domain" for name, words in _RANKED.items()}

OF_DETECTORS: dict[str, str] = {
    **_PRECISIONS,
    **{name: words for name, words in RESPONSES.items() if name not in OF_CLASSIFIERS},
    **_CLOSENESS,
    **_RAW,
    **{f"rho_{least}": f"ρ at {least}" for least in SCORES},
    **_EQUAL,
    **_RELATIVE,
    **_OF_OBJECTS,
    **{"distance_expected": "expected distance of a held-out detection", "n_population": "training detections"},
    **{"distance_condition": "condition of the covariance", "distance_shrinkage": "shrinkage of the covariance"},
    **_RANKED,
    **_RANKED_RELATIVE,
}
OF_OTHER_CLASSES = {  # of a classifier on a test set whose classes are not its own
    "n_classes_shared": "shared classes",
    "error_masked": "error among the shared classes",
    "error_full": "error among all classes",
    "error_own_masked": "error among the shared classes on its own test set",
}
OF_ALL = {
    **{"n_test": "test images", "real_budget": "real budget", "external_budget": "external budget"},
    "seconds": "seconds",
}
_OF_CLASSIFIERS = {
    **{name: RESPONSES[name] for name in OF_CLASSIFIERS},
    "top5_error": "top-5 error",  # among more than five classes
    **OF_OTHER_CLASSES,
}
WORDS: dict[str, str] = {**_OF_CLASSIFIERS, **OF_DETECTORS, **OF_ALL}
BY_COUNT = frozenset({*_RAW, *_OF_OBJECTS, *_RANKED, "ranked_spread_relative", "distance_expected"})
SHARES = frozenset({*_PRECISIONS, *_CLOSENESS, *(name for name in WORDS if "error" in name)})  # within [0, 1]


def words(measure: str) -> str:
    """Return how a measure is called; its own name where it has no words."""
    return WORDS.get(measure, measure)


def in_per_cent(measure: str) -> str:
    """Return how a measure is called where shares are shown in per cent: "AP_t2t at 0.1, %"."""
    return f"{words(measure)}, %" if measure in SHARES else words(measure)


def known(detector: bool) -> dict[str, str]:
    """Return what is measured of a detector, or of a classifier."""
    return {**(OF_DETECTORS if detector else _OF_CLASSIFIERS), **OF_ALL}


def near(measure: str, among: Iterable[str]) -> list[str]:
    """Return up to five names like a measure's: by letters, or that it is a part of."""
    among = sorted(among)
    alike = difflib.get_close_matches(measure, among, n=5, cutoff=0.5)
    return list(dict.fromkeys([*alike, *(name for name in among if measure and measure in name)]))[:5]

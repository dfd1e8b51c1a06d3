"""What a trial may be measured by, in one place: every response, how it is called, and what it is.

Of all of them less is better. A study's main response is the first that it measured, in this order. Here: names.
Not here: how they are measured (`tasks`, `detections`), which of them a table has (`statistics.trial_table`).
Standard library only.
"""

from collections.abc import Iterable
from typing import Literal

Response = Literal["cross_entropy", "error", "ap50_error", "ap_error"]
RESPONSES: dict[str, str] = {  # main ones first; AP is the mean over IoU 0.50 to 0.95, AP50 that at 0.50 alone
    "cross_entropy": "cross-entropy",
    "error": "error",
    "ap50_error": "1 − AP50",
    "ap_error": "1 − AP",
}
SHARES = ("error", "ap50_error", "ap_error")  # within [0, 1], and printed in per cent
MEANS = (
    "cross_entropy",
    "error",
)  # over test images; average precision is none, so images cannot be resampled one by one
PRINTED = (*SHARES, *(name for name in RESPONSES if name not in SHARES))  # the order of columns
OF_CLASSIFIERS = ("error", "cross_entropy")  # what tables hold while nothing is measured


def heading(response: str) -> str:
    """The response as the head of a column: "error, %"."""
    return f"{RESPONSES[response]}, %" if response in SHARES else RESPONSES[response]


def measured(found: Iterable[str]) -> tuple[str, ...]:
    """The responses among `found`, the main one first; those of a classifier where there is none yet."""
    names = set(found)
    return tuple(name for name in RESPONSES if name in names) or tuple(n for n in RESPONSES if n in OF_CLASSIFIERS)

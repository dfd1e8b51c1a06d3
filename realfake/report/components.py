"""What a report says of the noise: what trials of one cell differ by, and what to repeat how often.

Here: this section. Not here: the numbers (`statistics.components`), the words (`replicated`).
"""

from __future__ import annotations

from typing import Any

from realfake import replicated
from realfake.report.page import Html, Part, estimate, paragraphs, section, table, words


def sections(analysis: dict[str, Any]) -> Html:
    """The table of the sources of noise, and how to read it; nothing where no seeds are nested."""
    found: list[list[Part]] = [
        [words(cell), source, seeds, estimate(sd), share]
        for cell, source, seeds, sd, share in replicated.rows(analysis)
    ]
    if not found:
        return Html("")
    return section(replicated.TITLE, table(replicated.HEADER, found), paragraphs(replicated.notes(analysis), "note"))

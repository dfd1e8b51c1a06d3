"""Plain text in aligned columns, for terminals and pipes. What stands in them is the business of `tables`."""

import re
from collections.abc import Sequence

COUNTS = ("real", "synthetic", "seeds")  # columns of whole numbers, aligned to the right


def grid(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Aligned columns as lines; where they do not fit into `width`, intervals go below their numbers."""
    lines = _aligned(header, rows)
    if max(map(len, lines)) <= width:
        return lines
    stacked = [[re.sub(r" (?=[\[(])", "\n", text) for text in row] for row in rows]
    return _aligned(header, stacked)


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[text.split("\n") for text in row] for row in (header, *rows)]
    widths = [max(len(line) for row in cells for line in row[column]) for column in range(len(header))]
    right = [title in COUNTS for title in header]
    printed = [line for row in cells for line in _row_lines(row, widths, right)]
    rule = "  ".join("─" * width for width in widths)
    below_header = max(len(text.split("\n")) for text in header)
    return [*printed[:below_header], rule, *printed[below_header:]]


def _row_lines(row: Sequence[Sequence[str]], widths: Sequence[int], right: Sequence[bool]) -> list[str]:
    """The lines of one row: counts to the right, everything with an interval to the left."""
    lines = []
    for index in range(max(map(len, row))):
        texts = [cell[index] if index < len(cell) else "" for cell in row]
        parts = [t.rjust(w) if at_right else t.ljust(w) for t, w, at_right in zip(texts, widths, right, strict=True)]
        lines.append("  ".join(parts).rstrip())
    return lines

"""Text tables whose columns stand under each other, with Chinese names too."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence


def format_table(rows: Iterable[Sequence[object]]) -> str:
    """Rows of cells as lines: the first column flush left, the others flush right."""
    cells = [[str(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    widths = [max(map(display_width, column)) for column in zip(*cells, strict=True)]
    lines = []
    for first, *others in cells:
        padded = [first + " " * (widths[0] - display_width(first))]
        padded += [
            " " * (width - display_width(cell)) + cell
            for cell, width in zip(others, widths[1:], strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def display_width(text: str) -> int:
    """Columns that a terminal gives to a text: two for an East Asian wide character."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)

"""Text tables with aligned columns, also for East Asian characters, which are two cells wide."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from DOTA_devkit.terminal import visible


def format_table(rows: Iterable[Sequence[object]]) -> str:
    """Format rows as lines: the first column aligned left, the others aligned right.

    Args:
        rows: rows of equal length; cells are converted with `str`, their control characters to
            escapes.

    Returns:
        The lines, joined by line breaks; an empty text for no rows.
    """
    cells = [[visible(str(cell), one_line=True) for cell in row] for row in rows]
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
    """Return the number of terminal cells of a text: two for an East Asian wide character."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)

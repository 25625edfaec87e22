"""Text of files and names of files on a terminal: control characters are shown, not obeyed."""

from __future__ import annotations

import logging
import re

# C0 and C1 controls, separators of lines, and what turns the direction of writing.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CONTROLS_AND_LINES = re.compile(f"{_CONTROLS.pattern}|[\t\n]")


def visible(text: str, one_line: bool = False) -> str:
    """Return text with its control characters as escapes (backslash, x, two digits).

    Args:
        text: a message, which may have several lines.
        one_line: escape line breaks and tabs as well, as for a name.
    """
    pattern = _CONTROLS_AND_LINES if one_line else _CONTROLS
    return pattern.sub(lambda match: repr(match[0])[1:-1], text)


class VisibleFormatter(logging.Formatter):
    """Formats log lines, with the control characters of names and files as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        return visible(super().format(record))

"""`InputError`, the error for input that cannot be used, and helpers for its messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """The user's input cannot be used.

    The message is complete, so that a program may print it alone and exit: what was expected, what
    was found, where (``file:line`` for a label) and what to do about it. If it asks the caller
    to set a parameter, the name of the parameter is in backticks (``give `classes```); the command
    line of the devkit replaces it by the flag (``give --classes``).
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean conf_thresh?)" for the known name that is nearest to an unknown one.

    Args:
        name: What was given, such as "conf" or "conf_tresh".
        known: The names that there are.

    Returns:
        The text, with a blank before it; "" if none is near.
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    near = near or [one for one in known if name and one.startswith(name)]
    return f" (did you mean {near[0]}?)" if near else ""

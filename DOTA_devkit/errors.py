"""The one error that blames the input, so that a program can tell it from a fault of its own."""

from __future__ import annotations


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is complete: what was expected, what came, what is allowed and where
    (``file:line`` for a label), so that a program may print it alone and end.
    """

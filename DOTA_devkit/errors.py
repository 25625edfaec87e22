"""`InputError`: the one error that blames the user's input rather than the program."""

from __future__ import annotations


class InputError(ValueError):
    """The user's input cannot be used.

    The message is complete, so that a program may print it alone and exit: what was expected, what
    was found, where (``file:line`` for a label) and what to do about it. Where it tells the caller
    to set a parameter, the name of that stands in backticks (``give `classes```); the command
    line of the devkit replaces it by the flag (``give --classes``).
    """

"""Values that both checkpoints and exported files store: classes, sizes, scales, shifts."""

from __future__ import annotations

import math

from DOTA_devkit.file_names import MAX_CLASS_NAME, is_short

LARGEST_SIDE = 32768
"""Pixels of the largest side of an input that a file may name."""


def is_size(value: object) -> bool:
    """Whether a value is the (height, width) of an input that the network can have."""
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(type(side) is int and 0 < side <= LARGEST_SIDE and side % 32 == 0 for side in value)
    )


def is_scale(value: object) -> bool:
    """Whether a value is a number of input pixels per source pixel."""
    return type(value) is float and 1e-4 <= value <= 1e4


def is_shift(value: object) -> bool:
    """Whether a value is a distance to the right and down, in cells."""
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(type(one) in (int, float) and math.isfinite(one) for one in value)
    )


def are_classes(value: object) -> bool:
    """Whether a value is a list of class names of at most `MAX_CLASS_NAME` bytes, each once."""
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(
            isinstance(name, str) and name.strip() and is_short(name, MAX_CLASS_NAME)
            for name in value
        )
        and len(set(value)) == len(value)
    )

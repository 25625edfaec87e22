"""How large an image and its objects are in the network's input, in which the image is centered."""

from __future__ import annotations

import math

_LARGEST_INPUT = 1 << 14
"""Side of an input in pixels, beyond which no network is trained."""


def fit_inside(
    source_wh: tuple[int, int], input_wh: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Scale an image so that its longer side fits an input, and center it there.

    Args:
        source_wh: Size of the image.
        input_wh: Size of the input.

    Returns:
        Size of the scaled image, and the columns on its left and the rows on its top.
    """
    (source_w, source_h), (input_w, input_h) = source_wh, input_wh
    # in integers, so that every runtime rounds the same way if a side ends in .5
    if input_w * source_h <= input_h * source_w:
        inner_w, inner_h = input_w, max(1, _rounded(source_h * input_w, source_w))
    else:
        inner_w, inner_h = max(1, _rounded(source_w * input_h, source_h)), input_h
    return (inner_w, inner_h), ((input_w - inner_w) // 2, (input_h - inner_h) // 2)


def _rounded(numerator: int, denominator: int) -> int:
    """Divide positive integers and round to the nearest integer, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)


def enlarging_advice(input_hw: tuple[int, int], shortest: float, cell: int) -> str:
    """Return what to do about objects of which the input shows less than a cell of the head maps.

    Args:
        input_hw: Size of the input.
        shortest: Longer side of the smallest of these objects, in input pixels.
        cell: Input pixels per cell.
    """
    # One percent more, as the size of the scaled image is rounded to whole pixels.
    factor = 1.01 * cell / max(shortest, 1e-6)
    advice = (
        f"Split the images (python -m DOTA_devkit split DATA_DIR TARGET --size {min(input_hw)})"
    )
    height, width = (math.ceil(side * factor / 32) * 32 for side in input_hw)
    if max(height, width) > _LARGEST_INPUT:
        return advice
    return (
        f"{advice}, or train with a larger input: {height}x{width} (input_h x input_w) shows all "
        "of them"
    )

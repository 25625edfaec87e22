"""The grid of windows on a resized image."""

from __future__ import annotations


def windows(size_wh: tuple[int, int], size: int, gap: int) -> list[tuple[int, int]]:
    """Compute the windows that cover an image; the last one of a row or column ends at the border.

    Args:
        size_wh: width and height of the image, pixels.
        size: side of a window, pixels.
        gap: overlap of neighboring windows, pixels.

    Returns:
        Top left corners (x, y), column by column.
    """
    columns, rows = (_starts(length, size, size - gap) for length in size_wh)
    return [(x, y) for x in columns for y in rows]


def resized_wh(size_wh: tuple[int, int], rate: float) -> tuple[int, int]:
    """Width and height of a resized image: rounded, halves to the even number, at least 1."""
    width, height = size_wh
    return max(round(width * rate), 1), max(round(height * rate), 1)


def _starts(length: int, size: int, stride: int) -> list[int]:
    last = max(length - size, 0)
    return [*range(0, last, stride), last]

"""Masks of COCO and CVAT as run lengths: where their pixels are, without making the mask.

pycocotools reads them as well, but returns arbitrary memory for the pixels of damaged ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.json_tree import JsonValue
from DOTA_devkit.number_ranges import NumberRange

_SIDE, _RUN = NumberRange(1, 2**30, whole=True), NumberRange(0, 2**60, whole=True)
_MOST_DIGITS = 12  # of 5 bits each: more than the pixels of the largest mask


def mask_outline(mask: JsonValue) -> np.ndarray:
    """Return points whose convex hull is that of the pixels of a mask.

    Args:
        mask: the object with `size` (height, width) and `counts`: the lengths of runs of pixels
            down the columns, outside and inside in turn, as a list or as a text.

    Returns:
        ``[K, 2]`` float64, corners of pixels.

    Raises:
        InputError: the mask is damaged or empty; the message has the file and the place in it.
    """
    size = mask.required("size")
    sides = size.elements()
    if len(sides) != 2:
        raise InputError(f"{size.where}: expected height and width, got {len(sides)} values")
    height, width = (int(side.number(_SIDE)) for side in sides)
    counts = mask.required("counts")
    if isinstance(counts.value, str):
        runs = _runs_of_text(counts)
    else:
        runs = [int(run.number(_RUN)) for run in counts.elements()]
    if sum(runs) != height * width or min(runs) < 0:
        raise counts.error(f"runs that make {height} x {width} pixels")
    points = corners_of_runs(runs, height)
    if not len(points):
        raise InputError(f"{mask.where}: expected a mask with pixels, got an empty one")
    return points


def corners_of_runs(runs: Sequence[int], height: int) -> np.ndarray:
    """Return the corners of the rectangles that the runs inside of a mask are made of.

    A run goes down the rest of a column, over whole columns, and down a part of the last one.

    Args:
        runs: lengths of runs of pixels down the columns, outside and inside in turn, from 0 on.
        height: pixels of a column.

    Returns:
        ``[K, 2]`` float64; empty for a mask without pixels.
    """
    ends = np.cumsum(runs, dtype=np.int64)
    start, end = ends[0:-1:2], ends[1::2]
    start, end = start[end > start], end[end > start]
    column, row = start // height, start % height
    last_column, last_row = (end - 1) // height, (end - 1) % height + 1
    within = column == last_column
    rectangles = [
        (column, row, column + 1, np.where(within, last_row, height)),
        (last_column, np.where(within, row, 0), last_column + 1, last_row),
    ]
    long = last_column - column > 1
    zeros = np.zeros(int(long.sum()), np.int64)
    rectangles.append((column[long] + 1, zeros, last_column[long], zeros + height))
    points = [
        np.stack([x, y], axis=1)
        for left, top, right, bottom in rectangles
        for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))
    ]
    return np.concatenate(points).astype(np.float64)


def _runs_of_text(counts: JsonValue) -> list[int]:
    """Decode the run lengths in a text.

    Each is a number of digits of 5 bits, the lowest first, in the characters from "0" on; the sixth
    bit says that more follow, the fifth of the last one is the sign. From the fourth run on, the
    number is the difference to the run before the last.
    """
    runs: list[int] = []
    value = digits = 0
    for char in counts.text():
        code = ord(char) - ord("0")
        if not 0 <= code < 64 or digits == _MOST_DIGITS:
            raise counts.error("the runs of a mask")
        value |= (code & 0x1F) << 5 * digits
        digits += 1
        if not code & 0x20:
            if code & 0x10:
                value -= 1 << 5 * digits
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = digits = 0
    if digits:
        raise counts.error("the runs of a mask, the last of them complete")
    return runs

"""How large images and their objects are in the network's input, where images are scaled to fit."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

import numpy as np

from datasets.geometry import reaches_size, rectangles_in_view
from structures import boxes
from structures.letterbox import Letterbox


def typical_scale(letterboxes: Iterable[Letterbox | None]) -> float | None:
    """Return the median scale of images, in input pixels per source pixel.

    Args:
        letterboxes: How each image is placed in the input; None where its size is unknown.

    Returns:
        The median; None if no size is known.
    """
    scales = [math.sqrt(math.prod(box.scale)) for box in letterboxes if box is not None]
    return statistics.median(scales) if scales else None


def sides_below(
    limit: float,
    outlines: Sequence[np.ndarray],
    letterboxes: Sequence[Letterbox | None],
    min_visible: float,
) -> np.ndarray:
    """Measure the objects that are small in the network's input.

    The input is that of testing, which random views of training vary: those that are random crops
    show objects 0.91 to 1.11 times as large, and all others as large.

    Args:
        limit: Longer side in input pixels, below which an object is small.
        outlines: Corners [N, 4, 2] in source pixels of each image.
        letterboxes: How each image is placed in the input; None where its size is unknown.
        min_visible: Objects of which less than this share is visible are not measured.

    Returns:
        The longer side of each small object of all images, in input pixels, of its visible part;
        inf for all other objects and those of unknown images.
    """
    found = [np.full(len(one), np.inf) for one in outlines]
    for sides, corners, box in zip(found, outlines, letterboxes, strict=True):
        if box is None or not len(corners):
            continue
        # The visible part is at least as long as its share of the whole, so that the whole object
        # decides for nearly all images.
        if reaches_size(corners * np.array(box.scale), limit / max(min_visible, 1e-3)).all():
            continue
        parts, shares, _ = rectangles_in_view(corners, box.matrix, box.source_wh, box.input_wh)
        longer = boxes.side_lengths(parts).max(axis=1)
        small = (shares > 0) & (shares >= min_visible) & (longer < limit)
        sides[small] = longer[small]
    return np.concatenate([np.zeros(0), *found])

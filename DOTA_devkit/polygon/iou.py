"""Overlap of quadrilaterals: pair by pair, as a matrix, and within groups."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from DOTA_devkit.polygon.shapes import (
    Shapes,
    as_shapes,
    bounding_rectangles,
    rectangle_intersection,
)
from DOTA_devkit.polygon.sweep import BATCH, meeting_pairs


def paired_iou(a: np.ndarray | Shapes, b: np.ndarray | Shapes) -> np.ndarray:
    """IoU of a[0] with b[0], of a[1] with b[1] and so on.

    Args:
        a, b: ``[N, 4, 2]``.

    Returns:
        ``[N]`` float64 in [0, 1]; 0 where one of the two has no area.
    """
    if len(a) != len(b):
        raise ValueError(f"rows are paired one to one, but {len(a)} came with {len(b)}")
    if len(a) > BATCH and not isinstance(a, Shapes) and not isinstance(b, Shapes):
        slices = [slice(start, start + BATCH) for start in range(0, len(a), BATCH)]
        return np.concatenate([paired_iou(a[rows], b[rows]) for rows in slices])
    a, b = as_shapes(a), as_shapes(b)
    iou = np.zeros(len(a))
    meet = np.flatnonzero(rectangle_intersection(a.rectangles, b.rectangles) > 0)
    iou[meet] = a.iou(meet, meet, b)
    return iou


def iou_matrix(a: np.ndarray | Shapes, b: np.ndarray | Shapes) -> np.ndarray:
    """IoU of each of ``a`` with each of ``b``; only those whose rectangles meet are computed.

    Args:
        a: ``[N, 4, 2]``.
        b: ``[M, 4, 2]``.

    Returns:
        ``[N, M]`` float64.
    """
    a, b = as_shapes(a), as_shapes(b)
    iou = np.zeros((len(a), len(b)))
    for i, j in meeting_pairs(a.rectangles, b.rectangles):
        iou[i, j] = a.iou(i, j, b)
    return iou


def grouped_iou(
    a: np.ndarray | Shapes,
    b: np.ndarray | Shapes,
    groups_a: np.ndarray,
    groups_b: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The overlaps within groups (images, say), as a sparse matrix.

    Args:
        a: ``[N, 4, 2]``; b: ``[M, 4, 2]``.
        groups_a: ``[N]`` whole numbers; groups_b: ``[M]``.

    Returns:
        ``(i, j, iou)``, each ``[P]``: the pairs of one group with an IoU above 0, by i, then j.
    """
    a, b = as_shapes(a), as_shapes(b)

    def overlap(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return a.iou(i, j, b)

    return _grouped(a.rectangles, b.rectangles, groups_a, groups_b, overlap)


def grouped_rectangle_iou(
    a: np.ndarray | Shapes,
    b: np.ndarray | Shapes,
    groups_a: np.ndarray,
    groups_b: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`grouped_iou` of the axis-aligned rectangles around the corners, far border included.

    So a rectangle from 1 to 3 is three pixels wide, as DOTA's Task2 counts.
    """
    a, b = bounding_rectangles(a).copy(), bounding_rectangles(b).copy()
    a[:, 2:] += 1
    b[:, 2:] += 1
    area_a, area_b = ((one[:, 2:] - one[:, :2]).prod(axis=1) for one in (a, b))

    def overlap(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        shared = rectangle_intersection(a[i], b[j])
        return shared / (area_a[i] + area_b[j] - shared)

    return _grouped(a, b, groups_a, groups_b, overlap)


def _grouped(
    a: np.ndarray,
    b: np.ndarray,
    groups_a: np.ndarray,
    groups_b: np.ndarray,
    overlap: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The overlaps of those whose rectangles ``a`` and ``b`` meet, sorted."""
    found = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for i, j in meeting_pairs(a, b, groups_a, groups_b):
        iou = overlap(i, j)
        some = iou > 0
        found.append((i[some], j[some], iou[some]))
    i, j, iou = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(i * len(b) + j)
    return i[order], j[order], iou[order]

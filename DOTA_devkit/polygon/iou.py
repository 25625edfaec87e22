"""IoU of quadrilaterals: pair by pair, as a matrix, and within groups."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from DOTA_devkit.polygon.intersection import rectangle_intersection
from DOTA_devkit.polygon.quads import Quads, as_quads, bounding_rectangles
from DOTA_devkit.polygon.sweep import ROWS_PER_BATCH, overlapping_pairs


def paired_iou(a: np.ndarray | Quads, b: np.ndarray | Quads) -> np.ndarray:
    """IoU of a[0] with b[0], of a[1] with b[1] and so on.

    Args:
        a: ``[N, 4, 2]``.
        b: ``[N, 4, 2]``.

    Returns:
        ``[N]`` float64 in [0, 1]; 0 where one of the two has no area.

    Raises:
        ValueError: ``a`` and ``b`` have different lengths.
    """
    if len(a) != len(b):
        raise ValueError(f"a and b must have the same length, got {len(a)} and {len(b)}")
    if len(a) > ROWS_PER_BATCH and not isinstance(a, Quads) and not isinstance(b, Quads):
        batches = [
            slice(start, start + ROWS_PER_BATCH) for start in range(0, len(a), ROWS_PER_BATCH)
        ]
        return np.concatenate([paired_iou(a[rows], b[rows]) for rows in batches])
    a, b = as_quads(a), as_quads(b)
    iou = np.zeros(len(a))
    candidates = np.flatnonzero(rectangle_intersection(a.rectangles, b.rectangles) > 0)
    iou[candidates] = a.iou(candidates, candidates, b)
    return iou


def iou_matrix(a: np.ndarray | Quads, b: np.ndarray | Quads) -> np.ndarray:
    """IoU of each of ``a`` with each of ``b``, computed only where bounding rectangles overlap.

    Args:
        a: ``[N, 4, 2]``.
        b: ``[M, 4, 2]``.

    Returns:
        ``[N, M]`` float64.
    """
    a, b = as_quads(a), as_quads(b)
    iou = np.zeros((len(a), len(b)))
    for i, j in overlapping_pairs(a.rectangles, b.rectangles):
        iou[i, j] = a.iou(i, j, b)
    return iou


def grouped_iou(
    a: np.ndarray | Quads,
    b: np.ndarray | Quads,
    groups_a: np.ndarray,
    groups_b: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """IoU within groups (such as images), as a sparse matrix.

    Args:
        a: ``[N, 4, 2]``.
        b: ``[M, 4, 2]``.
        groups_a: ``[N]`` integers, the group of each row of ``a``.
        groups_b: ``[M]`` integers, the group of each row of ``b``.

    Returns:
        ``(i, j, iou)``, each ``[P]``: the pairs of one group with an IoU above 0, sorted by i,
        then j.
    """
    a, b = as_quads(a), as_quads(b)

    def pair_iou(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return a.iou(i, j, b)

    return _sparse_iou(a.rectangles, b.rectangles, groups_a, groups_b, pair_iou)


def grouped_rectangle_iou(
    a: np.ndarray | Quads,
    b: np.ndarray | Quads,
    groups_a: np.ndarray,
    groups_b: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`grouped_iou` of the axis-aligned bounding rectangles, including the far border.

    A rectangle from 1 to 3 is therefore three pixels wide, as in DOTA's Task2.

    Args:
        a: ``[N, 4, 2]``.
        b: ``[M, 4, 2]``.
        groups_a: ``[N]`` integers.
        groups_b: ``[M]`` integers.

    Returns:
        See `grouped_iou`.
    """
    a, b = bounding_rectangles(a).copy(), bounding_rectangles(b).copy()
    a[:, 2:] += 1
    b[:, 2:] += 1
    area_a, area_b = ((one[:, 2:] - one[:, :2]).prod(axis=1) for one in (a, b))

    def pair_iou(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        shared = rectangle_intersection(a[i], b[j])
        return shared / (area_a[i] + area_b[j] - shared)

    return _sparse_iou(a, b, groups_a, groups_b, pair_iou)


def _sparse_iou(
    a: np.ndarray,
    b: np.ndarray,
    groups_a: np.ndarray,
    groups_b: np.ndarray,
    pair_iou: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted (i, j, IoU) of the pairs whose rectangles ``a`` and ``b`` overlap."""
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for i, j in overlapping_pairs(a, b, groups_a, groups_b):
        iou = pair_iou(i, j)
        positive = iou > 0
        parts.append((i[positive], j[positive], iou[positive]))
    i, j, iou = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(i * len(b) + j)
    return i[order], j[order], iou[order]

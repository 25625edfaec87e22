"""Greedy non-maximum suppression by the overlap of quadrilaterals or of upright rectangles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from DOTA_devkit.polygon.shapes import Shapes, as_shapes, rectangle_intersection
from DOTA_devkit.polygon.sweep import group_batches, meeting_pairs

# Rounds of parallel suppression before the pairs that are left are walked through one by one.
MAX_ROUNDS = 16


def polygon_nms(
    corners: np.ndarray | Shapes,
    scores: np.ndarray,
    iou_threshold: float,
    labels: np.ndarray | None = None,
) -> np.ndarray:
    """Greedy non-maximum suppression of quadrilaterals by their exact overlap.

    Args:
        corners: ``[N, 4, 2]``.
        scores: ``[N]``; of two equal scores the one that comes first is preferred.
        iou_threshold: an IoU above it suppresses, one equal to it does not.
        labels: ``[N]``; only those of one label suppress one another. None: all do.

    Returns:
        ``[M]`` int64, the indices that stay, by falling score.
    """
    shapes = as_shapes(corners)

    def suppresses(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        # No overlap is larger than the one that the rectangles and areas would allow.
        most = np.minimum(shapes.area[i], shapes.area[j])
        most = np.minimum(most, rectangle_intersection(shapes.rectangles[i], shapes.rectangles[j]))
        found = most > iou_threshold * (shapes.area[i] + shapes.area[j] - most)
        possible = np.flatnonzero(found)
        found[possible] = shapes.iou(i[possible], j[possible], shapes) > iou_threshold
        return found

    return _greedy_nms(shapes.rectangles, scores, labels, suppresses)


def rectangle_nms(
    rectangles: np.ndarray,
    scores: np.ndarray,
    iou_threshold: float,
    labels: np.ndarray | None = None,
    inclusive: bool = False,
) -> np.ndarray:
    """Greedy non-maximum suppression of axis-aligned rectangles; see `polygon_nms`.

    Args:
        rectangles: ``[N, 4]`` as (xmin, ymin, xmax, ymax).
        inclusive: the far border belongs to the rectangle, so that each side is one longer than
            the difference of its coordinates. The DOTA devkit counts so.
    """
    rectangles = np.array(rectangles, dtype=np.float64).reshape(-1, 4)
    if inclusive:
        rectangles[:, 2:] += 1
    area = np.maximum(rectangles[:, 2:] - rectangles[:, :2], 0).prod(axis=1)

    def suppresses(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        shared = rectangle_intersection(rectangles[i], rectangles[j])
        return shared / (area[i] + area[j] - shared) > iou_threshold

    return _greedy_nms(rectangles, scores, labels, suppresses)


def _greedy_nms(
    rectangles: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray | None,
    suppresses: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Indices that stay, by falling score; ``suppresses(i, j)`` answers for pairs of indices."""
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    labels = np.zeros(len(order), np.int64) if labels is None else np.asarray(labels, np.int64)
    suppressed = np.zeros(len(order), bool)
    for ranks, _ in group_batches(labels[order]):
        rows = order[ranks]
        suppressed[rows] = _suppressed(rectangles[rows], labels[rows], rows, suppresses)
    return order[~suppressed[order]]


def _suppressed(
    rectangles: np.ndarray,
    labels: np.ndarray,
    rows: np.ndarray,
    suppresses: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Which of the rows (by falling score within a label) are suppressed.

    It goes in rounds, so that few overlaps are computed and many at a time: in each, those that
    no better one still in play could suppress are settled, and only their overlaps are needed.
    """
    pairs = [np.empty((2, 0), np.int64)]
    pairs += [
        np.stack([np.minimum(i, j), np.maximum(i, j)])
        for i, j in meeting_pairs(rectangles, groups_a=labels)
    ]
    better, worse = np.concatenate(pairs, axis=1)
    suppressed = np.zeros(len(rows), bool)
    for _ in range(MAX_ROUNDS):
        if not len(better):
            return suppressed
        waiting = np.zeros(len(rows), bool)
        waiting[worse] = True
        settled = ~waiting[better]
        i, j = better[settled], worse[settled]
        suppressed[j[suppresses(rows[i], rows[j])]] = True
        left = ~(settled | suppressed[better] | suppressed[worse])
        better, worse = better[left], worse[left]
    found = suppresses(rows[better], rows[worse])
    _walk(better[found], worse[found], suppressed)
    return suppressed


def _walk(better: np.ndarray, worse: np.ndarray, suppressed: np.ndarray) -> None:
    """Suppress along the pairs one by one, for chains that take too many rounds."""
    order = np.argsort(better, kind="stable")
    better, worse = better[order], worse[order]
    heads, starts = np.unique(better, return_index=True)
    ends = np.append(starts, len(better))[1:]
    for head, start, end in zip(heads.tolist(), starts.tolist(), ends.tolist(), strict=True):
        if not suppressed[head]:
            suppressed[worse[start:end]] = True

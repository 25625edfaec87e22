"""The output rows of an exported file: their order, their empty rows, and the effect of NMS."""

from __future__ import annotations

import numpy as np

from DOTA_devkit.polygon import grouped_iou
from structures.detections import Detections

IOU_MARGIN = 1e-5
"""If an IoU is this close to the NMS threshold, rounding decides whether a row is suppressed."""


def row_faults(
    corners: np.ndarray, scores: np.ndarray, labels: np.ndarray, ordered_ties: bool = True
) -> list[str]:
    """Return the faults in the order or in the empty rows of one image's output.

    Args:
        corners: [K, 4, 2].
        scores: [K].
        labels: [K], -1 in empty rows.
        ordered_ties: Whether rows of equal scores must be ordered by class.
    """
    count = int((labels >= 0).sum())
    faults = []
    if (labels[:count] < 0).any():
        faults.append("there are empty rows among the detections")
    elif (labels[count:] != -1).any() or scores[count:].any() or corners[count:].any():
        faults.append("empty rows hold values other than label -1, score 0 and corners 0")
    steps = np.diff(scores[:count])
    if not (steps <= 0).all():
        faults.append("the scores are not in descending order")
    elif ordered_ties and (np.diff(labels[:count])[steps == 0] < 0).any():
        faults.append("rows of equal scores are not ordered by class")
    return faults


def check_greedy(
    rows: Detections, kept: Detections, threshold: float
) -> tuple[list[tuple[int, int, float]], list[str]]:
    """Check row by row whether `kept` are the rows that greedy NMS keeps of `rows`.

    A row must be suppressed if a kept row of its class with a better score overlaps it by more than
    the threshold, and must be kept otherwise. Both outcomes are correct only for pairs within
    `IOU_MARGIN` of the threshold, and such a pair exempts only its own two rows.

    Args:
        rows: The rows before NMS, in descending order of scores.
        kept: The rows after NMS.
        threshold: The IoU above which a row suppresses another.

    Returns:
        The pairs at the threshold as (better row, worse row, IoU), and the faults.
    """
    is_kept, matched = np.zeros(len(rows), bool), 0
    for index in range(len(rows)):
        if matched < len(kept) and _is_same_row(rows, index, kept, matched):
            is_kept[index] = True
            matched += 1
    if matched < len(kept):
        return [], [
            f"row {matched} of the {len(kept)} rows after NMS is not among the {len(rows)} rows "
            "before NMS, or not in their order"
        ]
    i, j, iou = grouped_iou(rows.corners, rows.corners, rows.labels, rows.labels)
    i, j, iou = (part[i < j] for part in (i, j, iou))
    near = np.abs(iou - threshold) <= IOU_MARGIN
    by_kept = is_kept[i]
    must_suppress, may_suppress = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    must_suppress[j[by_kept & (iou > threshold) & ~near]] = True
    may_suppress[j[by_kept & ((iou > threshold) | near)]] = True
    faults = [
        f"row {row} is kept, but a better one suppresses it"
        for row in _indices(is_kept & must_suppress)
    ]
    faults += [
        f"row {row} is missing, but no kept row suppresses it"
        for row in _indices(~is_kept & ~may_suppress)
    ]
    pairs = zip(i[near].tolist(), j[near].tolist(), iou[near].tolist(), strict=True)
    return list(pairs), faults


def _is_same_row(a: Detections, i: int, b: Detections, j: int) -> bool:
    return bool(
        a.scores[i] == b.scores[j]
        and a.labels[i] == b.labels[j]
        and np.array_equal(a.corners[i], b.corners[j])
    )


def _indices(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(mask).tolist()


def outputs_to_detections(
    corners: np.ndarray, scores: np.ndarray, labels: np.ndarray
) -> Detections:
    """Return the rows of one image that are not empty as detections.

    Args:
        corners: [K, 4, 2].
        scores: [K].
        labels: [K], -1 in empty rows.
    """
    count = int((labels >= 0).sum())
    return Detections(corners[:count], scores[:count], labels[:count])

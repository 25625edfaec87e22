"""Rows of an exported file: their order, matching rows, and what suppression leaves."""

from __future__ import annotations

import numpy as np

from DOTA_devkit.polygon import grouped_iou, paired_iou
from structures.detections import Detections

MAX_CORNER_ERROR = 0.05
"""Pixels of the network's input."""


MAX_SCORE_ERROR = 1e-4


IOU_MARGIN = 1e-5
"""Nearer to the threshold than this, an overlap's rounding decides whether it suppresses."""


def row_faults(
    corners: np.ndarray, scores: np.ndarray, labels: np.ndarray, ties_in_order: bool = True
) -> list[str]:
    """What is wrong with the rows of an image: corners [K, 4, 2], scores and labels [K]."""
    count = int((labels >= 0).sum())
    faults = []
    if (labels[:count] < 0).any():
        faults.append("empty rows stand among the others")
    elif (labels[count:] != -1).any() or scores[count:].any() or corners[count:].any():
        faults.append("empty rows hold other values than label -1, score 0 and corners 0")
    steps = np.diff(scores[:count])
    if not (steps <= 0).all():
        faults.append("the scores do not fall")
    elif ties_in_order and (np.diff(labels[:count])[steps == 0] < 0).any():
        faults.append("of equal scores the higher class comes first")
    return faults


def match(a: Detections, b: Detections) -> tuple[np.ndarray, np.ndarray]:
    """Indices of detections of one class that are each other's nearest and overlap by half."""
    if not len(a) or not len(b):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    distance = np.abs(
        a.corners.reshape(-1, 1, 8).astype(np.float64) - b.corners.reshape(1, -1, 8)
    ).max(axis=2)
    distance[a.labels[:, None] != b.labels[None]] = np.inf
    there, back = distance.argmin(axis=1), distance.argmin(axis=0)
    mine = np.flatnonzero(back[there] == np.arange(len(a)))
    mine = mine[np.isfinite(distance[mine, there[mine]])]
    # boxes without area overlap nothing: for them being in the same place is enough
    close = distance[mine, there[mine]] <= MAX_CORNER_ERROR
    overlap = paired_iou(a.corners[mine], b.corners[there[mine]]) >= 0.5
    mine = mine[close | overlap]
    return mine, there[mine]


def check_greedy(
    rows: Detections, kept: Detections, threshold: float
) -> tuple[list[tuple[int, int, float]], list[str]]:
    """Whether `kept` is what greedy suppression leaves of `rows`, row by row.

    A row must go where a better one of its class that stays overlaps it by more than the threshold,
    and must stay where none does. Only of pairs within `IOU_MARGIN` of the threshold both are
    right, and each such pair excuses its own two rows alone.

    rows: by falling score.

    Returns:
        The pairs at the threshold as (better row, worse row, IoU), and what is wrong.
    """
    stays, matched = np.zeros(len(rows), bool), 0
    for index in range(len(rows)):
        if matched < len(kept) and _same_row(rows, index, kept, matched):
            stays[index] = True
            matched += 1
    if matched < len(kept):
        return [], [f"row {matched} of the {len(kept)} kept is none of the {len(rows)}, in order"]
    i, j, iou = grouped_iou(rows.corners, rows.corners, rows.labels, rows.labels)
    i, j, iou = (part[i < j] for part in (i, j, iou))
    near = np.abs(iou - threshold) <= IOU_MARGIN
    by_kept = stays[i]
    must_go, may_go = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    must_go[j[by_kept & (iou > threshold) & ~near]] = True
    may_go[j[by_kept & ((iou > threshold) | near)]] = True
    faults = [f"row {row} stays, but a better one suppresses it" for row in _rows(stays & must_go)]
    faults += [f"row {row} is gone, but nothing suppresses it" for row in _rows(~stays & ~may_go)]
    pairs = zip(i[near].tolist(), j[near].tolist(), iou[near].tolist(), strict=True)
    return list(pairs), faults


def _same_row(a: Detections, i: int, b: Detections, j: int) -> bool:
    return bool(
        a.scores[i] == b.scores[j]
        and a.labels[i] == b.labels[j]
        and np.array_equal(a.corners[i], b.corners[j])
    )


def _rows(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(mask).tolist()


def outputs_to_detections(
    corners: np.ndarray, scores: np.ndarray, labels: np.ndarray
) -> Detections:
    """The rows of one image that are not empty. corners [K, 4, 2], scores and labels [K]."""
    count = int((labels >= 0).sum())
    return Detections(corners[:count], scores[:count], labels[:count])

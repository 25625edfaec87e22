"""Precision and recall, and the average precision of a curve."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Curve:
    """Precision and recall of one class at one IoU threshold, one point a detection.

    Attributes:
        scores: ``[N]``, falling.
        recall: ``[N]``, rising; nan where there is nothing to find.
        precision: ``[N]``.
    """

    scores: np.ndarray
    recall: np.ndarray
    precision: np.ndarray


def average_precision(recall: np.ndarray, precision: np.ndarray, metric: str = "voc12") -> float:
    """AP of a curve.

    Args:
        recall: ``[N]``, not falling; precision: ``[N]``.
        metric: "voc07": mean of the best precision at a recall of 0, 0.1 ... 1 or more;
            "coco": the same with 0, 0.01 ... 1; "voc12": area under the rising envelope.
    """
    recall, precision = np.asarray(recall, np.float64), np.asarray(precision, np.float64)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if metric == "voc12":
        steps = np.diff(recall, prepend=0)
        return float(np.sum(steps * envelope))
    points = np.arange(0.0, 1.1, 0.1) if metric == "voc07" else np.linspace(0, 1, 101)
    best = np.append(envelope, 0.0)[np.searchsorted(recall, points, "left")]
    return float(best.mean())


def precision_recall_curve(
    scores: np.ndarray,
    matched: np.ndarray,
    ignored: np.ndarray,
    may_miss: np.ndarray | None = None,
) -> Curve:
    """Precision and recall along the detections (by falling score).

    Args:
        scores: ``[N]``.
        matched: ``[N]``, the object that each hits, or -1.
        ignored: ``[M]``, objects that count neither way.
        may_miss: ``[N]``, detections that are no fault where they hit nothing.
    """
    counts = np.append(~ignored, False)
    hits = np.cumsum(counts[matched])
    miss = matched < 0 if may_miss is None else (matched < 0) & ~may_miss
    misses = np.cumsum(miss)
    objects = int(np.sum(~ignored))
    with np.errstate(divide="ignore", invalid="ignore"):
        recall = hits / np.float64(objects or np.nan)
    precision = hits / np.maximum(hits + misses, 1)
    return Curve(scores, recall, precision)


def ap_of_curve(curve: Curve, objects: int, metric: str) -> float:
    return average_precision(curve.recall, curve.precision, metric) if objects else math.nan


def best_f1(curve: Curve) -> dict[str, float]:
    # Equal scores stay or go together.
    ends = np.flatnonzero(np.diff(curve.scores, append=-np.inf))
    recall, precision = curve.recall[ends], curve.precision[ends]
    total = recall + precision
    f1 = np.divide(2 * recall * precision, total, out=np.zeros_like(total), where=total > 0)
    if not len(f1) or not f1.max() > 0:
        return dict.fromkeys(("best_f1", "best_score", "best_precision", "best_recall"), math.nan)
    k = int(f1.argmax())
    return {
        "best_f1": float(f1[k]),
        "best_score": float(curve.scores[ends[k]]),
        "best_precision": float(precision[k]),
        "best_recall": float(recall[k]),
    }

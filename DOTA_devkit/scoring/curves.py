"""Precision/recall curves and what is computed from one: average precision and the best F1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Curve:
    """Precision and recall of one class at one IoU threshold, one point per detection.

    Attributes:
        scores: ``[N]``, descending.
        recall: ``[N]``, ascending; nan for a class without objects.
        precision: ``[N]``.
    """

    scores: np.ndarray
    recall: np.ndarray
    precision: np.ndarray


def precision_recall_curve(
    scores: np.ndarray,
    matched: np.ndarray,
    ignored: np.ndarray,
    may_miss: np.ndarray | None = None,
) -> Curve:
    """Compute precision and recall along the detections.

    Args:
        scores: ``[N]``, descending.
        matched: ``[N]``, the object each detection matches, or -1.
        ignored: ``[M]`` bool, objects that count neither as found nor as missed.
        may_miss: ``[N]`` bool, detections that are no false positives if they match nothing.

    Returns:
        The curve.
    """
    counted = np.append(~ignored, False)
    true_positives = np.cumsum(counted[matched])
    is_false = matched < 0 if may_miss is None else (matched < 0) & ~may_miss
    false_positives = np.cumsum(is_false)
    objects = int(np.sum(~ignored))
    with np.errstate(divide="ignore", invalid="ignore"):
        recall = true_positives / np.float64(objects or np.nan)
    precision = true_positives / np.maximum(true_positives + false_positives, 1)
    return Curve(scores, recall, precision)


def average_precision(recall: np.ndarray, precision: np.ndarray, metric: str = "voc12") -> float:
    """Compute the AP of a precision/recall curve.

    Args:
        recall: ``[N]``, not descending.
        precision: ``[N]``.
        metric: "voc07": mean of the best precision at a recall of at least 0, 0.1, ... 1;
            "coco": the same at 0, 0.01, ... 1; "voc12": area under the precision envelope.

    Returns:
        AP in [0, 1].
    """
    recall, precision = np.asarray(recall, np.float64), np.asarray(precision, np.float64)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if metric == "voc12":
        steps = np.diff(recall, prepend=0)
        return float(np.sum(steps * envelope))
    points = np.arange(0.0, 1.1, 0.1) if metric == "voc07" else np.linspace(0, 1, 101)
    best = np.append(envelope, 0.0)[np.searchsorted(recall, points, "left")]
    return float(best.mean())


def class_ap(curve: Curve, objects: int, metric: str) -> float:
    """AP of a class; nan if it has no objects."""
    return average_precision(curve.recall, curve.precision, metric) if objects else math.nan


def best_f1(curve: Curve) -> dict[str, float]:
    """Find the highest F1 on a curve.

    Args:
        curve: precision and recall of a class.

    Returns:
        ``best_f1``, the score threshold ``best_score`` that reaches it, and ``best_precision``
        and ``best_recall`` there; all nan if no detection matches.
    """
    # Detections with equal scores are kept or dropped together.
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

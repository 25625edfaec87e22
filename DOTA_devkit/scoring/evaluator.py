"""Score detections against labels.

IoUs are computed once per class, for all images together; every IoU threshold and size range
then reuses them. The matching rules are in `DOTA_devkit.scoring.matching`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import Task1
from DOTA_devkit.polygon import Quads
from DOTA_devkit.scoring.curves import best_f1, class_ap, precision_recall_curve
from DOTA_devkit.scoring.evaluation import SIZES, ClassScore, Evaluation
from DOTA_devkit.scoring.matching import (
    ClassDetections,
    OverlapPairs,
    best_pairs,
    detections_by_class,
)
from DOTA_devkit.scoring.truth import Truth, select_objects

logger = logging.getLogger(__name__)

METRICS = ("voc07", "voc12", "coco")
"""The metrics of `evaluate`."""

COCO_THRESHOLDS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))
"""COCO's IoU thresholds: 0.5, 0.55, ... 0.95."""


def evaluate(
    detections: Mapping[str, Task1],
    truth: Truth,
    iou_thresholds: Sequence[float] | None = None,
    metric: str = "voc07",
    *,
    rectangles: bool = False,
    confusion: bool = True,
) -> Evaluation:
    """Score detections against labels.

    Args:
        detections: class name -> its detections, in source pixels. A missing class has no
            detections; detections on images outside ``truth`` are ignored, counted and logged.
        truth: the labels.
        iou_thresholds: an IoU above the threshold is a match (for COCO: or equal to it). None:
            0.5, for COCO 0.5 to 0.95. Curves, size ranges and confusion use the first one.
        metric: "voc07" (11 points, VOC matching), "voc12" (area under the curve, VOC matching)
            or "coco" (101 points, COCO matching, no limit of detections per image).
        rectangles: compare axis-aligned bounding rectangles, including the far border, as in
            Task2.
        confusion: also compute the confusion matrix.

    Returns:
        The scores.

    Raises:
        InputError: a class is not in ``truth``, or the metric is unknown.
    """
    if metric not in METRICS:
        raise InputError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
    if iou_thresholds is None:
        iou_thresholds = COCO_THRESHOLDS if metric == "coco" else (0.5,)
    iou_thresholds = tuple(float(threshold) for threshold in iou_thresholds)
    unknown = sorted(set(detections) - set(truth.classes))
    if unknown:
        raise InputError(
            f"there are detections of {', '.join(unknown)}, but the classes to score are "
            f"{', '.join(truth.classes)}"
        )
    per_class, unlisted = detections_by_class(detections, truth)
    if unlisted:
        logger.warning("ignoring %d detections on images that are not listed", unlisted)
    scores = tuple(
        _score_class(name, per_class[k], select_objects(truth, truth.labels == k), iou_thresholds,
                     metric, rectangles)
        for k, name in enumerate(truth.classes)
    )  # fmt: skip
    evaluation = Evaluation(
        metric=metric,
        iou_thresholds=iou_thresholds,
        classes=scores,
        unlisted=unlisted,
        images=len(truth.image_ids),
    )
    if confusion:
        matrix = _confusion_matrix(per_class, truth, evaluation, rectangles)
        evaluation = replace(evaluation, confusion=matrix)
    return evaluation


def _score_class(
    name: str,
    detections: ClassDetections,
    truth: Truth,
    iou_thresholds: tuple[float, ...],
    metric: str,
    rectangles: bool,
) -> ClassScore:
    """Score one class; ``truth`` contains only the objects of that class."""
    detected, labeled = Quads(detections.corners), Quads(truth.corners)
    pairs = OverlapPairs.between(
        detected, detections.images, labeled, truth.images, rectangles=rectangles
    )
    objects = int(np.sum(~truth.difficult))
    ap = []
    curves = []
    for threshold in iou_thresholds:
        matched = pairs.match(metric, threshold, truth.difficult, truth.difficult)
        curves.append(precision_recall_curve(detections.scores, matched, truth.difficult))
        ap.append(class_ap(curves[-1], objects, metric))
    ap_by_size, objects_by_size = {}, {}
    for size, (low, high) in SIZES.items():
        ignored = truth.difficult | (labeled.area < low) | (labeled.area >= high)
        matched = pairs.match(metric, iou_thresholds[0], ignored, truth.difficult)
        # A detection that matches nothing is a false positive only in its own size range.
        other_size = (detected.area < low) | (detected.area >= high)
        objects_by_size[size] = int(np.sum(~ignored))
        curve = precision_recall_curve(detections.scores, matched, ignored, other_size)
        ap_by_size[size] = class_ap(curve, objects_by_size[size], metric)
    return ClassScore(
        name=name,
        objects=objects,
        detections=len(detections.scores),
        ap=np.array(ap),
        ap_by_size=ap_by_size,
        objects_by_size=objects_by_size,
        curve=curves[0],
        **best_f1(curves[0]),
    )


def _confusion_matrix(
    per_class: list[ClassDetections], truth: Truth, evaluation: Evaluation, rectangles: bool
) -> np.ndarray:
    """Count true against detected classes, with the score threshold of each class's best F1.

    Detections and objects are paired by IoU alone, the largest first, whatever their classes.
    """
    kept = [
        np.flatnonzero(detections.scores >= score.best_score)
        for detections, score in zip(per_class, evaluation.classes, strict=True)
    ]
    selected = list(zip(per_class, kept, strict=True))
    images = np.concatenate([np.zeros(0, np.int64), *(one.images[rows] for one, rows in selected)])
    corners = np.concatenate([np.zeros((0, 4, 2)), *(one.corners[rows] for one, rows in selected)])
    labels = np.repeat(np.arange(len(per_class)), [len(rows) for rows in kept])
    pairs = OverlapPairs.between(
        corners, images, truth.corners, truth.images, rectangles=rectangles
    )
    above = pairs.iou > evaluation.iou_thresholds[0]
    i, j = pairs.detections[above], pairs.objects[above]
    matched_detections, matched_objects = best_pairs(i, j, pairs.iou[above])
    background = len(per_class)
    matrix = np.zeros((background + 1, background + 1), np.int64)
    counted = ~truth.difficult[matched_objects]
    true_classes = truth.labels[matched_objects[counted]]
    np.add.at(matrix, (true_classes, labels[matched_detections[counted]]), 1)
    unmatched = np.setdiff1d(np.flatnonzero(~truth.difficult), matched_objects)
    np.add.at(matrix, (truth.labels[unmatched], background), 1)
    # Any number of detections may match a difficult object without being false positives.
    on_difficult = i[truth.difficult[j]]
    false_positives = np.setdiff1d(
        np.arange(len(labels)), np.append(matched_detections, on_difficult)
    )
    np.add.at(matrix, (background, labels[false_positives]), 1)
    return matrix

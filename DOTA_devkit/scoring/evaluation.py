"""Average precision of detections against labels, as PASCAL VOC, COCO and DOTA's server count.

Matching. VOC (and DOTA): each detection stands for the object that it overlaps most, hit or not
yet; above the threshold it is a hit if it is the first to claim that object (by falling score),
else a miss. COCO: each detection takes the best object that is still free. An object marked
difficult is neither hit nor miss, and neither is a detection that stands for it.

Overlaps are computed once for a class, all images together; every threshold and size bucket
then only looks at them.
"""

from __future__ import annotations

import csv
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.formats import Task1
from DOTA_devkit.polygon import Shapes
from DOTA_devkit.scoring.curves import Curve, ap_of_curve, best_f1, precision_recall_curve
from DOTA_devkit.scoring.matching import (
    ClassDetections,
    OverlapPairs,
    best_pairs,
    listed_detections,
)
from DOTA_devkit.scoring.truth import Truth, select_rows

logger = logging.getLogger(__name__)

METRICS = ("voc07", "voc12", "coco")
COCO_THRESHOLDS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))

SIZES: dict[str, tuple[float, float]] = {
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, math.inf),
}
"""Size buckets by area in square pixels, from (included) to (not included); COCO's."""


@dataclass(frozen=True)
class ClassScore:
    """What was measured of one class.

    Attributes:
        name: class name.
        objects: objects to be found, those marked difficult left out.
        detections: detections on the images of the list.
        ap: ``[T]`` average precision at each IoU threshold; nan for a class without objects.
        ap_by_size: bucket name -> AP at the first threshold; nan where it holds no objects.
        objects_by_size: bucket name -> objects.
        curve: at the first threshold.
        best_f1: the highest F1 on that curve, reached by keeping scores of ``best_score`` and
            above, with ``best_precision`` and ``best_recall``; nan without objects or hits.
    """

    name: str
    objects: int
    detections: int
    ap: np.ndarray
    ap_by_size: dict[str, float]
    objects_by_size: dict[str, int]
    curve: Curve
    best_f1: float
    best_score: float
    best_precision: float
    best_recall: float


@dataclass(frozen=True)
class Evaluation:
    """Scores of all classes, and ways to show them.

    Attributes:
        metric: one of `METRICS`.
        iou_thresholds: ``[T]``.
        classes: one score a class, in the order of the truth.
        confusion: ``[C + 1, C + 1]`` counts, rows true classes, columns detected ones; the last
            row holds detections of nothing, the last column objects not found. None if skipped.
        unlisted: detections left out because their image is not in the list.
    """

    metric: str
    iou_thresholds: tuple[float, ...]
    classes: tuple[ClassScore, ...]
    confusion: np.ndarray | None = None
    unlisted: int = 0
    images: int = 0
    _by_name: dict[str, ClassScore] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {score.name: score for score in self.classes})

    def __getitem__(self, class_name: str) -> ClassScore:
        return self._by_name[class_name]

    @property
    def ap(self) -> np.ndarray:
        """``[C, T]`` average precision, nan for classes without objects."""
        shape = len(self.classes), len(self.iou_thresholds)
        return np.array([score.ap for score in self.classes]).reshape(shape)

    @property
    def mean_ap(self) -> np.ndarray:
        """``[T]`` mean over the classes that have objects; nan if none has."""
        return _mean(self.ap, axis=0)

    @property
    def map(self) -> float:
        """Mean over classes and IoU thresholds: COCO's headline number."""
        return float(_mean(self.mean_ap, axis=0))

    def mean_ap_at(self, iou_threshold: float) -> float:
        """Mean AP at one of the IoU thresholds; nan if it was not measured."""
        near = np.isclose(self.iou_thresholds, iou_threshold)
        return float(self.mean_ap[near.argmax()]) if near.any() else math.nan

    @property
    def mean_ap_by_size(self) -> dict[str, float]:
        """Bucket name -> mean AP at the first threshold, over the classes with such objects."""
        return {
            size: float(_mean(np.array([score.ap_by_size[size] for score in self.classes]), 0))
            for size in SIZES
        }

    def rows(self) -> list[dict[str, str | int | float]]:
        """One record a class and one, named "mean", of the means: what table and csv show."""
        titles = [f"AP{100 * threshold:g}" for threshold in self.iou_thresholds]
        averaged = self.metric == "coco"  # its headline; for VOC thresholds stand on their own
        rows: list[dict[str, str | int | float]] = []
        for score in self.classes:
            row = {"class": score.name, "objects": score.objects, "detections": score.detections}
            if averaged:
                row["AP"] = float(_mean(score.ap, 0))
            row |= dict(zip(titles, score.ap.tolist(), strict=True))
            row |= {f"AP {size}": ap for size, ap in score.ap_by_size.items()}
            row |= {
                "best F1": score.best_f1,
                "at score": score.best_score,
                "precision": score.best_precision,
                "recall": score.best_recall,
            }
            rows.append(row)
        mean = {
            "class": "mean",
            "objects": sum(score.objects for score in self.classes),
            "detections": sum(score.detections for score in self.classes),
        }
        if averaged:
            mean["AP"] = self.map
        mean |= dict(zip(titles, self.mean_ap.tolist(), strict=True))
        mean |= {f"AP {size}": ap for size, ap in self.mean_ap_by_size.items()}
        mean["best F1"] = float(_mean(np.array([score.best_f1 for score in self.classes]), 0))
        return [*rows, mean]

    def table(self) -> str:
        """A text table: AP and F1 in percent, the rest as it is."""
        rows = self.rows()
        titles = list(rows[0])
        if len(self.iou_thresholds) > 2:
            # Ten thresholds do not fit on a screen.
            shown = {"AP50", "AP75"}
            hidden = {f"AP{100 * t:g}" for t in self.iou_thresholds} - shown
            titles = [title for title in titles if title not in hidden]
        cells = [titles] + [[_cell(title, row.get(title)) for title in titles] for row in rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if k == 0 else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in cells
        ]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def to_csv(self, path: Path | str) -> None:
        """Write `rows` as csv; a value that there is not is left empty."""
        rows = self.rows()
        with replacing(path) as file:
            writer = csv.DictWriter(file, list(rows[0]), restval="", lineterminator="\n")
            writer.writeheader()
            for row in rows:
                writer.writerow({key: "" if _is_nan(v) else v for key, v in row.items()})

    def to_json(
        self, path: Path | str, settings: Mapping[str, str | float | None] | None = None
    ) -> None:
        """Write everything but the curves as json; a value that there is not is null.

        settings: how the detections were made, kept with the scores under that name.
        """
        document = {} if settings is None else {"settings": dict(settings)}
        document |= {
            "metric": self.metric,
            "iou_thresholds": list(self.iou_thresholds),
            "images": self.images,
            "detections_on_unlisted_images": self.unlisted,
            "classes": [
                {key: None if _is_nan(v) else v for key, v in row.items()} for row in self.rows()
            ],
        }
        if self.confusion is not None:
            document["confusion_matrix"] = {
                "names": [*(score.name for score in self.classes), "background"],
                "rows_are": "truth",
                "counts": self.confusion.tolist(),
            }
        with replacing(path) as file:
            json.dump(document, file, indent=1)
            file.write("\n")


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
        detections: class name -> its detections, in source pixels. A class that is missing has
            none; detections on images outside the truth are left out, counted and logged.
        truth: the labels.
        iou_thresholds: an overlap above it is a hit (for COCO: or equal to it). None: 0.5, for
            COCO 0.5 to 0.95. Curves, sizes and confusion are those of the first.
        metric: "voc07" (11 points, VOC matching), "voc12" (area under the curve, VOC matching)
            or "coco" (101 points, COCO matching, no limit of detections an image).
        rectangles: compare axis-aligned rectangles around the corners, far border included:
            Task2.
        confusion: compute the confusion matrix too.

    Raises:
        InputError: a class that the truth does not know, or an unknown metric.
    """
    if metric not in METRICS:
        raise InputError(f"metric {metric!r} is not one of {', '.join(METRICS)}")
    if iou_thresholds is None:
        iou_thresholds = COCO_THRESHOLDS if metric == "coco" else (0.5,)
    iou_thresholds = tuple(float(threshold) for threshold in iou_thresholds)
    unknown = sorted(set(detections) - set(truth.classes))
    if unknown:
        raise InputError(
            f"detections of {', '.join(unknown)}, which is not one of the classes to score: "
            f"{', '.join(truth.classes)}"
        )
    listed, unlisted = listed_detections(detections, truth)
    if unlisted:
        logger.warning("%d detections on images that are not listed are left out", unlisted)
    scores = tuple(
        _score_class(name, listed[k], select_rows(truth, truth.labels == k), iou_thresholds,
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
        matrix = _confusion(listed, truth, evaluation, rectangles)
        evaluation = replace(evaluation, confusion=matrix)
    return evaluation


def _score_class(
    name: str,
    found: ClassDetections,
    truth: Truth,
    iou_thresholds: tuple[float, ...],
    metric: str,
    rectangles: bool,
) -> ClassScore:
    """Score one class; ``truth`` holds only its objects."""
    found_shapes, truth_shapes = Shapes(found.corners), Shapes(truth.corners)
    pairs = OverlapPairs.between(
        found_shapes, found.images, truth_shapes, truth.images, rectangles=rectangles
    )
    found_area, truth_area = found_shapes.area, truth_shapes.area
    counted = int(np.sum(~truth.difficult))
    ap = []
    curves = []
    for threshold in iou_thresholds:
        matched = pairs.match(metric, threshold, truth.difficult, truth.difficult)
        curves.append(precision_recall_curve(found.scores, matched, truth.difficult))
        ap.append(ap_of_curve(curves[-1], counted, metric))
    ap_by_size, objects_by_size = {}, {}
    for size, (low, high) in SIZES.items():
        ignored = truth.difficult | (truth_area < low) | (truth_area >= high)
        matched = pairs.match(metric, iou_thresholds[0], ignored, truth.difficult)
        # What hits nothing counts against the bucket of its own size alone.
        other_size = (found_area < low) | (found_area >= high)
        objects_by_size[size] = int(np.sum(~ignored))
        curve = precision_recall_curve(found.scores, matched, ignored, other_size)
        ap_by_size[size] = ap_of_curve(curve, objects_by_size[size], metric)
    return ClassScore(
        name=name,
        objects=counted,
        detections=len(found.scores),
        ap=np.array(ap),
        ap_by_size=ap_by_size,
        objects_by_size=objects_by_size,
        curve=curves[0],
        **best_f1(curves[0]),
    )


def _confusion(
    listed: list[ClassDetections], truth: Truth, evaluation: Evaluation, rectangles: bool
) -> np.ndarray:
    """Counts of true against detected class, each class kept from its best F1's score on.

    Pairs are made by overlap alone, the largest first, whatever the classes.
    """
    kept = [
        np.flatnonzero(found.scores >= score.best_score)
        for found, score in zip(listed, evaluation.classes, strict=True)
    ]
    chosen = list(zip(listed, kept, strict=True))
    images = np.concatenate([np.zeros(0, np.int64), *(one.images[rows] for one, rows in chosen)])
    corners = np.concatenate([np.zeros((0, 4, 2)), *(one.corners[rows] for one, rows in chosen)])
    labels = np.repeat(np.arange(len(listed)), [len(rows) for rows in kept])
    pairs = OverlapPairs.between(
        corners, images, truth.corners, truth.images, rectangles=rectangles
    )
    above = pairs.iou > evaluation.iou_thresholds[0]
    i, j = pairs.found[above], pairs.objects[above]
    first, second = best_pairs(i, j, pairs.iou[above])
    background = len(listed)
    matrix = np.zeros((background + 1, background + 1), np.int64)
    counts = ~truth.difficult[second]
    np.add.at(matrix, (truth.labels[second[counts]], labels[first[counts]]), 1)
    lost = np.setdiff1d(np.flatnonzero(~truth.difficult), second)
    np.add.at(matrix, (truth.labels[lost], background), 1)
    # On a difficult object any number of detections is no fault.
    extra = np.setdiff1d(np.arange(len(labels)), np.append(first, i[truth.difficult[j]]))
    np.add.at(matrix, (background, labels[extra]), 1)
    return matrix


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean that leaves nan out; nan where nothing is left, without a warning."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _cell(title: str, value: str | int | float | None) -> str:
    if value is None or _is_nan(value):
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if title == "at score" else f"{100 * value:.2f}"
    return str(value)

"""The result of an evaluation: scores per class and their means, shown as table, csv and json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from DOTA_devkit.files import replacing
from DOTA_devkit.scoring.curves import Curve
from DOTA_devkit.scoring.report import Row, format_rows, is_nan, write_rows

SIZES: dict[str, tuple[float, float]] = {
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, math.inf),
}
"""COCO's size ranges by area in square pixels: from (inclusive) to (exclusive)."""


_MOST_COLUMNS = 5  # of AP in a table; those of COCO's ten thresholds do not fit on a screen


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class.

    Attributes:
        name: class name.
        objects: number of labeled objects, without those marked difficult.
        detections: number of detections on the images that are scored.
        ap: ``[T]`` average precision at each IoU threshold; nan for a class without objects.
        ap_by_size: size range -> AP at the first threshold; nan if it contains no objects.
        objects_by_size: size range -> number of objects.
        curve: precision/recall curve at the first threshold.
        best_f1: the highest F1 on that curve; nan without objects or matches.
        best_score: the score threshold that reaches it (scores at or above it are kept).
        best_precision: precision at that threshold.
        best_recall: recall at that threshold.
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
    """Scores of all classes.

    Attributes:
        metric: "voc07", "voc12" or "coco", see `DOTA_devkit.scoring.evaluate`.
        iou_thresholds: ``[T]``.
        classes: one score per class, in the class order of the ground truth.
        confusion: ``[C + 1, C + 1]`` counts, rows true classes, columns detected classes; the
            last row counts detections of background, the last column objects that were not
            detected. None if it was not computed.
        unlisted: number of detections ignored because their image is not scored.
        images: number of images scored.
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
        """Average precision ``[C, T]``, nan for classes without objects."""
        shape = len(self.classes), len(self.iou_thresholds)
        return np.array([score.ap for score in self.classes]).reshape(shape)

    @property
    def mean_ap(self) -> np.ndarray:
        """Mean AP ``[T]`` over the classes that have objects; nan if none has."""
        return nan_mean(self.ap, axis=0)

    @property
    def map(self) -> float:
        """Mean AP over classes and IoU thresholds: COCO's headline number."""
        return float(nan_mean(self.mean_ap, axis=0))

    @property
    def headline_thresholds(self) -> tuple[float, ...]:
        """The IoU thresholds that the headline number is the mean of: for VOC the first one."""
        return self.iou_thresholds if self.metric == "coco" else self.iou_thresholds[:1]

    def mean_ap_at(self, iou_threshold: float) -> float:
        """Mean AP at one of the IoU thresholds; nan if it was not evaluated."""
        near = np.isclose(self.iou_thresholds, iou_threshold)
        return float(self.mean_ap[near.argmax()]) if near.any() else math.nan

    @property
    def mean_ap_by_size(self) -> dict[str, float]:
        """Size range -> mean AP at the first threshold, over the classes with such objects."""
        return {
            size: float(nan_mean(np.array([score.ap_by_size[size] for score in self.classes]), 0))
            for size in SIZES
        }

    def rows(self) -> list[Row]:
        """List one row per class and a last one, "mean", of the means: what table and csv show."""
        columns = [f"AP{100 * threshold:g}" for threshold in self.iou_thresholds]
        # COCO's headline; with VOC each threshold stands on its own.
        averaged = self.metric == "coco"
        rows: list[Row] = []
        for score in self.classes:
            row = {"class": score.name, "objects": score.objects, "detections": score.detections}
            if averaged:
                row["AP"] = float(nan_mean(score.ap, 0))
            row |= dict(zip(columns, score.ap.tolist(), strict=True))
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
        mean |= dict(zip(columns, self.mean_ap.tolist(), strict=True))
        mean |= {f"AP {size}": ap for size, ap in self.mean_ap_by_size.items()}
        mean["best F1"] = float(nan_mean(np.array([score.best_f1 for score in self.classes]), 0))
        return [*rows, mean]

    def table(self) -> str:
        """Format `rows` as a text table: AP, F1, precision and recall in percent."""
        rows = self.rows()
        columns = list(rows[0])
        if len(self.iou_thresholds) > _MOST_COLUMNS:
            shown = {"AP50", "AP75"}
            hidden = {f"AP{100 * t:g}" for t in self.iou_thresholds} - shown
            columns = [column for column in columns if column not in hidden]
        return format_rows(rows, columns)

    def to_csv(self, path: Path | str) -> None:
        """Write `rows` as csv; missing values stay empty."""
        write_rows(self.rows(), path)

    def to_json(
        self, path: Path | str, settings: Mapping[str, str | float | None] | None = None
    ) -> None:
        """Write everything but the curves as json; missing values become null.

        Args:
            path: file to write.
            settings: how the detections were made, stored with the scores as "settings".
        """
        document = {} if settings is None else {"settings": dict(settings)}
        document |= {
            "metric": self.metric,
            "iou_thresholds": list(self.iou_thresholds),
            "images": self.images,
            "detections_on_unlisted_images": self.unlisted,
            "classes": [
                {key: None if is_nan(value) else value for key, value in row.items()}
                for row in self.rows()
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


def nan_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """As `np.nanmean`, but without a warning if all values are nan."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)

"""The detections of all classes in one table, with their overlaps with the objects of all classes.

The evaluation looks at one class at a time. Whether a detection has the wrong class shows only
when it is compared with the objects of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from DOTA_devkit.formats import Task1
from DOTA_devkit.polygon import Quads
from DOTA_devkit.scoring.matching import OverlapPairs, detections_by_class
from DOTA_devkit.scoring.truth import Truth


@dataclass(frozen=True)
class DetectionPool:
    """Detections of all classes, class by class, those of a class by descending score.

    Attributes:
        truth: the labels.
        labels: ``[N]`` int64, index into ``truth.classes``.
        images: ``[N]`` int64, index into ``truth.image_ids``.
        scores: ``[N]`` float64.
        corners: ``[N, 4, 2]`` float64.
        areas: ``[N]``, square pixels.
        object_areas: ``[M]``, those of the objects.
        same: pairs of a detection and an object of one class.
        other: pairs of a detection and an object of another class.
        unlisted: number of detections that were left out, as their image is not scored.
    """

    truth: Truth
    labels: np.ndarray
    images: np.ndarray
    scores: np.ndarray
    corners: np.ndarray
    areas: np.ndarray
    object_areas: np.ndarray
    same: OverlapPairs
    other: OverlapPairs
    unlisted: int = 0

    @staticmethod
    def of(
        detections: Mapping[str, Task1], truth: Truth, *, rectangles: bool = False
    ) -> DetectionPool:
        """Collect detections, and compute their IoUs with the objects of their images.

        Args:
            detections: class name -> its detections; those of other images are left out.
            truth: the labels.
            rectangles: compare axis-aligned bounding rectangles, as in Task2.
        """
        per_class, unlisted = detections_by_class(detections, truth)
        images = np.concatenate([np.zeros(0, np.int64), *(one.images for one in per_class)])
        corners = np.concatenate([np.zeros((0, 4, 2)), *(one.corners for one in per_class)])
        labels = np.repeat(np.arange(len(per_class)), [len(one.scores) for one in per_class])
        detected, labeled = Quads(corners), Quads(truth.corners)
        pairs = OverlapPairs.between(detected, images, labeled, truth.images, rectangles)
        same = labels[pairs.detections] == truth.labels[pairs.objects]
        return DetectionPool(
            truth=truth,
            labels=labels,
            images=images,
            scores=np.concatenate([np.zeros(0), *(one.scores for one in per_class)]),
            corners=corners,
            areas=detected.area,
            object_areas=labeled.area,
            same=pairs.select(same),
            other=pairs.select(~same),
            unlisted=unlisted,
        )

    def match(self, metric: str, threshold: float, ignored: np.ndarray) -> np.ndarray:
        """Match the detections of each class to its objects, see `OverlapPairs.match`.

        An object competes for the detections of its own class only, and these are numbered by
        descending score, so that all classes are matched at once.

        Args:
            metric: whose rules apply.
            threshold: of the IoU.
            ignored: ``[M]`` bool, objects that count neither as found nor as missed.

        Returns:
            ``[N]``, the object each detection matches, -1 for none.
        """
        return self.same.match(metric, threshold, ignored, self.truth.difficult)

    @cached_property
    def class_slices(self) -> tuple[slice, ...]:
        """The rows of each class."""
        bounds = np.searchsorted(self.labels, np.arange(len(self.truth.classes) + 1)).tolist()
        return tuple(map(slice, bounds[:-1], bounds[1:]))

    def objects_per_image(self, counted: np.ndarray, label: int) -> np.ndarray:
        """Count the objects of a class in each image ``[I]``.

        Args:
            counted: ``[M]`` bool, the objects that count.
            label: the class.
        """
        rows = counted & (self.truth.labels == label)
        return np.bincount(self.truth.images[rows], minlength=len(self.truth.image_ids))

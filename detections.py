"""The value that travels from the decoder to files, scores and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from DOTA_devkit.polygon import polygon_nms


@dataclass(frozen=True)
class Detections:
    """Oriented boxes of one image.

    corners: [N, 4, 2] float32, (x, y), y down, in pixels of the image they belong to; the order
        is tr, br, bl, tl of the box's own frame, which is the order of Task1 lines.
    scores: [N] float32 in (0, 1].
    labels: [N] int64, index into the class names.
    """

    corners: np.ndarray = field(default_factory=lambda: np.zeros((0, 4, 2), np.float32))
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.corners.shape != (count, 4, 2) or self.labels.shape != (count,):
            raise ValueError(
                f"corners [N, 4, 2], scores [N] and labels [N] expected, got "
                f"{self.corners.shape}, {self.scores.shape} and {self.labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: slice | Sequence[int] | np.ndarray) -> Detections:
        """Rows by slice, mask or indices."""
        return Detections(self.corners[index], self.scores[index], self.labels[index])

    def with_corners(self, corners: np.ndarray) -> Detections:
        """The same objects in another image frame. corners: [N, 4, 2]."""
        return replace(self, corners=np.asarray(corners, np.float32))

    def nms(self, iou_threshold: float) -> Detections:
        """Greedy suppression within each class, by falling score, ties in input order."""
        return self[polygon_nms(self.corners, self.scores, iou_threshold, labels=self.labels)]

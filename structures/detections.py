"""Detections of one image, as passed from the decoder to files, evaluation and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.polygon import polygon_nms
from structures.boxes import min_area_rectangles
from structures.drawing import draw_detections
from structures.geojson import feature_collection

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True)
class Detections:
    """Oriented boxes of one image.

    Attributes:
        corners: [N, 4, 2] float32, (x, y) with y down, in pixels of the image they belong to, in
            the order tr, br, bl, tl of the box's own frame, which is the order of Task1 lines.
        scores: [N] float32 in (0, 1].
        labels: [N] int64, indices into the class names.
        names: The class names, empty if they are unknown.
        complete: False if the decoder returned its maximum of K detections, so that there may be
            more with lower scores.
    """

    corners: np.ndarray = field(default_factory=lambda: np.zeros((0, 4, 2), np.float32))
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    names: tuple[str, ...] = ()
    complete: bool = True

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.corners.shape != (count, 4, 2) or self.labels.shape != (count,):
            raise ValueError(
                f"expected corners [N, 4, 2], scores [N] and labels [N], got "
                f"{self.corners.shape}, {self.scores.shape} and {self.labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: slice | Sequence[int] | np.ndarray) -> Detections:
        """Select detections by slice, mask or indices."""
        return replace(
            self,
            corners=self.corners[index],
            scores=self.scores[index],
            labels=self.labels[index],
        )

    def with_corners(self, corners: np.ndarray) -> Detections:
        """Return a copy with other corners [N, 4, 2], such as those in another image frame."""
        return replace(self, corners=np.asarray(corners, np.float32))

    def with_names(self, names: Sequence[str]) -> Detections:
        """Return a copy with class names."""
        return replace(self, names=tuple(names))

    def nms(self, iou_threshold: float) -> Detections:
        """Apply greedy NMS within each class, in descending order of score, ties in input order."""
        return self[polygon_nms(self.corners, self.scores, iou_threshold, labels=self.labels)]

    def agnostic_nms(self, iou_threshold: float | None) -> Detections:
        """Apply greedy NMS to all boxes, whatever their classes; the order is that of `nms`.

        With None, nothing is suppressed.
        """
        if iou_threshold is None:
            return self
        return self[polygon_nms(self.corners, self.scores, iou_threshold)]

    def class_names(self) -> list[str]:
        """Return the class name of each detection, or its label as text if names are unknown."""
        return [self.names[label] if self.names else str(label) for label in self.labels.tolist()]

    def rectangles(self) -> np.ndarray:
        """Compute the minimum-area rectangle around each box.

        Returns:
            [N, 5] float32 (cx, cy, w, h, angle). w is the longer side and h the shorter one; angle
            is the direction of the longer side in degrees from the x axis, clockwise as seen on
            the image (y down), in [-90, 90).
        """
        corners = min_area_rectangles(self.corners.astype(np.float64))
        first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1]
        lengths = np.stack([np.hypot(*first.T), np.hypot(*second.T)], axis=1)
        side = np.where((lengths[:, 1] > lengths[:, 0])[:, None], second, first)
        degrees = np.rad2deg(np.arctan2(side[:, 1], side[:, 0]))
        degrees = ((degrees + 90) % 180 - 90).astype(np.float32)
        degrees[degrees >= 90] = -90  # rounding to float32 may reach the excluded end
        sizes = np.sort(lengths, axis=1)[:, ::-1]
        return np.column_stack([corners.mean(axis=1), sizes, degrees]).astype(np.float32)

    def to_geojson(
        self,
        to_lonlat: Callable[[np.ndarray], np.ndarray] | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Convert to a GeoJSON FeatureCollection with one polygon per box.

        The properties of a polygon are `class`, `label` and `score`.

        Args:
            to_lonlat: Function from pixels [M, 2] to longitude and latitude [M, 2] in degrees, such
                as `Georeference.to_lonlat`, for GeoJSON according to RFC 7946. Without it the
                coordinates are image pixels, for tools that overlay them on the image.
            properties: Further properties of every polygon.
        """
        corners = self.corners.astype(np.float64)
        if to_lonlat is not None:
            corners = np.asarray(to_lonlat(corners.reshape(-1, 2))).reshape(-1, 4, 2)
        rows = zip(self.class_names(), self.labels.tolist(), self.scores.tolist(), strict=True)
        return feature_collection(
            corners,
            [
                {**(properties or {}), "class": name, "label": label, "score": round(score, 6)}
                for name, label, score in rows
            ],
            on_earth=to_lonlat is not None,
        )

    def draw(self, image: np.ndarray, truth_corners: np.ndarray | None = None) -> np.ndarray:
        """Draw the boxes with their classes and scores.

        Args:
            image: [H, W, 3] uint8 in BGR; it is not changed.
            truth_corners: [M, 4, 2] ground truth boxes, drawn in white below the detections.

        Returns:
            The drawn copy of the image.
        """
        names = self.names or [str(label) for label in range(self.labels.max(initial=-1) + 1)]
        return draw_detections(image, self.corners, self.scores, self.labels, names, truth_corners)

    def to_supervision(self) -> supervision.Detections:
        """Convert to `supervision.Detections`, with the corners in its field for oriented boxes.

        Raises:
            InputError: supervision is not installed.
        """
        try:
            import supervision
            from supervision.config import CLASS_NAME_DATA_FIELD, ORIENTED_BOX_COORDINATES
        except ImportError:
            raise InputError(
                "to_supervision() needs supervision: pip install -e '.[supervision]'"
            ) from None
        return supervision.Detections(
            xyxy=np.concatenate([self.corners.min(axis=1), self.corners.max(axis=1)], axis=1),
            confidence=self.scores,
            class_id=self.labels,
            data={
                ORIENTED_BOX_COORDINATES: self.corners,
                CLASS_NAME_DATA_FIELD: np.array(self.class_names(), dtype=str),
            },
        )

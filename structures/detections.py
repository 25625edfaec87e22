"""The value that travels from the decoder to files, scores and pictures."""

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

    corners: [N, 4, 2] float32, (x, y), y down, in pixels of the image they belong to; the order
        is tr, br, bl, tl of the box's own frame, which is the order of Task1 lines.
    scores: [N] float32 in (0, 1].
    labels: [N] int64, index into the class names.
    names: the class names, empty where nobody told them.
    complete: False where the decoder's K were all taken, so that there may be more, less sure ones.
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
                f"corners [N, 4, 2], scores [N] and labels [N] expected, got "
                f"{self.corners.shape}, {self.scores.shape} and {self.labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: slice | Sequence[int] | np.ndarray) -> Detections:
        """Rows by slice, mask or indices."""
        return replace(
            self,
            corners=self.corners[index],
            scores=self.scores[index],
            labels=self.labels[index],
        )

    def with_corners(self, corners: np.ndarray) -> Detections:
        """The same objects in another image frame. corners: [N, 4, 2]."""
        return replace(self, corners=np.asarray(corners, np.float32))

    def with_names(self, names: Sequence[str]) -> Detections:
        """The same objects with the names of their classes."""
        return replace(self, names=tuple(names))

    def nms(self, iou_threshold: float) -> Detections:
        """Greedy suppression within each class, by falling score, ties in input order."""
        return self[polygon_nms(self.corners, self.scores, iou_threshold, labels=self.labels)]

    def class_names(self) -> list[str]:
        """The name of each row's class; its number where the names are not known."""
        return [self.names[label] if self.names else str(label) for label in self.labels.tolist()]

    def rectangles(self) -> np.ndarray:
        """The smallest rectangle around each box: [N, 5] float32 as (cx, cy, w, h, angle).

        w is the longer side and h the shorter one; angle is the direction of the longer side in
        degrees from the x axis, growing clockwise as seen on the image (y down), in [-90, 90).
        """
        corners = min_area_rectangles(self.corners.astype(np.float64))
        first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1]
        lengths = np.stack([np.hypot(*first.T), np.hypot(*second.T)], axis=1)
        side = np.where((lengths[:, 1] > lengths[:, 0])[:, None], second, first)
        degrees = np.rad2deg(np.arctan2(side[:, 1], side[:, 0]))
        degrees = ((degrees + 90) % 180 - 90).astype(np.float32)
        degrees[degrees >= 90] = -90  # rounding to float32 may reach the open end
        sizes = np.sort(lengths, axis=1)[:, ::-1]
        return np.column_stack([corners.mean(axis=1), sizes, degrees]).astype(np.float32)

    def to_geojson(
        self,
        to_lonlat: Callable[[np.ndarray], np.ndarray] | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """A FeatureCollection with a polygon a box, whose properties are its class and score.

        to_lonlat: from pixels [M, 2] to longitude and latitude [M, 2] in degrees, such as
            `Georeference.to_lonlat`; then it is GeoJSON as RFC 7946 has it. Without it the
            coordinates are those of the image, for tools that lay them over the picture.
        properties: added to those of each box.
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
        """A copy of the BGR image [H, W, 3] with the boxes, their classes and scores.

        truth_corners: labelled boxes [M, 4, 2], which are drawn in white below them.
        """
        names = self.names or [str(label) for label in range(self.labels.max(initial=-1) + 1)]
        return draw_detections(image, self.corners, self.scores, self.labels, names, truth_corners)

    def to_supervision(self) -> supervision.Detections:
        """As `supervision.Detections`, with the corners where its oriented tools look for them."""
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

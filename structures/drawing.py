"""Pictures: detections with ground truth, training samples with their targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from DOTA_devkit.files import replacing
from structures.boxes import STRIDE, WH, vectors_to_corners

WHITE = (255, 255, 255)
BLACK = (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SUBPIXEL_BITS = 4  # cv2 draws with a resolution of 1/16 pixel
_MAX_COORDINATE = 2**20  # beyond any image, and far below where the integers of cv2 overflow


def class_color(label: int) -> tuple[int, int, int]:
    """Return the BGR color of a class; successive hues are far apart (golden-angle steps)."""
    hue = int(label * 180 * 0.618034) % 180
    value = np.uint8([[[hue, 210, 255]]])
    blue, green, red = cv2.cvtColor(value, cv2.COLOR_HSV2BGR)[0, 0]
    return int(blue), int(green), int(red)


def draw_polygon(
    image: np.ndarray, corners: np.ndarray, color: tuple[int, int, int], thickness: int = 2
) -> None:
    """Draw a closed polygon [4, 2] into the image, in place."""
    limited = np.clip(corners, -_MAX_COORDINATE, _MAX_COORDINATE)
    points = np.round(limited * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.polylines(image, [points], True, color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def draw_detections(
    image: np.ndarray,
    corners: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    truth_corners: np.ndarray | None = None,
) -> np.ndarray:
    """Draw ground truth in white and detections in the color of their class.

    Line width and text size follow the size of the image. Labels are placed in descending order of
    score, so that they cover neither each other nor the center of another box; a class for which
    there is no room is listed in the upper left corner.

    Args:
        image: [H, W, 3] uint8 in BGR; it is not changed.
        corners: [N, 4, 2] in pixels of the image.
        scores: [N], written beside the class name.
        labels: [N] indices into `names`.
        names: Class names.
        truth_corners: [M, 4, 2], or None without ground truth.

    Returns:
        The drawn copy of the image.
    """
    canvas = image.copy()
    thickness = max(1, round(max(image.shape[:2]) / 600))
    scale = 0.4 * max(1.0, max(image.shape[:2]) / 900)
    for outline in truth_corners if truth_corners is not None else ():
        draw_polygon(canvas, outline, WHITE, thickness)
    for outline, label in zip(corners, labels.tolist(), strict=True):
        draw_polygon(canvas, outline, class_color(label), thickness)
    unnamed = _label_boxes(canvas, corners, scores, labels.tolist(), names, scale)
    _list_classes(canvas, unnamed, names, scale)
    return canvas


def _label_boxes(
    canvas: np.ndarray,
    outlines: np.ndarray,
    scores: np.ndarray,
    labels: Sequence[int],
    names: Sequence[str],
    scale: float,
) -> list[int]:
    """Write class and score above the boxes; return the classes that had no room for a label."""
    height, width = canvas.shape[:2]
    centers = outlines.mean(axis=1, dtype=np.float64)
    cells = np.clip(centers, 0, (width - 1, height - 1)).astype(int)
    taken = np.zeros((height, width), np.int16)
    np.add.at(taken, (cells[:, 1], cells[:, 0]), 1)
    named = set()
    for index in np.argsort(-scores, kind="stable").tolist():
        corners, label = outlines[index], labels[index]
        words = f"{names[label]} {scores[index]:.2f}"
        top = min(corners.tolist(), key=lambda corner: (round(corner[1]), corner[0]))
        text = _Text.at(top, words, scale, canvas.shape)
        own = text.covers(*cells[index])
        if taken[text.area].sum() > own:
            continue
        taken[text.area] += 1
        text.write(canvas, class_color(label))
        named.add(label)
    return sorted(set(labels) - named)


def _list_classes(
    canvas: np.ndarray, labels: Sequence[int], names: Sequence[str], scale: float
) -> None:
    """Write class names in their colors into the upper left corner, one per line."""
    for row, label in enumerate(labels):
        text = _Text.at((4, 0), names[label], scale, canvas.shape)
        text.lower(row).write(canvas, class_color(label))


def draw_targets(sample: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Draw a training sample with its targets decoded back: heat map and boxes.

    Args:
        sample: One item of a dataset of the phase 'train'.
        names: Class names.

    Returns:
        BGR image [H, W, 3] uint8.
    """
    image = np.clip((np.asarray(sample["input"]) + 0.5) * 255, 0, 255).astype(np.uint8)
    canvas = np.ascontiguousarray(image.transpose(1, 2, 0))
    heatmap = np.asarray(sample["hm"])
    heat = cv2.resize(heatmap.max(axis=0), canvas.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    glow = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_JET)
    alpha = 0.5 * np.clip(heat, 0, 1)[..., None]
    canvas = (canvas * (1 - alpha) + glow * alpha).astype(np.uint8)

    count = int(np.asarray(sample["reg_mask"]).sum())
    index = np.asarray(sample["ind"])[:count]
    width = heatmap.shape[2]
    cells = np.stack([index % width, index // width], axis=1)
    centers = cells + np.asarray(sample["reg"])[:count]
    vectors = np.asarray(sample["wh"])[:count, : WH["size"].start]
    labels = heatmap[:, cells[:, 1], cells[:, 0]].argmax(axis=0) if count else np.zeros(0, int)
    corners = vectors_to_corners(centers, vectors) * STRIDE
    for box, label in zip(corners, labels, strict=True):
        draw_polygon(canvas, box, class_color(int(label)), 1)
    _list_classes(canvas, sorted(set(labels.tolist())), names, 0.45)
    return canvas


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write an image file, its folder included (an image id may hold one).

    OSError where it cannot be written: `cv2.imwrite` would only return False.
    """
    try:
        encoded, data = cv2.imencode(path.suffix, picture)
    except cv2.error:  # of a picture that is too large, in older OpenCV
        encoded = False
    if not encoded:
        height, width = picture.shape[:2]
        raise OSError(f"{path}: OpenCV cannot encode a picture of {width}x{height} so")
    with replacing(path, "wb") as file:
        file.write(data.tobytes())


def contact_sheet(images: Sequence[np.ndarray], columns: int = 4) -> np.ndarray:
    """Arrange images of one size in rows of `columns`; unused tiles stay black."""
    height, width = images[0].shape[:2]
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    sheet = np.zeros((rows * height, columns * width, 3), np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * height, index % columns * width
        sheet[top : top + height, left : left + width] = image
    return sheet


@dataclass(frozen=True)
class _Text:
    """Text with a dark outline, kept inside the image; (x, y) is the left end of its baseline."""

    words: str
    x: int
    y: int
    width: int
    height: int
    scale: float

    @classmethod
    def at(cls, anchor: Sequence[float], words: str, scale: float, shape: Sequence[int]) -> _Text:
        """Place text just above `anchor` (x, y), or as near as an image of `shape` allows."""
        (width, height), _ = cv2.getTextSize(words, _FONT, scale, cls._weight(scale))
        x = int(np.clip(anchor[0], 0, max(0, shape[1] - width)))
        y = int(np.clip(anchor[1] - 3, height, max(height, shape[0] - 2)))
        return cls(words, x, y, width, height, scale)

    @staticmethod
    def _weight(scale: float) -> int:
        return max(1, round(scale * 1.5))

    @property
    def area(self) -> tuple[slice, slice]:
        """Rows and columns that the text covers."""
        return slice(max(0, self.y - self.height), self.y + 1), slice(self.x, self.x + self.width)

    def covers(self, x: int, y: int) -> bool:
        rows, columns = self.area
        return rows.start <= y < rows.stop and columns.start <= x < columns.stop

    def lower(self, rows: int) -> _Text:
        return replace(self, y=self.y + rows * (self.height + 4))

    def write(self, canvas: np.ndarray, color: tuple[int, int, int]) -> None:
        weight = self._weight(self.scale)
        # Shifted copies make the outline, since from OpenCV 5 on thicker text has wider letters.
        for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            place = (self.x + dx, self.y + dy)
            cv2.putText(canvas, self.words, place, _FONT, self.scale, BLACK, weight, cv2.LINE_AA)
        place = (self.x, self.y)
        cv2.putText(canvas, self.words, place, _FONT, self.scale, color, weight, cv2.LINE_AA)

"""Pictures that people look at: detections beside truth, training samples with targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from boxes import STRIDE, WH, vectors_to_corners
from DOTA_devkit.files import replacing

if TYPE_CHECKING:  # which draws itself by this file
    from detections import Detections

WHITE = (255, 255, 255)
_SUBPIXEL_BITS = 4  # cv2 draws at 1/16 pixel
_FARTHEST = 2**20  # beyond any image, and far from where the integers of cv2 overflow


def class_color(label: int) -> tuple[int, int, int]:
    """A BGR colour for a class; neighbours are far apart in hue (golden-angle steps)."""
    hue = int(label * 180 * 0.618034) % 180
    value = np.uint8([[[hue, 210, 255]]])
    blue, green, red = cv2.cvtColor(value, cv2.COLOR_HSV2BGR)[0, 0]
    return int(blue), int(green), int(red)


def draw_polygon(
    image: np.ndarray, corners: np.ndarray, color: tuple[int, int, int], thickness: int = 2
) -> None:
    """Draw one closed polygon [4, 2] into the image, in place."""
    limited = np.clip(corners, -_FARTHEST, _FARTHEST)
    points = np.round(limited * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.polylines(image, [points], True, color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def draw_detections(
    image: np.ndarray,
    detections: Detections,
    names: Sequence[str],
    truth_corners: np.ndarray | None = None,
) -> np.ndarray:
    """A copy of the BGR image with truth in white and detections in their class's colour.

    Line width and text follow the image's size.
    """
    canvas = image.copy()
    thickness = max(1, round(max(image.shape[:2]) / 600))
    scale = 0.4 * max(1.0, max(image.shape[:2]) / 900)
    for corners in truth_corners if truth_corners is not None else ():
        draw_polygon(canvas, corners, WHITE, thickness)
    for corners, score, label in zip(
        detections.corners, detections.scores, detections.labels, strict=True
    ):
        color = class_color(int(label))
        draw_polygon(canvas, corners, color, thickness)
        text = f"{names[label]} {score:.2f}"
        anchor = corners[np.argmin(corners[:, 1])]
        _put_text(canvas, text, anchor, color, scale)
    return canvas


def draw_targets(sample: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """The input image of a training sample with its targets decoded back: heat map and boxes.

    sample: one item of a dataset of the phase 'train'. Returns a BGR image [H, W, 3] uint8.
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
    for row, label in enumerate(sorted(set(labels.tolist()))):
        _put_text(canvas, names[label], (4, 14 + 14 * row), class_color(label), 0.45)
    return canvas


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write an image file, its folder included (an image id may hold one).

    OSError where it cannot be written: `cv2.imwrite` would only return False.
    """
    encoded, data = cv2.imencode(path.suffix, picture)
    if not encoded:
        height, width = picture.shape[:2]
        raise OSError(f"{path}: OpenCV cannot encode a picture of {width}x{height} so")
    with replacing(path, "wb") as file:
        file.write(data.tobytes())


def contact_sheet(images: Sequence[np.ndarray], columns: int = 4) -> np.ndarray:
    """Images of one size side by side, in rows of `columns`; missing places stay black."""
    height, width = images[0].shape[:2]
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    sheet = np.zeros((rows * height, columns * width, 3), np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * height, place % columns * width
        sheet[top : top + height, left : left + width] = image
    return sheet


def _put_text(
    canvas: np.ndarray,
    text: str,
    anchor: Sequence[float],
    color: tuple[int, int, int],
    scale: float,
) -> None:
    """Text with a dark rim at (x, y), kept inside the image."""
    font, weight = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(scale * 1.5))
    (width, height), _ = cv2.getTextSize(text, font, scale, weight)
    x = int(np.clip(anchor[0], 0, max(0, canvas.shape[1] - width)))
    y = int(np.clip(anchor[1] - 3, height, canvas.shape[0] - 2))
    # Shifted copies make the rim: a heavier weight has wider letters from OpenCV 5 on.
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        cv2.putText(canvas, text, (x + dx, y + dy), font, scale, (0, 0, 0), weight, cv2.LINE_AA)
    cv2.putText(canvas, text, (x, y), font, scale, color, weight, cv2.LINE_AA)

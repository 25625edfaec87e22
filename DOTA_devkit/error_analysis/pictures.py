"""Pictures of what is wrong in an image: each kind of error in its own color."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DOTA_devkit.error_analysis.kinds import ErrorKind
from DOTA_devkit.error_analysis.losses import ErrorAnalysis
from DOTA_devkit.error_analysis.worst_images import NOT_FOUND, ImageErrors
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import ReadOptions, import_cv2, read_image
from DOTA_devkit.previews import SMALL_OBJECT_PX, draw_outline, drawable

ImageReader = Callable[[str], np.ndarray]
"""Image id -> uint8 ``[H, W, 3]`` in BGR; raises an InputError if it cannot be read."""


FOUND = "found"
"""Name of the true positives."""

COLORS: dict[str, tuple[int, int, int]] = {
    FOUND: (60, 200, 60),
    ErrorKind.WRONG_CLASS.value: (255, 150, 0),
    ErrorKind.LOCALIZATION.value: (60, 170, 255),
    ErrorKind.BOTH.value: (150, 100, 255),
    ErrorKind.DUPLICATE.value: (255, 235, 60),
    ErrorKind.BACKGROUND.value: (255, 60, 50),
    NOT_FOUND: (255, 0, 255),
}
"""RGB color of each kind of outline."""

WINDOW_PX = 1024
"""Side of the part of a large image that is shown, at full resolution."""

_SMALL_IMAGE_PX = 512  # images whose sides are at most half of this are enlarged
_MAX_ENLARGEMENT = 4
_MAX_TEXTS = 40  # more of them would hide the image
_FONT_SCALE = 0.45
_JPEG_QUALITY = 85


def read_image_of(images: Mapping[str, Path], options: ReadOptions | None = None) -> ImageReader:
    """Return a function that reads the images of a folder.

    Args:
        images: image id -> file, see `DOTA_devkit.images.find_images`.
        options: how they are read.
    """

    def read(image_id: str) -> np.ndarray:
        if image_id not in images:
            raise InputError(f"image {image_id} was not found")
        return read_image(images[image_id], options)

    return read


@dataclass(frozen=True)
class ErrorPicture:
    """A part of an image with its errors.

    Attributes:
        jpeg: the encoded picture.
        window: left, top, width and height of the part, in pixels of the image.
        size_wh: width and height of the image.
    """

    jpeg: bytes
    window: tuple[int, int, int, int]
    size_wh: tuple[int, int]


@dataclass(frozen=True)
class _Outline:
    corners: np.ndarray
    kind: str
    text: str


def draw_errors(image: np.ndarray, errors: ImageErrors, analysis: ErrorAnalysis) -> ErrorPicture:
    """Draw true positives, errors, and the objects that were not found.

    Of an image with a side of more than `WINDOW_PX` pixels, the part with most errors is drawn.

    Args:
        image: uint8 ``[H, W, 3]`` in BGR.
        errors: what is wrong in it.
        analysis: the analysis that they come from.

    Raises:
        InputError: OpenCV is not installed.
    """
    cv2 = import_cv2()
    outlines = _outlines(errors, analysis)
    size_wh = image.shape[1::-1]
    centers = [one.corners.mean(axis=0) for one in outlines if one.kind != FOUND]
    left, top, width, height = busiest_window(size_wh, np.reshape(centers, (-1, 2)))
    part = image[top : top + height, left : left + width]
    scale = min(_MAX_ENLARGEMENT, max(1, _SMALL_IMAGE_PX // max(part.shape[:2])))
    picture = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    shown = []
    for one in outlines:
        corners = (one.corners - (left, top)) * scale
        small = np.ptp(corners, axis=0).max() < SMALL_OBJECT_PX
        thickness = 1 if small or one.kind == FOUND else 2
        draw_outline(picture, corners, _bgr(one.kind), thickness)
        if one.text and _touches(corners, picture.shape):
            shown.append((corners, one))
    for corners, one in shown if len(shown) <= _MAX_TEXTS else ():
        _write(picture, corners, one)
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return ErrorPicture(data.tobytes(), (left, top, width, height), size_wh)


def busiest_window(
    size_wh: tuple[int, int], centers: np.ndarray, side: int = WINDOW_PX
) -> tuple[int, int, int, int]:
    """Find the part of an image that holds most of some points.

    Args:
        size_wh: width and height of the image.
        centers: ``[N, 2]`` (x, y).
        side: of the part, at most; parts overlap by half of it.

    Returns:
        Left, top, width and height; the first of equal parts, row by row.
    """
    width, height = (min(length, side) for length in size_wh)
    lefts, tops = (
        [*range(0, length - side, side // 2), max(length - side, 0)] for length in size_wh
    )
    # Points outside of the image belong to the part at its border.
    x, y = np.clip(centers, 0, np.subtract(size_wh, 1)).T
    counts = np.array(
        [
            [np.sum((x >= left) & (x < left + width) & (y >= top) & (y < top + height))
             for left in lefts]
            for top in tops
        ]
    )  # fmt: skip
    row, column = np.unravel_index(counts.argmax(), counts.shape)
    return lefts[column], tops[row], width, height


def _outlines(errors: ImageErrors, analysis: ErrorAnalysis) -> list[_Outline]:
    """Return what is drawn of an image, what matters most last and so on top."""
    pool, kinds = analysis.matched.pool, analysis.matched.false_positives
    truth, names = pool.truth, pool.truth.classes
    outlines = [_Outline(pool.corners[k], FOUND, "") for k in errors.hits]
    for k in errors.not_found:
        outlines.append(_Outline(truth.corners[k], NOT_FOUND, names[truth.labels[k]]))
    for k in errors.errors[::-1]:
        kind = list(ErrorKind)[kinds.kinds[k]]
        text = f"{names[pool.labels[k]]} {pool.scores[k]:.2f}"
        if kind is ErrorKind.WRONG_CLASS:
            text += f", is {names[truth.labels[kinds.targets[k]]]}"
        outlines.append(_Outline(pool.corners[k], kind.value, text))
    return outlines


def _bgr(kind: str) -> tuple[int, int, int]:
    red, green, blue = COLORS[kind]
    return blue, green, red


def _touches(corners: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether a box reaches into a picture."""
    return bool((corners.max(axis=0) > 0).all() and (corners.min(axis=0) < shape[1::-1]).all())


def _write(picture: np.ndarray, corners: np.ndarray, outline: _Outline) -> None:
    """Write the text of a box above it, in its color on black, inside of the picture."""
    cv2 = import_cv2()
    text, font = drawable(outline.text), cv2.FONT_HERSHEY_SIMPLEX
    (width, height), _ = cv2.getTextSize(text, font, _FONT_SCALE, 1)
    x, y = corners[corners[:, 1].argmin()]
    x = int(np.clip(x, 0, max(picture.shape[1] - width, 0)))
    y = int(np.clip(y - 3, height, picture.shape[0] - 3))
    cv2.rectangle(picture, (x, y - height - 1), (x + width, y + 3), (0, 0, 0), -1)
    color = _bgr(outline.kind)
    cv2.putText(picture, text, (x, y), font, _FONT_SCALE, color, 1, cv2.LINE_AA)

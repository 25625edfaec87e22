"""Labels drawn on their images, to check a conversion by eye."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from DOTA_devkit.converters.annotation import Annotation
from DOTA_devkit.files import replacing
from DOTA_devkit.imaging import import_cv2, read_image
from DOTA_devkit.progress import progress

_LONGEST_SIDE_PX = 1600
_LEGEND_LINE_PX = 22
SMALL_OBJECT_PX = 40
"""Longer side of an object in a picture, below which a thick outline would hide it."""
_FONT_SCALE = 0.5
_SUBPIXEL_BITS = 4  # fractional bits of drawn positions, for the outlines of small boxes
_SUBPIXELS = 1 << _SUBPIXEL_BITS


def choose_examples(
    annotations: Sequence[Annotation], images: Mapping[str, Path], count: int
) -> list[Annotation]:
    """Choose annotations to draw, spread evenly over those that have objects and an image.

    Args:
        annotations: the annotations of a dataset.
        images: image id -> file.
        count: how many to choose; fewer if there are not as many.
    """
    usable = [a for a in annotations if len(a.labels.names) and a.image_id in images]
    if len(usable) <= count:
        return usable
    return [usable[index] for index in np.linspace(0, len(usable) - 1, count).round().astype(int)]


def preview_files(annotations: Sequence[Annotation], folder: Path) -> list[Path]:
    """Return the files that `draw_previews` writes."""
    return [folder / f"{annotation.image_id}.jpg" for annotation in annotations]


def draw_previews(
    annotations: Sequence[Annotation], images: Mapping[str, Path], folder: Path
) -> list[Path]:
    """Draw the boxes of each annotation on its image, as `<image id>.jpg` in `folder`.

    Args:
        annotations: what to draw.
        images: image id -> file, for all annotations.
        folder: folder to write into.

    Returns:
        The files written.

    Raises:
        InputError: OpenCV is not installed, or an image cannot be read.
    """
    cv2 = import_cv2()
    colors = class_colors({name for a in annotations for name in a.labels.names})
    files = preview_files(annotations, folder)
    for annotation, path in zip(progress(annotations, "drawing"), files, strict=True):
        picture = draw_labels(read_image(images[annotation.image_id]), annotation, colors)
        _, data = cv2.imencode(".jpg", picture)
        with replacing(path, "wb") as file:
            file.write(data.tobytes())
    return files


def class_colors(names: set[str]) -> dict[str, tuple[int, int, int]]:
    """Return a BGR color for each class, with hues spread by the golden ratio."""
    colors = {}
    for index, name in enumerate(sorted(names)):
        red, green, blue = colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.85, 1.0)
        colors[name] = (round(255 * blue), round(255 * green), round(255 * red))
    return colors


def draw_labels(
    image: np.ndarray, annotation: Annotation, colors: Mapping[str, tuple[int, int, int]]
) -> np.ndarray:
    """Draw boxes and, below the image, a legend.

    A dot marks the first corner of each box, a thin outline a difficult or small object.

    Args:
        image: uint8 ``[H, W, 3]`` in BGR.
        annotation: its labels.
        colors: class name -> BGR color.

    Returns:
        A new uint8 image in BGR, downscaled so that no side of the image (without the legend)
        exceeds 1600 pixels.
    """
    cv2 = import_cv2()
    scale = min(1.0, _LONGEST_SIDE_PX / max(image.shape[:2]))
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    legend = _draw_legend(annotation, colors, image.shape[1])
    picture = np.concatenate([image, legend])
    labels = annotation.labels
    corners = labels.corners * scale
    for box, name, difficult in zip(corners, labels.names, labels.difficult, strict=True):
        small = np.ptp(box, axis=0).max() < SMALL_OBJECT_PX
        draw_outline(picture, box, colors[name], 1 if small or difficult else 2)
        x, y = _subpixels(box[0]).tolist()
        radius = (2 if small else 3) * _SUBPIXELS
        cv2.circle(picture, (x, y), radius, colors[name], -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    picture[image.shape[0] :] = legend  # redrawn over boxes that reach below the image
    return picture


def draw_outline(
    picture: np.ndarray, corners: np.ndarray, color: tuple[int, int, int], thickness: int
) -> None:
    """Draw a closed polygon ``[4, 2]``, in pixels of the BGR picture, into it."""
    cv2 = import_cv2()
    points = _subpixels(corners).reshape(-1, 1, 2)
    cv2.polylines(picture, [points], True, color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _subpixels(points: np.ndarray) -> np.ndarray:
    """Convert positions in pixels to the integers that OpenCV draws at."""
    return np.round(points * _SUBPIXELS).clip(-(2**30), 2**30).astype(np.int32)


def _draw_legend(
    annotation: Annotation, colors: Mapping[str, tuple[int, int, int]], width: int
) -> np.ndarray:
    """Draw a strip as wide as the image: image id, then a line per class with its object count."""
    cv2 = import_cv2()
    names = sorted(set(annotation.labels.names))
    strip = np.zeros((_LEGEND_LINE_PX * (len(names) + 1), width, 3), dtype=np.uint8)
    lines = [(f"{annotation.image_id}: {len(annotation.labels.names)} objects", (255, 255, 255))]
    for name in names:
        count = list(annotation.labels.names).count(name)
        lines.append((f"{_class_label(name, colors)}: {count}", colors[name]))
    for row, (text, color) in enumerate(lines):
        cv2.putText(
            strip,
            drawable(text),
            (6, _LEGEND_LINE_PX * (row + 1) - 7),
            cv2.FONT_HERSHEY_SIMPLEX,
            _FONT_SCALE,
            color,
            1,
            cv2.LINE_AA,
        )
    return strip


def drawable(text: str) -> str:
    """Return a text with question marks for what OpenCV cannot draw, which is all but ASCII."""
    return text.encode("ascii", "replace").decode()


def _class_label(name: str, colors: Mapping[str, tuple[int, int, int]]) -> str:
    """Return ASCII text for a class, as OpenCV draws nothing else: its name or its number."""
    return name if name.isascii() else f"class {sorted(colors).index(name)}"

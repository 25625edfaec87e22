"""YOLO-OBB text: `class x1 y1 x2 y2 x3 y3 x4 y4`, normalized by width and height of the image.

The lines of YOLO segmentation, outlines of any number of points, are read as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from DOTA_devkit.converters.annotation import (
    Annotation,
    ObjectRecord,
    build_annotation,
    missing_size_error,
)
from DOTA_devkit.converters.dota import format_number
from DOTA_devkit.converters.rectangles import box_of_outline
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.formats.text import read_lines

_FIELDS = 9
_MIN_FIELDS = 7  # an outline of three points
_COUNTS = {9: "nine"}
_LABELIMG_OBB = " (the format 'labelimg-obb' reads files that begin so)"
_OTHER_LINES = {
    5: " (5 fields are axis-aligned boxes, not YOLO-OBB)",
    6: " (the format 'yolo-xywhr' reads class cx cy w h angle)",
}
# Normalized boxes may reach far beyond the border of a patch, but never as far as this. Values out
# of this range are pixels.
_MIN_NORMALIZED, _MAX_NORMALIZED = -10.0, 10.0


def read_yolo(path: Path | str, size_wh: tuple[int, int], classes: Sequence[str]) -> Annotation:
    """Read one YOLO-OBB file.

    Args:
        path: the label file; its stem is the image id.
        size_wh: width and height of the image in pixels.
        classes: all class names, in the order of the class numbers.

    Returns:
        The labels, in pixels of the image.

    Raises:
        InputError: a line has a wrong number of fields, a class that is not a position in
            `classes`, or corners that are not normalized; the message has file and line.
        OSError: the file cannot be read.
    """
    path = Path(path)
    records = []
    for number, line in enumerate(read_lines(path), 1):
        if fields := line.split():
            records.append(_read_line(fields, f"{path}:{number}", number, size_wh, classes))
    return build_annotation(path, records, size_wh)


def _read_line(
    fields: list[str], where: str, line: int, size_wh: tuple[int, int], classes: Sequence[str]
) -> ObjectRecord:
    if len(fields) < _MIN_FIELDS or len(fields) % 2 == 0:
        raise InputError(
            f"{where}: {len(fields)} fields, expected {_FIELDS}: class x1 y1 x2 y2 x3 y3 x4 y4"
            + (_LABELIMG_OBB if fields == ["YOLO_OBB"] else _OTHER_LINES.get(len(fields), ""))
        )
    values = parse_fields(fields, where, _COUNTS.get(len(fields), f"{len(fields)}"))
    name = class_of(values[0], fields[0], where, classes)
    values = values[1:]
    if not all(_MIN_NORMALIZED <= value <= _MAX_NORMALIZED for value in values):
        raise InputError(
            f"{where}: expected corners normalized by the image size (0 to 1), got "
            f"{' '.join(fields[1:])}"
        )
    corners, fitted = box_of_outline(np.array(values).reshape(-1, 2) * size_wh)
    return ObjectRecord(name=name, corners=corners, difficult=0, line=line, fitted=fitted)


def parse_fields(fields: Sequence[str], where: str, count: str) -> list[float]:
    """Parse the fields of a line; `where` and `count`, the expected number, are for the error.

    Raises:
        InputError: a field is not a number.
    """
    try:
        return list(map(float, fields))
    except ValueError:
        raise InputError(
            f"{where}: expected {count} numbers, got {' '.join(fields)[:80]!r}"
        ) from None


def class_of(label: float, text: str, where: str, classes: Sequence[str]) -> str:
    """Return the class of a number.

    Args:
        label: the number, which some tools write as 3.0 instead of 3.
        text: its text, for the error.
        where: its place, for the error.
        classes: all class names, in the order of their numbers.

    Raises:
        InputError: it is not a position in `classes`.
    """
    if not (math.isfinite(label) and label == int(label) and 0 <= label < len(classes)):
        raise InputError(
            f"{where}: class {text}, expected 0 to {len(classes) - 1} ({', '.join(classes)})"
        )
    return classes[int(label)]


def write_yolo(path: Path | str, annotation: Annotation, classes: Sequence[str]) -> None:
    """Write one line per object.

    The format has no difficulty, so difficult objects become normal ones.

    Args:
        path: the file to write or replace.
        annotation: the labels, with the size of the image.
        classes: all class names, in the order of the class numbers.

    Raises:
        InputError: the size of the image is unknown.
        OSError: the file cannot be written.
    """
    if annotation.size_wh is None:
        raise missing_size_error(annotation)
    with replacing(path, sync=False) as file:
        for corners, name in zip(annotation.labels.corners, annotation.labels.names, strict=True):
            # Eight decimals are a thousandth of a pixel in an image of 100,000 pixels.
            values = " ".join(format_number(v, 8) for v in (corners / annotation.size_wh).ravel())
            file.write(f"{classes.index(name)} {values}\n")


def rejected_by_ultralytics(annotation: Annotation) -> np.ndarray:
    """Find objects that make Ultralytics ignore the whole image.

    It takes the axis-aligned rectangle around the corners, whose center must lie inside the image
    and which must not be larger than the image.

    Args:
        annotation: the labels, with the size of the image.

    Returns:
        Mask ``[N]``.
    """
    size = np.array(annotation.size_wh, dtype=np.float64)
    low, high = annotation.labels.corners.min(axis=1), annotation.labels.corners.max(axis=1)
    center, extent = (low + high) / 2, high - low
    return ((center < 0) | (center > size) | (extent > size)).any(axis=1)

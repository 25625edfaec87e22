"""YOLO text with rotated boxes: `class cx cy w h angle`, normalized, of no single tool.

Center and sides are normalized by width and height of the image before the rotation. The angle
runs clockwise on the screen; its unit is not stored in the file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from DOTA_devkit.converters.annotation import (
    Annotation,
    ObjectRecord,
    build_annotation,
    missing_size_error,
)
from DOTA_devkit.converters.datasets import DEGREES, RADIANS
from DOTA_devkit.converters.dota import format_number
from DOTA_devkit.converters.rectangles import rectangle_around, rotated_corners
from DOTA_devkit.converters.yolo import class_of, parse_fields
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.formats.text import read_lines
from DOTA_devkit.number_ranges import ANGLE, DEGREE_TURN, NumberRange

_NORMALIZED = NumberRange(-10, 10)


def read_yolo_xywhr(
    path: Path | str,
    size_wh: tuple[int, int],
    classes: Sequence[str],
    angle_unit: str = RADIANS,
) -> Annotation:
    """Read one file.

    Args:
        path: the label file; its stem is the image id.
        size_wh: width and height of the image in pixels.
        classes: all class names, in the order of the class numbers.
        angle_unit: unit of the angles.

    Raises:
        InputError: a line has another number of fields than six, a class that is not a position
            in `classes`, sides that are negative or not normalized, or an angle of more than one
            turn; the message has file and line.
        OSError: the file cannot be read.
    """
    path = Path(path)
    records = [
        _read_line(fields, f"{path}:{line}", line, (size_wh, classes, angle_unit))
        for line, text in enumerate(read_lines(path), 1)
        if (fields := text.split())
    ]
    return build_annotation(path, records, size_wh)


def _read_line(
    fields: list[str],
    where: str,
    line: int,
    settings: tuple[tuple[int, int], Sequence[str], str],
) -> ObjectRecord:
    (width, height), classes, angle_unit = settings
    if len(fields) != 6:
        raise InputError(
            f"{where}: {len(fields)} fields, expected 6: class cx cy w h angle"
            + (" (the format 'yolo' reads corners)" if len(fields) == 9 else "")
        )
    label, *box, angle = parse_fields(fields, where, "six")
    name = class_of(label, fields[0], where, classes)
    if not (_NORMALIZED.holds(box).all() and min(box[2:]) >= 0):
        raise InputError(
            f"{where}: expected center and sides normalized by the image size (0 to 1), got "
            f"{' '.join(fields[1:5])}"
        )
    if angle_unit == DEGREES and DEGREE_TURN.holds(angle):
        angle = math.radians(angle)
    elif angle_unit == DEGREES or not ANGLE.holds(angle):
        expected = DEGREE_TURN if angle_unit == DEGREES else ANGLE
        hint = "" if angle_unit == DEGREES else "; if these are degrees, give `angle_unit` degrees"
        raise InputError(f"{where}: expected as angle {expected}, got {fields[5]}{hint}")
    cx, cy, w, h = box
    corners = rotated_corners(cx * width, cy * height, w * width, h * height, angle)
    return ObjectRecord(name, corners, 0, line)


def write_yolo_xywhr(path: Path, annotation: Annotation, classes: Sequence[str]) -> int:
    """Write one line per object, with the angle in radians from 0 to 2 pi.

    Corners that are no rectangle become their smallest one; difficult objects become normal ones.

    Args:
        path: the file to write or replace.
        annotation: the labels, with the size of the image.
        classes: all class names, in the order of the class numbers.

    Returns:
        The number of objects whose corners were no rectangle.

    Raises:
        InputError: the size of the image is unknown.
        OSError: the file cannot be written.
    """
    if annotation.size_wh is None:
        raise missing_size_error(annotation)
    width, height = annotation.size_wh
    fitted = 0
    with replacing(path, sync=False) as file:
        for corners, name in zip(annotation.labels.corners, annotation.labels.names, strict=True):
            (cx, cy, w, h, angle), changed = rectangle_around(corners)
            fitted += changed
            values = (cx / width, cy / height, w / width, h / height, angle)
            text = " ".join(format_number(value, 8) for value in values)
            file.write(f"{classes.index(name)} {text}\n")
    return fitted

"""labelImg_OBB text: a line `YOLO_OBB`, then `class cx cy width height angle` in pixels.

What the tool calls height is the side along the angle, which it makes the longer one, and the
angle, in degrees, runs counterclockwise on the screen (`updatePointsFromOBBInfo` of its
`libs/shape.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from DOTA_devkit.converters.annotation import Annotation, ObjectRecord, build_annotation
from DOTA_devkit.converters.dota import format_number
from DOTA_devkit.converters.rectangles import rectangle_around, rotated_corners
from DOTA_devkit.converters.yolo import class_of, parse_fields
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.formats.text import read_lines, shorten_line
from DOTA_devkit.number_ranges import COORDINATE, DEGREE_TURN

HEADER = "YOLO_OBB"


def read_labelimg_obb(path: Path | str, classes: Sequence[str]) -> Annotation:
    """Read one file.

    Args:
        path: the label file; its stem is the image id.
        classes: all class names, in the order of the class numbers.

    Raises:
        InputError: the header is absent, a line has another number of fields than six, a class
            that is not a position in `classes`, or a value that cannot be; the message has file
            and line.
        OSError: the file cannot be read.
    """
    path = Path(path)
    lines = [(number, text.split()) for number, text in enumerate(read_lines(path), 1)]
    lines = [(number, fields) for number, fields in lines if fields]
    if not lines:
        return build_annotation(path, [])
    number, fields = lines[0]
    if fields != [HEADER]:
        raise InputError(
            f"{path}:{number}: expected the line {HEADER!r} of labelImg_OBB, got "
            f"{shorten_line(' '.join(fields).encode())!r}"
        )
    records = [_read_line(path, number, fields, classes) for number, fields in lines[1:]]
    return build_annotation(path, records)


def _read_line(path: Path, line: int, fields: list[str], classes: Sequence[str]) -> ObjectRecord:
    where = f"{path}:{line}"
    if len(fields) != 6:
        raise InputError(
            f"{where}: {len(fields)} fields, expected 6: class cx cy width height angle"
        )
    label, cx, cy, width, height, angle = parse_fields(fields, where, "six")
    name = class_of(label, fields[0], where, classes)
    if not COORDINATE.holds([cx, cy, width, height]).all() or min(width, height) < 0:
        raise InputError(f"{where}: expected center and sides in pixels, got {fields[1:5]}")
    if not DEGREE_TURN.holds(angle):
        raise InputError(f"{where}: expected as angle {DEGREE_TURN}, got {fields[5]}")
    corners = rotated_corners(cx, cy, height, width, -math.radians(angle))
    return ObjectRecord(name, corners, 0, line)


def write_labelimg_obb(path: Path, annotation: Annotation, classes: Sequence[str]) -> int:
    """Write one file as labelImg_OBB does.

    Corners that are no rectangle become their smallest one; difficult objects become normal ones.

    Args:
        path: the file to write or replace.
        annotation: the labels.
        classes: all class names, in the order of the class numbers.

    Returns:
        The number of objects whose corners were no rectangle.

    Raises:
        OSError: the file cannot be written.
    """
    fitted = 0
    with replacing(path, sync=False) as file:
        file.write(f"{HEADER}\n")
        for corners, name in zip(annotation.labels.corners, annotation.labels.names, strict=True):
            box, changed = rectangle_around(corners)
            fitted += changed
            longer, angle = (box.w, box.degrees) if box.w >= box.h else (box.h, box.degrees + 90)
            values = (box.cx, box.cy, min(box.w, box.h), longer, _tool_angle(angle))
            text = " ".join(format_number(value, 6) for value in values)
            file.write(f"{classes.index(name)} {text}\n")
    return fitted


def _tool_angle(clockwise: float) -> float:
    """Return the angle of the tool, -90 to 90 degrees, of the longer side."""
    return (90 - clockwise) % 180 - 90

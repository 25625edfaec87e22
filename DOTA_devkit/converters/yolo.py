"""YOLO-OBB text: `class x1 y1 x2 y2 x3 y3 x4 y4`, corners as shares of the image's size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from DOTA_devkit.converters.annotation import (
    Annotation,
    ObjectRecord,
    build_annotation,
    size_is_missing,
)
from DOTA_devkit.converters.dota import format_number
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing

FIELDS = 9
# Boxes of patches may reach far over the border, but never as far as this:
# such values are pixels.
LOWEST, HIGHEST = -10.0, 10.0


def read_yolo(path: Path | str, size_wh: tuple[int, int], classes: Sequence[str]) -> Annotation:
    """The labels of one YOLO-OBB file, corners in pixels of an image of `size_wh`.

    Raises InputError with file and line for a wrong number of fields, a class that is no position
    in `classes` and corners that are not normalised.
    """
    path = Path(path)
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if fields := line.split():
            records.append(_read_line(fields, f"{path}:{number}", number, size_wh, classes))
    return build_annotation(path, records, size_wh)


def _read_line(
    fields: list[str], where: str, line: int, size_wh: tuple[int, int], classes: Sequence[str]
) -> ObjectRecord:
    if len(fields) != FIELDS:
        raise InputError(
            f"{where}: {len(fields)} fields, expected {FIELDS}: class x1 y1 x2 y2 x3 y3 x4 y4"
            + (" (5 fields are upright boxes, not YOLO-OBB)" if len(fields) == 5 else "")
        )
    try:
        # Exporters write the class as 3 or 3.0.
        label, *values = map(float, fields)
    except ValueError:
        raise InputError(f"{where}: expected nine numbers, came {' '.join(fields)!r}") from None
    if not (math.isfinite(label) and label == int(label) and 0 <= label < len(classes)):
        raise InputError(
            f"{where}: class {fields[0]}, expected 0 to {len(classes) - 1} ({', '.join(classes)})"
        )
    if not all(LOWEST <= value <= HIGHEST for value in values):
        raise InputError(
            f"{where}: corners are shares of the image's size (0 to 1), came {' '.join(fields[1:])}"
        )
    return ObjectRecord(
        name=classes[int(label)],
        corners=np.array(values).reshape(4, 2) * size_wh,
        difficult=0,
        line=line,
    )


def write_yolo(path: Path | str, annotation: Annotation, classes: Sequence[str]) -> None:
    """One line an object. The format knows no difficulty, so difficult objects look like others.

    Raises InputError where the size of the image is not known.
    """
    if annotation.size_wh is None:
        raise size_is_missing(annotation)
    with replacing(path) as file:
        for corners, name in zip(annotation.labels.corners, annotation.labels.names, strict=True):
            # Eight decimals are a thousandth of a pixel in an image of 100,000.
            values = " ".join(format_number(v, 8) for v in (corners / annotation.size_wh).ravel())
            file.write(f"{classes.index(name)} {values}\n")


def lies_too_far_outside(annotation: Annotation) -> np.ndarray:
    """Which objects [N] make Ultralytics ignore the whole image: it takes the upright rectangle
    around the corners, whose centre must lie inside and which must be no larger than the image."""
    size = np.array(annotation.size_wh, dtype=np.float64)
    low, high = annotation.labels.corners.min(axis=1), annotation.labels.corners.max(axis=1)
    centre, extent = (low + high) / 2, high - low
    return ((centre < 0) | (centre > size) | (extent > size)).any(axis=1)

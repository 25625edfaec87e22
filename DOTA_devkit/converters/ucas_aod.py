"""UCAS-AOD text: `x1 y1 x2 y2 x3 y3 x4 y4 theta x y width height`, the class is the folder's name.

Theta and what follows are the same box once more, and are not read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from DOTA_devkit.converters.annotation import Annotation, ObjectRecord, build_annotation
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats.text import read_lines
from DOTA_devkit.xml_tree import parse_number

CLASS_FOLDERS = ("CAR", "PLANE")
FIELDS = 13


def read_ucas_aod(path: Path | str) -> Annotation:
    """Read one file of the folder CAR or PLANE, or one whose lines begin with the class.

    Args:
        path: the label file; its stem is the image id.

    Raises:
        InputError: a line has another number of fields, or a coordinate that is not a number; the
            message has file and line. Also if neither the folder nor the line gives the class.
        OSError: the file cannot be read.
    """
    path = Path(path)
    records = [
        _record(path, line, fields)
        for line, text in enumerate(read_lines(path), 1)
        if (fields := text.split())
    ]
    return build_annotation(path, records)


def _record(path: Path, line: int, fields: list[str]) -> ObjectRecord:
    where = f"{path}:{line}"
    if len(fields) == FIELDS + 1:
        name, fields = fields[0], fields[1:]
    elif len(fields) != FIELDS:
        raise InputError(
            f"{where}: {len(fields)} fields, expected {FIELDS}: "
            "x1 y1 x2 y2 x3 y3 x4 y4 theta x y width height"
        )
    elif path.absolute().parent.name.upper() in CLASS_FOLDERS:
        name = path.absolute().parent.name.lower()
    else:
        raise InputError(
            f"{where}: expected the class as the name of the folder ({' or '.join(CLASS_FOLDERS)}) "
            f"or as the first field, got the folder {path.absolute().parent.name!r}"
        )
    numbers = [parse_number(field, f"{where}: a coordinate") for field in fields[:8]]
    return ObjectRecord(name, np.array(numbers).reshape(4, 2), 0, line)

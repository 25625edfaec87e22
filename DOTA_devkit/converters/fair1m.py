"""FAIR1M XML (also AIR-SARShip and other data of the Gaofen challenges): `points` of an outline."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from DOTA_devkit.converters.annotation import (
    Annotation,
    ObjectRecord,
    build_annotation,
)
from DOTA_devkit.converters.rectangles import box_of_outline
from DOTA_devkit.converters.rolabelimg import size_of
from DOTA_devkit.errors import InputError
from DOTA_devkit.xml_tree import XmlElement, parse_number, read_xml

PIXEL = "pixel"


def read_fair1m(path: Path | str) -> Annotation:
    """Read one file.

    Spaces in class names become dashes, as in the names of DOTA ("Dry-Cargo-Ship").

    Args:
        path: the XML file; its stem is the image id.

    Raises:
        InputError: the file is another one, its points are no pixels, or a tag is absent or not
            what was expected; the message has file and line.
        OSError: the file cannot be read.
    """
    root = read_xml(path)
    if root.tag != "annotation":
        raise InputError(f"{root.where}: expected <annotation> (FAIR1M), got <{root.tag}>")
    records = [
        _record(element)
        for objects in root.children
        if objects.tag == "objects"
        for element in objects.children
        if element.tag == "object"
    ]
    if not records and root.find("object") is not None:
        raise InputError(f"{root.where}: expected <objects> (FAIR1M), got <object>")
    return build_annotation(Path(path), records, size_of(root))


def _record(element: XmlElement) -> ObjectRecord:
    unit = element.find("coordinate")
    if unit is not None and unit.text != PIXEL:
        raise InputError(f"{unit.where}: expected coordinates in 'pixel', got {unit.text[:40]!r}")
    place = element.required("points")
    points = [_point(child) for child in place.children if child.tag == "point"]
    if len(points) < 3:
        raise InputError(f"{place.where}: expected at least 3 points, got {len(points)}")
    corners, fitted = box_of_outline(np.array(points))
    name = element.required("possibleresult").required_text("name")
    return ObjectRecord("-".join(name.split()), corners, 0, element.line, fitted=fitted)


def _point(point: XmlElement) -> list[float]:
    parts = point.text.split(",")
    if len(parts) != 2:
        raise InputError(f"{point.where}: expected <point> as x,y, got {point.text[:40]!r}")
    return [parse_number(part.strip(), f"{point.where}: a coordinate") for part in parts]

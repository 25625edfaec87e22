"""roLabelImg XML: oriented `robndbox` and axis-aligned `bndbox`, also mixed in one file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from DOTA_devkit.converters.annotation import (
    Annotation,
    ObjectRecord,
    build_annotation,
    rotated_corners,
)
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import xml_hint
from DOTA_devkit.file_names import check_class_name
from DOTA_devkit.number_ranges import ANGLE, DIFFICULTY, NumberRange
from DOTA_devkit.xml_tree import XmlElement, read_xml

BOX_FIELDS = {
    "robndbox": ("cx", "cy", "w", "h", "angle"),
    "bndbox": ("xmin", "ymin", "xmax", "ymax"),
}
BOX_TAGS = tuple(BOX_FIELDS)

# Fields beside the box in which other tools keep its angle or its outline.
_SHAPE_FIELDS = ("angle", "rotation", "theta", "polygon", "points", "segmentation")
_DEGREES = NumberRange(-360, 360, "degrees")


def read_rolabelimg(path: Path | str) -> Annotation:
    """Read one roLabelImg (or plain LabelImg / VOC) file.

    A <bndbox> is turned by the attribute "rotation" of CVAT. Other fields that may change a box are
    an error, as they are not read.

    The image id is the stem of the XML file, as the `filename` tag often has no suffix or is
    outdated.

    Args:
        path: the XML file.

    Returns:
        The labels, with the size of the image if the file has it.

    Raises:
        InputError: a tag is missing, a value is not a finite number, a box has an unknown type, or
            an object has a field that may change its box and is not read; the message has file and
            line.
        OSError: the file cannot be read.
    """
    root = read_xml(path)
    if root.tag != "annotation":
        raise InputError(
            f"{root.where}: expected <annotation> (roLabelImg), got <{root.tag}>"
            + ("; the format 'hrsc' reads it" if root.tag == "HRSC_Image" else xml_hint(root.tag))
        )
    size = root.find("size")
    size_wh = None
    if size is not None:
        width, height = size.number("width", 0), size.number("height", 0)
        size_wh = (round(width), round(height)) if width > 0 and height > 0 else None
    records = [_read_object(element) for element in root.iter("object")]
    return build_annotation(Path(path), records, size_wh)


def _read_object(element: XmlElement) -> ObjectRecord:
    name = element.required_text("name")
    check_class_name(name, element.required("name").where)
    return ObjectRecord(
        name=name,
        corners=_read_box(element),
        difficult=int(element.number("difficult", 0, DIFFICULTY)),
        line=element.line,
    )


def _read_box(element: XmlElement) -> np.ndarray:
    """Return the corners [4, 2] of an <object>; if it has both boxes, its <type> decides."""
    kind = element.find("type")
    if kind is not None and kind.text and kind.text not in BOX_TAGS:
        raise InputError(
            f"{kind.where}: <type> is {kind.text!r}, allowed are {' and '.join(BOX_TAGS)}"
        )
    tags = [tag for tag in BOX_TAGS if element.find(tag) is not None]
    if not tags:
        raise InputError(f"{element.where}: <object> has neither <robndbox> nor <bndbox>")
    tag = kind.text if kind is not None and kind.text in tags else tags[0]
    box = element.required(tag)
    _refuse_other_shapes(element, box)
    if tag == "robndbox":
        w, h = box.number("w"), box.number("h")
        if w < 0 or h < 0:
            raise InputError(f"{box.where}: <robndbox> has the size {w:g} x {h:g}")
        angle = box.number("angle", allowed=ANGLE)
        return rotated_corners(box.number("cx"), box.number("cy"), w, h, angle)
    left, right = sorted((box.number("xmin"), box.number("xmax")))
    top, bottom = sorted((box.number("ymin"), box.number("ymax")))
    if degrees := _rotation(element):
        center, size = ((left + right) / 2, (top + bottom) / 2), (right - left, bottom - top)
        return rotated_corners(*center, *size, math.radians(degrees))
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _rotation(element: XmlElement) -> float:
    """Return the rotation of an <object> in degrees, clockwise about the center of its box.

    CVAT exports a rotated rectangle to VOC as an upright <bndbox> with an attribute "rotation".
    """
    for attributes in element.children:
        for attribute in attributes.children if attributes.tag == "attributes" else ():
            name = attribute.find("name")
            if name is not None and name.text == "rotation":
                return attribute.number("value", allowed=_DEGREES)
    return 0.0


def _refuse_other_shapes(element: XmlElement, box: XmlElement) -> None:
    """Refuse an <object> with fields that are not read and would change its box.

    Raises:
        InputError: there is such a field, or one of the box is absent; the message has file and
            line.
    """
    fields = BOX_FIELDS[box.tag]
    for name in fields:
        box.required(name)
    unknown = [c for c in box.children if c.tag not in fields and (c.text or c.children)]
    if unknown:
        raise InputError(
            f"{unknown[0].where}: <{box.tag}> has <{unknown[0].tag}>, which may change the box and "
            f"is not read; expected {', '.join(f'<{name}>' for name in fields)}"
        )
    for child in element.children:
        # An angle of 0 changes nothing.
        if child.tag in _SHAPE_FIELDS and (child.children or child.text.strip("0.")):
            raise InputError(
                f"{child.where}: <object> has <{child.tag}>, which may change the box and is not "
                f"read; expected the whole box in <{box.tag}>"
            )
    if box.tag == "robndbox" and _rotation(element):
        raise InputError(
            f"{element.where}: <object> has a <robndbox> and the attribute rotation as well; "
            "expected one of them"
        )

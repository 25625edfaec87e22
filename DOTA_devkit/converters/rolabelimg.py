"""roLabelImg XML: oriented `robndbox` and axis-aligned `bndbox`, also mixed in one file.

Plain LabelImg and Pascal VOC files, which have `bndbox` alone, are a part of this format.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from DOTA_devkit.converters.annotation import (
    Annotation,
    ObjectRecord,
    build_annotation,
    missing_size_error,
    size_from,
)
from DOTA_devkit.converters.datasets import DEGREES, RADIANS, Target
from DOTA_devkit.converters.dota import format_number
from DOTA_devkit.converters.rectangles import rectangle_around, rotated_corners, upright_corners
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import xml_hint
from DOTA_devkit.files import replacing
from DOTA_devkit.number_ranges import ANGLE, DEGREE_TURN, DIFFICULTY
from DOTA_devkit.xml_tree import XmlElement, read_xml

BOX_FIELDS = {
    "robndbox": ("cx", "cy", "w", "h", "angle"),
    "bndbox": ("xmin", "ymin", "xmax", "ymax"),
}
BOX_TAGS = tuple(BOX_FIELDS)

# Fields beside the box in which other tools keep its angle or its outline.
_SHAPE_FIELDS = ("angle", "rotation", "theta", "polygon", "points", "segmentation")


def read_rolabelimg(path: Path | str, angle_unit: str = RADIANS) -> Annotation:
    """Read one roLabelImg (or plain LabelImg / VOC) file.

    A <bndbox> is turned by the attribute "rotation" of CVAT. Other fields that may change a box are
    an error, as they are not read.

    The image id is the stem of the XML file, as the `filename` tag often has no suffix or is
    outdated.

    Args:
        path: the XML file.
        angle_unit: unit of <angle>: the tool writes radians, other code degrees at times.

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
    return voc_annotation(path, root, lambda element: _read_box(element, angle_unit))


def voc_annotation(
    path: Path | str, root: XmlElement, corners_of: Callable[[XmlElement], np.ndarray]
) -> Annotation:
    """Read the objects of an XML file in the style of Pascal VOC, whose boxes differ by tool.

    Args:
        path: the XML file; its stem is the image id.
        root: its root element.
        corners_of: reads the corners ``[4, 2]`` of an <object>.

    Raises:
        InputError: a tag is missing or not what was expected; the message has file and line.
    """
    records = [
        ObjectRecord(
            name=element.required_text("name"),
            corners=corners_of(element),
            difficult=int(element.number("difficult", 0, DIFFICULTY)),
            line=element.line,
        )
        for element in root.iter("object")
    ]
    return build_annotation(Path(path), records, size_of(root))


def size_of(root: XmlElement) -> tuple[int, int] | None:
    """Return the size of the image in <size>, None if it is absent or 0."""
    size = root.find("size")
    return None if size is None else size_from(size.number("width", 0), size.number("height", 0))


def _read_box(element: XmlElement, angle_unit: str) -> np.ndarray:
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
        return rotated_corners(box.number("cx"), box.number("cy"), w, h, _angle(box, angle_unit))
    left, right = sorted((box.number("xmin"), box.number("xmax")))
    top, bottom = sorted((box.number("ymin"), box.number("ymax")))
    if degrees := _rotation(element):
        center, size = ((left + right) / 2, (top + bottom) / 2), (right - left, bottom - top)
        return rotated_corners(*center, *size, math.radians(degrees))
    return upright_corners(left, top, right, bottom)


def _angle(box: XmlElement, angle_unit: str) -> float:
    """Return the angle of a <robndbox> in radians."""
    if angle_unit == DEGREES:
        return math.radians(box.number("angle", allowed=DEGREE_TURN))
    try:
        return box.number("angle", allowed=ANGLE)
    except InputError as error:
        if DEGREE_TURN.holds(_float(box.required_text("angle"))):
            raise InputError(
                f"{error}; if the angles of these files are degrees, give `angle_unit` degrees"
            ) from None
        raise


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _rotation(element: XmlElement) -> float:
    """Return the rotation of an <object> in degrees, clockwise about the center of its box.

    CVAT exports a rotated rectangle to VOC as an upright <bndbox> with an attribute "rotation".
    """
    for attributes in element.children:
        for attribute in attributes.children if attributes.tag == "attributes" else ():
            name = attribute.find("name")
            if name is not None and name.text == "rotation":
                return attribute.number("value", allowed=DEGREE_TURN)
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


def write_rolabelimg(path: Path, annotation: Annotation, target: Target) -> int:
    """Write one file as roLabelImg does, with a `robndbox` for every object.

    Corners that are no rectangle become their smallest one.

    Args:
        path: the file to write or replace.
        annotation: the labels, with the size of the image.
        target: has the file names of the images.

    Returns:
        The number of objects whose corners were no rectangle.

    Raises:
        InputError: the size of the image is unknown.
        OSError: the file cannot be written.
    """
    if annotation.size_wh is None:
        raise missing_size_error(annotation)
    width, height = annotation.size_wh
    labels, fitted = annotation.labels, 0
    with replacing(path, sync=False) as file:
        file.write(
            '<annotation verified="no">\n'
            f"  <filename>{escape(target.file_name(annotation))}</filename>\n"
            f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n"
            "  <segmented>0</segmented>\n"
        )
        for corners, name, difficult in zip(
            labels.corners, labels.names, labels.difficult, strict=True
        ):
            box, changed = rectangle_around(corners)
            fitted += changed
            fields = "".join(
                f"<{tag}>{format_number(value, decimals)}</{tag}>"
                for tag, value, decimals in zip(
                    BOX_FIELDS["robndbox"], box, (4, 4, 4, 4, 8), strict=True
                )
            )
            file.write(
                f"  <object><type>robndbox</type><name>{escape(name)}</name>"
                "<pose>Unspecified</pose><truncated>0</truncated>"
                f"<difficult>{difficult}</difficult><robndbox>{fields}</robndbox></object>\n"
            )
        file.write("</annotation>\n")
    return fitted

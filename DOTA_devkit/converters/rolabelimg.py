"""roLabelImg XML: oriented `robndbox` and axis-aligned `bndbox`, also mixed in one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from DOTA_devkit.converters.annotation import (
    Annotation,
    ObjectRecord,
    build_annotation,
    rotated_corners,
)
from DOTA_devkit.errors import InputError
from DOTA_devkit.xml_tree import XmlElement, read_xml

BOX_TAGS = ("robndbox", "bndbox")


def read_rolabelimg(path: Path | str) -> Annotation:
    """Read one roLabelImg (or plain LabelImg / VOC) file.

    The image id is the stem of the XML file, as the `filename` tag often has no suffix or is
    outdated.

    Args:
        path: the XML file.

    Returns:
        The labels, with the size of the image if the file has it.

    Raises:
        InputError: a tag is missing, a value is not a finite number, or a box has an unknown type;
            the message has file and line.
        OSError: the file cannot be read.
    """
    root = read_xml(path)
    if root.tag != "annotation":
        raise InputError(
            f"{root.where}: expected <annotation> (roLabelImg), got <{root.tag}>"
            + ("; the format 'hrsc' reads it" if root.tag == "HRSC_Image" else "")
        )
    size = root.find("size")
    size_wh = None
    if size is not None:
        width, height = size.number("width", 0), size.number("height", 0)
        size_wh = (round(width), round(height)) if width > 0 and height > 0 else None
    records = [_read_object(element) for element in root.iter("object")]
    return build_annotation(Path(path), records, size_wh)


def _read_object(element: XmlElement) -> ObjectRecord:
    return ObjectRecord(
        name=element.required_text("name"),
        corners=_read_box(element),
        difficult=int(element.number("difficult", 0)),
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
    if tag == "robndbox":
        w, h = box.number("w"), box.number("h")
        if w < 0 or h < 0:
            raise InputError(f"{box.where}: <robndbox> has the size {w:g} x {h:g}")
        return rotated_corners(box.number("cx"), box.number("cy"), w, h, box.number("angle"))
    left, right = sorted((box.number("xmin"), box.number("xmax")))
    top, bottom = sorted((box.number("ymin"), box.number("ymax")))
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])

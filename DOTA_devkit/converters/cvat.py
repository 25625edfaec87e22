"""CVAT XML 1.1 "for images": one file for all images, with boxes that may be rotated.

Polygons and masks are read as well.

A box is rotated by `rotation` degrees clockwise on the screen, about its center. CVAT turns a photo
as its EXIF data says before it shows it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from DOTA_devkit.converters.annotation import (
    Annotation,
    Attribute,
    ObjectRecord,
    build_annotation,
    count_classes,
    file_name_of,
    missing_size_error,
    size_from,
)
from DOTA_devkit.converters.datasets import Target
from DOTA_devkit.converters.dota import format_number
from DOTA_devkit.converters.rectangles import (
    box_of_outline,
    exact_rectangle,
    rotated_corners,
    upright_corners,
)
from DOTA_devkit.converters.rle import corners_of_runs
from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import map_collecting
from DOTA_devkit.files import replacing
from DOTA_devkit.number_ranges import DEGREE_TURN, NumberRange
from DOTA_devkit.xml_tree import XmlElement, parse_number, read_xml

_RUN = NumberRange(0, 2**30, "pixels", whole=True)
_TRUE = ("1", "true")
_DIFFICULT, _OCCLUDED = "difficult", "occluded"
_NO_SHAPES = ("tag", "attribute")  # of the image as a whole


def read_cvat(path: Path | str) -> list[Annotation]:
    """Read one file.

    Args:
        path: the XML file.

    Returns:
        The annotations in the order of the file's images. An attribute `difficult` becomes the
        difficulty; shapes other than boxes, polygons and masks are in `left_out`.

    Raises:
        InputError: the file is another one, or a value is absent or not what was expected; the
            message has file and line.
        OSError: the file cannot be read.
    """
    root = read_xml(path)
    if root.tag != "annotations":
        raise InputError(f"{root.where}: expected <annotations> (CVAT), got <{root.tag}>")
    track = root.find("track")
    if track is not None:
        raise InputError(
            f"{track.where}: expected the export 'CVAT for images 1.1', got 'CVAT for video'; "
            "export the task again"
        )
    images = [element for element in root.children if element.tag == "image"]
    return map_collecting(_image, images, "images")


def _image(image: XmlElement) -> Annotation:
    records, left_out = [], []
    for shape in image.children:
        if shape.tag in ("box", "polygon", "mask"):
            records.append(_record(shape))
        elif shape.tag not in _NO_SHAPES:
            left_out.append(f"{shape.where} (<{shape.tag}>)")
    return build_annotation(
        image.path,
        records,
        size_from(image.attribute_number("width", 0), image.attribute_number("height", 0)),
        file_name_of(image.attribute("name"), image.where),
        left_out=left_out,
    )


def _record(shape: XmlElement) -> ObjectRecord:
    corners, fitted = _corners(shape)
    attributes: dict[str, Attribute] = {
        child.attribute("name"): child.text for child in shape.children if child.tag == "attribute"
    }
    difficult = str(attributes.pop(_DIFFICULT, "")).lower() in _TRUE
    if shape.attributes.get(_OCCLUDED) == "1":
        attributes[_OCCLUDED] = True
    return ObjectRecord(
        name=shape.attribute("label"),
        corners=corners,
        difficult=int(difficult),
        line=shape.line,
        attributes=attributes,
        fitted=fitted,
    )


def _corners(shape: XmlElement) -> tuple[np.ndarray, bool]:
    """Return the corners [4, 2] of a shape, and whether they are its smallest rectangle."""
    if shape.tag == "mask":
        return box_of_outline(_mask_outline(shape))
    if shape.tag == "polygon":
        pairs = [text.split(",") for text in shape.attribute("points").split(";") if text.strip()]
        if len(pairs) < 3 or any(len(pair) != 2 for pair in pairs):
            raise InputError(
                f"{shape.where}: expected 'points' as x,y;x,y;x,y;..., got "
                f"{shape.attribute('points')[:60]!r}"
            )
        points = [
            [parse_number(part, f"{shape.where}: a coordinate in 'points'") for part in pair]
            for pair in pairs
        ]
        return box_of_outline(np.array(points))
    left, top, right, bottom = (
        shape.attribute_number(name) for name in ("xtl", "ytl", "xbr", "ybr")
    )
    degrees = shape.attribute_number("rotation", 0, DEGREE_TURN)
    if not degrees:
        return upright_corners(left, top, right, bottom), False
    center = (left + right) / 2, (top + bottom) / 2
    sides = abs(right - left), abs(bottom - top)
    return rotated_corners(*center, *sides, math.radians(degrees)), False


def _mask_outline(mask: XmlElement) -> np.ndarray:
    """Return points whose convex hull is that of a mask, whose runs go along its rows."""
    left, top, width, height = (
        mask.attribute_number(name) for name in ("left", "top", "width", "height")
    )
    runs = [
        parse_number(part, f"{mask.where}: a run in 'rle'", _RUN)
        for part in mask.attribute("rle").split(",")
    ]
    if width < 1 or width != int(width) or sum(runs) != width * height:
        raise InputError(
            f"{mask.where}: expected runs in 'rle' that make {width:g} x {height:g} pixels, got "
            f"{sum(runs):g} pixels"
        )
    points = corners_of_runs([int(run) for run in runs], int(width))
    if not len(points):
        raise InputError(f"{mask.where}: expected a mask with pixels, got an empty one")
    return points[:, ::-1] + (left, top)


def write_cvat(path: Path, annotations: Sequence[Annotation], target: Target) -> None:
    """Write the file of all images, with a box for every rectangle and a polygon for other corners.

    Args:
        path: the file to write or replace.
        annotations: the labels of all images, with sizes.
        target: has the file names of the images.

    Raises:
        InputError: the size of an image is unknown.
        OSError: the file cannot be written.
    """
    for annotation in annotations:
        if annotation.size_wh is None:
            raise missing_size_error(annotation)
    with replacing(path) as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
        file.write("  <version>1.1</version>\n  <meta><task><labels>\n")
        for name in sorted(count_classes(annotations)):
            file.write(f"    <label><name>{escape(name)}</name></label>\n")
        file.write("  </labels></task></meta>\n")
        for number, annotation in enumerate(annotations):
            width, height = annotation.size_wh
            name = quoteattr(target.file_name(annotation))
            file.write(f'  <image id="{number}" name={name} width="{width}" height="{height}">\n')
            _write_shapes(file, annotation)
            file.write("  </image>\n")
        file.write("</annotations>\n")


def _write_shapes(file: IO[str], annotation: Annotation) -> None:
    labels = annotation.labels
    for corners, name, difficult, score, attributes in zip(
        labels.corners,
        labels.names,
        labels.difficult,
        annotation.scores,
        annotation.attributes,
        strict=True,
    ):
        occluded = int(attributes.get(_OCCLUDED) is True)
        source = "manual" if np.isnan(score) else "auto"  # the format has no place for the score
        common = f'label={quoteattr(name)} source="{source}" occluded="{occluded}"'
        box = exact_rectangle(corners)
        if box is None:
            tag = "polygon"
            points = ";".join(",".join(format_number(v, 4) for v in xy) for xy in corners)
            shape = f'points="{points}"'
        else:
            tag = "box"
            edges = (
                box.cx - box.w / 2, box.cy - box.h / 2, box.cx + box.w / 2, box.cy + box.h / 2,
            )  # fmt: skip
            values = [format_number(value, 4) for value in edges]
            sides = zip(("xtl", "ytl", "xbr", "ybr"), values, strict=True)
            shape = " ".join(f'{side}="{value}"' for side, value in sides)
            shape += f' rotation="{format_number(box.degrees, 6)}"'
        file.write(f'    <{tag} {common} {shape} z_order="0">\n')
        own = dict(attributes) if not difficult else {**attributes, _DIFFICULT: "true"}
        _write_attributes(file, own)
        file.write(f"    </{tag}>\n")


def _write_attributes(file: IO[str], attributes: Mapping[str, Attribute]) -> None:
    for key, value in attributes.items():
        if key != _OCCLUDED:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            file.write(f"      <attribute name={quoteattr(key)}>{escape(text)}</attribute>\n")

"""labelme JSON, one file an image, as labelme, AnyLabeling and X-AnyLabeling write it.

Shapes of three points or more are outlines (polygon; rotation and quadrilateral of X-AnyLabeling),
a rectangle has two opposite corners or four. Both tools show a photo turned as its EXIF data says.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from DOTA_devkit.converters.annotation import (
    Annotation,
    Attribute,
    ObjectRecord,
    attributes_of,
    build_annotation,
    missing_size_error,
    size_of_members,
)
from DOTA_devkit.converters.datasets import Target
from DOTA_devkit.converters.rectangles import box_of_outline, exact_rectangle, upright_corners
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.json_tree import JsonValue, read_json
from DOTA_devkit.number_ranges import SCORE

OUTLINES = ("polygon", "rotation", "quadrilateral", "oriented_rectangle")
_DIFFICULT = "difficult"
_OWN_FIELDS = ("description", "group_id")  # fields of a shape that come back as they were


def read_labelme(path: Path | str) -> Annotation:
    """Read one file; its stem is the image id, as `imagePath` is outdated in moved folders.

    Args:
        path: the JSON file.

    Returns:
        The labels, with the size of the image if the file has it. Shapes that are neither outlines
        nor rectangles (points, lines, circles, masks) are in `left_out`.

    Raises:
        InputError: a value is absent or not what was expected; the message has the file and the
            place in it.
        OSError: the file cannot be read.
    """
    root = read_json(path)
    records, left_out = [], []
    for number, shape in enumerate(root.required("shapes").elements(), 1):
        kind = shape.find("shape_type")
        kind_name = "polygon" if kind is None else kind.text()
        if kind_name in OUTLINES or kind_name == "rectangle":
            records.append(_record(shape, kind_name, number))
        else:
            left_out.append(f"{shape.where} ({kind_name})")
    width, height = root.find("imageWidth"), root.find("imageHeight")
    size_wh = size_of_members(width, height)
    return build_annotation(root.path, records, size_wh, places="shape", left_out=left_out)


def _record(shape: JsonValue, kind: str, number: int) -> ObjectRecord:
    place = shape.required("points")
    points = place.points()
    if kind == "rectangle" and len(points) == 2:
        corners, fitted = upright_corners(*points.ravel().tolist()), False
    elif len(points) < 3:
        raise InputError(f"{place.where}: expected at least 3 points, got {len(points)}")
    else:
        corners, fitted = box_of_outline(points)
    flags = attributes_of(shape.find("flags"))
    attributes = {
        **attributes_of(shape.find("attributes")),
        **{key: True for key, value in flags.items() if value is True},
    }
    for key in _OWN_FIELDS:
        if (field := shape.find(key)) is not None and field.value != "":
            attributes.update(attributes_of(JsonValue(field.path, field.place, {key: field.value})))
    difficult = attributes.pop(_DIFFICULT, False) is True or _is_true(shape.find(_DIFFICULT))
    score = shape.find("score")
    return ObjectRecord(
        name=shape.required("label").text(),
        corners=corners,
        difficult=int(difficult),
        line=number,
        score=np.nan if score is None else score.number(SCORE),
        attributes=attributes,
        fitted=fitted,
    )


def _is_true(flag: JsonValue | None) -> bool:
    """Read a flag, which scripts sometimes write as text."""
    if flag is not None and flag.value not in (True, False, "true", "false"):
        raise flag.error("true or false")
    return flag is not None and flag.value in (True, "true")


def write_labelme(path: Path, annotation: Annotation, target: Target) -> None:
    """Write one file with polygons of four points, which labelme and X-AnyLabeling show.

    Args:
        path: the file to write or replace.
        annotation: the labels, with the size of the image.
        target: has the files of the images.

    Raises:
        InputError: the size of the image is unknown.
        OSError: the file cannot be written.
    """
    _write(path, annotation, target, rotations=False)


def write_xanylabeling(path: Path, annotation: Annotation, target: Target) -> None:
    """Write one file as `write_labelme`, with a `rotation` for every box that is a rectangle."""
    _write(path, annotation, target, rotations=True)


def _write(path: Path, annotation: Annotation, target: Target, rotations: bool) -> None:
    if annotation.size_wh is None:
        raise missing_size_error(annotation)
    labels = annotation.labels
    shapes = [
        _shape(
            name,
            labels.corners[index],
            int(labels.difficult[index]),
            float(annotation.scores[index]),
            annotation.attributes[index],
            rotations,
        )
        for index, name in enumerate(labels.names)
    ]
    document = {
        "version": "5.4.1",  # of labelme, whose files have been of this kind since 5.0
        "flags": {},
        "shapes": shapes,
        "imagePath": _image_path(path, annotation, target),
        "imageData": None,
        "imageHeight": annotation.size_wh[1],
        "imageWidth": annotation.size_wh[0],
    }
    with replacing(path, sync=False) as file:
        file.write(json.dumps(document, ensure_ascii=False))


def _shape(
    name: str,
    corners: np.ndarray,
    difficult: int,
    score: float,
    attributes: dict[str, Attribute],
    rotations: bool,
) -> dict[str, Any]:
    flags = {key: value for key, value in attributes.items() if value is True}
    others = {
        key: value
        for key, value in attributes.items()
        if key not in flags and key not in _OWN_FIELDS
    }
    shape: dict[str, Any] = {
        "label": name,
        "points": corners.tolist(),
        "group_id": attributes.get("group_id"),
        "description": attributes.get("description", ""),
        "shape_type": "polygon",
        "flags": flags,
        _DIFFICULT: bool(difficult),
    }
    if others:
        shape["attributes"] = others
    if not np.isnan(score):
        shape["score"] = score
    box = exact_rectangle(corners) if rotations else None
    if box is not None:
        shape["shape_type"], shape["direction"] = "rotation", box.angle
    return shape


def _image_path(path: Path, annotation: Annotation, target: Target) -> str:
    """Return the path of the image from the folder of the label file, where the tool looks."""
    image = target.images.get(annotation.image_id)
    if image is None:
        return target.file_name(annotation)
    folder, label_folder = image.absolute().parent, path.absolute().parent
    if folder == label_folder:
        return image.name
    if folder.parent == label_folder.parent:
        return f"../{folder.name}/{image.name}"
    return str(image.absolute())

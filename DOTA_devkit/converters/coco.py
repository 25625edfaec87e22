"""COCO JSON: one file for all images, written with the four corners as `segmentation`.

Of each object the first of these is read: a `bbox` of five numbers (center, sides and angle); the
`segmentation` (polygons, or a mask as run lengths); the `bbox` of four numbers, turned by the
attribute `rotation` of CVAT. The angle is in degrees counterclockwise on the screen, as in
Detectron2, or in radians clockwise, as in MMRotate.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from DOTA_devkit.converters.annotation import (
    Annotation,
    ObjectRecord,
    attributes_of,
    build_annotation,
    file_name_of,
    missing_size_error,
    size_of_members,
)
from DOTA_devkit.converters.datasets import DEGREES
from DOTA_devkit.converters.rectangles import (
    box_of_outline,
    box_of_outlines,
    rectangle_around,
    rotated_corners,
    upright_corners,
)
from DOTA_devkit.converters.rle import mask_outline
from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import map_collecting
from DOTA_devkit.files import replacing
from DOTA_devkit.json_tree import JsonValue, read_json
from DOTA_devkit.number_ranges import ANGLE, DEGREE_TURN, DIFFICULTY, SCORE
from DOTA_devkit.polygon import polygon_area

_DETECTRON2_ROTATED = 4  # `BoxMode.XYWHA_ABS`


def coco_dict(
    annotations: Sequence[Annotation],
    classes: Sequence[str],
    file_names: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Build the COCO dictionary of a dataset: `images`, `annotations`, `categories`; ids from 1.

    Of each object, `segmentation` has the eight corner coordinates (which rotated detectors read),
    `bbox` the axis-aligned rectangle around them (x, y, w, h), `area` the area of the oriented box
    and `difficult` the difficulty, a key that COCO itself lacks; `score` and `attributes` are there
    if the object has them.

    Args:
        annotations: the labels of all images, with sizes.
        classes: all class names, in the order of their category ids.
        file_names: image id -> file name; ``<id>.png`` for ids without an entry.

    Returns:
        The dictionary, ready for json.

    Raises:
        InputError: the size of an image is unknown.
    """
    file_names = file_names or {}
    category_ids = {name: number for number, name in enumerate(classes, 1)}
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for image_number, annotation in enumerate(annotations, 1):
        if annotation.size_wh is None:
            raise missing_size_error(annotation)
        images.append(
            {
                "id": image_number,
                "file_name": file_names.get(
                    annotation.image_id, annotation.file_name or f"{annotation.image_id}.png"
                ),
                "width": annotation.size_wh[0],
                "height": annotation.size_wh[1],
            }
        )
        objects += _coco_objects(annotation, category_ids, image_number, len(objects) + 1)
    return {
        "images": images,
        "annotations": objects,
        "categories": [
            {"id": number, "name": name, "supercategory": name}
            for name, number in category_ids.items()
        ],
    }


def _coco_objects(
    annotation: Annotation, category_ids: Mapping[str, int], image_number: int, first_id: int
) -> list[dict[str, Any]]:
    labels = annotation.labels
    low, high = labels.corners.min(axis=1), labels.corners.max(axis=1)
    boxes = [[*xy, *wh] for xy, wh in zip(low.tolist(), (high - low).tolist(), strict=True)]
    areas = polygon_area(labels.corners).tolist()
    objects: list[dict[str, Any]] = []
    for index, name in enumerate(labels.names):
        found: dict[str, Any] = {
            "id": first_id + index,
            "image_id": image_number,
            "category_id": category_ids[name],
            "segmentation": [labels.corners[index].ravel().tolist()],
            "bbox": boxes[index],
            "area": areas[index],
            "iscrowd": 0,
            "difficult": int(labels.difficult[index]),
        }
        if not np.isnan(annotation.scores[index]):
            found["score"] = float(annotation.scores[index])
        if annotation.attributes[index]:
            found["attributes"] = dict(annotation.attributes[index])
        objects.append(found)
    return objects


def write_coco(
    path: Path | str,
    annotations: Sequence[Annotation],
    classes: Sequence[str],
    file_names: Mapping[str, str] | None = None,
) -> None:
    """Write a dataset as COCO json in UTF-8.

    Args:
        path: the file to write or replace.
        annotations: as for `coco_dict`.
        classes: as for `coco_dict`.
        file_names: as for `coco_dict`.

    Raises:
        InputError: the size of an image is unknown.
        OSError: the file cannot be written.
    """
    data = coco_dict(annotations, classes, file_names)
    with replacing(path) as file:
        file.write(json.dumps(data, ensure_ascii=False))  # several times as fast as dump


def write_rotated_coco(
    path: Path | str,
    annotations: Sequence[Annotation],
    classes: Sequence[str],
    file_names: Mapping[str, str] | None = None,
) -> int:
    """Write a dataset as COCO json with rotated boxes, as Detectron2 reads them.

    The `bbox` of an object has center, sides and the angle in degrees, counterclockwise on the
    screen from -180 to 180; there is no `segmentation`. Corners that are no rectangle become their
    smallest one.

    Args:
        path: the file to write or replace.
        annotations: as for `coco_dict`.
        classes: as for `coco_dict`.
        file_names: as for `coco_dict`.

    Returns:
        The number of objects whose corners were no rectangle.

    Raises:
        InputError: the size of an image is unknown.
        OSError: the file cannot be written.
    """
    data = coco_dict(annotations, classes, file_names)
    corners = (box for annotation in annotations for box in annotation.labels.corners)
    fitted = 0
    for item, four in zip(data["annotations"], corners, strict=True):
        box, changed = rectangle_around(four)
        fitted += changed
        del item["segmentation"]
        angle = (180 - box.degrees) % 360 - 180
        item["bbox"], item["bbox_mode"] = [*box[:4], angle], _DETECTRON2_ROTATED
        item["area"] = box.w * box.h
    with replacing(path) as file:
        file.write(json.dumps(data, ensure_ascii=False))
    return fitted


def read_coco(path: Path | str, angle_unit: str | None = None) -> list[Annotation]:
    """Read one file.

    Args:
        path: the JSON file.
        angle_unit: unit of the angles of rotated boxes, which the file itself shows if they are of
            Detectron2 (`bbox_mode` 4), larger than a turn in radians, or all 0.

    Returns:
        The annotations in the order of the file's images; `lines` of their labels are the places
        of the objects in `annotations`, from 1.

    Raises:
        InputError: a value is absent or not what was expected, an id is unknown or there twice, or
            the unit of angles is unknown; the message has the file and the places in it.
        OSError: the file cannot be read.
    """
    root = read_json(path)
    names = {key: item.required("name").text() for key, item in _by_id(root.required("categories"))}
    images = dict(_by_id(root.required("images")))
    records: dict[int | str, list[ObjectRecord]] = {key: [] for key in images}
    items = root.required("annotations").elements()
    angle_unit = angle_unit or _unit_of_angles(items)

    def add(numbered: tuple[int, JsonValue]) -> None:
        number, item = numbered
        image, category = item.required("image_id"), item.required("category_id")
        if image.key() not in records:
            raise image.error("the id of an image")
        if category.key() not in names:
            raise category.error("the id of a category")
        records[image.key()].append(_record(item, names[category.key()], number, angle_unit))

    map_collecting(add, enumerate(items, 1), "objects")
    return map_collecting(
        lambda key: _annotation(root.path, images[key], records[key]), images, "images"
    )


def coco_classes(path: Path | str) -> tuple[str, ...]:
    """Return the categories of a file in the order of their ids, each name once.

    Raises:
        InputError: as `read_coco`.
        OSError: the file cannot be read.
    """
    items = sorted(_by_id(read_json(path).required("categories")), key=lambda one: str(one[0]))
    items.sort(key=lambda one: one[0] if isinstance(one[0], int) else math.inf)
    return tuple(dict.fromkeys(item.required("name").text() for _, item in items))


def _by_id(items: JsonValue) -> list[tuple[int | str, JsonValue]]:
    seen: dict[int | str, JsonValue] = {}
    for item in items.elements():
        key = item.required("id")
        if seen.setdefault(key.key(), item) is not item:
            raise key.error("an id that no other has")
    return list(seen.items())


def _annotation(path: Path, image: JsonValue, records: list[ObjectRecord]) -> Annotation:
    name = image.required("file_name")
    width, height = image.find("width"), image.find("height")
    size_wh = size_of_members(width, height)
    file_name = file_name_of(name.text(), name.where)
    return build_annotation(path, records, size_wh, file_name, places="object")


def _unit_of_angles(items: Iterable[JsonValue]) -> str:
    """Return the unit of the angles of rotated boxes.

    Raises:
        InputError: the file does not state it.
    """
    unclear = None
    for item in items:
        box, mode = item.find("bbox"), item.find("bbox_mode")
        if box is None or not isinstance(box.value, list) or len(box.value) != 5:
            continue
        angle = box.numbers()[4]
        if (mode is not None and mode.value == _DETECTRON2_ROTATED) or not ANGLE.holds(angle):
            return DEGREES
        if angle:
            unclear = unclear or box
    if unclear is not None:
        raise InputError(
            f"{unclear.where}: expected an angle whose unit is clear, got {unclear.value[4]:g}; "
            "give `angle_unit` degrees (counterclockwise, as in Detectron2) or radians (clockwise, "
            "as in MMRotate)"
        )
    return DEGREES


def _record(item: JsonValue, name: str, number: int, angle_unit: str) -> ObjectRecord:
    corners, fitted = _corners(item, angle_unit)
    flags = [flag for key in ("difficult", "ignore", "iscrowd") if (flag := item.find(key))]
    difficult = max(
        (flag.value if isinstance(flag.value, bool) else flag.number(DIFFICULTY) for flag in flags),
        default=0,
    )
    score = item.find("score")
    return ObjectRecord(
        name=name,
        corners=corners,
        difficult=int(difficult),
        line=number,
        score=np.nan if score is None else score.number(SCORE),
        attributes=attributes_of(item.find("attributes")),
        fitted=fitted,
    )


def _corners(item: JsonValue, angle_unit: str) -> tuple[np.ndarray, bool]:
    """Return the corners [4, 2] of an object, and whether they are its smallest rectangle."""
    box, outline = item.find("bbox"), item.find("segmentation")
    numbers = None if box is None else box.numbers()
    if numbers is not None and len(numbers) == 5:
        cx, cy, w, h, _ = numbers.tolist()
        angle = box.elements()[4].number(DEGREE_TURN if angle_unit == DEGREES else ANGLE)
        angle = -math.radians(angle) if angle_unit == DEGREES else angle
        return rotated_corners(cx, cy, w, h, angle), False
    if outline is not None and outline.value:
        return _outline(outline)
    if numbers is None or len(numbers) != 4:
        raise InputError(
            f"{(box or item).where}: expected a segmentation, or a bbox of 4 or 5 numbers"
        )
    left, top, w, h = numbers.tolist()
    attributes = item.find("attributes")
    turn = attributes.find("rotation") if attributes else None
    degrees = 0.0 if turn is None else turn.number(DEGREE_TURN)
    if degrees:
        return rotated_corners(left + w / 2, top + h / 2, w, h, math.radians(degrees)), False
    return upright_corners(left, top, left + w, top + h), False


def _outline(outline: JsonValue) -> tuple[np.ndarray, bool]:
    if isinstance(outline.value, dict):
        return box_of_outline(mask_outline(outline))
    parts = []
    for part in outline.elements():
        numbers = part.numbers()
        if len(numbers) < 6 or len(numbers) % 2:
            raise InputError(
                f"{part.where}: expected x and y of at least 3 points, got {len(numbers)} numbers"
            )
        parts.append(numbers.reshape(-1, 2))
    return box_of_outlines(parts)

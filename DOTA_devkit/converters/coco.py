"""COCO json, with the four corners of an oriented box as its `segmentation`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from DOTA_devkit.converters.annotation import (
    Annotation,
    ObjectRecord,
    build_annotation,
    missing_size_error,
)
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_names import check_class_name, check_image_id
from DOTA_devkit.files import replacing
from DOTA_devkit.formats import Labels
from DOTA_devkit.formats.text import read_utf8
from DOTA_devkit.number_ranges import COORDINATE, DIFFICULTY, NumberRange
from DOTA_devkit.polygon import polygon_area

_ID = NumberRange(0, 2**53, whole=True)
_SIDE = NumberRange(1, 1e9, "pixels", whole=True)


def coco_dict(
    annotations: Sequence[Annotation],
    classes: Sequence[str],
    file_names: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Build the COCO dictionary of a dataset: `images`, `annotations`, `categories`; ids from 1.

    Of each object, `segmentation` has the eight corner coordinates (which rotated detectors read),
    `bbox` the axis-aligned rectangle around them (x, y, w, h), `area` the area of the oriented box
    and `difficult` the difficulty, a key that COCO itself lacks.

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
                "file_name": file_names.get(annotation.image_id, f"{annotation.image_id}.png"),
                "width": annotation.size_wh[0],
                "height": annotation.size_wh[1],
            }
        )
        objects += _coco_objects(annotation.labels, category_ids, image_number, len(objects) + 1)
    return {
        "images": images,
        "annotations": objects,
        "categories": [
            {"id": number, "name": name, "supercategory": name}
            for name, number in category_ids.items()
        ],
    }


def _coco_objects(
    labels: Labels, category_ids: Mapping[str, int], image_number: int, first_id: int
) -> list[dict[str, Any]]:
    low, high = labels.corners.min(axis=1), labels.corners.max(axis=1)
    boxes = [[*xy, *wh] for xy, wh in zip(low.tolist(), (high - low).tolist(), strict=True)]
    areas = polygon_area(labels.corners).tolist()
    return [
        {
            "id": first_id + index,
            "image_id": image_number,
            "category_id": category_ids[name],
            "segmentation": [labels.corners[index].ravel().tolist()],
            "bbox": boxes[index],
            "area": areas[index],
            "iscrowd": 0,
            "difficult": int(labels.difficult[index]),
        }
        for index, name in enumerate(labels.names)
    ]


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
        json.dump(data, file, ensure_ascii=False)


def read_coco(path: Path | str) -> list[Annotation]:
    """Read a file that `write_coco` wrote, or one of another tool with oriented boxes.

    Args:
        path: the json file. Each object needs a `segmentation` of one polygon of four corners;
            without the key `difficult` it is not difficult.

    Returns:
        The annotations in the order of the file's images; `lines` of their labels are object ids.

    Raises:
        InputError: the file is not COCO json, or an entry of it is missing, has another type or is
            out of its range; the message has the file and the place in it.
        OSError: the file cannot be read.
    """
    path = Path(path)
    content = _Entry(_parse_json(path), f"{path}:")
    names = {
        category.number("id", _ID): category.class_name()
        for category in content.entries("categories")
    }
    images = content.entries("images")
    image_numbers = [image.number("id", _ID) for image in images]
    records: dict[int, list[ObjectRecord]] = {number: [] for number in image_numbers}
    if len(records) < len(images):
        raise InputError(f"{path}: expected each id in images once, got one repeatedly")
    for item in content.entries("annotations"):
        image = item.reference("image_id", records, "images")
        image.append(
            ObjectRecord(
                name=item.reference("category_id", names, "categories"),
                corners=item.corners(),
                difficult=item.number("difficult", DIFFICULTY, default=0),
                line=item.number("id", _ID),
            )
        )
    return [
        replace(
            build_annotation(
                path, records[number], (image.number("width", _SIDE), image.number("height", _SIDE))
            ),
            image_id=image.image_id(),
        )
        for number, image in zip(image_numbers, images, strict=True)
    ]


def _parse_json(path: Path) -> object:
    text = read_utf8(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: expected COCO json, got {error.msg}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, nested too deeply
        found = "numbers or lists that have no end"
        raise InputError(f"{path}: expected COCO json, got {found}") from None


class _Entry:
    """A dictionary in a json file, whose values are checked when they are read.

    Attributes:
        where: file and place in it, for errors.
    """

    def __init__(self, values: object, where: str) -> None:
        if not isinstance(values, dict):
            raise InputError(f"{where} expected a dictionary, got {_brief(values)}")
        self._values, self.where = values, where

    def entries(self, key: str) -> list[_Entry]:
        """Return the dictionaries in a list."""
        values = self._required(key)
        if not isinstance(values, list):
            raise self._wrong(key, "a list", values)
        return [
            _Entry(value, f"{self.where} {key}[{index}]:") for index, value in enumerate(values)
        ]

    def number(self, key: str, allowed: NumberRange, default: int | None = None) -> int:
        """Return a whole number in a range."""
        if default is not None and key not in self._values:
            return default
        value = self._required(key)
        if not _is_number(value, allowed):
            raise self._wrong(key, str(allowed), value)
        return int(value)

    def reference(self, key: str, targets: Mapping[int, Any], name: str) -> Any:
        """Return the target of an id."""
        number = self.number(key, _ID)
        if number not in targets:
            raise self._wrong(key, f"one of the ids in {name}", number)
        return targets[number]

    def class_name(self) -> str:
        """Return the name of a category."""
        name = self._text("name")
        check_class_name(name, self.where.removesuffix(":"))
        return name

    def image_id(self) -> str:
        """Return the name of an image file, without folder and suffix."""
        image_id = Path(self._text("file_name")).stem
        check_image_id(image_id, self.where.removesuffix(":"))
        return image_id

    def corners(self) -> np.ndarray:
        """Return the corners [4, 2] of an object."""
        value = self._required("segmentation")
        polygon = value[0] if isinstance(value, list) and len(value) == 1 else None
        if not isinstance(polygon, list) or len(polygon) != 8:
            expected = "a list with one polygon of 8 coordinates (the 4 corners of an oriented box)"
            raise self._wrong("segmentation", expected, value)
        for number in polygon:
            if not _is_number(number, COORDINATE):
                raise self._wrong("segmentation", f"coordinates of {COORDINATE}", number)
        return np.array(polygon, np.float64).reshape(4, 2)

    def _text(self, key: str) -> str:
        value = self._required(key)
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(key, "a text", value)
        return value

    def _required(self, key: str) -> object:
        if key not in self._values:
            found = ", ".join(map(repr, list(self._values)[:10])) or "nothing"
            raise InputError(f"{self.where} expected the key {key!r}, got {found[:200]}")
        return self._values[key]

    def _wrong(self, key: str, expected: str, value: object) -> InputError:
        return InputError(f"{self.where} {key}: expected {expected}, got {_brief(value)}")


def _is_number(value: object, allowed: NumberRange) -> bool:
    # In Python's own numbers, which have no largest one.
    if type(value) not in (int, float) or not allowed.low <= value <= allowed.high:
        return False
    return not allowed.whole or value == int(value)


def _brief(value: object) -> str:
    if isinstance(value, (list, dict)):
        return f"a {'list' if isinstance(value, list) else 'dictionary'} of {len(value)} entries"
    text = repr(value) if type(value) is not int or abs(value) < 10**40 else "a huge number"
    return text if len(text) <= 80 else f"{text[:77]}..."

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
from DOTA_devkit.files import replacing
from DOTA_devkit.formats import Labels
from DOTA_devkit.polygon import polygon_area


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
    """Read a file that `write_coco` wrote.

    Args:
        path: the json file.

    Returns:
        The annotations in the order of the file's images; `lines` of their labels are object ids.
    """
    path = Path(path)
    data = json.loads(path.read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in data["categories"]}
    records: dict[int, list[ObjectRecord]] = {image["id"]: [] for image in data["images"]}
    for item in data["annotations"]:
        records[item["image_id"]].append(
            ObjectRecord(
                name=names[item["category_id"]],
                corners=np.array(item["segmentation"][0]).reshape(4, 2),
                difficult=item["difficult"],
                line=item["id"],
            )
        )
    return [
        replace(
            build_annotation(path, records[image["id"]], (image["width"], image["height"])),
            image_id=Path(image["file_name"]).stem,
        )
        for image in data["images"]
    ]

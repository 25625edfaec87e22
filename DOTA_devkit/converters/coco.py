"""Labels -> COCO json, turned boxes as the four corners of `segmentation`."""

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
    size_is_missing,
)
from DOTA_devkit.files import replacing
from DOTA_devkit.polygon import polygon_area


def coco_dict(
    annotations: Sequence[Annotation],
    classes: Sequence[str],
    file_names: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The COCO form of a set: `images`, `annotations`, `categories`, all ids from 1.

    `segmentation` holds the eight corner values of the box (what rotated detectors read), `bbox`
    the upright rectangle around it (x, y, w, h), `area` the area of the turned box, `difficult`
    the label's difficulty (COCO itself has no such key). `file_names` gives the image's file for
    its id; without an entry it is `<id>.png`.
    Raises InputError where the size of an image is not known.
    """
    file_names = file_names or {}
    category_ids = {name: number for number, name in enumerate(classes, 1)}
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for image_number, annotation in enumerate(annotations, 1):
        if annotation.size_wh is None:
            raise size_is_missing(annotation)
        images.append(
            {
                "id": image_number,
                "file_name": file_names.get(annotation.image_id, f"{annotation.image_id}.png"),
                "width": annotation.size_wh[0],
                "height": annotation.size_wh[1],
            }
        )
        labels = annotation.labels
        low, high = labels.corners.min(axis=1), labels.corners.max(axis=1)
        boxes = [[*xy, *wh] for xy, wh in zip(low.tolist(), (high - low).tolist(), strict=True)]
        areas = polygon_area(labels.corners).tolist()
        for index, name in enumerate(labels.names):
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": image_number,
                    "category_id": category_ids[name],
                    "segmentation": [labels.corners[index].ravel().tolist()],
                    "bbox": boxes[index],
                    "area": areas[index],
                    "iscrowd": 0,
                    "difficult": int(labels.difficult[index]),
                }
            )
    return {
        "images": images,
        "annotations": objects,
        "categories": [
            {"id": number, "name": name, "supercategory": name}
            for name, number in category_ids.items()
        ],
    }


def write_coco(
    path: Path | str,
    annotations: Sequence[Annotation],
    classes: Sequence[str],
    file_names: Mapping[str, str] | None = None,
) -> None:
    """Write `coco_dict(...)` as UTF-8 json."""
    data = coco_dict(annotations, classes, file_names)
    with replacing(path) as file:
        json.dump(data, file, ensure_ascii=False)


def read_coco(path: Path | str) -> list[Annotation]:
    """The annotations in a file that `write_coco` wrote, by image id; `lines` are object ids."""
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

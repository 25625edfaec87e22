"""Label Studio JSON: tasks with rectangles that may be rotated, and polygons, in percent.

A rectangle is turned by `rotation` degrees clockwise on the screen, about its top left corner; x
and width are in percent of the image's width, y and height in percent of its height. The browser
shows a photo turned as its EXIF data says.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from DOTA_devkit.converters.annotation import (
    Annotation,
    ObjectRecord,
    build_annotation,
    file_name_of,
    missing_size_error,
)
from DOTA_devkit.converters.datasets import Source, Target
from DOTA_devkit.converters.rectangles import box_of_outline, exact_rectangle, rotated_corners
from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import map_collecting
from DOTA_devkit.files import replacing
from DOTA_devkit.images import IMAGE_SUFFIXES
from DOTA_devkit.imaging import image_size_wh
from DOTA_devkit.json_tree import JsonValue, read_json
from DOTA_devkit.number_ranges import DEGREE_TURN, SCORE, NumberRange

_PERCENT = NumberRange(-1000, 1000, "percent")
_SIDE = NumberRange(1, 2**30, whole=True)
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # put before the names of uploaded files
# Results that are no shapes; "labels" has the class of the rectangle or polygon of the same id.
_NO_SHAPES = ("choices", "taxonomy", "textarea", "rating", "number", "labels", "relation")
ANNOTATIONS, PREDICTIONS = "annotations", "predictions"


def read_label_studio(path: Path | str, source: Source) -> list[Annotation]:
    """Read one file: the export "JSON" or "JSON-MIN", or tasks with predictions.

    Args:
        path: the JSON file.
        source: has the images, by whose names the prefix of uploaded files is recognized.

    Returns:
        The annotations in the order of the tasks. Of a task with several, it is the one that is the
        ground truth; of one without, its prediction.

    Raises:
        InputError: a value is absent or not what was expected, or a task has several annotations
            or predictions of which none is the ground truth; the message has the file and the place
            in it.
        OSError: the file cannot be read.
    """
    root = read_json(path)
    tasks = [root] if isinstance(root.value, dict) else root.elements()
    return map_collecting(lambda task: _task(task, source.images), tasks, "tasks")


def _task(task: JsonValue, images: Mapping[str, Path]) -> Annotation:
    records, left_out, sizes = [], [], set()
    file_name = _file_name(task, images)
    image = images.get(Path(file_name).stem)
    regions = _regions(task)
    names = _names_by_id(regions)
    for number, region in enumerate(regions, 1):
        value = region.find("value") or region
        kind = region.find("type")
        if kind is not None and kind.value in _NO_SHAPES:
            continue
        if not _is_outline(value):
            left_out.append(region.where)
            continue
        size_wh = _size_wh(region, image)
        sizes.add(size_wh)
        records.append(_record(region, value, names, number, size_wh))
    if len(sizes) > 1:
        raise InputError(f"{task.where}: expected one size of the image, got {sorted(sizes)}")
    size_wh = next(iter(sizes), None)
    return build_annotation(
        task.path, records, size_wh, file_name, f"{task.place} region".strip(), left_out
    )


def _is_outline(value: JsonValue) -> bool:
    """Return whether a value is a polygon or a rectangle; an ellipse has radii, a mask `rle`."""
    return value.find("points") is not None or (
        value.find("width") is not None and value.find("height") is not None
    )


def _size_wh(region: JsonValue, image: Path | None) -> tuple[int, int]:
    """Return the size that a region is in percent of; that of the image if the region has none."""
    if region.find("original_width") is None and image is not None:
        return image_size_wh(image)
    width, height = region.required("original_width"), region.required("original_height")
    return int(width.number(_SIDE)), int(height.number(_SIDE))


def _regions(task: JsonValue) -> list[JsonValue]:
    """Return the results of the annotation of a task, else of its prediction."""
    if task.find(ANNOTATIONS) is None and task.find(PREDICTIONS) is None:
        return _regions_of_min_export(task)
    for key in (ANNOTATIONS, PREDICTIONS):
        member = task.find(key)
        found = [] if member is None else member.elements()
        found = [one for one in found if not _is_true(one, "was_cancelled")]
        if len(found) > 1:
            found = [one for one in found if _is_true(one, "ground_truth")] or found
        if len(found) > 1:
            raise InputError(
                f"{task.where}: expected one of the {key}, got {len(found)}; mark one as ground "
                "truth, or delete the others"
            )
        if found:
            return found[0].required("result").elements()
    return []


def _regions_of_min_export(task: JsonValue) -> list[JsonValue]:
    """Return the results of "JSON-MIN", where the members of a task have the names of its tags."""
    return [
        region
        for key, value in task.value.items()
        if isinstance(value, list)
        for region in task.required(key).elements()
        if isinstance(region.value, dict) and "original_width" in region.value
    ]


def _is_true(item: JsonValue, key: str) -> bool:
    flag = item.find(key)
    return flag is not None and flag.value is True


def _names_by_id(regions: Sequence[JsonValue]) -> dict[int | str, str]:
    """Return region id -> class; a region may have its class in a result of its own."""
    names = {}
    for region in regions:
        label = _label(region.find("value") or region)
        identity = region.find("id")
        if label is not None and identity is not None:
            names[identity.key()] = label
    return names


def _label(value: JsonValue) -> str | None:
    """Return the class in `rectanglelabels`, `polygonlabels`, `labels` or a key like these."""
    for key in value.member_names():
        if key.endswith("labels") and (member := value.find(key)) is not None:
            labels = member.elements()
            if len(labels) != 1:
                raise InputError(f"{member.where}: expected one class, got {len(labels)}")
            return labels[0].text()
    return None


def _record(
    region: JsonValue,
    value: JsonValue,
    names: Mapping[int | str, str],
    number: int,
    size_wh: tuple[int, int],
) -> ObjectRecord:
    turn, identity, score = region.find("image_rotation"), region.find("id"), region.find("score")
    if turn is not None and turn.number(DEGREE_TURN):
        raise InputError(
            f"{turn.where}: expected an image that is not turned in Label Studio, got "
            f"{turn.value} degrees"
        )
    name = _label(value) or (names.get(identity.key()) if identity is not None else None)
    if name is None:
        raise InputError(f"{region.where}: expected a class, got a region without a label")
    corners, fitted = _corners(value, size_wh)
    return ObjectRecord(
        name=name,
        corners=corners,
        difficult=0,
        line=number,
        score=np.nan if score is None else score.number(SCORE),
        fitted=fitted,
    )


def _corners(value: JsonValue, size_wh: tuple[int, int]) -> tuple[np.ndarray, bool]:
    """Return the corners [4, 2] of a region, and whether they are its smallest rectangle."""
    place = value.find("points")
    if place is not None:
        points = place.points()
        if len(points) < 3:
            raise InputError(f"{place.where}: expected at least 3 points, got {len(points)}")
        return box_of_outline(points * size_wh / 100)
    x, y, w, h = (
        value.required(key).number(_PERCENT) * side / 100
        for key, side in zip(("x", "y", "width", "height"), size_wh * 2, strict=True)
    )
    turn = value.find("rotation")
    angle = 0.0 if turn is None else math.radians(turn.number(DEGREE_TURN))
    first = rotated_corners(w / 2, h / 2, w, h, angle)
    return first - first[0] + (x, y), False  # turned about the first corner


def _file_name(task: JsonValue, images: Mapping[str, Path]) -> str:
    """Return the file name of the image of a task, without the prefix of an upload.

    Which member of the data is the image, its labeling interface decides: the first that ends like
    one, else `file_upload` if that does, else the one that is called so.
    """
    data = task.find("data") or task
    members = [data.find(key) for key in data.member_names()] + [task.find("file_upload")]
    members = [one for one in members if one is not None and isinstance(one.value, str)]
    names = [(member.where, _name_in_address(member.value)) for member in members]
    found = [one for one in names if one[1].lower().endswith(IMAGE_SUFFIXES)]
    found += [one for one in names if one[0] == f"{data.where}.image" and one[1]]
    if not found:
        raise InputError(f"{data.where}: expected the name of an image, found none")
    where, name = found[0]
    name = file_name_of(name, where)
    bare = _UPLOAD_PREFIX.sub("", name, count=1)
    return bare if Path(bare).stem in images and Path(name).stem not in images else name


def _name_in_address(address: str) -> str:
    """Return the path of a file from a URL, also from one of local storage (``?d=...``)."""
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    return local[0] if local else unquote(parts.path).lstrip("/")


def write_label_studio(path: Path, annotations: Sequence[Annotation], target: Target) -> None:
    """Write the tasks of all images with annotations.

    A rectangle becomes a `rectanglelabels` region named "label", other corners a `polygonlabels`
    region named "polygon"; the image is named "image". The labeling interface of the project needs
    tags of these names. Images are addressed as local files of the storage, by folder and name.

    Args:
        path: the file to write or replace.
        annotations: the labels of all images, with sizes.
        target: has the files of the images.

    Raises:
        InputError: the size of an image is unknown.
        OSError: the file cannot be written.
    """
    _write(path, annotations, target, ANNOTATIONS)


def write_predictions(path: Path, annotations: Sequence[Annotation], target: Target) -> None:
    """Write the tasks of all images with predictions, see `write_label_studio`."""
    _write(path, annotations, target, PREDICTIONS)


def _write(path: Path, annotations: Sequence[Annotation], target: Target, key: str) -> None:
    tasks = []
    for annotation in annotations:
        if annotation.size_wh is None:
            raise missing_size_error(annotation)
        result: dict[str, Any] = {"result": _results(annotation, annotation.size_wh)}
        if key == PREDICTIONS:
            result["model_version"] = target.model_version or "DOTA_devkit"
            known = annotation.scores[~np.isnan(annotation.scores)]
            if len(known):
                result["score"] = float(known.mean())
        image = target.images.get(annotation.image_id)
        folder = f"{image.absolute().parent.name}/" if image else ""
        address = f"/data/local-files/?d={folder}{target.file_name(annotation)}"
        tasks.append({"data": {"image": address}, key: [result]})
    with replacing(path) as file:
        file.write(json.dumps(tasks, ensure_ascii=False))


def _results(annotation: Annotation, size_wh: tuple[int, int]) -> list[dict[str, Any]]:
    results = []
    for index, name in enumerate(annotation.labels.names):
        corners = annotation.labels.corners[index]
        box = exact_rectangle(corners)
        if box is None:
            kind, tag = "polygonlabels", "polygon"
            value: dict[str, Any] = {"points": (corners * 100 / size_wh).tolist(), "closed": True}
        else:
            kind, tag = "rectanglelabels", "label"
            x, y = (box.corners[0] * 100 / size_wh).tolist()
            value = {
                "x": x,
                "y": y,
                "width": box.w * 100 / size_wh[0],
                "height": box.h * 100 / size_wh[1],
                "rotation": box.degrees,
            }
        result = {
            "id": f"{annotation.image_id}-{index}",
            "type": kind,
            "from_name": tag,
            "to_name": "image",
            "original_width": size_wh[0],
            "original_height": size_wh[1],
            "image_rotation": 0,
            "value": {**value, kind: [name]},
        }
        if not np.isnan(annotation.scores[index]):
            result["score"] = float(annotation.scores[index])
        results.append(result)
    return results

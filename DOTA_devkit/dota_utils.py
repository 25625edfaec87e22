"""Helper functions with the interface of the DOTA devkit.

Label and result files are read by `DOTA_devkit.formats`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.formats import DOTA_CLASSES, read_labels, read_task1
from DOTA_devkit.patches import parse_patch_id
from DOTA_devkit.polygon import polygon_area

wordname_15 = list(DOTA_CLASSES["1.0"])
wordname_16 = list(DOTA_CLASSES["1.5"])
wordname_18 = list(DOTA_CLASSES["2.0"])

# Rate of a patch -> the score that `groundtruth2Task1` writes to encode it.
_SCORE_OF_RATE = {0.5: "1", 1.0: "0.8", 2.0: "0.6"}

Point = Sequence[float]


def custombasename(fullname: str | Path) -> str:
    """File name without folder and suffix."""
    return os.path.splitext(os.path.basename(fullname))[0]


def GetFileFromThisRootDir(dir: str | Path, ext: Sequence[str] | str | None = None) -> list[str]:
    """List all files below a folder, sorted.

    Args:
        dir: the folder.
        ext: one suffix or several, with or without the dot; None: all files.

    Returns:
        Their paths.
    """
    wanted = [ext] if isinstance(ext, str) else ext
    files = sorted(
        os.path.join(folder, name) for folder, _, names in os.walk(dir) for name in names
    )
    if wanted is None:
        return files
    suffixes = {suffix.lstrip(".") for suffix in wanted}
    return [file for file in files if os.path.splitext(file)[1][1:] in suffixes]


def parse_dota_poly(filename: str | Path) -> list[dict]:
    """Read the objects of a label file: name, difficult (text), poly (four points), area."""
    labels = read_labels(filename)
    areas = polygon_area(labels.corners).tolist()
    return [
        {"name": name, "difficult": str(difficult), "poly": [tuple(p) for p in poly], "area": area}
        for name, difficult, poly, area in zip(
            labels.names, labels.difficult.tolist(), labels.corners.tolist(), areas, strict=True
        )
    ]


def parse_dota_poly2(filename: str | Path) -> list[dict]:
    """As `parse_dota_poly`, with poly as eight integers x1, y1, ... x4, y4."""
    objects = parse_dota_poly(filename)
    for one in objects:
        one["poly"] = [int(value) for value in TuplePoly2Poly(one["poly"])]
    return objects


def parse_dota_rec(filename: str | Path) -> list[dict]:
    """As `parse_dota_poly`, and with bndbox (xmin, ymin, xmax, ymax)."""
    objects = parse_dota_poly(filename)
    for one in objects:
        one["bndbox"] = dots4ToRec4(one["poly"])
    return objects


def TuplePoly2Poly(poly: Sequence[Point]) -> list[float]:
    """Convert four points to x1, y1, ... x4, y4."""
    return [value for point in poly[:4] for value in point[:2]]


def dots4ToRec4(poly: Sequence[Point]) -> tuple[float, float, float, float]:
    """Convert four points to their bounding rectangle xmin, ymin, xmax, ymax."""
    x, y = zip(*poly[:4], strict=True)
    return min(x), min(y), max(x), max(y)


def dots4ToRec8(poly: Sequence[Point]) -> tuple[float, ...]:
    """Convert four points to the eight coordinates of their bounding rectangle."""
    return dots2ToRec8(dots4ToRec4(poly))


def dots2ToRec8(rec: Sequence[float]) -> tuple[float, ...]:
    """Convert xmin, ymin, xmax, ymax to the rectangle's corners, clockwise on the screen."""
    xmin, ymin, xmax, ymax = rec[:4]
    return xmin, ymin, xmax, ymin, xmax, ymax, xmin, ymax


def groundtruth2Task1(srcpath: str | Path, dstpath: str | Path) -> None:
    """Write the labels of patches as result files ``Task1_CLASS.txt``, except difficulty 2.

    The score encodes the rate of the patch: 1 for 0.5, 0.8 for 1, 0.6 for 2.

    Args:
        srcpath: folder of label files of patches.
        dstpath: folder of result files to write.

    Raises:
        InputError: a label file is not one of a patch at rate 0.5, 1 or 2.
    """
    lines: dict[str, list[str]] = {name: [] for name in wordname_15}
    for path in GetFileFromThisRootDir(srcpath, "txt"):
        patch_id = custombasename(path)
        patch = parse_patch_id(patch_id)
        score = None if patch is None else _SCORE_OF_RATE.get(patch.rate)
        if score is None:
            raise InputError(f"{path}: expected a patch NAME__RATE__X___Y with rate 0.5, 1 or 2")
        for one in parse_dota_poly2(path):
            if one["difficult"] != "2":
                text = " ".join(map(str, one["poly"]))
                lines.setdefault(one["name"], []).append(f"{patch_id} {score} {text}\n")
    for name, results in lines.items():
        with replacing(Path(dstpath) / f"Task1_{name}.txt") as file:
            file.writelines(results)


def Task2groundtruth_poly(srcpath: str | Path, dstpath: str | Path) -> None:
    """Write the detections of Task1 files with scores above 0.1 as one label file per image.

    Args:
        srcpath: folder of result files.
        dstpath: folder of label files to write.
    """
    lines: dict[str, list[str]] = {}
    for path in GetFileFromThisRootDir(srcpath, "txt"):
        class_name = custombasename(path).split("_")[-1]
        detections = read_task1(path)
        for image_id, score, corners in zip(
            detections.image_ids,
            detections.scores,
            detections.corners.reshape(-1, 8).tolist(),
            strict=True,
        ):
            if score > 0.1:
                text = " ".join(f"{value:g}" for value in corners)
                lines.setdefault(image_id, []).append(f"{text} {class_name}\n")
    for image_id, labels in lines.items():
        with replacing(Path(dstpath) / f"{image_id}.txt", sync=False) as file:
            file.writelines(labels)


def polygonToRotRectangle(bbox: Sequence[float]) -> list[float]:
    """Compute the rotated rectangle around a quadrilateral that is aligned with its first edge.

    Args:
        bbox: x1, y1, ... x4, y4.

    Returns:
        [cx, cy, w, h, theta], theta in radians; w and h include the far border.
    """
    points = np.asarray(bbox, np.float32).reshape(4, 2)
    edge = points[1] - points[0]
    angle = math.atan2(-edge[0], edge[1])
    center = points.mean(axis=0)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    width, height = np.ptp((points - center) @ rotation, axis=0) + 1
    return [float(center[0]), float(center[1]), float(width), float(height), angle]


def cal_line_length(point1: Point, point2: Point) -> float:
    """Compute the distance of two points."""
    return math.hypot(point1[0] - point2[0], point1[1] - point2[1])


def get_best_begin_point(coordinate: Sequence[Point]) -> list[list[float]]:
    """Rotate the order of four points to be closest to the corners of their bounding rectangle."""
    xmin, ymin, xmax, ymax = dots4ToRec4(coordinate)
    target = [(xmin, ymin), (xmax, ymin), (xmax, ymax), (xmin, ymax)]
    points = [list(point[:2]) for point in coordinate[:4]]
    rotated = [points[k:] + points[:k] for k in range(4)]
    return min(rotated, key=lambda order: sum(map(cal_line_length, order, target)))

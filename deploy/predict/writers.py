"""The results of a prediction as files: Task1, JSON, CSV, GeoJSON and pictures."""

from __future__ import annotations

import csv
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from deploy.predict.sources import ImageSource
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import remedy, replacing
from structures.detections import Detections
from structures.drawing import write_picture
from structures.task1 import to_task1, write_results

logger = logging.getLogger(__name__)

FORMATS = ("pictures", "task1", "json", "csv", "geojson")

PICTURES = "pictures"
PICTURE_SIDE = 4096
"""The longer side of a picture at most: of larger images it shows an overview."""

PART = 10_000
"""Detections of an image that are turned into text at a time."""

CSV_HEADER = (
    "image", "class", "score", "x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4",
    "cx", "cy", "w", "h", "angle",
)  # fmt: skip


@dataclass(frozen=True)
class Predicted:
    """What was found in one image, in its pixels, and in how many windows it was looked at."""

    source: ImageSource
    detections: Detections
    windows: int


def write_files(
    predicted: Sequence[Predicted],
    faults: Mapping[str, str],
    about: Mapping[str, Any],
    formats: Sequence[str],
    folder: Path,
) -> dict[str, str]:
    """Write the formats asked for into `folder`; results of an earlier run are replaced.

    faults: path -> why an image was left out. about: model and settings, for the JSON file.

    Returns:
        Path -> why an image's picture or place on the map could not be had.

    Raises:
        InputError: a file cannot be written, say for a full disk.
    """
    names = tuple(about["classes"])
    logger.info("writing %s into %s", ", ".join(formats), folder)
    unwritten: dict[str, str] = {}
    with telling_of_full_disks():
        if "task1" in formats:
            found = ((one.source.image_id, one.detections) for one in predicted)
            write_results(to_task1(found, names), folder)
        if "csv" in formats:
            _write_csv(folder / "detections.csv", predicted)
        if "geojson" in formats:
            unwritten |= _write_geojson(folder / "detections.geojson", predicted)
        if "pictures" in formats:
            for one in tqdm(predicted, desc="pictures", unit="image", disable=None):
                try:
                    draw(one, _picture_of(one.source, folder))
                except InputError as error:
                    unwritten[str(one.source.path)] = str(error)
        if "json" in formats:  # the last one, as it names what the others lack
            _write_json(folder / "detections.json", predicted, {**faults, **unwritten}, about)
    return unwritten


def refuse_to_replace(
    paths: Sequence[Path], sources: Sequence[ImageSource], formats: Sequence[str], folder: Path
) -> None:
    """InputError where the picture of a source would take the place of one of the images."""
    if "pictures" not in formats:
        return
    # Not Path.resolve(), which some Pythons end with an error where a link leads to itself.
    images = {os.path.realpath(path) for path in paths}
    for source in sources:
        picture = _picture_of(source, folder)
        if os.path.realpath(picture) in images:
            raise InputError(
                f"--output {folder}: the picture of {source.path} would replace {picture}, one of "
                "the images: give another folder"
            )


def _picture_of(source: ImageSource, folder: Path) -> Path:
    return folder / PICTURES / f"{source.image_id}.jpg"


def draw(one: Predicted, path: Path) -> None:
    """Write a picture of an image with its detections, scaled down where it is large."""
    with one.source.open() as reader:
        image = reader.overview(PICTURE_SIDE)
    width, height = one.source.size_wh
    scale = (image.shape[1] / width, image.shape[0] / height)
    write_picture(path, one.detections.with_corners(one.detections.corners * scale).draw(image))


@contextmanager
def telling_of_full_disks() -> Iterator[None]:
    """An error of the disk as one of the input, with what to do about it."""
    try:
        yield
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise InputError(
            f"cannot write the results{where}: {error.strerror or error}. The detections are "
            f"kept: {remedy(error)} and start the same command again to write them"
        ) from error


def _write_json(
    path: Path,
    predicted: Sequence[Predicted],
    faults: Mapping[str, str],
    about: Mapping[str, Any],
) -> None:
    """Piece by piece, so that no second copy of a long result is held in memory."""
    head = {**about, "left_out": dict(faults)}
    with replacing(path) as file:
        file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "images": [')
        for index, one in enumerate(predicted):
            about_image = {
                "image": one.source.image_id,
                "path": str(one.source.path),
                "width": one.source.size_wh[0],
                "height": one.source.size_wh[1],
                "windows": one.windows,
                "complete": one.detections.complete,
            }
            file.write(",\n" if index else "\n")
            file.write(json.dumps(about_image, ensure_ascii=False)[:-1] + ', "detections": [')
            for number, part in enumerate(parts_of(one.detections)):
                # not json.dump, which encodes piece by piece in Python: a third slower
                rows = json.dumps(_as_json(part), ensure_ascii=False)[1:-1]
                file.write((", " if number else "") + rows)
            file.write("]}")
        file.write("\n]}\n")


def parts_of(found: Detections) -> Iterator[Detections]:
    """The detections, so many at a time that their values as objects take little memory."""
    for start in range(0, len(found), PART):
        yield found[start : start + PART]


def _as_json(found: Detections) -> list[dict[str, Any]]:
    rows = zip(
        found.class_names(), found.labels.tolist(), found.scores.tolist(), found.corners.tolist(),
        found.rectangles().tolist(), strict=True,
    )  # fmt: skip
    return [
        {
            "class": name,
            "label": label,
            "score": round(score, 6),
            "corners": [[round(x, 2), round(y, 2)] for x, y in corners],
            "rectangle": [round(value, 3) for value in rectangle],
        }
        for name, label, score, corners, rectangle in rows
    ]


def _write_csv(path: Path, predicted: Sequence[Predicted]) -> None:
    with replacing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_HEADER)
        for image_id, found in (
            (one.source.image_id, part) for one in predicted for part in parts_of(one.detections)
        ):
            for name, score, corners, rectangle in zip(
                found.class_names(), found.scores.tolist(),
                found.corners.reshape(-1, 8).tolist(), found.rectangles().tolist(), strict=True,
            ):  # fmt: skip
                numbers = [f"{value:.2f}" for value in (*corners, *rectangle)]
                writer.writerow([image_id, name, f"{score:.6f}", *numbers])


def _write_geojson(path: Path, predicted: Sequence[Predicted]) -> dict[str, str]:
    """One FeatureCollection of all images that have coordinates; none of them, no file.

    Returns path -> why an image has no place on the map after all.
    """
    located = [one for one in predicted if one.source.georeference is not None]
    rasters = [one.source for one in predicted if one.source.raster]
    bare = [source.path for source in rasters if source.georeference is None]
    if bare:
        logger.info("no coordinates in %d GeoTIFFs, such as %s, and so not in %s",
                 len(bare), bare[0], path.name)  # fmt: skip
    unwritten = {}
    if not located:
        path.unlink(missing_ok=True)  # that of an earlier run would pass for this one's
        return unwritten
    with replacing(path) as file:
        file.write('{"type": "FeatureCollection", "features": [')
        separator = "\n"
        for one in located:
            outside = 0
            for found in parts_of(one.detections):
                outlines = found.corners.astype(np.float64).reshape(-1, 2)
                places = one.source.georeference.to_lonlat(outlines).reshape(-1, 4, 2)
                there = np.isfinite(places).all(axis=(1, 2))
                outside += np.sum(~there)
                own = found[there].to_geojson(
                    lambda _, on_map=places[there]: on_map, {"image": one.source.image_id}
                )
                for feature in own["features"]:
                    file.write(separator)
                    file.write(json.dumps(feature, ensure_ascii=False, allow_nan=False))
                    separator = ",\n"
            if outside:
                unwritten[str(one.source.path)] = (
                    f"{one.source.path}: {outside} of {len(one.detections)} detections lie "
                    f"outside its map projection, and are not in {path.name}"
                )
        file.write("\n]}\n")
    return unwritten

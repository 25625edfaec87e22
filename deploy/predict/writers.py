"""The results of a prediction as files: Task1, JSON, CSV, GeoJSON, pictures and labels.

All of them are replaced as a whole (`DOTA_devkit.files.replacing`), never written in place.
"""

from __future__ import annotations

import csv
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from deploy.predict.labels import write_labels
from deploy.predict.settings import LABEL_FORMATS, ModelRecord
from deploy.predict.sources import COORDINATES_FROM, ImageSource
from DOTA_devkit.class_thresholds import Thresholds
from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import shorten_faults
from DOTA_devkit.file_names import path_inside
from DOTA_devkit.files import remedy, replacing
from DOTA_devkit.progress import progress
from structures.detections import Detections
from structures.drawing import write_picture
from structures.task1 import to_task1, write_results

logger = logging.getLogger(__name__)

PICTURES = "pictures"
"""Folder of the pictures in that of the results."""

MAX_PICTURE_SIDE_PX = 4096
"""Maximum length of the longer side of a picture; larger images are scaled down."""

DETECTIONS_PER_CHUNK = 10_000
"""Number of detections that are converted to text at a time."""

CSV_HEADER = (
    "image", "class", "score", "x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4",
    "cx", "cy", "w", "h", "angle",
)  # fmt: skip


@dataclass(frozen=True)
class ImageResult:
    """What was found in one image.

    Attributes:
        source: The image.
        detections: In pixels of the image.
        windows: Number of windows that were searched.
    """

    source: ImageSource
    detections: Detections
    windows: int


@dataclass(frozen=True)
class RunInfo:
    """What the files say about a run: the values that were used.

    Attributes:
        classes: Class names in the order of the labels.
        conf_thresh: Score above which detections were kept, or class name -> score.
        nms_thresh: IoU above which detections were suppressed, within each class.
        tile: Width and height of a window in input pixels, None for whole images.
        overlap: Overlap of neighboring windows in input pixels.
        scales: Input pixels per source pixel, one pass over the image for each.
        gsd: Ground sampling distance in meters per pixel, None where images were not rescaled.
        model: The model, None where it is not known.
        finds_rectangles: Whether its boxes are rectangles, so that labels are rectangles as well.
        agnostic_nms_thresh: IoU above which those of other classes were suppressed as well, None
            for none.
    """

    classes: tuple[str, ...]
    conf_thresh: Thresholds
    nms_thresh: float
    tile: tuple[int, int] | None
    overlap: int
    scales: tuple[float, ...]
    gsd: float | None = None
    model: ModelRecord | None = None
    finds_rectangles: bool = False
    agnostic_nms_thresh: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the entries of the JSON file, in their order."""
        return {
            **(self.model.to_json() if self.model else {}),
            "classes": list(self.classes),
            "conf_thresh": self.conf_thresh,
            "nms_thresh": self.nms_thresh,
            "agnostic_nms_thresh": self.agnostic_nms_thresh,
            "tile": self.tile,
            "overlap": self.overlap,
            "scales": self.scales,
            "gsd": self.gsd,
        }


@dataclass(frozen=True)
class Results:
    """What the files are made of.

    Attributes:
        images: The images with their detections.
        faults: Path -> why an image was left out, or is missing in some of the files.
        info: Model and settings.
    """

    images: Sequence[ImageResult]
    faults: Mapping[str, str]
    info: RunInfo


def write_files(results: Results, formats: Sequence[str], folder: Path) -> dict[str, str]:
    """Write the formats asked for into a folder; results of an earlier run are replaced.

    Args:
        results: What is written.
        formats: Names out of `WRITERS`.
        folder: Folder of the results.

    Returns:
        Path -> why an image's picture or its coordinates are missing.

    Raises:
        InputError: A file cannot be written, because the disk is full for example.
    """
    logger.info("writing %s into %s", ", ".join(formats), folder)
    unwritten: dict[str, str] = {}
    with translate_disk_errors():
        for name, write in WRITERS.items():
            if name in formats:
                complete = replace(results, faults={**results.faults, **unwritten})
                unwritten |= write(complete, folder)
    for text in unwritten.values():
        logger.warning("incomplete: %s", text)
    return unwritten


def refuse_to_replace_images(
    paths: Sequence[Path], sources: Sequence[ImageSource], formats: Sequence[str], folder: Path
) -> None:
    """Refuse a folder in which the picture of a source would replace one of the images.

    Args:
        paths: The image files.
        sources: Those that will be drawn.
        formats: Names of the formats to write.
        folder: Folder of the results.

    Raises:
        InputError: A picture would replace an image.
    """
    if "pictures" not in formats:
        return
    # Not Path.resolve(), which raises in some versions of Python for a link to itself.
    images = {os.path.realpath(path) for path in paths}
    for source in sources:
        picture = _picture_path(source, folder)
        if os.path.realpath(picture) in images:
            raise InputError(
                f"output {folder}: the picture of {source.path} would replace {picture}, one of "
                "the images: give another folder"
            )


def _picture_path(source: ImageSource, folder: Path) -> Path:
    return path_inside(folder / PICTURES, source.image_id, ".jpg", source.path)


def draw(one: ImageResult, path: Path) -> None:
    """Write a picture of an image with its detections, scaled down if it is large.

    Raises:
        InputError: The image cannot be read any more.
    """
    with one.source.open() as reader:
        image = reader.overview(MAX_PICTURE_SIDE_PX)
    width, height = one.source.size_wh
    scale = (image.shape[1] / width, image.shape[0] / height)
    write_picture(path, one.detections.with_corners(one.detections.corners * scale).draw(image))


@contextmanager
def translate_disk_errors() -> Iterator[None]:
    """Turn an error of the disk into an InputError that says what to do about it."""
    try:
        yield
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise InputError(
            f"cannot write the results{where}: {error.strerror or error}. The detections are "
            f"kept: {remedy(error)} and start the same command again to write them"
        ) from error


def _write_task1(results: Results, folder: Path) -> dict[str, str]:
    found = ((one.source.image_id, one.detections) for one in results.images)
    write_results(to_task1(found, results.info.classes), folder)
    return {}


def _write_pictures(results: Results, folder: Path) -> dict[str, str]:
    unwritten = {}
    for one in progress(results.images, "pictures", unit="image", leave=True):
        try:
            draw(one, _picture_path(one.source, folder))
        except InputError as error:
            unwritten[str(one.source.path)] = str(error)
    return unwritten


def _write_json(results: Results, folder: Path) -> dict[str, str]:
    """Write piece by piece, so that no second copy of a long result is held in memory."""
    head = {**results.info.to_json(), "left_out": dict(results.faults)}
    with replacing(folder / "detections.json") as file:
        file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "images": [')
        for index, one in enumerate(results.images):
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
            for number, chunk in enumerate(chunks_of(one.detections)):
                # not json.dump, which encodes piece by piece in Python and is a third slower
                rows = json.dumps(_json_rows(chunk), ensure_ascii=False)[1:-1]
                file.write((", " if number else "") + rows)
            file.write("]}")
        file.write("\n]}\n")
    return {}


def chunks_of(found: Detections) -> Iterator[Detections]:
    """Yield the detections in chunks whose values take little memory as Python objects."""
    for start in range(0, len(found), DETECTIONS_PER_CHUNK):
        yield found[start : start + DETECTIONS_PER_CHUNK]


def _json_rows(found: Detections) -> list[dict[str, Any]]:
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


def _write_csv(results: Results, folder: Path) -> dict[str, str]:
    with replacing(folder / "detections.csv") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_HEADER)
        for image_id, found in (
            (one.source.image_id, chunk)
            for one in results.images
            for chunk in chunks_of(one.detections)
        ):
            for name, score, corners, rectangle in zip(
                found.class_names(), found.scores.tolist(),
                found.corners.reshape(-1, 8).tolist(), found.rectangles().tolist(), strict=True,
            ):  # fmt: skip
                numbers = [f"{value:.2f}" for value in (*corners, *rectangle)]
                writer.writerow([image_id, name, f"{score:.6f}", *numbers])
    return {}


def _write_geojson(results: Results, folder: Path) -> dict[str, str]:
    """Write one FeatureCollection of all images that have coordinates; without any, no file.

    Returns:
        Path -> which detections of an image have no place on the map after all.
    """
    path = folder / "detections.geojson"
    located = [one for one in results.images if one.source.georeference is not None]
    _warn_about_unlocated([one.source for one in results.images], path.name)
    unwritten = {}
    if not located:
        path.unlink(missing_ok=True)  # one of an earlier run would pass for this one's
        return unwritten
    with replacing(path) as file:
        file.write('{"type": "FeatureCollection", "features": [')
        separator = "\n"
        for one in located:
            outside = 0
            for chunk in chunks_of(one.detections):
                features = _features(chunk, one.source)
                outside += len(chunk) - len(features)
                for feature in features:
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


def _warn_about_unlocated(sources: Sequence[ImageSource], name: str) -> None:
    """Log which images are not in the GeoJSON file, why, and what to do about it."""
    bare = [source for source in sources if source.georeference is None]
    reasons = [source.unlocated for source in bare if source.unlocated]
    for text in shorten_faults(reasons):
        logger.warning("not in %s: %s", name, text)
    silent = [source.path for source in bare if not source.unlocated]
    if len(silent) == len(sources):  # the usual case, for which one line is enough
        logger.info("%s is not written, as no image has coordinates (%s)", name, COORDINATES_FROM)
        return
    if silent:
        logger.info(
            "no coordinates in %d images, such as %s: they are not in %s; %s",
            len(silent), silent[0], name, COORDINATES_FROM,
        )  # fmt: skip
    if bare and len(bare) == len(sources):
        logger.info("%s is not written, as no image has coordinates", name)


def _features(found: Detections, source: ImageSource) -> list[dict[str, Any]]:
    """Return the GeoJSON features of those detections that lie within the map projection."""
    corners = found.corners.astype(np.float64).reshape(-1, 2)
    lonlat = source.georeference.to_lonlat(corners).reshape(-1, 4, 2)
    located = np.isfinite(lonlat).all(axis=(1, 2))
    collection = found[located].to_geojson(lambda _: lonlat[located], {"image": source.image_id})
    return collection["features"]


def _write_labels(name: str, results: Results, folder: Path) -> dict[str, str]:
    """Write the labels of one format of `LABEL_FORMATS`."""
    found = [(one.source, one.detections) for one in results.images]
    info = results.info
    version = None if info.model is None else Path(info.model.weights).name
    write_labels(name, found, info.classes, folder, version, info.finds_rectangles)
    return {}


WRITERS: Mapping[str, Callable[[Results, Path], dict[str, str]]] = {
    "task1": _write_task1,
    "csv": _write_csv,
    "geojson": _write_geojson,
    "pictures": _write_pictures,
    **{name: partial(_write_labels, name) for name in LABEL_FORMATS},
    "json": _write_json,  # last, as it lists what the other files lack
}
"""Format -> the function that writes it into the folder of the results, in the order of writing.

It returns path -> why the file lacks something of an image."""

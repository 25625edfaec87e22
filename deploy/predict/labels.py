"""Detections as labels of annotation tools, to be corrected there and read again by `convert`.

The files are those of `DOTA_devkit.converters`. Files of an earlier run may contain
corrections by now, so they are only replaced on request.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deploy.predict.settings import LABEL_FORMATS
from deploy.predict.sources import ImageSource
from DOTA_devkit.convert import target_files, without_flat_boxes, write_folder
from DOTA_devkit.converters.annotation import Annotation
from DOTA_devkit.converters.datasets import Target
from DOTA_devkit.converters.sizes import refuse_turned_images
from DOTA_devkit.converters.table import FORMATS
from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import map_collecting
from DOTA_devkit.files import refuse_existing, sweep_leftovers
from DOTA_devkit.formats import Labels
from structures.boxes import min_area_rectangles
from structures.detections import Detections

logger = logging.getLogger(__name__)

_CORNER_DECIMALS, _SCORE_DECIMALS = 4, 6


def write_labels(
    name: str,
    found: Sequence[tuple[ImageSource, Detections]],
    classes: Sequence[str],
    folder: Path,
    model_version: str | None = None,
    rectangles: bool = False,
) -> None:
    """Write the detections of all images as labels in one format; existing files are replaced.

    Images without detections get labels without objects.

    Args:
        name: A name out of `LABEL_FORMATS`.
        found: The images with their detections in pixels of them.
        classes: Class names in the order of the labels.
        folder: Folder of the results: it gets a folder of this name, or one file for all images.
        model_version: Name of the model, for formats with a place for it.
        rectangles: Write the smallest rectangle around each box. The boxes of a network that finds
            rectangles are none any more in an image that was scaled by another factor in x than in
            y, which rounding the sides of the scaled image to whole pixels is enough for.

    Raises:
        InputError: A class name cannot be written in this format.
        OSError: A file cannot be written.
    """
    target = _target(name, [source for source, _ in found], classes, folder, model_version)
    annotations, flat = without_flat_boxes(
        _annotation(source, detections, classes, rectangles) for source, detections in found
    )
    if not FORMATS[target.format].one_file:
        sweep_leftovers(target.path)
    fitted = write_folder(annotations, target, overwrite=True)
    if flat:
        logger.warning(
            "%s: %d detections without area are left out (first: %s)", name, len(flat), flat[0]
        )
    if fitted:
        logger.info(
            "%s: %d boxes that are no rectangles became their smallest one, as it has rectangles "
            "alone",
            name, fitted,
        )  # fmt: skip


def refuse_unfit_images(
    sources: Sequence[ImageSource], classes: Sequence[str], formats: Sequence[str]
) -> None:
    """Refuse, before the work starts, images and classes that a format of labels cannot hold.

    Args:
        sources: The images.
        classes: Class names of the model.
        formats: Names of the formats to write, of which those of labels count.

    Raises:
        InputError: Two images share the name that their labels would have, a tool would show the
            labels beside the objects, or a class name cannot be written; the message names all.
    """
    names = [name for name in formats if name in LABEL_FORMATS]
    if not names:
        return
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for source in sources:
        by_stem[source.path.stem].append(source.path)
    map_collecting(_refuse_one_name, by_stem.values(), "images")
    spaced = [one for one in classes if len(one.split()) != 1]
    if "dota" in names and spaced:
        raise InputError(
            f"formats dota: class {spaced[0]!r} contains white space, which separates the fields "
            "of label text: write another format, such as labelme, and rename the class when you "
            "convert it"
        )
    files = [source.path for source in sources if source.path.is_file()]
    for name in names:
        refuse_turned_images(files, LABEL_FORMATS[name])


def refuse_existing_labels(
    sources: Sequence[ImageSource],
    classes: Sequence[str],
    formats: Sequence[str],
    folder: Path,
    overwrite: bool,
) -> None:
    """Refuse to replace labels, which may have been corrected since they were written.

    Args:
        sources: The images.
        classes: Class names of the model.
        formats: Names of the formats to write, of which those of labels count.
        folder: Folder of the results.
        overwrite: Replace them all the same.

    Raises:
        InputError: There are such files.
    """
    files: list[Path] = []
    for name in formats:
        if name in LABEL_FORMATS:
            annotations = [_annotation(source, Detections(), classes) for source in sources]
            files += target_files(annotations, _target(name, sources, classes, folder))
    refuse_existing(files, overwrite)


def _refuse_one_name(paths: Sequence[Path]) -> None:
    if len(paths) > 1:
        raise InputError(
            f"{paths[0]} and {paths[1]} share the name {paths[0].stem}, by which labels belong to "
            "their image: rename one, or predict one folder at a time"
        )


def _target(
    name: str,
    sources: Sequence[ImageSource],
    classes: Sequence[str],
    folder: Path,
    model_version: str | None = None,
) -> Target:
    """Return where and how the labels of a format are written."""
    format_name = LABEL_FORMATS[name]
    row = FORMATS[format_name]
    return Target(
        path=folder / (f"{name}{row.suffix}" if row.one_file else name),
        format=format_name,
        classes=tuple(classes) if row.numbers else None,
        images={source.path.stem: source.path for source in sources},
        model_version=model_version,
    )


def _annotation(
    source: ImageSource, found: Detections, classes: Sequence[str], rectangles: bool = False
) -> Annotation:
    # In float64: far from the origin, the rounding of float32 alone is larger than what a label
    # may deviate from a rectangle.
    corners = found.corners.astype(np.float64)
    if rectangles:
        corners = min_area_rectangles(corners)
    return Annotation(
        image_id=source.path.stem,
        path=source.path,
        labels=Labels(
            corners=corners.round(_CORNER_DECIMALS),
            names=tuple(classes[label] for label in found.labels.tolist()),
            difficult=np.zeros(len(found), np.int64),
            lines=np.arange(1, len(found) + 1),
        ),
        size_wh=source.size_wh,
        file_name=source.path.name,
        scores=found.scores.astype(np.float64).round(_SCORE_DECIMALS),
        places="detection",
    )

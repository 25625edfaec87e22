"""Conversion of a folder of labels from one format to another.

    read_folder  ->  ClassMap.apply  ->  write_folder  ->  draw_previews

The formats are the rows of `DOTA_devkit.converters.table.FORMATS`; every reader goes with every
writer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from DOTA_devkit.class_lists import CLASS_FILE, DATA_YAML, write_class_file
from DOTA_devkit.converters.annotation import Annotation, build_annotation
from DOTA_devkit.converters.datasets import Source, Target
from DOTA_devkit.converters.dota import check_dota_names
from DOTA_devkit.converters.guess import label_files
from DOTA_devkit.converters.table import FORMATS
from DOTA_devkit.converters.yolo import rejected_by_ultralytics
from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import map_collecting
from DOTA_devkit.files import refuse_existing, replacing
from DOTA_devkit.formats import warn_of_crossing
from DOTA_devkit.imaging import image_size_wh
from DOTA_devkit.polygon import polygon_area
from DOTA_devkit.progress import progress

logger = logging.getLogger(__name__)


def read_folder(source: Source, add_empty: bool = False) -> list[Annotation]:
    """Read every label file of the source.

    In a YOLO dataset, images without a label file are images without objects, so they are included.

    Args:
        source: what to read.
        add_empty: include the images without a label file for other formats, too.

    Returns:
        The annotations, sorted by image id.

    Raises:
        InputError: the source does not exist or has no label files, the class list of a format with
            class numbers is missing, files cannot be used, or two labels are of one image; the
            message lists the faults of all files.
        OSError: a file cannot be read.
    """
    format_ = FORMATS[source.format]
    files = label_files(source.path, format_.suffix)
    stores_numbers = format_.numbers and not format_.one_file
    if stores_numbers and not source.classes:
        raise InputError(
            f"{source.path}: YOLO labels have class numbers; name the classes with `classes` "
            f"(names in order, or a file with one per line), or a {CLASS_FILE} or {DATA_YAML} "
            "beside the labels"
        )
    found = map_collecting(lambda path: format_.read(path, source), progress(files, "reading"))
    annotations = [annotation for of_file in found for annotation in of_file]
    _refuse_repeats(annotations)
    warn_of_crossing([a.place(line) for a in annotations for line in a.labels.crossing.tolist()])
    _warn_of_left_out([place for annotation in annotations for place in annotation.left_out])
    if add_empty or (stores_numbers and source.path.is_dir()):
        labeled = {annotation.image_id for annotation in annotations}
        annotations += [
            replace(build_annotation(path, [], image_size_wh(path)), file_name=path.name)
            for image_id, path in source.images.items()
            if image_id not in labeled
        ]
    return sorted(annotations, key=lambda annotation: annotation.image_id)


def _refuse_repeats(annotations: Iterable[Annotation]) -> None:
    """Check that every image has its labels in one place, as they are written to files of its id.

    Raises:
        InputError: two labels are of one image; the message lists all.
    """
    first: dict[str, Annotation] = {}

    def check(annotation: Annotation) -> None:
        other = first.setdefault(annotation.image_id, annotation)
        if other is not annotation:
            names = f"{other.file_name} in {other.path} and {annotation.file_name} in"
            raise InputError(
                f"{names} {annotation.path}: both have the image id {annotation.image_id}, which "
                "must be unique"
            )

    map_collecting(check, annotations)


def _warn_of_left_out(places: Sequence[str]) -> None:
    if places:
        logger.warning(
            "%d shapes are neither boxes nor polygons and are left out (first: %s)",
            len(places), places[0],
        )  # fmt: skip


def without_flat_boxes(annotations: Iterable[Annotation]) -> tuple[list[Annotation], list[str]]:
    """Remove boxes without area, such as those of a click without a drag.

    Args:
        annotations: the annotations.

    Returns:
        The annotations without these boxes, and the place of each removed box.
    """
    kept, flat = [], []
    for annotation in annotations:
        has_area = polygon_area(annotation.labels.corners) > 0
        if not has_area.all():
            flat += [annotation.place(line) for line in annotation.labels.lines[~has_area]]
            annotation = annotation.select(np.flatnonzero(has_area))
        kept.append(annotation)
    return kept, flat


def target_files(annotations: Iterable[Annotation], target: Target) -> list[Path]:
    """Return the files that `write_folder` writes."""
    format_ = FORMATS[target.format]
    if format_.one_file:
        return [target.path]
    files = [target.path / f"{annotation.image_id}{format_.suffix}" for annotation in annotations]
    if format_.numbers:
        files.append(target.path / CLASS_FILE)
    return [*files, target.path / DATA_YAML] if target.format == "yolo" else files


def write_folder(annotations: Sequence[Annotation], target: Target, overwrite: bool = False) -> int:
    """Write labels as a folder of files, or as one file for all images.

    Args:
        annotations: the labels of all images.
        target: where and how; its classes are needed for formats with class numbers, and make DOTA
            text have the position of the class in them instead of its name.
        overwrite: replace existing files.

    Returns:
        The number of objects that became their smallest rectangle, as the format has no others.

    Raises:
        InputError: files exist and `overwrite` is false, a class name cannot be written as DOTA
            text, or an image size is unknown.
        OSError: a file cannot be written.
    """
    format_ = FORMATS[target.format]
    refuse_existing(target_files(annotations, target), overwrite)
    if format_.one_file:
        return format_.write(target.path, annotations, target) or 0
    if target.format == "dota" and target.classes is None:
        map_collecting(check_dota_names, annotations)
    target.path.mkdir(parents=True, exist_ok=True)

    def write(annotation: Annotation) -> int:
        path = target.path / f"{annotation.image_id}{format_.suffix}"
        return format_.write(path, [annotation], target) or 0

    fitted = sum(map_collecting(write, progress(annotations, "writing")))
    if format_.numbers:
        write_class_file(target.path / CLASS_FILE, target.classes or ())
    if target.format == "yolo":
        _write_data_yaml(target)
        warn_outside(annotations)
    return fitted


def _write_data_yaml(target: Target) -> None:
    """Write the class names as Ultralytics reads them, with a note what else it needs."""
    with replacing(target.path / DATA_YAML) as file:
        file.write("# To train on these labels, add path, train and val: the folders of images.\n")
        file.write("names:\n")
        for number, name in enumerate(target.classes or ()):
            file.write(f"  {number}: {json.dumps(name, ensure_ascii=False)}\n")


def warn_outside(annotations: Iterable[Annotation]) -> None:
    """Log a warning if Ultralytics would ignore images, see `rejected_by_ultralytics`."""
    places = [
        annotation.place(line)
        for annotation in annotations
        for line in annotation.labels.lines[rejected_by_ultralytics(annotation)]
    ]
    if places:
        logger.warning(
            "%d boxes have their center outside the image or are larger than it (first: %s); "
            "Ultralytics ignores an image with such a box",
            len(places),
            places[0],
        )


def read_back(annotations: Sequence[Annotation], target: Target) -> list[Annotation]:
    """Read some images back from what `write_folder` wrote.

    Args:
        annotations: the images to read.
        target: as for `write_folder`, with the images.

    Returns:
        The annotations as written, for the same images.
    """
    format_ = FORMATS[target.format]
    source = Source(target.path, target.format, target.images, target.classes)
    if format_.one_file:
        wanted = {annotation.image_id for annotation in annotations}
        return [one for one in format_.read(target.path, source) if one.image_id in wanted]
    paths = [target.path / f"{a.image_id}{format_.suffix}" for a in annotations]
    return [one for path in paths for one in format_.read(path, source)]

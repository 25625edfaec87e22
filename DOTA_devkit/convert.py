"""Conversion of a folder of labels from one format to another.

    read_folder  ->  ClassMap.apply  ->  write_folder  ->  draw_previews

The formats are listed in READERS, FILE_WRITERS and WRITERS; every reader goes with every writer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from DOTA_devkit.class_lists import CLASS_FILE, read_class_file
from DOTA_devkit.converters.annotation import (
    Annotation,
    build_annotation,
    select_labels,
)
from DOTA_devkit.converters.coco import read_coco, write_coco
from DOTA_devkit.converters.dota import check_dota_names, read_dota, write_dota
from DOTA_devkit.converters.hrsc import hrsc_classes, read_hrsc
from DOTA_devkit.converters.rolabelimg import read_rolabelimg
from DOTA_devkit.converters.yolo import read_yolo, rejected_by_ultralytics, write_yolo
from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import map_collecting
from DOTA_devkit.file_kinds import folder_hint, kind_of, labels_hint
from DOTA_devkit.files import refuse_existing, replacing
from DOTA_devkit.formats import DOTA_CLASSES, crossing_places, warn_of_crossing
from DOTA_devkit.imaging import image_size_wh
from DOTA_devkit.imaging.headers import orientation_of
from DOTA_devkit.imaging.turn import Turn
from DOTA_devkit.polygon import polygon_area
from DOTA_devkit.progress import progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A folder of labels, or one label file, and what is needed to read it.

    Attributes:
        path: the folder or file.
        format: a key of `READERS`.
        images: image id -> file; may be empty if the format includes the image sizes.
        classes: class names in the order of their numbers, for yolo.
        hrsc_level: level of the class names, for hrsc.
    """

    path: Path
    format: str
    images: Mapping[str, Path]
    classes: tuple[str, ...] | None = None
    hrsc_level: int = 1


def _read_yolo_file(path: Path, source: Source) -> Annotation:
    if path.stem not in source.images:
        raise InputError(f"{path}: no image called {path.stem}, whose size is needed")
    return read_yolo(path, image_size_wh(source.images[path.stem]), source.classes or ())


READERS: dict[str, tuple[str, Callable[[Path, Source], Annotation]]] = {
    "rolabelimg": (".xml", lambda path, source: read_rolabelimg(path)),
    "hrsc": (".xml", lambda path, source: read_hrsc(path, source.hrsc_level)),
    "dota": (".txt", lambda path, source: read_dota(path)),
    "yolo": (".txt", _read_yolo_file),
}
"""Format -> suffix of its files and the reader of one file."""

FILE_WRITERS: dict[str, tuple[str, Callable[[Path, Annotation, Sequence[str] | None], None]]] = {
    "dota": (".txt", write_dota),
    "yolo": (".txt", lambda path, annotation, classes: write_yolo(path, annotation, classes or ())),
}
"""Format -> suffix of its files and the writer of one file.

It is given the classes only if it has to write their numbers, else None."""

WRITERS = (*FILE_WRITERS, "coco")
"""Formats that `write_folder` writes; COCO is one file for all images."""

NEEDS_CLASSES = ("coco", "yolo")
"""Formats that number the classes, and so need the whole class list to be written."""


def read_folder(source: Source) -> list[Annotation]:
    """Read every label file of the source.

    In a YOLO dataset, images without a label file are images without objects, so they are included.

    Args:
        source: what to read.

    Returns:
        The annotations, sorted by image id.

    Raises:
        InputError: the source does not exist or has no label files, the class list of a YOLO
            dataset is missing, or files cannot be used; the message lists the faults of all files.
        OSError: a file cannot be read.
    """
    suffix, reader = READERS[source.format]
    if source.path.is_dir():
        files = sorted(p for p in source.path.iterdir() if p.suffix.lower() == suffix)
        files = [p for p in files if p.name != CLASS_FILE and not p.name.startswith(".")]
        if not files:
            others = {path.suffix.lower() for path in source.path.iterdir()}
            raise InputError(
                f"{source.path}: no {suffix} files in this folder{labels_hint(others)}"
            )
    elif source.path.is_file():
        if source.path.suffix.lower() != suffix and (kind := kind_of(source.path)):
            raise InputError(
                f"{source.path}: expected a {suffix} file of the format {source.format}, or a "
                f"folder of them, got {kind}{labels_hint({source.path.suffix.lower()})}"
            )
        files = [source.path]
    else:
        raise InputError(f"{source.path}: no such folder of labels{folder_hint(source.path)}")
    if source.format == "yolo" and not source.classes:
        raise InputError(
            f"{source.path}: YOLO labels have class numbers; name the classes with `classes` "
            f"(names in order, or a file with one per line) or a {CLASS_FILE} beside the labels"
            + _where_names_are(source.path)
        )
    annotations = map_collecting(lambda p: reader(p, source), progress(files, "reading"))
    warn_of_crossing([place for a in annotations for place in crossing_places(a.path, a.labels)])
    if source.format == "yolo" and source.path.is_dir():
        labeled = {annotation.image_id for annotation in annotations}
        annotations += [
            build_annotation(path, [], image_size_wh(path))
            for image_id, path in source.images.items()
            if image_id not in labeled
        ]
    return sorted(annotations, key=lambda annotation: annotation.image_id)


def _where_names_are(label_path: Path) -> str:
    """Return a hint if there is a data.yaml of Ultralytics or Roboflow above labels."""
    for folder in label_path.absolute().parents[:3]:
        for path in (folder / "data.yaml", folder / "data.yml"):
            if path.is_file():
                return f"; {path} has them, under 'names'"
    return ""


def with_image_sizes(
    annotations: Iterable[Annotation], images: Mapping[str, Path]
) -> list[Annotation]:
    """Add the sizes of the image files, which take precedence over sizes in the labels.

    Args:
        annotations: the annotations.
        images: image id -> file.

    Returns:
        The annotations, all of them with a size.

    Raises:
        InputError: an image has no file and its labels have no size, the file cannot be read, or
            the labels are of its stored pixels (`check_image_sizes`); the message lists the faults
            of all images.
    """

    def measure(annotation: Annotation) -> Annotation:
        path = images.get(annotation.image_id)
        if path is None:
            if annotation.size_wh is None:
                raise InputError(
                    f"{annotation.path}: no image called {annotation.image_id}, "
                    "whose size is needed (`images`)"
                )
            return annotation
        size_wh = image_size_wh(path)
        _compare_sizes(annotation, path, size_wh)
        return replace(annotation, size_wh=size_wh)

    return map_collecting(measure, progress(annotations, "sizes"))


def check_image_sizes(annotations: Iterable[Annotation], images: Mapping[str, Path]) -> None:
    """Compare the sizes in labels with those of the image files, where both are known.

    Args:
        annotations: the annotations.
        images: image id -> file.

    Raises:
        InputError: labels are of the stored pixels of images that are turned to be shown; the
            message lists all of them.
    """

    def compare(annotation: Annotation) -> None:
        path = images[annotation.image_id]
        try:
            size_wh = image_size_wh(path)
        except (InputError, OSError) as error:  # the labels can be converted all the same
            logger.warning("its size is not compared with that in the labels: %s", error)
        else:
            _compare_sizes(annotation, path, size_wh)

    known = [a for a in annotations if a.size_wh is not None and a.image_id in images]
    map_collecting(compare, progress(known, "sizes"))


def _compare_sizes(annotation: Annotation, path: Path, size_wh: tuple[int, int]) -> None:
    """Compare the size in labels, if it is known, with that of the image as it is shown."""
    in_labels = annotation.size_wh
    if in_labels is None:
        return
    orientation = orientation_of(path)
    remedy = f"exiftool -Orientation= {path.name} removes the tag, and the labels fit then"
    if in_labels != size_wh:
        width, height = in_labels
        if Turn.of(orientation, in_labels).shown_wh == size_wh:
            raise InputError(
                f"{annotation.path}: the labels are of an image of {width}x{height}, but {path} "
                f"has the orientation tag {orientation} and is shown as {size_wh[0]}x{size_wh[1]} "
                f"(width x height): {remedy}"
            )
        logger.warning(
            "%s: the labels are of an image of %dx%d, but %s has %dx%d (width x height): the boxes "
            "lie elsewhere if it was resized or cropped; check them with previews, and label the "
            "image that is there",
            annotation.path, width, height, path, *size_wh,
        )  # fmt: skip
    elif orientation != 1:
        logger.warning(
            "%s: %s has the orientation tag %d, and the size does not tell whether it was labeled "
            "as it is stored or as it is shown, which is expected: check it with previews; if the "
            "boxes lie elsewhere, %s",
            annotation.path, path, orientation, remedy,
        )  # fmt: skip


def without_flat_boxes(annotations: Iterable[Annotation]) -> tuple[list[Annotation], list[str]]:
    """Remove boxes without area, such as those of a click without a drag.

    Args:
        annotations: the annotations.

    Returns:
        The annotations without these boxes, and ``file:line`` of each removed box.
    """
    kept, flat = [], []
    for annotation in annotations:
        has_area = polygon_area(annotation.labels.corners) > 0
        if not has_area.all():
            flat += [f"{annotation.path}:{line}" for line in annotation.labels.lines[~has_area]]
            keep = np.flatnonzero(has_area)
            names = [annotation.labels.names[index] for index in keep]
            annotation = replace(annotation, labels=select_labels(annotation.labels, keep, names))
        kept.append(annotation)
    return kept, flat


def complete_class_list(
    names: Iterable[str], source: Source, class_file: Path | None = None
) -> tuple[str, ...]:
    """Find the class list, in order, for a format that stores class numbers.

    Sorting the names that occur would not do, as a val set that lacks a class of the train set
    would number the others differently. So the list comes from `class_file`, else from the level of
    HRSC, else from the first release of DOTA that has all the names.

    Args:
        names: the class names that occur.
        source: where they were read from.
        class_file: file with one class name per line.

    Returns:
        All class names in the order of their numbers.

    Raises:
        InputError: no list has all the names.
    """
    names = set(names)
    if class_file is not None:
        candidates = [read_class_file(class_file)]
    elif source.format == "hrsc":
        candidates = [hrsc_classes(source.hrsc_level)]
    else:
        candidates = list(DOTA_CLASSES.values())
    for candidate in candidates:
        if names <= set(candidate):
            return tuple(candidate)
    raise InputError(
        f"{source.path}: the order of the classes {', '.join(sorted(names))} is unknown; give it "
        "with `classes` (names, or a file with one per line)"
        + (f"; {class_file} does not have all of them" if class_file else "")
    )


def target_files(annotations: Iterable[Annotation], target: Path, target_format: str) -> list[Path]:
    """Return the files that `write_folder` writes."""
    if target_format == "coco":
        return [target]
    suffix, _ = FILE_WRITERS[target_format]
    files = [target / f"{annotation.image_id}{suffix}" for annotation in annotations]
    return [*files, target / CLASS_FILE] if target_format == "yolo" else files


def write_folder(
    annotations: Sequence[Annotation],
    target: Path,
    target_format: str,
    classes: Sequence[str] | None = None,
    images: Mapping[str, Path] | None = None,
    numbers: bool = False,
    overwrite: bool = False,
) -> None:
    """Write labels as a folder of text files, or for COCO as one json file.

    Args:
        annotations: the labels of all images.
        target: folder to write into, for COCO the file.
        target_format: one of `WRITERS`.
        classes: all class names in order; needed for coco and yolo, and for dota with `numbers`.
        images: image id -> file, for the file names in COCO.
        numbers: write dota with the position of the class in `classes` instead of its name.
        overwrite: replace existing files.

    Raises:
        InputError: files exist and `overwrite` is false, a class name cannot be written as DOTA
            text, or an image size is unknown.
        OSError: a file cannot be written.
    """
    files = target_files(annotations, target, target_format)
    refuse_existing(files, overwrite)
    if target_format == "coco":
        file_names = {image_id: path.name for image_id, path in (images or {}).items()}
        write_coco(target, annotations, classes or (), file_names)
        return
    if target_format == "dota" and not numbers:
        map_collecting(check_dota_names, annotations)
    target.mkdir(parents=True, exist_ok=True)

    suffix, write_file = FILE_WRITERS[target_format]
    numbered = classes if numbers or target_format in NEEDS_CLASSES else None

    def write(annotation: Annotation) -> None:
        write_file(target / f"{annotation.image_id}{suffix}", annotation, numbered)

    map_collecting(write, progress(annotations, "writing"))
    if target_format == "yolo":
        with replacing(target / CLASS_FILE) as file:
            file.writelines(f"{name}\n" for name in classes or ())
        warn_outside(annotations)


def warn_outside(annotations: Iterable[Annotation]) -> None:
    """Log a warning if Ultralytics would ignore images, see `rejected_by_ultralytics`."""
    places = [
        f"{annotation.path}:{line}"
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


def read_back(
    annotations: Sequence[Annotation],
    target: Path,
    target_format: str,
    classes: Sequence[str] | None = None,
) -> list[Annotation]:
    """Read some images back from what `write_folder` wrote.

    Args:
        annotations: the images to read.
        target: as for `write_folder`.
        target_format: as for `write_folder`.
        classes: as for `write_folder`.

    Returns:
        The annotations as written, for the same images.
    """
    if target_format == "coco":
        wanted = {annotation.image_id for annotation in annotations}
        return [found for found in read_coco(target) if found.image_id in wanted]
    suffix, _ = FILE_WRITERS[target_format]
    paths = {a.image_id: target / f"{a.image_id}{suffix}" for a in annotations}
    if target_format == "yolo":
        return [
            read_yolo(paths[a.image_id], a.size_wh or (1, 1), classes or ()) for a in annotations
        ]
    _, read = READERS[target_format]
    source = Source(target, target_format, {})
    return [read(path, source) for path in paths.values()]

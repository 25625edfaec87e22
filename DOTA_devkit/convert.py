"""Labels from one format to another, a folder at a time.

    read_folder  ->  ClassMap.apply  ->  write_folder  ->  draw_previews

A format is a row of READERS or WRITERS below; any reader goes with any writer.
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
from DOTA_devkit.converters.yolo import lies_too_far_outside, read_yolo, write_yolo
from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import map_collecting
from DOTA_devkit.files import refuse_existing, replacing
from DOTA_devkit.formats import DOTA_CLASSES
from DOTA_devkit.images import image_size_wh
from DOTA_devkit.polygon import polygon_area
from DOTA_devkit.progress import progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A folder of labels (or one file of them), and what is needed to read it."""

    path: Path
    format: str
    images: Mapping[str, Path]
    """Image id -> file; may be empty where the format holds sizes itself."""
    classes: tuple[str, ...] | None = None
    hrsc_level: int = 1


def _read_yolo_file(path: Path, source: Source) -> Annotation:
    if path.stem not in source.images:
        raise InputError(f"{path}: no image called {path.stem}, whose size is needed")
    return read_yolo(path, image_size_wh(source.images[path.stem]), source.classes or ())


# format -> (suffix of its files, reader of one of them)
READERS: dict[str, tuple[str, Callable[[Path, Source], Annotation]]] = {
    "rolabelimg": (".xml", lambda path, source: read_rolabelimg(path)),
    "hrsc": (".xml", lambda path, source: read_hrsc(path, source.hrsc_level)),
    "dota": (".txt", lambda path, source: read_dota(path)),
    "yolo": (".txt", _read_yolo_file),
}
WRITERS = ("dota", "coco", "yolo")
NEEDS_CLASSES = ("coco", "yolo")


def read_folder(source: Source) -> list[Annotation]:
    """Every label file of the source, by image id. All faults are told in one InputError.

    Images of a YOLO set without a label file are its images without objects, and come too.
    """
    suffix, reader = READERS[source.format]
    if source.path.is_dir():
        files = sorted(p for p in source.path.iterdir() if p.suffix.lower() == suffix)
        files = [p for p in files if p.name != CLASS_FILE and not p.name.startswith(".")]
        if not files:
            raise InputError(f"{source.path}: no {suffix} files in this folder")
    elif source.path.is_file():
        files = [source.path]
    else:
        raise InputError(f"{source.path}: no such folder of labels")
    if source.format == "yolo" and not source.classes:
        raise InputError(
            f"{source.path}: YOLO labels hold class numbers; name the classes with --classes "
            f"(names in order, or a file with one a line) or a {CLASS_FILE} beside the labels"
        )
    annotations = map_collecting(lambda p: reader(p, source), progress(files, "reading"))
    if source.format == "yolo" and source.path.is_dir():
        labelled = {annotation.image_id for annotation in annotations}
        annotations += [
            build_annotation(path, [], image_size_wh(path))
            for image_id, path in source.images.items()
            if image_id not in labelled
        ]
    return sorted(annotations, key=lambda annotation: annotation.image_id)


def with_image_sizes(
    annotations: Iterable[Annotation], images: Mapping[str, Path]
) -> list[Annotation]:
    """The annotations with the size of their image file, which wins over what an XML says."""

    def measure(annotation: Annotation) -> Annotation:
        path = images.get(annotation.image_id)
        if path is None:
            if annotation.size_wh is None:
                raise InputError(
                    f"{annotation.path}: no image called {annotation.image_id}, "
                    "whose size is needed (--images)"
                )
            return annotation
        size_wh = image_size_wh(path)
        if annotation.size_wh not in (None, size_wh):
            logger.warning(
                "%s: says that the image has the size %s, %s has %s",
                annotation.path,
                annotation.size_wh,
                path,
                size_wh,
            )
        return replace(annotation, size_wh=size_wh)

    return map_collecting(measure, progress(annotations, "sizes"))


def without_flat_boxes(annotations: Iterable[Annotation]) -> tuple[list[Annotation], list[str]]:
    """The annotations without boxes of no area (a click that was no drag), and where these are."""
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
    """The class list, in order, for a format that stores numbers.

    Sorted names of what occurs would not do: a val set that lacks one class of the train set
    would number the others differently. So: `class_file`, the levels of HRSC, or the release of
    DOTA that has all the names.
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
        f"{source.path}: which number has each of the classes {', '.join(sorted(names))}? Give "
        f"their order with --classes (names, or a file with one a line)"
        + (f"; {class_file} does not hold them all" if class_file else "")
    )


def target_files(annotations: Iterable[Annotation], target: Path, target_format: str) -> list[Path]:
    """The files that `write_folder` writes."""
    if target_format == "coco":
        return [target]
    files = [target / f"{annotation.image_id}.txt" for annotation in annotations]
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
    """Write the labels: a folder of text files, or for COCO one json file.

    Args:
        classes: all classes in order; needed for coco and yolo, and for dota with `numbers`.
        images: image id -> file, for the file names in COCO.
        numbers: dota with the position of the class in `classes` in place of its name.
        overwrite: replace files that are there; otherwise they are an InputError.
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

    def write(annotation: Annotation) -> None:
        path = target / f"{annotation.image_id}.txt"
        if target_format == "yolo":
            write_yolo(path, annotation, classes or ())
        else:
            write_dota(path, annotation, classes if numbers else None)

    map_collecting(write, progress(annotations, "writing"))
    if target_format == "yolo":
        with replacing(target / CLASS_FILE) as file:
            file.writelines(f"{name}\n" for name in classes or ())
        warn_outside(annotations)


def warn_outside(annotations: Iterable[Annotation]) -> None:
    places = [
        f"{annotation.path}:{line}"
        for annotation in annotations
        for line in annotation.labels.lines[lies_too_far_outside(annotation)]
    ]
    if places:
        logger.warning(
            "%d boxes have their centre outside the image or are larger than it (first: %s); "
            "Ultralytics ignores the whole image for such a box",
            len(places),
            places[0],
        )


def reread(
    annotations: Sequence[Annotation],
    target: Path,
    target_format: str,
    classes: Sequence[str] | None = None,
) -> list[Annotation]:
    """The same images as `annotations`, read back from what `write_folder` wrote."""
    if target_format == "coco":
        wanted = {annotation.image_id for annotation in annotations}
        return [found for found in read_coco(target) if found.image_id in wanted]
    paths = {a.image_id: target / f"{a.image_id}.txt" for a in annotations}
    if target_format == "yolo":
        return [
            read_yolo(paths[a.image_id], a.size_wh or (1, 1), classes or ()) for a in annotations
        ]
    return [read_dota(path) for path in paths.values()]

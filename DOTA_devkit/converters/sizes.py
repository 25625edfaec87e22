"""The sizes of images, and whether labels refer to the pixels as shown."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from DOTA_devkit.converters.annotation import Annotation
from DOTA_devkit.converters.table import FORMATS, SHOWN, STORED, UNKNOWN
from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import map_collecting
from DOTA_devkit.imaging import image_size_wh
from DOTA_devkit.imaging.headers import orientation_of
from DOTA_devkit.imaging.turn import Turn
from DOTA_devkit.progress import progress

logger = logging.getLogger(__name__)


def with_image_sizes(
    annotations: Iterable[Annotation], images: Mapping[str, Path], frame: str = UNKNOWN
) -> list[Annotation]:
    """Add the sizes of the image files, which take precedence over sizes in the labels.

    Args:
        annotations: the annotations.
        images: image id -> file.
        frame: the pixels that the labels are of, see `Format.frame`.

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
        _compare_sizes(annotation, path, size_wh, frame)
        return replace(annotation, size_wh=size_wh)

    return map_collecting(measure, progress(annotations, "sizes"))


def check_image_sizes(
    annotations: Iterable[Annotation], images: Mapping[str, Path], frame: str = UNKNOWN
) -> None:
    """Compare the sizes in labels with those of the image files, where both are known.

    Args:
        annotations: the annotations.
        images: image id -> file.
        frame: the pixels that the labels are of, see `Format.frame`.

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
            _compare_sizes(annotation, path, size_wh, frame)

    known = [a for a in annotations if a.size_wh is not None or frame == STORED]
    known = [a for a in known if a.image_id in images]
    map_collecting(compare, progress(known, "sizes"))


def _compare_sizes(
    annotation: Annotation, path: Path, size_wh: tuple[int, int], frame: str
) -> None:
    """Compare the size in labels, if it is known, with that of the image as it is shown."""
    in_labels = annotation.size_wh
    if in_labels is None and frame != STORED:
        return
    orientation = orientation_of(path)
    remedy = _remedy(path)
    if in_labels is not None and in_labels != size_wh:
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
    elif orientation != 1 and frame != SHOWN:
        logger.warning(
            "%s: %s has the orientation tag %d, and the size does not show whether it was labeled "
            "as it is stored or as it is shown, which is expected: check it with previews; if the "
            "boxes lie elsewhere, %s",
            annotation.path, path, orientation, remedy,
        )  # fmt: skip


def _remedy(path: Path) -> str:
    return f"exiftool -Orientation= {path.name} removes the tag, and the labels fit then"


def refuse_turned_images(images: Iterable[Path], target_format: str) -> None:
    """Refuse images that EXIF data turns if the tool of a format does not turn them.

    Args:
        images: the files whose labels are about to be written.
        target_format: a name of `FORMATS`.

    Raises:
        InputError: the tool would show labels beside their objects; the message lists all images.
    """
    if FORMATS[target_format].frame != STORED:
        return

    def check(path: Path) -> None:
        if (orientation := orientation_of(path)) != 1:
            raise InputError(
                f"{path} has the orientation tag {orientation}, by which it is turned here, while "
                f"the tool of {target_format} shows it as it is stored, beside its labels; "
                f"exiftran -ai {path.name} turns its pixels, and the labels fit then"
            )

    map_collecting(check, images)

"""The labels of one image, as every reader returns and every writer takes them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import Labels
from DOTA_devkit.polygon import uncrossed


@dataclass(frozen=True)
class Annotation:
    """The labels of one image and where they came from.

    Attributes:
        image_id: file name of the image without suffix.
        path: file that the labels were read from.
        labels: the objects, corners in pixels of the image.
        size_wh: width and height of the image, None if the label file does not tell.
    """

    image_id: str
    path: Path
    labels: Labels
    size_wh: tuple[int, int] | None = None


@dataclass(frozen=True)
class ObjectRecord:
    """One object as a reader finds it.

    Attributes:
        name: class name.
        corners: ``[4, 2]``, in pixels of the image.
        difficult: difficulty, 0 for a normal object.
        line: line number in the label file, starting at 1.
    """

    name: str
    corners: np.ndarray
    difficult: int
    line: int


def build_annotation(
    path: Path, records: Sequence[ObjectRecord], size_wh: tuple[int, int] | None = None
) -> Annotation:
    """Build the annotation of the image that a label file is named after.

    Args:
        path: the label file; its stem is the image id.
        records: the objects.
        size_wh: width and height of the image, None if unknown.
    """
    corners = np.array([r.corners for r in records], dtype=np.float64).reshape(-1, 4, 2)
    corners, crossing = uncrossed(corners)
    lines = np.array([r.line for r in records], dtype=np.int64)
    labels = Labels(
        corners=corners,
        names=tuple(r.name for r in records),
        difficult=np.array([r.difficult for r in records], dtype=np.int64),
        lines=lines,
        crossing=lines[crossing],
    )
    return Annotation(image_id=path.stem, path=path, labels=labels, size_wh=size_wh)


@dataclass(frozen=True)
class ClassMap:
    """Which class names are renamed, dropped and allowed.

    Attributes:
        rename: old name -> new name; applied once, so ``{"a": "b", "b": "c"}`` turns a into b.
        drop: classes to leave out, by their name in the file or by the new name.
        classes: the allowed names after renaming, None for all. A name that is a number and not
            itself in the list is a position in it, counted from 0.
    """

    rename: dict[str, str] = field(default_factory=dict)
    drop: frozenset[str] = frozenset()
    classes: tuple[str, ...] | None = None

    def apply(self, annotation: Annotation) -> Annotation:
        """Return the annotation with the new names, without the dropped classes.

        Raises:
            InputError: a class is not in `classes`; the message has file and line.
        """
        labels = annotation.labels
        keep, names = [], []
        for index, original in enumerate(labels.names):
            name = self._position_to_name(self.rename.get(original, original))
            if original in self.drop or name in self.drop:
                continue
            if self.classes is not None and name not in self.classes:
                raise InputError(
                    f"{annotation.path}:{labels.lines[index]}: class {original!r} is not among "
                    f"the classes ({', '.join(self.classes)}); add {original!r} to `classes`, or "
                    "name it in `rename` or `drop`"
                )
            keep.append(index)
            names.append(name)
        return replace(annotation, labels=select_labels(labels, keep, names))

    def _position_to_name(self, name: str) -> str:
        if self.classes is None or name in self.classes or not re.fullmatch("[0-9]{1,9}", name):
            return name
        return self.classes[int(name)] if int(name) < len(self.classes) else name

    def unused(self, annotations: Iterable[Annotation]) -> list[str]:
        """Return the names in `rename` and `drop` that no annotation has, likely misspelled."""
        seen = {name for annotation in annotations for name in annotation.labels.names}
        seen |= {self.rename.get(name, name) for name in seen}
        return sorted((set(self.rename) | self.drop) - seen)


def select_labels(labels: Labels, keep: Sequence[int], names: Sequence[str]) -> Labels:
    """Return some of the objects of `labels` under new names.

    Args:
        labels: the objects.
        keep: ``[K]`` indices of the objects to keep.
        names: ``[K]`` their class names.
    """
    rows = np.asarray(keep, dtype=np.int64)
    return Labels(
        corners=labels.corners[rows],
        names=tuple(names),
        difficult=labels.difficult[rows],
        lines=labels.lines[rows],
        crossing=labels.crossing[np.isin(labels.crossing, labels.lines[rows])],
    )


def missing_size_error(annotation: Annotation) -> InputError:
    """Build the error of a writer that needs the size of the image."""
    return InputError(f"{annotation.path}: the size of its image is unknown; give `images`")


def count_classes(annotations: Iterable[Annotation]) -> Counter[str]:
    """Count the objects of each class, the most frequent class first."""
    counts: Counter[str] = Counter()
    for annotation in annotations:
        counts.update(annotation.labels.names)
    return Counter(dict(counts.most_common()))


def rotated_corners(cx: float, cy: float, w: float, h: float, angle: float) -> np.ndarray:
    """Return the corners of a rotated rectangle.

    Args:
        cx: x of the center.
        cy: y of the center.
        w: side along x before the rotation.
        h: side along y before the rotation.
        angle: rotation in radians from x towards y, which looks clockwise as y points down.

    Returns:
        ``[4, 2]`` float64: the corners that are top left, top right, bottom right and bottom left
        before the rotation.
    """
    offsets = 0.5 * np.array([[-w, -h], [w, -h], [w, h], [-w, h]], dtype=np.float64)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([cx, cy]) + offsets @ np.array([[cos, sin], [-sin, cos]])

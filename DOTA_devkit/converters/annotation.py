"""What every reader gives and every writer takes: the labels of one image, in its pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import Labels


@dataclass(frozen=True)
class Annotation:
    """The labels of one image and where they came from."""

    image_id: str
    path: Path
    """File that the labels were read from."""
    labels: Labels
    size_wh: tuple[int, int] | None = None
    """Size of the image, None where the file does not say."""


@dataclass(frozen=True)
class ObjectRecord:
    """One object as a reader meets it; `corners` is [4, 2]."""

    name: str
    corners: np.ndarray
    difficult: int
    line: int


def build_annotation(
    path: Path, records: Sequence[ObjectRecord], size_wh: tuple[int, int] | None = None
) -> Annotation:
    """The annotation of the image that the label file `path` is named after."""
    labels = Labels(
        corners=np.array([r.corners for r in records], dtype=np.float64).reshape(-1, 4, 2),
        names=tuple(r.name for r in records),
        difficult=np.array([r.difficult for r in records], dtype=np.int64),
        lines=np.array([r.line for r in records], dtype=np.int64),
    )
    return Annotation(image_id=path.stem, path=path, labels=labels, size_wh=size_wh)


@dataclass(frozen=True)
class ClassMap:
    """Which class names are changed, left out and allowed.

    `drop` is compared with the name in the file and with the name after `rename`. With `classes`
    a name that is a number is a position in it (from 0), and any other name is an error.
    """

    rename: dict[str, str] = field(default_factory=dict)
    drop: frozenset[str] = frozenset()
    classes: tuple[str, ...] | None = None

    def apply(self, annotation: Annotation) -> Annotation:
        """The annotation under the new names, without the classes that are left out."""
        labels = annotation.labels
        keep, names = [], []
        for index, original in enumerate(labels.names):
            name = self._position_to_name(self.rename.get(original, original))
            if original in self.drop or name in self.drop:
                continue
            if self.classes is not None and name not in self.classes:
                raise InputError(
                    f"{annotation.path}:{labels.lines[index]}: class {original!r} is not among "
                    f"the classes ({', '.join(self.classes)}); add it to --classes, or give "
                    f"--rename {original}=... or --drop {original}"
                )
            keep.append(index)
            names.append(name)
        return replace(annotation, labels=select_labels(labels, keep, names))

    def _position_to_name(self, name: str) -> str:
        if self.classes is None or name in self.classes or not name.isdecimal():
            return name
        return self.classes[int(name)] if int(name) < len(self.classes) else name

    def unused(self, annotations: Iterable[Annotation]) -> list[str]:
        """Names in `rename` and `drop` that no annotation holds: most likely misspelt."""
        seen = {name for annotation in annotations for name in annotation.labels.names}
        seen |= {self.rename.get(name, name) for name in seen}
        return sorted((set(self.rename) | self.drop) - seen)


def select_labels(labels: Labels, keep: Sequence[int], names: Sequence[str]) -> Labels:
    """The objects `keep` of `labels`, called `names` (one for each that is kept)."""
    rows = np.asarray(keep, dtype=np.int64)
    return Labels(
        corners=labels.corners[rows],
        names=tuple(names),
        difficult=labels.difficult[rows],
        lines=labels.lines[rows],
    )


def size_is_missing(annotation: Annotation) -> InputError:
    """The error of a writer that needs the size of the image."""
    return InputError(f"{annotation.path}: the size of its image is not known; give --images")


def count_classes(annotations: Iterable[Annotation]) -> Counter[str]:
    """Objects of each class, the most frequent first."""
    counts: Counter[str] = Counter()
    for annotation in annotations:
        counts.update(annotation.labels.names)
    return Counter(dict(counts.most_common()))


def rotated_corners(cx: float, cy: float, w: float, h: float, angle: float) -> np.ndarray:
    """Corners [4, 2] of a rectangle turned by `angle` radians (from x towards y, so clockwise to
    the eye, as y points down): the corners that are top left, top right, bottom right and bottom
    left before the turn, in this order."""
    offsets = 0.5 * np.array([[-w, -h], [w, -h], [w, h], [-w, h]], dtype=np.float64)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([cx, cy]) + offsets @ np.array([[cos, sin], [-sin, cos]])

"""The labels of one image, as every reader returns and every writer takes them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.file_names import check_class_name, check_image_id
from DOTA_devkit.formats import Labels
from DOTA_devkit.json_tree import UNWRITABLE, JsonValue
from DOTA_devkit.polygon import uncrossed

Attribute = str | int | float | bool
"""A value that a tool keeps of an object besides its box and class."""


@dataclass(frozen=True)
class Annotation:
    """The labels of one image and where they came from.

    Attributes:
        image_id: file name of the image without suffix.
        path: file that the labels were read from.
        labels: the objects, corners in pixels of the image.
        size_wh: width and height of the image, None if the label file does not say.
        file_name: file name of the image, None if the label file does not say.
        scores: ``[N]`` float64, the confidence of each object; nan where there is none.
        attributes: ``[N]``, what else the tool keeps of each object.
        fitted: ``[K]`` int64, lines of the objects whose outline has another number of points than
            four, and that have the corners of its smallest rectangle.
        places: what `labels.lines` count, such as "shape"; None for lines of the file.
        left_out: places of the shapes of the file that cannot become a box.
    """

    image_id: str
    path: Path
    labels: Labels
    size_wh: tuple[int, int] | None = None
    file_name: str | None = None
    scores: np.ndarray | None = None
    attributes: tuple[Mapping[str, Attribute], ...] | None = None
    fitted: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    places: str | None = None
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.scores is None:
            object.__setattr__(self, "scores", np.full(len(self.labels), np.nan))
        if self.attributes is None:
            object.__setattr__(self, "attributes", ({},) * len(self.labels))

    def place(self, line: int) -> str:
        """Return the place of the object with this number in `labels.lines`, for errors."""
        return f"{self.path}: {self.places} {line}" if self.places else f"{self.path}:{line}"

    def select(self, keep: Sequence[int], names: Sequence[str] | None = None) -> Annotation:
        """Return the annotation with some of its objects.

        Args:
            keep: ``[K]`` indices of the objects to keep.
            names: ``[K]`` their new class names; None keeps the old ones.
        """
        rows = np.asarray(keep, dtype=np.int64)
        labels = self.labels
        lines = labels.lines[rows]
        return replace(
            self,
            labels=Labels(
                corners=labels.corners[rows],
                names=tuple(labels.names[row] for row in rows) if names is None else tuple(names),
                difficult=labels.difficult[rows],
                lines=lines,
                crossing=labels.crossing[np.isin(labels.crossing, lines)],
            ),
            scores=self.scores[rows],
            attributes=tuple(self.attributes[row] for row in rows),
            fitted=self.fitted[np.isin(self.fitted, lines)],
        )


@dataclass(frozen=True)
class ObjectRecord:
    """One object as a reader finds it.

    Attributes:
        name: class name.
        corners: ``[4, 2]``, in pixels of the image.
        difficult: difficulty, 0 for a normal object.
        line: line number in the label file, starting at 1, or what `Annotation.places` says.
        score: confidence, nan for none.
        attributes: what else the tool keeps of it.
        fitted: whether the corners are those of the smallest rectangle around an outline.
    """

    name: str
    corners: np.ndarray
    difficult: int
    line: int
    score: float = math.nan
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    fitted: bool = False


def build_annotation(
    path: Path,
    records: Sequence[ObjectRecord],
    size_wh: tuple[int, int] | None = None,
    file_name: str | None = None,
    places: str | None = None,
    left_out: Sequence[str] = (),
) -> Annotation:
    """Build the annotation of one image.

    Args:
        path: the label file.
        records: the objects.
        size_wh: width and height of the image, None if unknown.
        file_name: file name of the image; None if the label file is named after it. The image id
            is the stem of either.
        places: see `Annotation`.
        left_out: see `Annotation`.

    Raises:
        InputError: a class name or the image id is too long; the message has the place.
    """
    image_id = path.stem if file_name is None else Path(file_name).stem
    check_image_id(image_id, str(path))
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
    annotation = Annotation(
        image_id=image_id,
        path=path,
        labels=labels,
        size_wh=size_wh,
        file_name=file_name,
        scores=np.array([r.score for r in records], dtype=np.float64),
        attributes=tuple(r.attributes for r in records),
        fitted=lines[np.array([r.fitted for r in records], dtype=bool)],
        places=places,
        left_out=tuple(left_out),
    )
    for record in records:
        check_class_name(record.name, annotation.place(record.line))
    return annotation


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
                    f"{annotation.place(labels.lines[index])}: class {original!r} is not among "
                    f"the classes ({', '.join(self.classes)}); add {original!r} to `classes`, or "
                    "name it in `rename` or `drop`"
                )
            keep.append(index)
            names.append(name)
        return annotation.select(keep, names)

    def _position_to_name(self, name: str) -> str:
        if self.classes is None or name in self.classes or not re.fullmatch("[0-9]{1,9}", name):
            return name
        return self.classes[int(name)] if int(name) < len(self.classes) else name

    def unused(self, annotations: Iterable[Annotation]) -> list[str]:
        """Return the names in `rename` and `drop` that no annotation has, likely misspelled."""
        seen = {name for annotation in annotations for name in annotation.labels.names}
        seen |= {self.rename.get(name, name) for name in seen}
        return sorted((set(self.rename) | self.drop) - seen)


def missing_size_error(annotation: Annotation) -> InputError:
    """Build the error of a writer that needs the size of the image."""
    return InputError(f"{annotation.path}: the size of its image is unknown; give `images`")


def count_classes(annotations: Iterable[Annotation]) -> Counter[str]:
    """Count the objects of each class, the most frequent class first."""
    counts: Counter[str] = Counter()
    for annotation in annotations:
        counts.update(annotation.labels.names)
    return Counter(dict(counts.most_common()))


def file_name_of(name: str, where: str) -> str:
    """Return the file name of an image that a label file names by a path or an address.

    Args:
        name: such as ``images/train/a.png``.
        where: the place of the name, for the error.

    Returns:
        The last part of the name.

    Raises:
        InputError: the name leads out of the folder of images, or has no last part.
    """
    parts = name.replace("\\", "/").split("/")
    absolute = parts[0] == "" or re.fullmatch("[A-Za-z]:", parts[0])
    if absolute or ".." in parts or parts[-1] in ("", ".") or "\0" in name:
        raise InputError(
            f"{where}: expected the name of an image, in the folder of images or below it, got "
            f"{name[:80]!r}"
        )
    return parts[-1]


def size_from(width: float, height: float) -> tuple[int, int] | None:
    """Return the size of an image as it is in a label file; None unless both are above 0."""
    return (round(width), round(height)) if width >= 0.5 and height >= 0.5 else None


def size_of_members(width: JsonValue | None, height: JsonValue | None) -> tuple[int, int] | None:
    """Return the size of an image from two members of a JSON object, see `size_from`."""
    if width is None or height is None:
        return None
    return size_from(width.number(), height.number())


def attributes_of(members: JsonValue | None) -> dict[str, Attribute]:
    """Return those members of a JSON object that are texts, finite numbers, true or false.

    Texts that cannot be written as text are left out.
    """
    if members is None or not isinstance(members.value, dict):
        return {}
    return {
        key: value
        for key, value in members.value.items()
        if not UNWRITABLE.search(key)
        and (
            isinstance(value, bool)
            or (isinstance(value, str) and not UNWRITABLE.search(value))
            or (type(value) in (int, float) and abs(value) < 1e300)
        )
    }

"""All labels of a folder as arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DOTA_devkit.class_lists import find_dota_files
from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import map_collecting, read_all_labels
from DOTA_devkit.file_kinds import folder_hint, labels_hint
from DOTA_devkit.formats import Labels
from DOTA_devkit.imaging import image_size_wh
from DOTA_devkit.progress import progress


@dataclass(frozen=True)
class LabelSet:
    """The labels of a folder, as one array per property of the I images and N objects.

    Attributes:
        image_ids: ``[I]``, sorted.
        label_paths: ``[I]``, None for an image without a label file.
        sizes_wh: ``[I, 2]`` float64, width and height in pixels; nan if the image is missing or
            its size was not asked for.
        image_index: ``[N]`` int64, position of the object's image in `image_ids`.
        corners: ``[N, 4, 2]`` float64, in pixels of the image.
        names: ``[N]`` class names, an array of objects.
        difficult: ``[N]`` int64.
        lines: ``[N]`` int64, line numbers in the label files, starting at 1.
        crossing: ``[N]`` bool, whether the file has the corners in an order that crosses; here
            they are in the order around the box.
        units: ``[I]``, what `lines` count in the files of images in other formats than text, such
            as "shape"; None for lines. Empty if all are lines.
    """

    image_ids: list[str]
    label_paths: list[Path | None]
    sizes_wh: np.ndarray
    image_index: np.ndarray
    corners: np.ndarray
    names: np.ndarray
    difficult: np.ndarray
    lines: np.ndarray
    crossing: np.ndarray
    units: tuple[str | None, ...] = ()

    def rows_by_class(self) -> dict[str, np.ndarray]:
        """Return class name -> indices of its objects, ascending; the most frequent class first."""
        numbers: dict[str, int] = {}
        codes = np.array([numbers.setdefault(name, len(numbers)) for name in self.names], np.int64)
        order = np.argsort(codes, kind="stable")
        groups = np.split(order, np.cumsum(np.bincount(codes))[:-1])
        rows = dict(zip(numbers, groups, strict=False))
        return {name: rows[name] for name, _ in Counter(self.names).most_common()}

    def where(self, objects: np.ndarray) -> list[str]:
        """Return ``file name:line`` of `objects`, given as indices or as a mask ``[N]``."""
        units = self.units or (None,) * len(self.image_ids)
        return [
            f"{self.label_paths[image].name}: {units[image]} {line}"
            if units[image]
            else f"{self.label_paths[image].name}:{line}"
            for image, line in zip(self.image_index[objects], self.lines[objects], strict=True)
        ]


def read_label_set(label_dir: Path | str, images: Mapping[str, Path] | None = None) -> LabelSet:
    """Read every label file of a folder, and the sizes of the images.

    Args:
        label_dir: folder of label files (``*.txt``).
        images: image id -> file; without it all sizes are nan.

    Returns:
        The labels of all label files and `images`.

    Raises:
        InputError: the folder is missing or has no labels, or files cannot be used; the message
            lists the faults of all files.
    """
    label_dir = Path(label_dir)
    if not label_dir.is_dir():
        raise InputError(f"{label_dir}: no such folder of labels{folder_hint(label_dir)}")
    paths = find_dota_files(label_dir)
    hint = "" if paths else labels_hint({path.suffix.lower() for path in label_dir.iterdir()})
    image_ids = sorted({*paths, *(images or {})})
    if hint or not image_ids:
        raise InputError(f"{label_dir}: no label files (*.txt) in this folder{hint}")
    labeled = [image_id for image_id in image_ids if image_id in paths]
    labels = read_all_labels([paths[image_id] for image_id in labeled])
    by_id = dict(zip(labeled, labels, strict=True))
    return collect_label_set(image_ids, paths, by_id, _read_sizes(image_ids, images or {}))


def collect_label_set(
    image_ids: list[str],
    paths: Mapping[str, Path],
    labels: Mapping[str, Labels],
    sizes_wh: np.ndarray,
    units: Mapping[str, str | None] | None = None,
) -> LabelSet:
    """Put the labels of images together.

    Args:
        image_ids: ``[I]``.
        paths: image id -> label file, for the images that have one.
        labels: image id -> what is in the file.
        sizes_wh: see `LabelSet`.
        units: image id -> see `LabelSet.units`.
    """
    entries = [labels[image_id] for image_id in image_ids if image_id in labels]
    counts = [len(labels[i]) if i in labels else 0 for i in image_ids]
    return LabelSet(
        image_ids=image_ids,
        label_paths=[paths.get(image_id) for image_id in image_ids],
        sizes_wh=sizes_wh,
        image_index=np.repeat(np.arange(len(image_ids)), counts),
        corners=np.concatenate([np.zeros((0, 4, 2)), *(entry.corners for entry in entries)]),
        names=np.array([name for entry in entries for name in entry.names], dtype=object),
        difficult=np.array([d for entry in entries for d in entry.difficult], dtype=np.int64),
        lines=np.array([line for entry in entries for line in entry.lines], dtype=np.int64),
        crossing=np.concatenate(
            [np.zeros(0, bool), *(np.isin(entry.lines, entry.crossing) for entry in entries)]
        ),
        units=tuple(map(units.get, image_ids)) if units else (),
    )


def _read_sizes(image_ids: list[str], images: Mapping[str, Path]) -> np.ndarray:
    """Return the sizes [I, 2] of the images, nan for ids without a file."""
    sizes = np.full((len(image_ids), 2), np.nan)
    known = [index for index, image_id in enumerate(image_ids) if image_id in images]
    if known:
        sizes[known] = map_collecting(
            lambda index: image_size_wh(images[image_ids[index]]), progress(known, "sizes")
        )
    return sizes

"""Labels and detections as the evaluation takes them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import Labels, Task1, read_label_files, read_task1, read_task2

logger = logging.getLogger(__name__)


IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Truth:
    """The labelled objects of a set of images.

    Attributes:
        classes: names; ``labels`` count in this order.
        image_ids: each image once, those without objects included.
        images: ``[N]`` index into ``image_ids`` for each object.
        corners: ``[N, 4, 2]`` float64.
        labels: ``[N]`` int64, index into ``classes``.
        difficult: ``[N]`` bool.
    """

    classes: tuple[str, ...]
    image_ids: tuple[str, ...]
    images: np.ndarray
    corners: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray

    @staticmethod
    def from_arrays(
        objects: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
        classes: Sequence[str],
    ) -> Truth:
        """From arrays in memory.

        Args:
            objects: for each image id (corners ``[N, 4, 2]``, labels ``[N]`` as numbers of
                ``classes``, difficulties ``[N]``); 1 and above is difficult. Images without
                objects belong in it too.
            classes: class names.
        """
        count = [len(corners) for corners, _, _ in objects.values()]
        corners = [np.reshape(corners, (-1, 4, 2)) for corners, _, _ in objects.values()]
        labels = [np.ravel(labels) for _, labels, _ in objects.values()]
        difficult = [np.ravel(difficult) for _, _, difficult in objects.values()]
        truth = Truth(
            classes=tuple(classes),
            image_ids=tuple(objects),
            images=np.repeat(np.arange(len(count)), count),
            corners=np.concatenate([np.zeros((0, 4, 2)), *corners]),
            labels=np.concatenate([np.zeros(0), *labels]).astype(np.int64),
            difficult=np.concatenate([np.zeros(0), *difficult]) >= 1,
        )
        if len(truth.labels) and not 0 <= truth.labels.min() <= truth.labels.max() < len(classes):
            raise ValueError(
                f"labels must lie in [0, {len(classes)}), came from {truth.labels.min()} "
                f"to {truth.labels.max()}"
            )
        return truth


def load_truth(
    label_dir: Path | str, image_ids: Sequence[str], classes: Sequence[str] | None = None
) -> Truth:
    """Read the label files of some images.

    Args:
        label_dir: folder of ``ID.txt``.
        image_ids: what to score; repeated ids count once, an image suffix is taken off where
            there is no label file of that whole name.
        classes: names to score; labels of other classes are passed over, and how many is logged.
            None: all that occur, sorted.

    Raises:
        InputError: a listed image has no label file, or a line in one can't be understood.
    """
    label_dir = Path(label_dir)
    ids: dict[str, Path] = {}
    for image_id in dict.fromkeys(image_ids):
        path = label_dir / f"{image_id}.txt"
        if not path.is_file() and image_id.lower().endswith(IMAGE_SUFFIXES):
            image_id = image_id.rpartition(".")[0]
            path = label_dir / f"{image_id}.txt"
        if not path.is_file():
            raise InputError(f"image {image_id} is listed, but has no label file {path}")
        ids[image_id] = path
    return truth_of(list(read_label_files(ids.values())), list(ids), classes)


def truth_of(
    labels: Sequence[Labels], image_ids: Sequence[str], classes: Sequence[str] | None = None
) -> Truth:
    """From labels that were read, one for each image; see `load_truth`."""
    names = [name for one in labels for name in one.names]
    one_class = classes is not None and len(classes) == 1
    classes = tuple(sorted(set(names)) if classes is None else classes)
    number = {name: k for k, name in enumerate(classes)}
    numbers = np.fromiter(map(number.get, names, repeat(-1)), np.int64, len(names))
    truth = Truth(
        classes=classes,
        image_ids=tuple(image_ids),
        images=np.repeat(np.arange(len(labels)), [len(one) for one in labels]),
        corners=np.concatenate([np.zeros((0, 4, 2)), *(one.corners for one in labels)]),
        labels=numbers,
        difficult=np.concatenate([np.zeros(0), *(one.difficult for one in labels)]) >= 1,
    )
    other = numbers < 0
    if other.any():
        if not one_class:
            unknown = sorted(set(names) - set(classes))
            logger.warning(
                "%d labels of classes that are not scored are left out: %s",
                other.sum(), ", ".join(unknown[:10]) + (" ..." if len(unknown) > 10 else ""),
            )  # fmt: skip
        truth = select_rows(truth, ~other)
    return truth


def load_detections(
    result_dir: Path | str, classes: Sequence[str], task: int = 1
) -> dict[str, Task1]:
    """Read the result files ``Task1_CLASS.txt`` (or ``Task2_``) of a folder.

    A class without a file has no detections; if all are missing, that is an error.

    Raises:
        InputError: no file at all, or a line that can't be understood.
    """
    read = {1: read_task1, 2: read_task2}[task]
    paths = {name: Path(result_dir) / f"Task{task}_{name}.txt" for name in classes}
    found = {name: read(path) for name, path in paths.items() if path.is_file()}
    if not found:
        raise InputError(
            f"{result_dir}: expected files such as Task{task}_{classes[0] if classes else '...'}"
            ".txt, found none of any class"
        )
    missing = [name for name in classes if name not in found]
    if missing:
        logger.warning("no result file in %s for: %s", result_dir, ", ".join(missing))
    return found


def select_rows(truth: Truth, rows: np.ndarray) -> Truth:
    if rows.all():
        return truth
    return replace(
        truth,
        images=truth.images[rows],
        corners=truth.corners[rows],
        labels=truth.labels[rows],
        difficult=truth.difficult[rows],
    )

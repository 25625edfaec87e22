"""Ground truth and detections as the evaluation takes them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.file_names import find_result_files, path_inside, result_name
from DOTA_devkit.formats import (
    Labels,
    Task1,
    crossing_places,
    read_label_files,
    read_task1,
    read_task2,
    warn_of_crossing,
)
from DOTA_devkit.images import IMAGE_SUFFIXES

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Truth:
    """The labeled objects of a set of images (ground truth).

    Attributes:
        classes: class names.
        image_ids: each image once, including those without objects.
        images: ``[N]`` index into ``image_ids`` for each object.
        corners: ``[N, 4, 2]`` float64, pixels of the image.
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
        """Make ground truth from arrays in memory.

        Args:
            objects: for each image id (corners ``[N, 4, 2]``, labels ``[N]`` as indices into
                ``classes``, difficulties ``[N]``); 1 and above is difficult. It must include
                images without objects.
            classes: class names.

        Returns:
            The ground truth.

        Raises:
            ValueError: a label is not an index into ``classes``.
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
                f"labels must be in [0, {len(classes)}), got {truth.labels.min()} "
                f"to {truth.labels.max()}"
            )
        return truth


def load_truth(
    label_dir: Path | str, image_ids: Sequence[str], classes: Sequence[str] | None = None
) -> Truth:
    """Read the label files of some images.

    Args:
        label_dir: folder of ``ID.txt``.
        image_ids: images to score; repeated ids count once, and an image suffix is removed if
            there is no label file of the whole name.
        classes: class names to score; labels of other classes are ignored, and their number is
            logged. None: all classes that occur, sorted.

    Returns:
        The ground truth.

    Raises:
        InputError: a listed image has no label file, or a line of one is malformed.
    """
    label_dir = Path(label_dir)
    ids: dict[str, Path] = {}
    for image_id in dict.fromkeys(image_ids):
        path = path_inside(label_dir, image_id, ".txt")
        if not path.is_file() and image_id.lower().endswith(IMAGE_SUFFIXES):
            image_id = image_id.rpartition(".")[0]
            path = label_dir / f"{image_id}.txt"
        if not path.is_file():
            raise InputError(f"image {image_id} is listed, but has no label file {path}")
        ids[image_id] = path
    labels = list(read_label_files(ids.values()))
    warn_of_crossing(
        [
            place
            for path, one in zip(ids.values(), labels, strict=True)
            for place in crossing_places(path, one)
        ]
    )
    return truth_from_labels(labels, list(ids), classes)


def truth_from_labels(
    labels: Sequence[Labels], image_ids: Sequence[str], classes: Sequence[str] | None = None
) -> Truth:
    """Make ground truth from labels in memory.

    Args:
        labels: one value per image.
        image_ids: the ids of these images, without repetition.
        classes: see `load_truth`.

    Returns:
        The ground truth.
    """
    names = [name for one in labels for name in one.names]
    one_class = classes is not None and len(classes) == 1
    classes = tuple(sorted(set(names)) if classes is None else classes)
    class_index = {name: k for k, name in enumerate(classes)}
    indices = np.fromiter(map(class_index.get, names, repeat(-1)), np.int64, len(names))
    truth = Truth(
        classes=classes,
        image_ids=tuple(image_ids),
        images=np.repeat(np.arange(len(labels)), [len(one) for one in labels]),
        corners=np.concatenate([np.zeros((0, 4, 2)), *(one.corners for one in labels)]),
        labels=indices,
        difficult=np.concatenate([np.zeros(0), *(one.difficult for one in labels)]) >= 1,
    )
    other = indices < 0
    if other.any():
        if not one_class:
            unknown = sorted(set(names) - set(classes))
            logger.warning(
                "ignoring %d labels of classes that are not scored: %s",
                other.sum(), ", ".join(unknown[:10]) + (" ..." if len(unknown) > 10 else ""),
            )  # fmt: skip
        truth = select_objects(truth, ~other)
    return truth


def load_detections(
    result_dir: Path | str, classes: Sequence[str], task: int = 1
) -> dict[str, Task1]:
    """Read the result files ``Task1_CLASS.txt`` (or ``Task2_CLASS.txt``) of a folder.

    Args:
        result_dir: folder of result files.
        classes: class names; one without a file has no detections, which is logged.
        task: 1 or 2.

    Returns:
        Class name -> detections, for the classes that have a file.

    Raises:
        InputError: there is no file of any class, or a line is malformed.
    """
    read = {1: read_task1, 2: read_task2}[task]
    present = {path.name: path for path in find_result_files(Path(result_dir))}
    names = {name: result_name(name, task) for name in classes}
    detections = {name: read(present[file]) for name, file in names.items() if file in present}
    if not detections:
        example = result_name(classes[0] if classes else "...", task)
        raise InputError(
            f"{result_dir}: expected files such as {example}, found none for any class"
        )
    missing = [name for name in classes if name not in detections]
    if missing:
        logger.warning("no result file in %s for: %s", result_dir, ", ".join(missing))
    return detections


def select_objects(truth: Truth, rows: np.ndarray) -> Truth:
    """Keep the objects in the mask ``rows`` ``[N]``; classes and images stay."""
    if rows.all():
        return truth
    return replace(
        truth,
        images=truth.images[rows],
        corners=truth.corners[rows],
        labels=truth.labels[rows],
        difficult=truth.difficult[rows],
    )

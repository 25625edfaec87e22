"""Code shared by the devkit's evaluation modules; scores come from `DOTA_devkit.scoring`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from DOTA_devkit.formats import Labels, Task1, read_ids, read_label_files, read_task1, read_task2
from DOTA_devkit.scoring import average_precision, evaluate, truth_from_labels

LabelReader = Callable[[Iterable[str | Path]], Iterable[Labels]]


def voc_ap(rec: np.ndarray, prec: np.ndarray, use_07_metric: bool = False) -> float:
    """Compute the AP of a precision/recall curve.

    Args:
        rec: recall ``[N]``, not descending.
        prec: precision ``[N]``.
        use_07_metric: mean of 11 points (VOC07) instead of the area under the curve.

    Returns:
        AP in [0, 1].
    """
    return average_precision(rec, prec, "voc07" if use_07_metric else "voc12")


class VocFunctions:
    """``parse_gt`` and ``voc_eval`` for one kind of labels and one task."""

    def __init__(self, read: LabelReader = read_label_files, task: int = 1) -> None:
        self._read, self._task = read, task

    def parse_gt(self, filename: str | Path) -> list[dict]:
        """Read the objects of a label file.

        Args:
            filename: label file.

        Returns:
            One dict per object: name, difficult and bbox (x1, y1, ... x4, y4); for Task2 bbox is
            (xmin, ymin, xmax, ymax), and there is also area.
        """
        (labels,) = self._read([filename])
        objects = [
            {"name": name, "difficult": difficult, "bbox": box}
            for name, difficult, box in zip(
                labels.names,
                labels.difficult.tolist(),
                labels.corners.reshape(-1, 8).tolist(),
                strict=True,
            )
        ]
        if self._task == 2:
            for one in objects:
                xmin, ymin, xmax, ymax = (int(one["bbox"][k]) for k in (0, 1, 4, 5))
                one["bbox"] = [xmin, ymin, xmax, ymax]
                one["area"] = (xmax - xmin) * (ymax - ymin)
        return objects

    def voc_eval(
        self,
        detpath: str,
        annopath: str,
        imagesetfile: str | Path,
        classname: str,
        ovthresh: float = 0.5,
        use_07_metric: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Score one class.

        Args:
            detpath: ``detpath.format(classname)`` is the result file.
            annopath: ``annopath.format(image_id)`` is the label file of an image.
            imagesetfile: list of image ids, one per line.
            classname: class to score. Detections with equal scores are in the order of NumPy's
                default sort, as in the original; it differs between processors. `evaluate` keeps
                the order of the file.
            ovthresh: an IoU above it is a match.
            use_07_metric: mean of 11 points instead of the area under the curve.

        Returns:
            Recall ``[N]`` and precision ``[N]`` along the detections, by descending score, and
            the AP; nan for a class without objects.
        """
        image_ids = list(dict.fromkeys(read_ids(imagesetfile)))
        labels = self._read(annopath.format(image_id) for image_id in image_ids)
        truth = truth_from_labels(list(labels), image_ids, [classname])
        read_results = read_task1 if self._task == 1 else read_task2
        evaluation = evaluate(
            {classname: _in_original_order(read_results(detpath.format(classname)))},
            truth,
            (ovthresh,),
            "voc07" if use_07_metric else "voc12",
            rectangles=self._task == 2,
            confusion=False,
        )
        score = evaluation[classname]
        return score.curve.recall, score.curve.precision, float(score.ap[0])


def _in_original_order(detections: Task1) -> Task1:
    """Rearrange equal scores so that a stable sort gives the order of NumPy's default sort."""
    original = np.argsort(-detections.scores)
    stable = np.argsort(-detections.scores, kind="stable")
    moved = np.flatnonzero(original != stable)
    source, target = original[moved].tolist(), stable[moved].tolist()
    image_ids, corners = list(detections.image_ids), detections.corners.copy()
    for one, other in zip(source, target, strict=True):
        image_ids[other] = detections.image_ids[one]
    corners[target] = detections.corners[source]
    return Task1(image_ids, detections.scores, corners)


def read_without_difficulty(paths: Iterable[str | Path]) -> Iterator[Labels]:
    """Read label files and mark no object as difficult, as DOTA-1.5 does."""
    for labels in read_label_files(paths):
        yield replace(labels, difficult=np.zeros_like(labels.difficult))


def read_rectangles(paths: Iterable[str | Path]) -> Iterator[Labels]:
    """Read label files as the axis-aligned rectangles of Task2: two corners in whole pixels."""
    for labels in read_label_files(paths):
        corners = np.trunc(labels.corners).reshape(-1, 8)[:, [0, 1, 4, 1, 4, 5, 0, 5]]
        yield replace(labels, corners=corners.reshape(-1, 4, 2))


def read_rectangles_without_difficulty(paths: Iterable[str | Path]) -> Iterator[Labels]:
    """Combine `read_rectangles` and `read_without_difficulty`."""
    for labels in read_rectangles(paths):
        yield replace(labels, difficult=np.zeros_like(labels.difficult))


def read_text_or_hrsc_xml(paths: Iterable[str | Path]) -> Iterator[Labels]:
    """Read label files as DOTA text or, if their name ends in .xml, as HRSC2016 XML (all ships)."""
    from DOTA_devkit.converters.hrsc import read_hrsc

    for path in paths:
        if str(path).lower().endswith(".xml"):
            yield read_hrsc(path).labels
        else:
            yield from read_label_files([path])

"""What the devkit's evaluation modules have in common; scores come from `DOTA_devkit.scoring`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from DOTA_devkit.formats import Labels, Task1, read_ids, read_label_files, read_task1, read_task2
from DOTA_devkit.scoring import average_precision, evaluate, truth_from_labels

LabelReader = Callable[[Iterable[str | Path]], Iterable[Labels]]


def voc_ap(rec: np.ndarray, prec: np.ndarray, use_07_metric: bool = False) -> float:
    """AP of a precision/recall curve: area under it, or the mean of 11 points (VOC07)."""
    return average_precision(rec, prec, "voc07" if use_07_metric else "voc12")


class VocFunctions:
    """``parse_gt`` and ``voc_eval`` for one kind of labels and one task."""

    def __init__(self, read: LabelReader = read_label_files, task: int = 1) -> None:
        self._read, self._task = read, task

    def parse_gt(self, filename: str | Path) -> list[dict]:
        """Objects of a label file: name, difficult and bbox.

        bbox is x1, y1, ... x4, y4; for Task2 xmin, ymin, xmax, ymax, and there is area too.
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
            imagesetfile: list of image ids, one a line.
            classname: class to score. Equal scores come in the order of numpy's default sort, as
                in the original; that differs between processors. `evaluate` keeps the file's.
            ovthresh: an IoU above it is a hit.
            use_07_metric: AP as the mean of 11 points instead of the area.

        Returns:
            recall ``[N]`` and precision ``[N]`` along the detections, by falling score, and AP;
            nan for a class without objects.
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
    """With equal scores rearranged so that a stable sort gives numpy's default order."""
    theirs = np.argsort(-detections.scores)
    stable = np.argsort(-detections.scores, kind="stable")
    moved = np.flatnonzero(theirs != stable)
    source, target = theirs[moved].tolist(), stable[moved].tolist()
    image_ids, corners = list(detections.image_ids), detections.corners.copy()
    for one, other in zip(source, target, strict=True):
        image_ids[other] = detections.image_ids[one]
    corners[target] = detections.corners[source]
    return Task1(image_ids, detections.scores, corners)


def without_difficulty(paths: Iterable[str | Path]) -> Iterator[Labels]:
    """Label files in which every object counts, as DOTA-1.5 has it."""
    for labels in read_label_files(paths):
        yield replace(labels, difficult=np.zeros_like(labels.difficult))


def upright_rectangles(paths: Iterable[str | Path]) -> Iterator[Labels]:
    """Label files of upright rectangles, of which Task2 reads two corners in whole pixels."""
    for labels in read_label_files(paths):
        corners = np.trunc(labels.corners).reshape(-1, 8)[:, [0, 1, 4, 1, 4, 5, 0, 5]]
        yield replace(labels, corners=corners.reshape(-1, 4, 2))


def upright_without_difficulty(paths: Iterable[str | Path]) -> Iterator[Labels]:
    """Both of the above."""
    for labels in upright_rectangles(paths):
        yield replace(labels, difficult=np.zeros_like(labels.difficult))


def text_or_hrsc_xml(paths: Iterable[str | Path]) -> Iterator[Labels]:
    """Label files as DOTA text or, where the name ends so, as HRSC2016's XML (all ships)."""
    from DOTA_devkit.converters.hrsc import read_hrsc

    for path in paths:
        if str(path).lower().endswith(".xml"):
            yield read_hrsc(path).labels
        else:
            yield from read_label_files([path])

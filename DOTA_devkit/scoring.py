"""Average precision of detections against labels, as PASCAL VOC, COCO and DOTA's server count.

Matching. VOC (and DOTA): each detection stands for the object that it overlaps most, hit or not
yet; above the threshold it is a hit if it is the first to claim that object (by falling score),
else a miss. COCO: each detection takes the best object that is still free. An object marked
difficult is neither hit nor miss, and neither is a detection that stands for it.

Overlaps are computed once for a class, all images together; every threshold and size bucket
then only looks at them.
"""

from __future__ import annotations

import csv
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import repeat
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.formats import Labels, Task1, read_label_files, read_task1, read_task2
from DOTA_devkit.polygon import Shapes, grouped_iou, grouped_rectangle_iou

log = logging.getLogger(__name__)

METRICS = ("voc07", "voc12", "coco")
COCO_THRESHOLDS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))

SIZES: dict[str, tuple[float, float]] = {
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, math.inf),
}
"""Size buckets by area in square pixels, from (included) to (not included); COCO's."""

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
            log.warning(
                "%d labels of classes that are not scored are left out: %s",
                other.sum(), ", ".join(unknown[:10]) + (" ..." if len(unknown) > 10 else ""),
            )  # fmt: skip
        truth = _select(truth, ~other)
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
        log.warning("no result file in %s for: %s", result_dir, ", ".join(missing))
    return found


@dataclass(frozen=True)
class Curve:
    """Precision and recall of one class at one IoU threshold, one point a detection.

    Attributes:
        scores: ``[N]``, falling.
        recall: ``[N]``, rising; nan where there is nothing to find.
        precision: ``[N]``.
    """

    scores: np.ndarray
    recall: np.ndarray
    precision: np.ndarray


@dataclass(frozen=True)
class ClassScore:
    """What was measured of one class.

    Attributes:
        name: class name.
        objects: objects to be found, those marked difficult left out.
        detections: detections on the images of the list.
        ap: ``[T]`` average precision at each IoU threshold; nan for a class without objects.
        ap_by_size: bucket name -> AP at the first threshold; nan where it holds no objects.
        objects_by_size: bucket name -> objects.
        curve: at the first threshold.
        best_f1: the highest F1 on that curve, reached by keeping scores of ``best_score`` and
            above, with ``best_precision`` and ``best_recall``; nan without objects or hits.
    """

    name: str
    objects: int
    detections: int
    ap: np.ndarray
    ap_by_size: dict[str, float]
    objects_by_size: dict[str, int]
    curve: Curve
    best_f1: float
    best_score: float
    best_precision: float
    best_recall: float


@dataclass(frozen=True)
class Evaluation:
    """Scores of all classes, and ways to show them.

    Attributes:
        metric: one of `METRICS`.
        iou_thresholds: ``[T]``.
        classes: one score a class, in the order of the truth.
        confusion: ``[C + 1, C + 1]`` counts, rows true classes, columns detected ones; the last
            row holds detections of nothing, the last column objects not found. None if skipped.
        unlisted: detections left out because their image is not in the list.
    """

    metric: str
    iou_thresholds: tuple[float, ...]
    classes: tuple[ClassScore, ...]
    confusion: np.ndarray | None = None
    unlisted: int = 0
    images: int = 0
    _by_name: dict[str, ClassScore] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {score.name: score for score in self.classes})

    def __getitem__(self, class_name: str) -> ClassScore:
        return self._by_name[class_name]

    @property
    def ap(self) -> np.ndarray:
        """``[C, T]`` average precision, nan for classes without objects."""
        shape = len(self.classes), len(self.iou_thresholds)
        return np.array([score.ap for score in self.classes]).reshape(shape)

    @property
    def mean_ap(self) -> np.ndarray:
        """``[T]`` mean over the classes that have objects; nan if none has."""
        return _mean(self.ap, axis=0)

    @property
    def map(self) -> float:
        """Mean over classes and IoU thresholds: COCO's headline number."""
        return float(_mean(self.mean_ap, axis=0))

    def mean_ap_at(self, iou_threshold: float) -> float:
        """Mean AP at one of the IoU thresholds; nan if it was not measured."""
        near = np.isclose(self.iou_thresholds, iou_threshold)
        return float(self.mean_ap[near.argmax()]) if near.any() else math.nan

    @property
    def mean_ap_by_size(self) -> dict[str, float]:
        """Bucket name -> mean AP at the first threshold, over the classes with such objects."""
        return {
            size: float(_mean(np.array([score.ap_by_size[size] for score in self.classes]), 0))
            for size in SIZES
        }

    def rows(self) -> list[dict[str, str | int | float]]:
        """One record a class and one, named "mean", of the means: what table and csv show."""
        titles = [f"AP{100 * threshold:g}" for threshold in self.iou_thresholds]
        averaged = self.metric == "coco"  # its headline; for VOC thresholds stand on their own
        rows: list[dict[str, str | int | float]] = []
        for score in self.classes:
            row = {"class": score.name, "objects": score.objects, "detections": score.detections}
            if averaged:
                row["AP"] = float(_mean(score.ap, 0))
            row |= dict(zip(titles, score.ap.tolist(), strict=True))
            row |= {f"AP {size}": ap for size, ap in score.ap_by_size.items()}
            row |= {
                "best F1": score.best_f1,
                "at score": score.best_score,
                "precision": score.best_precision,
                "recall": score.best_recall,
            }
            rows.append(row)
        mean = {
            "class": "mean",
            "objects": sum(score.objects for score in self.classes),
            "detections": sum(score.detections for score in self.classes),
        }
        if averaged:
            mean["AP"] = self.map
        mean |= dict(zip(titles, self.mean_ap.tolist(), strict=True))
        mean |= {f"AP {size}": ap for size, ap in self.mean_ap_by_size.items()}
        mean["best F1"] = float(_mean(np.array([score.best_f1 for score in self.classes]), 0))
        return [*rows, mean]

    def table(self) -> str:
        """A text table: AP and F1 in percent, the rest as it is."""
        rows = self.rows()
        titles = list(rows[0])
        if len(self.iou_thresholds) > 2:
            # Ten thresholds do not fit on a screen.
            shown = {"AP50", "AP75"}
            hidden = {f"AP{100 * t:g}" for t in self.iou_thresholds} - shown
            titles = [title for title in titles if title not in hidden]
        cells = [titles] + [[_cell(title, row.get(title)) for title in titles] for row in rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if k == 0 else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in cells
        ]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def to_csv(self, path: Path | str) -> None:
        """Write `rows` as csv; a value that there is not is left empty."""
        rows = self.rows()
        with replacing(path) as file:
            writer = csv.DictWriter(file, list(rows[0]), restval="", lineterminator="\n")
            writer.writeheader()
            for row in rows:
                writer.writerow({key: "" if _is_nan(v) else v for key, v in row.items()})

    def to_json(
        self, path: Path | str, settings: Mapping[str, str | float | None] | None = None
    ) -> None:
        """Write everything but the curves as json; a value that there is not is null.

        settings: how the detections were made, kept with the scores under that name.
        """
        document = {} if settings is None else {"settings": dict(settings)}
        document |= {
            "metric": self.metric,
            "iou_thresholds": list(self.iou_thresholds),
            "images": self.images,
            "detections_on_unlisted_images": self.unlisted,
            "classes": [
                {key: None if _is_nan(v) else v for key, v in row.items()} for row in self.rows()
            ],
        }
        if self.confusion is not None:
            document["confusion_matrix"] = {
                "names": [*(score.name for score in self.classes), "background"],
                "rows_are": "truth",
                "counts": self.confusion.tolist(),
            }
        with replacing(path) as file:
            json.dump(document, file, indent=1)
            file.write("\n")

    def plot(self, path: Path | str) -> None:
        """Draw the precision/recall curves and the confusion matrix into a picture.

        Raises:
            InputError: matplotlib is not installed, or the suffix is no picture of its.
        """
        draw_evaluation(self, path)


def evaluate(
    detections: Mapping[str, Task1],
    truth: Truth,
    iou_thresholds: Sequence[float] | None = None,
    metric: str = "voc07",
    *,
    rectangles: bool = False,
    confusion: bool = True,
) -> Evaluation:
    """Score detections against labels.

    Args:
        detections: class name -> its detections, in source pixels. A class that is missing has
            none; detections on images outside the truth are left out, counted and logged.
        truth: the labels.
        iou_thresholds: an overlap above it is a hit (for COCO: or equal to it). None: 0.5, for
            COCO 0.5 to 0.95. Curves, sizes and confusion are those of the first.
        metric: "voc07" (11 points, VOC matching), "voc12" (area under the curve, VOC matching)
            or "coco" (101 points, COCO matching, no limit of detections an image).
        rectangles: compare axis-aligned rectangles around the corners, far border included:
            Task2.
        confusion: compute the confusion matrix too.

    Raises:
        InputError: a class that the truth does not know, or an unknown metric.
    """
    if metric not in METRICS:
        raise InputError(f"metric {metric!r} is not one of {', '.join(METRICS)}")
    if iou_thresholds is None:
        iou_thresholds = COCO_THRESHOLDS if metric == "coco" else (0.5,)
    iou_thresholds = tuple(float(threshold) for threshold in iou_thresholds)
    unknown = sorted(set(detections) - set(truth.classes))
    if unknown:
        raise InputError(
            f"detections of {', '.join(unknown)}, which is not one of the classes to score: "
            f"{', '.join(truth.classes)}"
        )
    listed, unlisted = _listed(detections, truth)
    if unlisted:
        log.warning("%d detections on images that are not listed are left out", unlisted)
    scores = tuple(
        _score_class(name, listed[k], _select(truth, truth.labels == k), iou_thresholds,
                     metric, rectangles)
        for k, name in enumerate(truth.classes)
    )  # fmt: skip
    evaluation = Evaluation(
        metric=metric,
        iou_thresholds=iou_thresholds,
        classes=scores,
        unlisted=unlisted,
        images=len(truth.image_ids),
    )
    if confusion:
        matrix = _confusion(listed, truth, evaluation, rectangles)
        evaluation = replace(evaluation, confusion=matrix)
    return evaluation


def average_precision(recall: np.ndarray, precision: np.ndarray, metric: str = "voc12") -> float:
    """AP of a curve.

    Args:
        recall: ``[N]``, not falling; precision: ``[N]``.
        metric: "voc07": mean of the best precision at a recall of 0, 0.1 ... 1 or more;
            "coco": the same with 0, 0.01 ... 1; "voc12": area under the rising envelope.
    """
    recall, precision = np.asarray(recall, np.float64), np.asarray(precision, np.float64)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if metric == "voc12":
        steps = np.diff(recall, prepend=0)
        return float(np.sum(steps * envelope))
    points = np.arange(0.0, 1.1, 0.1) if metric == "voc07" else np.linspace(0, 1, 101)
    best = np.append(envelope, 0.0)[np.searchsorted(recall, points, "left")]
    return float(best.mean())


@dataclass(frozen=True)
class _Detections:
    """Detections of one class on listed images, by falling score."""

    images: np.ndarray
    scores: np.ndarray
    corners: np.ndarray


def _listed(detections: Mapping[str, Task1], truth: Truth) -> tuple[list[_Detections], int]:
    """Detections of each class on images of the truth, and how many there are on others."""
    number = {image_id: k for k, image_id in enumerate(truth.image_ids)}
    listed, unlisted = [], 0
    for name in truth.classes:
        found = detections.get(name)
        if found is None or not len(found):
            listed.append(_Detections(np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 4, 2))))
            continue
        images = np.fromiter(map(number.get, found.image_ids, repeat(-1)), np.int64, len(found))
        order = np.argsort(-np.asarray(found.scores, np.float64), kind="stable")
        order = order[images[order] >= 0]
        unlisted += len(images) - len(order)
        listed.append(
            _Detections(
                images[order],
                np.asarray(found.scores, np.float64)[order],
                np.asarray(found.corners, np.float64).reshape(-1, 4, 2)[order],
            )
        )
    return listed, unlisted


def _score_class(
    name: str,
    found: _Detections,
    truth: Truth,
    iou_thresholds: tuple[float, ...],
    metric: str,
    rectangles: bool,
) -> ClassScore:
    """Score one class; ``truth`` holds only its objects."""
    found_shapes, truth_shapes = Shapes(found.corners), Shapes(truth.corners)
    pairs = _Pairs.between(
        found_shapes, found.images, truth_shapes, truth.images, rectangles=rectangles
    )
    found_area, truth_area = found_shapes.area, truth_shapes.area
    counted = int(np.sum(~truth.difficult))
    ap = []
    curves = []
    for threshold in iou_thresholds:
        matched = pairs.match(metric, threshold, truth.difficult, truth.difficult)
        curves.append(_curve(found.scores, matched, truth.difficult))
        ap.append(_ap(curves[-1], counted, metric))
    ap_by_size, objects_by_size = {}, {}
    for size, (low, high) in SIZES.items():
        ignored = truth.difficult | (truth_area < low) | (truth_area >= high)
        matched = pairs.match(metric, iou_thresholds[0], ignored, truth.difficult)
        # What hits nothing counts against the bucket of its own size alone.
        other_size = (found_area < low) | (found_area >= high)
        objects_by_size[size] = int(np.sum(~ignored))
        curve = _curve(found.scores, matched, ignored, other_size)
        ap_by_size[size] = _ap(curve, objects_by_size[size], metric)
    return ClassScore(
        name=name,
        objects=counted,
        detections=len(found.scores),
        ap=np.array(ap),
        ap_by_size=ap_by_size,
        objects_by_size=objects_by_size,
        curve=curves[0],
        **_best_f1(curves[0]),
    )


@dataclass(frozen=True)
class _Pairs:
    """Overlaps above 0 of detections (by falling score) with objects, by detection, object."""

    found: np.ndarray
    objects: np.ndarray
    iou: np.ndarray
    n_found: int
    n_objects: int

    @staticmethod
    def between(
        found: Shapes | np.ndarray,
        found_images: np.ndarray,
        objects: Shapes | np.ndarray,
        object_images: np.ndarray,
        rectangles: bool,
    ) -> _Pairs:
        overlaps = grouped_rectangle_iou if rectangles else grouped_iou
        pairs = overlaps(found, objects, found_images, object_images)
        return _Pairs(*pairs, len(found_images), len(object_images))

    def match(
        self, metric: str, threshold: float, ignored: np.ndarray, difficult: np.ndarray
    ) -> np.ndarray:
        """The object that each detection hits, ``[n_found]``, -1 for those that miss.

        Args:
            metric: whose rules.
            threshold: of the IoU.
            ignored: ``[n_objects]``, objects that count neither way.
            difficult: ``[n_objects]``, those of them that any number of detections may hit.
        """
        if metric == "coco":
            return self._match_coco(threshold, ignored, difficult)
        return self._match_voc(threshold, ignored)

    def _match_voc(self, threshold: float, ignored: np.ndarray) -> np.ndarray:
        best, best_iou = self._best
        claims = np.flatnonzero(best_iou > threshold)
        objects = best[claims]
        first = np.full(self.n_objects, -1)
        # Backwards, so that the best score writes last.
        first[objects[::-1]] = claims[::-1]
        hit = ignored[objects] | (first[objects] == claims)
        matched = np.full(self.n_found, -1)
        matched[claims[hit]] = objects[hit]
        return matched

    @cached_property
    def _best(self) -> tuple[np.ndarray, np.ndarray]:
        """The object that each detection overlaps most, of equals the first, and the IoU."""
        best, best_iou = np.full(self.n_found, -1), np.zeros(self.n_found)
        if len(self.found):
            starts = np.flatnonzero(np.diff(self.found, prepend=-1))
            highest = np.maximum.reduceat(self.iou, starts)
            lengths = np.diff(starts, append=len(self.found))
            equal = np.flatnonzero(self.iou == np.repeat(highest, lengths))[::-1]
            best[self.found[equal]] = self.objects[equal]
            best_iou[self.found[starts]] = highest
        return best, best_iou

    def _match_coco(
        self, threshold: float, ignored: np.ndarray, difficult: np.ndarray
    ) -> np.ndarray:
        """Each detection, by falling score, takes the best object that is still free.

        Done for all at once: each asks for the best that has not refused it, and an object keeps
        the best score that asked. As all objects prefer the same order, this ends in the same
        pairs as one after the other.
        """
        usable = np.flatnonzero(self.iou >= min(threshold, 1 - 1e-10))
        found, objects, iou = self.found[usable], self.objects[usable], self.iou[usable]
        # Objects that count come first; of equal overlaps COCO's code takes the last.
        order = np.lexsort((-objects, -iou, ignored[objects], found))
        found, objects = found[order], objects[order]
        wish = np.searchsorted(found, np.arange(self.n_found))
        end = np.searchsorted(found, np.arange(self.n_found), "right")
        matched = np.full(self.n_found, -1)
        owner = np.full(self.n_objects, self.n_found)
        asking = np.flatnonzero(wish < end)
        while len(asking):
            wanted = objects[wish[asking]]
            free = difficult[wanted]
            matched[asking[free]] = wanted[free]
            asking, wanted = asking[~free], wanted[~free]
            before = owner[wanted]
            np.minimum.at(owner, wanted, asking)
            displaced = before[(before < self.n_found) & (owner[wanted] != before)]
            refused = np.unique(np.concatenate([asking[owner[wanted] != asking], displaced]))
            wish[refused] += 1
            asking = refused[wish[refused] < end[refused]]
        taken = np.flatnonzero(owner < self.n_found)
        matched[owner[taken]] = taken
        return matched


def _curve(
    scores: np.ndarray,
    matched: np.ndarray,
    ignored: np.ndarray,
    may_miss: np.ndarray | None = None,
) -> Curve:
    """Precision and recall along the detections (by falling score).

    Args:
        scores: ``[N]``.
        matched: ``[N]``, the object that each hits, or -1.
        ignored: ``[M]``, objects that count neither way.
        may_miss: ``[N]``, detections that are no fault where they hit nothing.
    """
    counts = np.append(~ignored, False)
    hits = np.cumsum(counts[matched])
    miss = matched < 0 if may_miss is None else (matched < 0) & ~may_miss
    misses = np.cumsum(miss)
    objects = int(np.sum(~ignored))
    with np.errstate(divide="ignore", invalid="ignore"):
        recall = hits / np.float64(objects or np.nan)
    precision = hits / np.maximum(hits + misses, 1)
    return Curve(scores, recall, precision)


def _ap(curve: Curve, objects: int, metric: str) -> float:
    return average_precision(curve.recall, curve.precision, metric) if objects else math.nan


def _best_f1(curve: Curve) -> dict[str, float]:
    # Equal scores stay or go together.
    ends = np.flatnonzero(np.diff(curve.scores, append=-np.inf))
    recall, precision = curve.recall[ends], curve.precision[ends]
    total = recall + precision
    f1 = np.divide(2 * recall * precision, total, out=np.zeros_like(total), where=total > 0)
    if not len(f1) or not f1.max() > 0:
        return dict.fromkeys(("best_f1", "best_score", "best_precision", "best_recall"), math.nan)
    k = int(f1.argmax())
    return {
        "best_f1": float(f1[k]),
        "best_score": float(curve.scores[ends[k]]),
        "best_precision": float(precision[k]),
        "best_recall": float(recall[k]),
    }


def _confusion(
    listed: list[_Detections], truth: Truth, evaluation: Evaluation, rectangles: bool
) -> np.ndarray:
    """Counts of true against detected class, each class kept from its best F1's score on.

    Pairs are made by overlap alone, the largest first, whatever the classes.
    """
    kept = [
        np.flatnonzero(found.scores >= score.best_score)
        for found, score in zip(listed, evaluation.classes, strict=True)
    ]
    chosen = list(zip(listed, kept, strict=True))
    images = np.concatenate([np.zeros(0, np.int64), *(one.images[rows] for one, rows in chosen)])
    corners = np.concatenate([np.zeros((0, 4, 2)), *(one.corners[rows] for one, rows in chosen)])
    labels = np.repeat(np.arange(len(listed)), [len(rows) for rows in kept])
    pairs = _Pairs.between(corners, images, truth.corners, truth.images, rectangles=rectangles)
    above = pairs.iou > evaluation.iou_thresholds[0]
    i, j = pairs.found[above], pairs.objects[above]
    first, second = _best_pairs(i, j, pairs.iou[above])
    background = len(listed)
    matrix = np.zeros((background + 1, background + 1), np.int64)
    counts = ~truth.difficult[second]
    np.add.at(matrix, (truth.labels[second[counts]], labels[first[counts]]), 1)
    lost = np.setdiff1d(np.flatnonzero(~truth.difficult), second)
    np.add.at(matrix, (truth.labels[lost], background), 1)
    # On a difficult object any number of detections is no fault.
    extra = np.setdiff1d(np.arange(len(labels)), np.append(first, i[truth.difficult[j]]))
    np.add.at(matrix, (background, labels[extra]), 1)
    return matrix


def _best_pairs(i: np.ndarray, j: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs by falling value, each i and each j once: those best for both are taken in rounds."""
    order = np.argsort(-value, kind="stable")
    i, j = i[order], j[order]
    taken: list[tuple[np.ndarray, np.ndarray]] = [(i[:0], j[:0])]
    while len(i):
        rank = np.arange(len(i))
        best_of_i, best_of_j = np.full(i.max() + 1, len(i)), np.full(j.max() + 1, len(i))
        best_of_i[i[::-1]] = rank[::-1]
        best_of_j[j[::-1]] = rank[::-1]
        mutual = (best_of_i[i] == rank) & (best_of_j[j] == rank)
        taken.append((i[mutual], j[mutual]))
        left = ~(np.isin(i, i[mutual]) | np.isin(j, j[mutual]))
        i, j = i[left], j[left]
    return tuple(np.concatenate(parts) for parts in zip(*taken, strict=True))


def draw_evaluation(evaluation: Evaluation, path: Path | str) -> None:
    """Precision/recall curves and, where it was computed, the confusion matrix, as a picture."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("plots need matplotlib: pip install matplotlib") from None
    panels = 1 if evaluation.confusion is None else 2
    size = max(6.0, 0.35 * len(evaluation.classes) + 3)
    figure = Figure(figsize=(size * panels, size), layout="constrained")
    axes = np.ravel(figure.subplots(1, panels))
    _draw_curves(axes[0], evaluation)
    if evaluation.confusion is not None:
        _draw_confusion(axes[1], evaluation)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.savefig(path, dpi=120)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _draw_curves(axes, evaluation: Evaluation) -> None:
    for score in evaluation.classes:
        if score.objects:
            axes.step(
                score.curve.recall, score.curve.precision, where="post",
                label=f"{score.name} {100 * score.ap[0]:.1f}",
            )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.set_title(
        f"{evaluation.metric}, IoU {evaluation.iou_thresholds[0]:g}: "
        f"mean AP {100 * evaluation.mean_ap[0]:.1f}"
    )
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small", title="class, AP")


def _draw_confusion(axes, evaluation: Evaluation) -> None:
    counts = evaluation.confusion
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    names = [*(score.name for score in evaluation.classes), "background"]
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="detected as", ylabel="labelled as", title="at each class's best F1")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count}", ha="center", va="center", color=color, size=7)


def _select(truth: Truth, rows: np.ndarray) -> Truth:
    if rows.all():
        return truth
    return replace(
        truth,
        images=truth.images[rows],
        corners=truth.corners[rows],
        labels=truth.labels[rows],
        difficult=truth.difficult[rows],
    )


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean that leaves nan out; nan where nothing is left, without a warning."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _cell(title: str, value: str | int | float | None) -> str:
    if value is None or _is_nan(value):
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if title == "at score" else f"{100 * value:.2f}"
    return str(value)

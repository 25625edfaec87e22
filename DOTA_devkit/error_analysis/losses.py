"""How much AP each kind of error costs: the AP if only the errors of that kind were corrected.

As in TIDE, a localization or class error is corrected by making it the true positive of the
object that it points to, if that object has none. Of several such errors, the one with the highest
score is corrected, and the others are removed. Errors of the other kinds are removed, and missed
objects are not counted. Each kind is corrected on its own, so the costs do not add up to the whole
loss: if boxes are both shifted and duplicated, removing duplicates helps only after the shift is
corrected.

TIDE's own program lets localization and class errors compete for an object even while only one of
the two kinds is corrected, and so finds slightly lower costs of both; the paper has no such rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from DOTA_devkit.error_analysis.kinds import ErrorKind, FalsePositives, classify_errors
from DOTA_devkit.error_analysis.pool import DetectionPool
from DOTA_devkit.error_analysis.rankings import Ranking, ap_without_missed
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import Task1
from DOTA_devkit.scoring.evaluation import SIZES
from DOTA_devkit.scoring.evaluator import METRICS
from DOTA_devkit.scoring.report import Row, format_rows
from DOTA_devkit.scoring.truth import Truth

ALL_SIZES = "all"
"""The size range of all objects."""

FALSE_POSITIVES, FALSE_NEGATIVES = "all false positives", "all false negatives"
"""What the AP would gain without any false positive, or if objects not found did not count."""

CAUSES = (*(kind.value for kind in ErrorKind), FALSE_POSITIVES, FALSE_NEGATIVES)
"""Names of the kinds of errors that are corrected one at a time."""


@dataclass(frozen=True)
class ClassLosses:
    """Where one class loses AP.

    Attributes:
        name: class name.
        objects: number of objects that count.
        ap: average precision; nan without objects.
        lost: each of `CAUSES` -> AP gained by correcting it; nan without objects.
        counts: each of `CAUSES` -> number of such errors; a class error counts for the class that
            was detected.
    """

    name: str
    objects: int
    ap: float
    lost: dict[str, float]
    counts: dict[str, int]


@dataclass(frozen=True)
class MatchedPool:
    """Detections and objects of one size range, matched, with the kinds of their errors.

    Attributes:
        pool: the detections.
        counted: ``[M]`` bool, objects that count.
        matched: ``[N]``, the object each detection matches, -1 for none.
        hit: ``[N]`` bool, true positives.
        miss: ``[N]`` bool, false positives.
        false_positives: their kinds; also those of detections that match nothing and are no false
            positives, because they are of another size.
        unfound: ``[M]`` bool, objects that count and that no detection matches.
        missed: ``[M]`` bool, those of them to which no localization or class error points.
    """

    pool: DetectionPool
    counted: np.ndarray
    matched: np.ndarray
    hit: np.ndarray
    miss: np.ndarray
    false_positives: FalsePositives
    unfound: np.ndarray
    missed: np.ndarray

    @staticmethod
    def of(
        pool: DetectionPool,
        metric: str,
        threshold: float,
        area_range: tuple[float, float] = (0, math.inf),
    ) -> MatchedPool:
        """Match detections to the objects of a range of areas, as the evaluation does.

        Args:
            pool: the detections.
            metric: whose rules apply.
            threshold: of the IoU.
            area_range: from (inclusive) to (exclusive), in square pixels.
        """
        low, high = area_range
        inside = (pool.object_areas >= low) & (pool.object_areas < high)
        counted = inside & ~pool.truth.difficult
        matched = pool.match(metric, threshold, ~counted)
        kinds = classify_errors(pool, matched, metric, threshold)
        hit = np.append(counted, False)[matched]
        unfound = counted.copy()
        unfound[matched[hit]] = False
        missed = unfound.copy()
        missed[kinds.targets[kinds.targets >= 0]] = False
        miss = (matched < 0) & (pool.areas >= low) & (pool.areas < high)
        return MatchedPool(pool, counted, matched, hit, miss, kinds, unfound, missed)

    def ranking(self, label: int) -> Ranking:
        """Return the ranking of a class."""
        rows = self.pool.class_slices[label]
        objects = self.pool.objects_per_image(self.counted, label)
        return Ranking.of(self.pool.images[rows], self.hit[rows], self.miss[rows], objects)


@dataclass(frozen=True)
class ErrorAnalysis:
    """Where AP is lost, by class and size range.

    Attributes:
        metric: of the AP.
        threshold: of the IoU.
        losses: `ALL_SIZES` and each size range of `DOTA_devkit.scoring.SIZES` -> one value per
            class.
        matched: the detections and objects of all sizes.
    """

    metric: str
    threshold: float
    losses: dict[str, tuple[ClassLosses, ...]]
    matched: MatchedPool

    def mean(self, size: str = ALL_SIZES) -> ClassLosses:
        """Return the means over the classes that have objects in a size range, and the sums."""
        rows = self.losses[size]
        known = [row for row in rows if row.objects]
        count = len(known) or math.nan
        return ClassLosses(
            name="mean",
            objects=sum(row.objects for row in rows),
            ap=sum(row.ap for row in known) / count,
            lost={cause: sum(row.lost[cause] for row in known) / count for cause in CAUSES},
            counts={cause: sum(row.counts[cause] for row in rows) for cause in CAUSES},
        )

    def table(self, size: str = ALL_SIZES) -> str:
        """Format AP and the AP lost to each cause as a text table, in percent."""
        columns = {"class": "class", "objects": "objects", "ap": f"AP{100 * self.threshold:g}"}
        rows: list[Row] = [
            {columns["class"]: row.name, columns["objects"]: row.objects, columns["ap"]: row.ap}
            | row.lost
            for row in (*self.losses[size], self.mean(size))
        ]
        return format_rows(rows, [*columns.values(), *CAUSES])


def analyze_errors(
    detections: Mapping[str, Task1] | DetectionPool,
    truth: Truth,
    threshold: float = 0.5,
    metric: str = "voc07",
    *,
    rectangles: bool = False,
) -> ErrorAnalysis:
    """Find out how much AP is lost to each kind of error.

    Args:
        detections: class name -> its detections, as `DOTA_devkit.scoring.evaluate` takes them.
        truth: the labels.
        threshold: of the IoU; as for `evaluate`.
        metric: "voc07", "voc12" or "coco"; for the last one the AP is that at `threshold` alone.
        rectangles: compare axis-aligned bounding rectangles, as in Task2.

    Returns:
        The analysis.

    Raises:
        InputError: the metric is unknown.
    """
    if metric not in METRICS:
        raise InputError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
    if not isinstance(detections, DetectionPool):
        detections = DetectionPool.of(detections, truth, rectangles=rectangles)
    everything = MatchedPool.of(detections, metric, threshold)
    losses = {ALL_SIZES: class_losses(everything, metric)}
    for size, area_range in SIZES.items():
        losses[size] = class_losses(
            MatchedPool.of(detections, metric, threshold, area_range), metric
        )
    return ErrorAnalysis(metric, threshold, losses, everything)


def class_losses(matched: MatchedPool, metric: str) -> tuple[ClassLosses, ...]:
    """Compute the AP that each class loses to each cause."""
    before = [matched.ranking(k).ap(metric) for k in range(len(matched.pool.truth.classes))]
    # No correction lowers the AP; negative values are rounding errors.
    lost = {
        cause: np.maximum(np.subtract(_class_aps(matched, repair, metric), before), 0)
        for cause, repair in _repairs(matched).items()
    }
    counts = _counts(matched)
    labels = matched.pool.truth.labels
    return tuple(
        ClassLosses(
            name=name,
            objects=int(np.sum(matched.counted & (labels == k))),
            ap=before[k],
            lost={cause: float(lost[cause][k]) for cause in CAUSES},
            counts={cause: int(counts[cause][k]) for cause in CAUSES},
        )
        for k, name in enumerate(matched.pool.truth.classes)
    )


@dataclass(frozen=True)
class _Repair:
    """The changes made by correcting errors.

    Attributes:
        removed: ``[N]`` bool, detections that are taken away from the class they are of.
        won: numbers of detections that become true positives.
        won_labels: their classes.
        dropped: ``[M]`` bool, objects that do not count any more.
    """

    removed: np.ndarray
    won: np.ndarray
    won_labels: np.ndarray
    dropped: np.ndarray


def _repairs(matched: MatchedPool) -> dict[str, _Repair]:
    """Return how each of `CAUSES` is corrected."""
    kinds = matched.false_positives
    none, no_object = np.zeros(0, np.int64), np.zeros(len(matched.counted), bool)
    repairs = {}
    for kind in ErrorKind:
        removed, won = kinds.are(kind), none
        if kind in (ErrorKind.LOCALIZATION, ErrorKind.WRONG_CLASS):
            won = _winners(matched, np.flatnonzero(removed))
        dropped = matched.missed if kind is ErrorKind.MISSED else no_object
        labels = matched.pool.truth.labels[kinds.targets[won]]
        repairs[kind.value] = _Repair(removed, won, labels, dropped)
    repairs[FALSE_POSITIVES] = _Repair(matched.miss, none, none, no_object)
    repairs[FALSE_NEGATIVES] = _Repair(np.zeros_like(matched.miss), none, none, matched.unfound)
    return repairs


def _winners(matched: MatchedPool, errors: np.ndarray) -> np.ndarray:
    """Select the errors with the highest score for each object that was not found."""
    targets = matched.false_positives.targets
    errors = errors[matched.unfound[targets[errors]]]
    errors = errors[np.argsort(-matched.pool.scores[errors], kind="stable")]
    _, first = np.unique(targets[errors], return_index=True)
    return errors[first]


def _class_aps(matched: MatchedPool, repair: _Repair, metric: str) -> list[float]:
    """Compute the AP of each class after a repair."""
    pool, aps = matched.pool, []
    for label, rows in enumerate(pool.class_slices):
        objects = pool.objects_per_image(matched.counted, label)
        if not objects.any():
            aps.append(math.nan)
            continue
        won = repair.won[repair.won_labels == label]
        detections = np.concatenate([np.arange(rows.start, rows.stop), won])
        is_won = np.arange(len(detections)) >= rows.stop - rows.start
        order = np.argsort(-pool.scores[detections], kind="stable")
        detections, is_won = detections[order], is_won[order]
        miss = matched.miss[detections] & ~repair.removed[detections] & ~is_won
        objects = pool.objects_per_image(matched.counted & ~repair.dropped, label)
        ranking = Ranking.of(
            pool.images[detections], matched.hit[detections] | is_won, miss, objects
        )
        true = np.arange(1, len(ranking.hits) + 1)
        aps.append(
            ap_without_missed(
                true, ranking.ahead, int(objects.sum()), len(ranking.false_alarms), metric
            )
        )
    return aps


def _counts(matched: MatchedPool) -> dict[str, Sequence[int]]:
    """Count the errors of each cause and class."""
    pool, classes = matched.pool, len(matched.pool.truth.classes)

    def detections(rows: np.ndarray) -> np.ndarray:
        return np.bincount(pool.labels[rows], minlength=classes)

    def objects(rows: np.ndarray) -> np.ndarray:
        return np.bincount(pool.truth.labels[rows], minlength=classes)

    kinds = matched.false_positives
    counts = {kind.value: detections(matched.miss & kinds.are(kind)) for kind in ErrorKind}
    counts[ErrorKind.MISSED.value] = objects(matched.missed)
    return counts | {
        FALSE_POSITIVES: detections(matched.miss),
        FALSE_NEGATIVES: objects(matched.unfound),
    }

"""Whether two results on the same images differ by more than the choice of the images explains.

The paired bootstrap (Efron, 1979): images are drawn with replacement, as many as there are, and
both results are scored on the same draw. The differences of many draws show how far the
difference would move had other images of the same kind been labeled. The interval from their
2.5th to their 97.5th percentile is a 95 % confidence interval. Being paired, it is much narrower
than the two intervals of the APs themselves, as both results find the same images easy or hard.

It says nothing about the randomness of training: two runs of one configuration with other seeds
may well differ clearly. Patches of one image resemble each other and are drawn together.

A draw only changes how often each image counts, so that detections are matched once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from DOTA_devkit.error_analysis.losses import MatchedPool
from DOTA_devkit.error_analysis.pool import DetectionPool
from DOTA_devkit.error_analysis.rankings import Ranking
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import Task1
from DOTA_devkit.patches import source_name
from DOTA_devkit.progress import progress
from DOTA_devkit.scoring.evaluation import nan_mean
from DOTA_devkit.scoring.report import Row, format_rows
from DOTA_devkit.scoring.truth import Truth

logger = logging.getLogger(__name__)

CONFIDENCE = 0.95
"""Share of the draws whose differences lie in the interval."""

RESAMPLES = 1000
"""Default number of draws; the ends of the interval then move by some percent with the seed."""

FEW_IMAGES = 20
"""With fewer images that have objects, the interval is too narrow, as so few do not show how much
images differ."""


@dataclass(frozen=True)
class Difference:
    """APs of one class in two results.

    Attributes:
        name: class name.
        objects: number of objects, without those marked difficult.
        images: number of images with such objects, patches of one image counted once.
        ap: AP of the result.
        against: AP of the result that it is compared with.
        difference: `ap` - `against`.
        low: lower end of the confidence interval of the difference; nan if there is none.
        high: its upper end.
        better: share of the draws in which the result is the better one.
    """

    name: str
    objects: int
    images: int
    ap: float
    against: float
    difference: float
    low: float
    high: float
    better: float

    @property
    def verdict(self) -> str:
        """What the interval says, in words."""
        if np.isnan(self.low):
            return "no interval"
        few = ", but few images" if self.images < FEW_IMAGES else ""
        if self.low <= 0 <= self.high:
            return "no clear difference"
        return ("better" if self.low > 0 else "worse") + few


@dataclass(frozen=True)
class Comparison:
    """Two results compared on the same images.

    Attributes:
        metric: of the AP.
        iou_thresholds: the AP is the mean over them.
        classes: one difference per class.
        mean: that of the mean AP over the classes with objects.
        drawn: number of images that each draw takes, patches of one image counted once.
        resamples: number of draws.
        seed: of the draws.
    """

    metric: str
    iou_thresholds: tuple[float, ...]
    classes: tuple[Difference, ...]
    mean: Difference
    drawn: int
    resamples: int
    seed: int

    def table(self) -> str:
        """Format the differences as a text table, in percent."""
        rows: list[Row] = [
            {
                "class": one.name,
                "objects": one.objects,
                "images": one.images,
                "AP": one.ap,
                "against": one.against,
                "difference": one.difference,
                "from": one.low,
                "to": one.high,
                "better in": one.better,
            }
            for one in (*self.classes, self.mean)
        ]
        return format_rows(rows, list(rows[0]))

    def summary(self) -> str:
        """Describe the interval of the mean AP and its meaning in a sentence or two."""
        one = self.mean
        if np.isnan(one.low):
            return f"Images: {self.drawn}. An interval needs at least two, with objects."
        text = (
            f"Mean AP {100 * one.difference:+.2f}, {100 * CONFIDENCE:g} % interval "
            f"{100 * one.low:+.2f} to {100 * one.high:+.2f} ({self.resamples} draws of "
            f"{self.drawn} images): {one.verdict}."
        )
        if one.images < FEW_IMAGES:
            text += f" With objects in fewer than {FEW_IMAGES} images, it is a rough guide only."
        return text

    def to_dict(self) -> dict:
        """Return everything in plain types; missing values are nan."""
        return asdict(self) | {"confidence": CONFIDENCE, "verdict": self.mean.verdict}


def pool_to_compare(
    detections: Mapping[str, Task1], truth: Truth, *, rectangles: bool = False
) -> DetectionPool:
    """Collect the detections of a result to compare with.

    Args:
        detections: class name -> its detections.
        truth: the labels of the images that are compared.
        rectangles: compare axis-aligned bounding rectangles, as in Task2.

    Raises:
        InputError: it has detections, and none of them is on these images.
    """
    pool = DetectionPool.of(detections, truth, rectangles=rectangles)
    if pool.unlisted and not len(pool.scores):
        other = next(table.image_ids[0] for table in detections.values() if len(table))
        raise InputError(
            f"`against`: expected results of the images that are scored, such as "
            f"{truth.image_ids[0] if truth.image_ids else '...'}, got those of others, such as "
            f"{other}"
        )
    if pool.unlisted:
        logger.warning(
            "ignoring %d detections of the result to compare with, on images that are not listed",
            pool.unlisted,
        )
    return pool


def compare_results(
    detections: Mapping[str, Task1] | DetectionPool,
    against: Mapping[str, Task1] | DetectionPool,
    truth: Truth,
    iou_thresholds: Sequence[float] = (0.5,),
    metric: str = "voc07",
    *,
    rectangles: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare the AP of two results with a confidence interval of the difference.

    Args:
        detections: class name -> its detections, as `DOTA_devkit.scoring.evaluate` takes them.
        against: those of the result to compare with.
        truth: the labels.
        iou_thresholds: the AP is the mean over them.
        metric: see `evaluate`.
        rectangles: compare axis-aligned bounding rectangles, as in Task2.
        resamples: number of draws.
        seed: of the draws; the same one gives the same interval.

    Returns:
        The differences.

    Raises:
        InputError: `resamples` is not positive, or `against` is a result of other images.
    """
    if resamples < 1:
        raise InputError(f"`resamples` must be at least 1, got {resamples}")
    if not isinstance(detections, DetectionPool):
        detections = DetectionPool.of(detections, truth, rectangles=rectangles)
    if not isinstance(against, DetectionPool):
        against = pool_to_compare(against, truth, rectangles=rectangles)
    results = [_Result.of(pool, tuple(iou_thresholds), metric) for pool in (detections, against)]
    groups = _groups(truth.image_ids)
    drawn = int(groups.max(initial=-1)) + 1
    measured = np.stack([result.aps(metric) for result in results])
    draws = np.full((resamples if drawn > 1 else 0, *measured.shape), np.nan)
    rng = np.random.default_rng(seed)
    for k in progress(range(len(draws)), "resampling"):
        weights = np.bincount(rng.integers(drawn, size=drawn), minlength=drawn)[groups]
        draws[k] = [result.aps(metric, weights) for result in results]
    counted = ~truth.difficult
    classes = tuple(
        _difference(
            name,
            groups[truth.images[counted & (truth.labels == k)]],
            measured[:, k],
            draws[:, :, k],
        )
        for k, name in enumerate(truth.classes)
    )
    everywhere = groups[truth.images[counted]]
    mean = _difference("mean", everywhere, nan_mean(measured, 1), nan_mean(draws, 2))
    return Comparison(metric, tuple(iou_thresholds), classes, mean, drawn, resamples, seed)


@dataclass(frozen=True)
class _Result:
    """The rankings of a result: one per class for each IoU threshold."""

    rankings: tuple[tuple[Ranking, ...], ...]

    @staticmethod
    def of(pool: DetectionPool, iou_thresholds: tuple[float, ...], metric: str) -> _Result:
        matched = [MatchedPool.of(pool, metric, threshold) for threshold in iou_thresholds]
        classes = range(len(pool.truth.classes))
        return _Result(tuple(tuple(one.ranking(k) for one in matched) for k in classes))

    def aps(self, metric: str, weights: np.ndarray | None = None) -> np.ndarray:
        """Compute the AP of each class ``[C]``, the mean over the IoU thresholds."""
        aps = [
            sum(ranking.ap(metric, weights) for ranking in rankings) / len(rankings)
            for rankings in self.rankings
        ]
        return np.array(aps, np.float64)


def _groups(image_ids: Sequence[str]) -> np.ndarray:
    """Number the images ``[I]``, patches of one image alike."""
    numbers: dict[str, int] = {}
    return np.array(
        [numbers.setdefault(source_name(image_id), len(numbers)) for image_id in image_ids],
        np.int64,
    )


def _difference(
    name: str, groups: np.ndarray, measured: np.ndarray, draws: np.ndarray
) -> Difference:
    """Build the difference of a class.

    Args:
        name: of the class.
        groups: ``[M]``, number of the image of each object.
        measured: ``[2]``, the APs.
        draws: ``[R, 2]``, those of the draws.
    """
    ap, against = measured.tolist()
    # Rounded, as an error of the last digit would make equal results differ clearly.
    differences = np.round(draws[:, 0] - draws[:, 1], 12)
    differences = differences[~np.isnan(differences)]  # a draw may have no object of a class
    low = high = better = np.nan
    if len(differences):
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(differences, [tail, 1 - tail]).tolist()
        better = float(np.mean(differences > 0))
    images = len(np.unique(groups))
    return Difference(name, len(groups), images, ap, against, ap - against, low, high, better)

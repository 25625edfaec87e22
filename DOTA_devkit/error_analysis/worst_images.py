"""The images that cost the most AP, and the errors in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from DOTA_devkit.error_analysis.kinds import ErrorKind
from DOTA_devkit.error_analysis.losses import ErrorAnalysis, MatchedPool
from DOTA_devkit.error_analysis.rankings import ap_without_missed
from DOTA_devkit.scoring.evaluation import Evaluation

NOT_FOUND = "not found"
"""Name of the objects that no detection above the score threshold matches."""


@dataclass(frozen=True)
class ImageErrors:
    """The errors in one image, of the detections that a user would keep.

    Attributes:
        image: index into ``Truth.image_ids``.
        image_id: its id.
        lost: mean AP (area under the curve) that the image's errors cost, those of detections with
            low scores included.
        hits: ``[H]``, numbers of the true positives in the `DetectionPool`.
        errors: ``[E]``, numbers of the false positives.
        not_found: ``[U]``, numbers of the objects that no kept detection matches.
        counts: `ErrorKind.value` or `NOT_FOUND` -> how many, without zeros.
    """

    image: int
    image_id: str
    lost: float
    hits: np.ndarray
    errors: np.ndarray
    not_found: np.ndarray
    counts: dict[str, int]


def worst_images(
    analysis: ErrorAnalysis, evaluation: Evaluation, count: int = 50
) -> list[ImageErrors]:
    """Find the images whose errors cost the most AP.

    The cost of an image is what the mean AP would gain if its false positives were away and its
    objects that were not found did not count. That is the area under the curve whatever the metric
    of the analysis is, as the 11 points of voc07 do not see a single error. A rare class counts as
    much as a common one, so that this is not just a list of the most crowded images.

    Args:
        analysis: the errors.
        evaluation: the scores of the same detections, for the score threshold of each class: that
            of its best F1. A class without one has the median of the others.
        count: how many images at most; those that show no error are left out.

    Returns:
        The images, the worst first; those of equal cost by the number of their errors, as where a
        class without any true positive has no AP to lose, else in the order of the truth.
    """
    matched = analysis.matched
    lost = _lost_per_image(matched)
    kept = matched.pool.scores >= _score_thresholds(evaluation)[matched.pool.labels]
    found = np.zeros(len(matched.counted), bool)
    found[matched.matched[kept & matched.hit]] = True
    not_found = matched.counted & ~found
    # What only detections with low scores cost cannot be seen, and is left out.
    shown = np.bincount(matched.pool.images[kept & matched.miss], minlength=len(lost))
    shown += np.bincount(matched.pool.truth.images[not_found], minlength=len(lost))
    order = np.lexsort((-shown, -lost))
    return [
        _errors_in(matched, image, float(lost[image]), kept, not_found)
        for image in order[shown[order] > 0][:count].tolist()
    ]


def _score_thresholds(evaluation: Evaluation) -> np.ndarray:
    """Return the score ``[C]`` above which detections of each class are shown."""
    best = np.array([score.best_score for score in evaluation.classes], np.float64)
    known = best[~np.isnan(best)]
    return np.where(np.isnan(best), np.median(known) if len(known) else 0.0, best)


def _lost_per_image(matched: MatchedPool) -> np.ndarray:
    """Compute what the errors of each image ``[I]`` cost in mean AP."""
    truth = matched.pool.truth
    lost = np.zeros(len(truth.image_ids))
    classes = 0
    for label in range(len(truth.classes)):
        ranking = matched.ranking(label)
        objects, alarms = int(ranking.objects.sum()), len(ranking.false_alarms)
        if not objects:
            continue
        classes += 1
        before = ranking.ap("voc12")
        unfound = ranking.objects - np.bincount(ranking.hits, minlength=len(lost))
        true = np.arange(1, len(ranking.hits) + 1)
        # The false positives of each image in a row, each by its place among all of them.
        by_image = np.argsort(ranking.false_alarms, kind="stable")
        bounds = np.searchsorted(ranking.false_alarms[by_image], np.arange(len(lost) + 1))
        for image in np.flatnonzero((unfound > 0) | (np.diff(bounds) > 0)):
            own = by_image[bounds[image] : bounds[image + 1]]
            false = ranking.ahead - np.searchsorted(own, ranking.ahead)
            after = ap_without_missed(
                true, false, objects - int(unfound[image]), alarms - len(own), "voc12"
            )
            lost[image] += after - before
    return lost / max(classes, 1)


def _errors_in(
    matched: MatchedPool, image: int, lost: float, kept: np.ndarray, not_found: np.ndarray
) -> ImageErrors:
    """Collect what is drawn of an image."""
    pool = matched.pool
    here = kept & (pool.images == image)
    errors = np.flatnonzero(here & matched.miss)
    missing = np.flatnonzero(not_found & (pool.truth.images == image))
    numbers = Counter(matched.false_positives.kinds[errors].tolist())
    counts = {kind.value: numbers[kind.number] for kind in ErrorKind if numbers[kind.number]}
    if len(missing):
        counts[NOT_FOUND] = len(missing)
    hits = np.flatnonzero(here & matched.hit)
    return ImageErrors(image, pool.truth.image_ids[image], lost, hits, errors, missing, counts)

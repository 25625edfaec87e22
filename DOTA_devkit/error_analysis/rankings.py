"""True and false positives of a class in the order of their scores, and the AP of them.

Matching is done within each image, so that giving images a weight, as the bootstrap does, or
leaving out errors changes the sums along the ranking and not the matching.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from DOTA_devkit.scoring.curves import average_precision


@dataclass(frozen=True)
class Ranking:
    """The detections of one class that count, by descending score.

    Attributes:
        hits: ``[T]``, image of each true positive.
        false_alarms: ``[F]``, image of each false positive.
        ahead: ``[T]``, number of false positives that are ranked before each true positive.
        objects: ``[I]``, objects of each image that count.
    """

    hits: np.ndarray
    false_alarms: np.ndarray
    ahead: np.ndarray
    objects: np.ndarray

    @staticmethod
    def of(images: np.ndarray, hit: np.ndarray, miss: np.ndarray, objects: np.ndarray) -> Ranking:
        """Make the ranking of detections.

        Args:
            images: ``[N]``, image of each detection, by descending score.
            hit: ``[N]`` bool, true positives.
            miss: ``[N]`` bool, false positives; a detection that is neither does not count.
            objects: ``[I]``, objects of each image that count.
        """
        return Ranking(images[hit], images[miss], np.cumsum(miss)[hit], objects)

    def ap(self, metric: str, weights: np.ndarray | None = None) -> float:
        """Compute the AP; nan if there are no objects.

        Args:
            metric: see `DOTA_devkit.scoring.average_precision`.
            weights: ``[I]``, how often each image counts; None: once.
        """
        if weights is None:
            true, false = np.arange(1, len(self.hits) + 1), self.ahead
            return ap_of_counts(true, false, int(self.objects.sum()), metric)
        before = np.concatenate([[0], np.cumsum(weights[self.false_alarms])])
        return ap_of_counts(
            np.cumsum(weights[self.hits]), before[self.ahead], weights @ self.objects, metric
        )


def ap_of_counts(true: np.ndarray, false: np.ndarray, objects: float, metric: str) -> float:
    """Compute the AP of counts at the true positives, where precision has its peaks.

    Args:
        true: ``[T]``, true positives up to each true positive, itself included.
        false: ``[T]``, false positives before it.
        objects: number of objects.
        metric: see `DOTA_devkit.scoring.average_precision`.

    Returns:
        AP in [0, 1], nan without objects.
    """
    if not objects:
        return math.nan
    return average_precision(true / objects, true / np.maximum(true + false, 1), metric)


def ap_without_missed(true: np.ndarray, false: np.ndarray, objects: int, alarms: int,
                      metric: str) -> float:  # fmt: skip
    """`ap_of_counts` where missed objects do not count, so that none may be left.

    A class that has no object left and no false positive has no error left: its AP is 1. With
    false positives and without a true one it is 0.

    Args:
        true: see `ap_of_counts`.
        false: see `ap_of_counts`.
        objects: number of objects that are left.
        alarms: number of all false positives.
        metric: see `DOTA_devkit.scoring.average_precision`.
    """
    if not objects:
        return 0.0 if alarms else 1.0
    return ap_of_counts(true, false, objects, metric)

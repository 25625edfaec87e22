"""Match the detections of the checkpoint with those of an exported file in one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from deploy.export.parity.model_pair import Thresholds
from deploy.export.parity.reference import Reference
from deploy.export.parity.tolerance import FLOAT32, Tolerance
from DOTA_devkit.polygon import paired_iou
from structures.detections import Detections


class PairDifference(NamedTuple):
    """The difference between two matched detections.

    Attributes:
        score: Score of the checkpoint's detection.
        corner_px: Largest difference of a corner's coordinates, in pixels of the network's input.
        score_error: Difference of the scores.
    """

    score: float
    corner_px: float
    score_error: float


@dataclass(frozen=True)
class ImageMatch:
    """The matched detections of one image.

    Attributes:
        detections: Number of the checkpoint's detections above the reported threshold.
        pairs: Indices [M] of the matched detections among the checkpoint's and among the file's,
            without those that are ambiguous.
        differences: The difference of each pair.
        ambiguous: Number of detections that differ because of rounding; see `Report.ambiguous`.
        at_cutoff: Number of detections at a threshold or at the last row; see `Report.at_cutoff`.
        unmatched: Descriptions of the other detections that only one model finds.
    """

    detections: int
    pairs: tuple[np.ndarray, np.ndarray]
    differences: list[PairDifference]
    ambiguous: int
    at_cutoff: int
    unmatched: list[str]


def match(a: Detections, b: Detections) -> tuple[np.ndarray, np.ndarray]:
    """Match detections of the same class that are each other's nearest and have an IoU of 0.5.

    The distance is the largest difference of a corner's coordinates.

    Returns:
        The indices [M] of the matched detections in `a` and in `b`.
    """
    if not len(a) or not len(b):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    distance = np.abs(
        a.corners.reshape(-1, 1, 8).astype(np.float64) - b.corners.reshape(1, -1, 8)
    ).max(axis=2)
    distance[a.labels[:, None] != b.labels[None]] = np.inf
    nearest_b, nearest_a = distance.argmin(axis=1), distance.argmin(axis=0)
    in_a = np.flatnonzero(nearest_a[nearest_b] == np.arange(len(a)))
    in_a = in_a[np.isfinite(distance[in_a, nearest_b[in_a]])]
    # Boxes without area have an IoU of 0: it is enough that they are in the same place.
    close = distance[in_a, nearest_b[in_a]] <= FLOAT32.corner_error_px
    overlap = paired_iou(a.corners[in_a], b.corners[nearest_b[in_a]]) >= 0.5
    in_a = in_a[close | overlap]
    return in_a, nearest_b[in_a]


@dataclass(frozen=True)
class ImageMatcher:
    """Matches detections of the two models in pixels of the network's input.

    Attributes:
        tolerance: How much the two may differ.
        thresholds: The score thresholds of both.
        K: Largest number of detections that either model outputs.
    """

    tolerance: Tolerance
    thresholds: Thresholds
    K: int

    def match(self, reference: Reference, exported: Detections) -> ImageMatch:
        """Match the file's detections in an image with the checkpoint's."""
        expected, tolerance = reference.detections, self.tolerance
        reported = self.thresholds.is_reported(expected)
        reported_by_file = self.thresholds.is_reported(exported)
        i, j = match(expected, exported)
        score_errors = np.abs(expected.scores[i] - exported.scores[j])
        both = reported[i] & reported_by_file[j]
        either = reported[i] | reported_by_file[j]
        compared = both | (either & (score_errors <= tolerance.score_error))
        i, j, score_errors = (values[compared] for values in (i, j, score_errors))
        corner_errors = np.abs(expected.corners[i] - exported.corners[j]).max(axis=(1, 2))
        within_tolerance = (corner_errors <= tolerance.corner_error_px) & (
            score_errors <= tolerance.score_error
        )
        differs_by_rounding = reference.ambiguous[i] & ~within_tolerance
        clear = ~differs_by_rounding
        values = (expected.scores[i], corner_errors, score_errors)
        differences = [
            PairDifference(*one)
            for one in zip(*(each[clear].tolist() for each in values), strict=True)
        ]

        only_checkpoint = np.setdiff1d(np.flatnonzero(reported), i)
        only_file = exported[np.setdiff1d(np.flatnonzero(reported_by_file), j)]
        first = self._sort_unmatched(
            "the checkpoint",
            expected[only_checkpoint],
            reference.ambiguous[only_checkpoint],
            self._complete_above(exported, self.thresholds.file),
        )
        second = self._sort_unmatched(
            "the file",
            only_file,
            reference.has_ambiguous_box(only_file, tolerance),
            self._complete_above(expected, self.thresholds.checkpoint),
        )
        return ImageMatch(
            detections=int(reported.sum()),
            pairs=(i[clear], j[clear]),
            differences=differences,
            ambiguous=int(differs_by_rounding.sum()) + first[0] + second[0],
            at_cutoff=first[1] + second[1],
            unmatched=first[2] + second[2],
        )

    def _complete_above(self, found: Detections, threshold: float) -> float:
        """Return the score above which the detections of a model are complete.

        It is the threshold, or the lowest score if all K rows are filled.
        """
        full = len(found) == self.K
        return max(threshold, float(found.scores[-1])) if full else threshold

    def _sort_unmatched(
        self, finder: str, alone: Detections, ambiguous: np.ndarray, lowest: float
    ) -> tuple[int, int, list[str]]:
        """Sort the detections that only one model finds by the reason.

        Args:
            finder: Name of the model that finds them.
            alone: The N detections.
            ambiguous: [N] bool, whether a detection depends on rounding.
            lowest: The score above which the detections of the other model are complete.

        Returns:
            The number of detections that depend on rounding, the number of those at the other
            model's threshold or last row, and a description of each of the others.
        """
        scores = alone.scores.astype(np.float64)
        low = ~ambiguous & (scores <= self.tolerance.min_certain_score(lowest))
        unmatched = [
            f"{finder}, class {int(alone.labels[index])}, score {scores[index]:.4f}"
            for index in np.flatnonzero(~ambiguous & ~low)
        ]
        return int(ambiguous.sum()), int(low.sum()), unmatched

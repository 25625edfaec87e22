"""Pair up what the checkpoint and an exported file find in one image."""

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
    """How far a matched detection is from the checkpoint's.

    Attributes:
        score: The score that the checkpoint gives.
        corner_px: The largest difference of the corners' coordinates, in pixels of the network's
            input.
        score_error: The difference of the scores.
    """

    score: float
    corner_px: float
    score_error: float


@dataclass(frozen=True)
class ImageMatch:
    """The detections of one image, matched.

    Attributes:
        detections: Number of the checkpoint's detections above the reported threshold.
        pairs: Indices [M] of the compared detections in the checkpoint's and in the file's.
        differences: How far each of these pairs is apart.
        ambiguous: Number of detections that differ because of rounding; see `Report.ambiguous`.
        at_cutoff: Number of detections at a threshold or at the last row; see `Report.at_cutoff`.
        unmatched: Descriptions of the detections that one model alone finds, without such a reason.
    """

    detections: int
    pairs: tuple[np.ndarray, np.ndarray]
    differences: list[PairDifference]
    ambiguous: int
    at_cutoff: int
    unmatched: list[str]


def match(a: Detections, b: Detections) -> tuple[np.ndarray, np.ndarray]:
    """Match detections of one class that are each other's nearest and overlap by half.

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
    # Boxes without area overlap nothing: for them it is enough to be in the same place.
    close = distance[in_a, nearest_b[in_a]] <= FLOAT32.corner_error_px
    overlap = paired_iou(a.corners[in_a], b.corners[nearest_b[in_a]]) >= 0.5
    in_a = in_a[close | overlap]
    return in_a, nearest_b[in_a]


@dataclass(frozen=True)
class ImageMatcher:
    """Matches detections of the two models in pixels of the network's input.

    Attributes:
        tolerance: How far the two may be apart.
        thresholds: What both were run at.
        K: The most detections that either shows.
    """

    tolerance: Tolerance
    thresholds: Thresholds
    K: int

    def match(self, reference: Reference, exported: Detections) -> ImageMatch:
        """Match what the file finds in an image with the checkpoint's reference."""
        ours, tolerance = reference.detections, self.tolerance
        shown, shown_by_file = self.thresholds.shown(ours), self.thresholds.shown(exported)
        mine, other = match(ours, exported)
        score_errors = np.abs(ours.scores[mine] - exported.scores[other])
        both = shown[mine] & shown_by_file[other]
        either = shown[mine] | shown_by_file[other]
        compared = both | (either & (score_errors <= tolerance.score_error))
        mine, other, score_errors = (values[compared] for values in (mine, other, score_errors))
        corner_errors = np.abs(ours.corners[mine] - exported.corners[other]).max(axis=(1, 2))
        alike = (corner_errors <= tolerance.corner_error_px) & (
            score_errors <= tolerance.score_error
        )
        differs_by_rounding = reference.ambiguous[mine] & ~alike
        clear = ~differs_by_rounding
        values = (ours.scores[mine], corner_errors, score_errors)
        differences = [
            PairDifference(*one)
            for one in zip(*(each[clear].tolist() for each in values), strict=True)
        ]

        alone = np.setdiff1d(np.flatnonzero(shown), mine)
        only_file = exported[np.setdiff1d(np.flatnonzero(shown_by_file), other)]
        first = self._sort_unmatched(
            "the checkpoint",
            ours[alone],
            reference.ambiguous[alone],
            self._lowest_shown(exported, self.thresholds.file),
        )
        second = self._sort_unmatched(
            "the file",
            only_file,
            reference.has_ambiguous_box(only_file, tolerance),
            self._lowest_shown(ours, self.thresholds.checkpoint),
        )
        return ImageMatch(
            detections=int(shown.sum()),
            pairs=(mine[clear], other[clear]),
            differences=differences,
            ambiguous=int(differs_by_rounding.sum()) + first[0] + second[0],
            at_cutoff=first[1] + second[1],
            unmatched=first[2] + second[2],
        )

    def _lowest_shown(self, found: Detections, threshold: float) -> float:
        """Return the score above which a model shows all that it finds."""
        full = len(found) == self.K
        return max(threshold, float(found.scores[-1])) if full else threshold

    def _sort_unmatched(
        self, finder: str, alone: Detections, ambiguous: np.ndarray, lowest: float
    ) -> tuple[int, int, list[str]]:
        """Sort the detections that one model alone finds by the reason for it.

        Args:
            finder: Name of that model.
            alone: The N detections.
            ambiguous: [N] bool, those for which rounding decides.
            lowest: The score above which the other model shows all that it finds.

        Returns:
            The number of those for which rounding decides, the number of those at the other
            model's threshold or last row, and a description of each of the others.
        """
        scores = alone.scores.astype(np.float64)
        low = ~ambiguous & (scores <= self.tolerance.min_certain_score(lowest))
        unmatched = [
            f"{finder}, class {int(alone.labels[index])}, score {scores[index]:.4f}"
            for index in np.flatnonzero(~ambiguous & ~low)
        ]
        return int(ambiguous.sum()), int(low.sum()), unmatched

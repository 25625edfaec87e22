"""How far a file of each precision may be from its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """The limits of the parity check; the defaults are those of float32.

    Attributes:
        corner_error_px: Allowed difference of a corner's coordinates, in pixels of the network's
            input.
        score_error: Allowed difference of a score.
        min_found_share: Share of the detections of either model that both must find, with the same
            class and an overlap of at least one half.
        corner_share: Share of the detections whose corners must be within `corner_error_px`. The
            others may be boxes whose `cls_theta` is at its threshold, which are turned in one model
            and upright in the other.
        score_share: Share of the scores that must be within `score_error`. Where there are
            thousands, a few lie far off, which no AP shows.
        min_corner_score: Corners are judged for detections of at least this score, where there are
            any. Lower-scoring boxes are mostly false positives: their sizes are vague in the
            checkpoint as well, and nobody keeps them except for a precision-recall curve.
        threshold_ratio: Both models run at this share of the reported threshold. A detection counts
            as unmatched where the other model gives such a box less than this share of its score.
        ordered_ties: Whether rows of equal scores must be in order as well. TensorRT does not
            promise it.
        judge_synthetic: Whether detections in synthetic images count. If not, only the layout of
            their rows is checked.
    """

    corner_error_px: float
    score_error: float
    min_found_share: float = 1.0
    corner_share: float = 1.0
    score_share: float = 1.0
    min_corner_score: float = 0.0
    threshold_ratio: float = 1.0
    ordered_ties: bool = True
    judge_synthetic: bool = True

    def min_certain_score(self, lowest: float) -> float:
        """Return the score above which one model must find what the other one does.

        Args:
            lowest: The score above which that model shows all that it finds. If the file's
                threshold is not an input, or if its rows are full, this is higher than the
                threshold that it should be run at.
        """
        within_error = lowest + self.score_error
        if self.threshold_ratio == 1:
            return within_error
        return min(lowest / self.threshold_ratio, within_error)


FLOAT32 = Tolerance(corner_error_px=0.05, score_error=1e-4)
"""Allows for the rounding of float32 alone."""

TOLERANCES: Mapping[str, Tolerance] = {
    "float32": FLOAT32,
    "float16": Tolerance(
        corner_error_px=1.0,
        score_error=0.02,
        min_found_share=0.95,
        corner_share=0.95,
        score_share=0.99,
        min_corner_score=0.1,
        threshold_ratio=0.5,
        ordered_ties=False,
        judge_synthetic=False,
    ),
    "int8": Tolerance(
        corner_error_px=4.0,
        score_error=0.15,
        min_found_share=0.8,
        corner_share=0.9,
        score_share=0.99,
        min_corner_score=0.1,
        threshold_ratio=0.5,
        ordered_ties=False,
        judge_synthetic=False,
    ),
}
"""Precision of the file -> its tolerance."""

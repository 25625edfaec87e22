"""How much a file of each precision may differ from its checkpoint."""

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
            class and an IoU of at least 0.5.
        corner_share: Share of the detections whose corners must be within `corner_error_px`. The
            others may be boxes whose `cls_theta` is at its threshold, which are rotated in one
            model and axis-aligned in the other.
        score_share: Share of the scores that must be within `score_error`. Among thousands, a few
            differ by much more, which does not change the AP.
        min_corner_score: Corners are judged for detections of at least this score, if there are
            any. Boxes with lower scores are mostly false positives: their sizes are imprecise in
            the checkpoint as well, and they only matter for a precision-recall curve.
        threshold_ratio: Both models run at this share of the reported threshold, so that a box
            above the threshold in only one model is matched if the other has it below the
            threshold with a score within `score_error`.
        ordered_ties: Whether rows of equal scores must be ordered by class, which TensorRT does
            not guarantee.
        judge_synthetic: Whether detections in synthetic images are compared. If not, only the
            order of their rows and the empty rows are checked.
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
        """Return the score above which a detection of one model must be found by the other.

        Args:
            lowest: The score above which the detections of the other model are complete. This is
                higher than the threshold of the comparison if the file has a higher fixed threshold
                or if all its rows are filled.
        """
        within_error = lowest + self.score_error
        if self.threshold_ratio == 1:
            return within_error
        return min(lowest / self.threshold_ratio, within_error)


FLOAT32 = Tolerance(corner_error_px=0.05, score_error=1e-4)
"""Allows only for the rounding of float32."""

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

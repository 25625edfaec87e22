"""How far a file that rounds more than float32 may be from its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.export.parity.comparison import Comparison

SURE = 0.1
"""Boxes of lesser scores are mostly none: their sizes are vague in the checkpoint as well, and no
one keeps them but for a curve."""


SCORES = 0.99
"""The share of the scores that are judged: some of thousands lie far off, which no AP shows."""


@dataclass(frozen=True)
class Tolerance:
    """What is asked of such a file.

    found: share of the detections of either that both must have, of one class and overlapping
    by half. corner: pixels of the network's input within which `near` of the corners of those
    above `SURE` must lie; the others may be those of a box whose `cls_theta` is at its
    threshold, which is turned in the one and upright in the other. score: within which nearly all
    scores lie (`SCORES`).
    """

    found: float
    corner: float
    near: float
    score: float


TOLERANCES = {
    "float16": Tolerance(found=0.95, corner=1.0, near=0.95, score=0.02),
    "int8": Tolerance(found=0.8, corner=4.0, near=0.9, score=0.15),
}


class RoundedComparison(Comparison):
    """A comparison that is judged by a `Tolerance`.

    A detection of one counts as lost where the other does not give half its score to such a box: so
    both are run at half the threshold, the file if its threshold is an input. Where it is not, or
    where its rows are full, what is less than twice as high is not counted.
    """

    ties_in_order = False  # TensorRT gives no promise
    judges_made_up = False

    def __init__(self, *args, tolerance: Tolerance, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.tolerance = tolerance
        self.corner_margin, self.score_margin = tolerance.corner, tolerance.score

    def lowered(self, conf_thresh: float) -> float:
        return conf_thresh / 2

    def surely_found(self, lowest: float) -> float:
        return min(2 * lowest, lowest + self.score_margin)

    def corner_error(self) -> float:
        """Within which `near` of the corners lie, of the surer detections where there are any."""
        errors = [error for score, error, _ in self.errors if score >= SURE]
        errors = errors or [error for _, error, _ in self.errors] or [0.0]
        return float(np.quantile(errors, self.tolerance.near))

    def score_error(self) -> float:
        """Within which `SCORES` of the scores lie."""
        return float(np.quantile([error for _, _, error in self.errors] or [0.0], SCORES))

    def verdict(self) -> tuple[str, list[str]]:
        """A line that tells how far the file is and how far it may be, and what is too far."""
        asked, report = self.tolerance, self.report
        compared = report.matched + len(report.lost)
        found = report.matched / compared if compared else 1.0
        corner, score = self.corner_error(), self.score_error()
        line = (
            f"rounds more than float32: {found:.1%} of {compared} detections are found by both "
            f"(at least {asked.found:.0%}), {asked.near:.0%} of the corners of those above "
            f"{SURE:g} within {corner:.2g} px ({asked.corner:g}), {SCORES:.0%} of the scores "
            f"within {score:.2g} ({asked.score:g})"
        )
        if not compared:
            line = "rounds more than float32, and in these images there is nothing to compare"
        faults = report.nms_faults[:1] + report.row_faults[:1]
        # the other way round NaN would pass
        if not found >= asked.found:
            faults.append(f"only {found:.1%} of {compared} detections are found by both")
        if not corner <= asked.corner:
            faults.append(f"corners differ by {corner:.3g} px (> {asked.corner:g})")
        if not score <= asked.score:
            faults.append(f"scores differ by {score:.2g} (> {asked.score:g})")
        return line, faults

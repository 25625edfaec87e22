"""Judge the report of a parity check by a tolerance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deploy.export.parity.report import Report
from deploy.export.parity.tolerance import Tolerance


class Verdict(NamedTuple):
    """The judgment of a report.

    Attributes:
        summary: One line with the differences and the allowed ones.
        faults: Where the file differs by more than the tolerance; empty for a file that passes.
    """

    summary: str
    faults: list[str]


def judge(report: Report, tolerance: Tolerance) -> Verdict:
    """Judge whether the differences in the report are within the tolerance."""
    compared = report.matched + len(report.unmatched)
    found_share = report.matched / compared if compared else 1.0
    corner_px, score = corner_error(report, tolerance), score_error(report, tolerance)
    if compared:
        summary = (
            f"{found_share:.1%} of {compared} detections are found by both (at least "
            f"{tolerance.min_found_share:.0%}), {tolerance.corner_share:.0%} of the corners of "
            f"those above {tolerance.min_corner_score:g} are within {corner_px:.2g} px "
            f"({tolerance.corner_error_px:g}), {tolerance.score_share:.0%} of the scores are "
            f"within {score:.2g} ({tolerance.score_error:g})"
        )
    else:
        summary = "in these images there is nothing to compare"
    faults = []
    # Written as "not <=", because a comparison with ">" would let NaN pass.
    if not found_share >= tolerance.min_found_share:
        faults.append(
            f"{len(report.unmatched)} of {compared} detections are found by only one of the two "
            f"(at least {tolerance.min_found_share:.0%} must be found by both), for example "
            f"{report.unmatched[0]}"
        )
    if not corner_px <= tolerance.corner_error_px:
        faults.append(f"corners differ by {corner_px:.3g} px (> {tolerance.corner_error_px:g})")
    if not score <= tolerance.score_error:
        faults.append(f"scores differ by {score:.2g} (> {tolerance.score_error:g})")
    return Verdict(summary, faults + report.nms_faults[:1] + report.row_faults[:1])


def corner_error(report: Report, tolerance: Tolerance) -> float:
    """Return the difference in pixels within which `corner_share` of the corners are.

    Detections below `min_corner_score` are ignored unless there are no others.
    """
    if tolerance.corner_share == 1:  # includes the columns of the light fork's layout
        return report.corner_error
    errors = [
        one.corner_px for one in report.differences if one.score >= tolerance.min_corner_score
    ]
    errors = errors or [one.corner_px for one in report.differences] or [0.0]
    return float(np.quantile(errors, tolerance.corner_share))


def score_error(report: Report, tolerance: Tolerance) -> float:
    """Return the difference within which `score_share` of the scores are."""
    if tolerance.score_share == 1:  # includes the columns of the light fork's layout
        return report.score_error
    errors = [one.score_error for one in report.differences] or [0.0]
    return float(np.quantile(errors, tolerance.score_share))

"""Objects whose box is wrong, or of which there are two."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from DOTA_devkit.doctor.findings import ERROR, NOTE, WARNING, Finding
from DOTA_devkit.doctor.survey import Survey
from DOTA_devkit.polygon import polygon_area
from DOTA_devkit.stats.problems import (
    DUPLICATE_IOU,
    OUTSIDE_TOLERANCE_PX,
    labeled_twice,
    outside_masks,
)


def outside(survey: Survey) -> Iterator[Finding]:
    """Find objects that lie outside their image, or reach outside."""
    reaching, center_out, entirely = outside_masks(survey.data)
    yield from found(
        survey, "outside", ERROR, "objects entirely outside their image", entirely,
        "Nobody can see them: remove them, unless all boxes of the image are misplaced because it "
        "was resized, cropped or turned after it was labeled.",
    )  # fmt: skip
    yield from found(
        survey, "outside", WARNING, "objects with their center outside the image",
        center_out & ~entirely,
        "Less than half of such an object is visible, so that training ignores it "
        "(`min_visible`). Clip the box to what can be seen, or remove it.",
    )  # fmt: skip
    yield from found(
        survey, "outside", NOTE,
        f"objects that reach outside the image by more than {OUTSIDE_TOLERANCE_PX:g} pixels",
        reaching & ~center_out & ~entirely,
        "Usual at the borders of patches: training clips them to the image.",
    )  # fmt: skip


def degenerate(survey: Survey) -> Iterator[Finding]:
    """Find boxes without area (a point or a line) and slivers."""
    flat = (polygon_area(survey.data.corners) == 0) | (survey.measures.shorter < 1e-6)
    yield from found(
        survey, "degenerate", ERROR, "boxes without area (a point or a line)", flat,
        "A click without a drag? Draw the box, or remove it; training ignores it.",
    )  # fmt: skip
    yield from found(
        survey, "degenerate", WARNING, "slivers: boxes less than a pixel wide",
        ~flat & (survey.measures.shorter < 1),
        "Normalized instead of pixel coordinates, or a slip of the mouse? Draw the box again.",
    )  # fmt: skip


def crossing(survey: Survey) -> Iterator[Finding]:
    """Find bow-ties: corners in an order in which the edges cross."""
    yield from found(
        survey, "crossing", WARNING, "bow-ties: corners in an order in which the edges cross",
        survey.data.crossing,
        "They are read in the order around the box, but other tools read a bow-tie: write the "
        "corners in order (top left, top right, bottom right, bottom left).",
    )  # fmt: skip


def duplicates(survey: Survey) -> Iterator[Finding]:
    """Find objects that are labeled twice, as one class or as two."""
    alike = f"nearly one box, IoU above {DUPLICATE_IOU:g}"
    yield from found(
        survey, "duplicates", WARNING, f"objects labeled twice ({alike})", survey.twice,
        "Remove one of the two: the detector cannot find it twice, and one counts as missed.",
    )  # fmt: skip
    other = labeled_twice(survey.data, across_classes=True)
    yield from found(
        survey, "duplicates", WARNING, f"objects labeled as two classes ({alike})", other,
        "Keep the right class: the detector is punished for either answer.",
    )  # fmt: skip


def found(
    survey: Survey, check: str, severity: str, title: str, objects: np.ndarray, remedy: str
) -> Iterator[Finding]:
    """Yield a finding about objects, if there are any.

    Args:
        survey: the data.
        check: name of the check.
        severity: see `Finding`.
        title: see `Finding`.
        objects: a mask ``[N]``, or indices.
        remedy: see `Finding`.
    """
    rows = np.flatnonzero(objects) if objects.dtype == bool else objects
    if len(rows):
        yield Finding(
            check, severity, title,
            [
                f"{place} {name}"
                for place, name in zip(survey.where(rows), survey.data.names[rows], strict=True)
            ],
            remedy, len(survey.data.names), survey.examples(rows),
        )  # fmt: skip

"""Labels without angles: horizontal boxes that were converted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from DOTA_devkit.doctor.findings import WARNING, Finding
from DOTA_devkit.doctor.survey import Survey

_UPRIGHT_DEGREES = 0.5
_UPRIGHT_SHARE = 0.99
_MIN_OBJECTS = 20
"""Objects, below which a town with streets along the axes is as likely."""
_LONG = 1.3
"""Longer by shorter side, above which a box has a direction; tanks and roundabouts have none."""


def upright_labels(survey: Survey) -> Iterator[Finding]:
    """Find sets and classes of which (nearly) all boxes are parallel to the axes."""
    away = np.abs((survey.measures.angle + 45) % 90 - 45)
    upright = away < _UPRIGHT_DEGREES
    remedy = (
        "Horizontal labels converted to corners teach boxes that are never turned: the detector "
        "then has no angles to learn. Label rotated boxes, or take a detector of horizontal ones."
    )
    if len(upright) >= _MIN_OBJECTS and upright.mean() >= _UPRIGHT_SHARE:
        yield Finding(
            "upright_labels", WARNING, "boxes that have an angle of 0 or 90 degrees, as nearly all",
            [f"{name}: {n}" for name, n in survey.counts(upright).items()],
            remedy, None, survey.examples(upright),
        )  # fmt: skip
        return
    classes = []
    long = survey.measures.aspect > _LONG
    for name, rows in survey.data.rows_by_class().items():
        rows = rows[long[rows]]
        if len(rows) >= _MIN_OBJECTS and upright[rows].mean() >= _UPRIGHT_SHARE:
            classes.append((name, rows))
    if classes:
        rows = np.concatenate([rows for _, rows in classes])
        yield Finding(
            "upright_labels", WARNING,
            "classes whose elongated boxes all have an angle of 0 or 90 degrees",
            [f"{name}: {len(rows)}" for name, rows in classes], remedy, None,
            survey.examples(rows),
        )  # fmt: skip


def upright_share(survey: Survey) -> float:
    """Return the share of the objects that are parallel to the axes, 0 without objects."""
    away = np.abs((survey.measures.angle + 45) % 90 - 45)
    return float((away < _UPRIGHT_DEGREES).mean()) if len(away) else 0.0

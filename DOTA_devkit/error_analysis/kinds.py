"""Kinds of errors, as defined by TIDE (Bolya et al., ECCV 2020, arXiv:2008.08115).

TIDE compares upright boxes; here the IoU is that of the evaluation, exact for oriented boxes. A
false positive is of the first kind whose rule applies, in the order of TIDE's own program. Its IoU

* with an object of its class is from 0.1 up to a match: localization;
* with an object of another class is a match: wrong class;
* with an object of its class is a match, but another detection was matched to it: duplicate;
* with every object is below 0.1: background;
* with an object of another class is from 0.1 up to a match (the rest): both.

An object without a match, to which no localization or class error points, is missed. TIDE has no
difficult objects. Here, a detection on one is not background; and as such an object counts neither
as found nor as missed, correcting the detection removes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from DOTA_devkit.error_analysis.pool import DetectionPool
from DOTA_devkit.scoring.matching import fits

BACKGROUND_IOU = 0.1
"""A false positive whose IoU with every object is lower lies on the background."""


class ErrorKind(Enum):
    """A kind of error; the value is its name in tables and files."""

    WRONG_CLASS = "wrong class"
    LOCALIZATION = "localization"
    BOTH = "both"
    DUPLICATE = "duplicate"
    BACKGROUND = "background"
    MISSED = "missed"

    @property
    def number(self) -> int:
        """Position in the list of kinds, as `FalsePositives.kinds` stores it."""
        return list(ErrorKind).index(self)


EXPLANATIONS: dict[ErrorKind, str] = {
    ErrorKind.WRONG_CLASS: "found in the right place, with the name of another class",
    ErrorKind.LOCALIZATION: "found, but the box fits badly: IoU 0.1 up to the threshold",
    ErrorKind.BOTH: "the box fits badly, and the class is another one",
    ErrorKind.DUPLICATE: "a further detection of an object that was found already",
    ErrorKind.BACKGROUND: "a detection where nothing is labeled: IoU below 0.1 with every object",
    ErrorKind.MISSED: "an object that no detection matches or comes near to",
}
"""What each kind means, for users."""


@dataclass(frozen=True)
class FalsePositives:
    """The kind of each detection that matches no object.

    Attributes:
        kinds: ``[N]`` int64, `ErrorKind.number`, -1 for a detection that matches an object.
        targets: ``[N]`` int64, the object that a localization or class error points to, else -1.
    """

    kinds: np.ndarray
    targets: np.ndarray

    def are(self, kind: ErrorKind) -> np.ndarray:
        """Detections of one kind, ``[N]`` bool."""
        return self.kinds == kind.number


def classify_errors(
    pool: DetectionPool, matched: np.ndarray, metric: str, threshold: float
) -> FalsePositives:
    """Assign each false positive its kind of error.

    Args:
        pool: the detections.
        matched: ``[N]``, the object each detection matches, -1 for none.
        metric: by whose rules they were matched.
        threshold: of the IoU.
    """
    same, same_iou = pool.same.best
    other, other_iou = pool.other.best
    fits_same, fits_other = (fits(iou, metric, threshold) for iou in (same_iou, other_iou))
    kinds = np.select(
        [
            (same_iou >= BACKGROUND_IOU) & ~fits_same,
            fits_other,
            fits_same,
            np.maximum(same_iou, other_iou) < BACKGROUND_IOU,
        ],
        [
            kind.number
            for kind in (
                ErrorKind.LOCALIZATION,
                ErrorKind.WRONG_CLASS,
                ErrorKind.DUPLICATE,
                ErrorKind.BACKGROUND,
            )
        ],
        ErrorKind.BOTH.number,
    )
    kinds = np.where(matched < 0, kinds, -1)
    targets = np.full(len(kinds), -1)
    for kind, best in ((ErrorKind.LOCALIZATION, same), (ErrorKind.WRONG_CLASS, other)):
        rows = kinds == kind.number
        targets[rows] = best[rows]
    return FalsePositives(kinds, targets)

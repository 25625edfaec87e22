"""What the doctor finds: how bad it is, how often and where, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

ERROR, WARNING, NOTE = "error", "warning", "note"

SEVERITIES = {
    ERROR: "must be fixed: training or scoring stops, or works with wrong data",
    WARNING: "most likely a mistake, or lowers the accuracy: look at it",
    NOTE: "good to know",
}
"""Severity -> what it means, the worst first."""

MAX_EXAMPLES = 6
"""Examples of a finding that are drawn."""


@dataclass(frozen=True)
class Example:
    """One place of a finding that can be drawn.

    Attributes:
        caption: what and where it is.
        image_ids: the image, or several that are to be compared.
        corners: ``[K, 4, 2]`` boxes on the first image, in its pixels; None for none.
        whole: show the whole image, not the surroundings of the boxes alone.
    """

    caption: str
    image_ids: tuple[str, ...]
    corners: np.ndarray | None = None
    whole: bool = False


@dataclass(frozen=True)
class Finding:
    """One kind of fault and all of its places.

    Attributes:
        check: name of the check that found it.
        severity: a key of `SEVERITIES`.
        title: what is wrong, without the count.
        places: ``file:line`` of every object, or a text for each image, entry or class.
        remedy: what to do.
        total: out of how many objects or images the places are, None where that says nothing.
        examples: places to draw.
    """

    check: str
    severity: str
    title: str
    places: list[str]
    remedy: str
    total: int | None = None
    examples: tuple[Example, ...] = ()

    @property
    def count(self) -> int:
        """How many places there are."""
        return len(self.places)

    def count_text(self) -> str:
        """Return the count, such as "3 of 120"."""
        return f"{self.count}" if self.total is None else f"{self.count} of {self.total}"

    def reworded(self, wording: Callable[[str], str]) -> Finding:
        """Return the finding with its texts as `wording` returns them."""
        return replace(
            self,
            title=wording(self.title),
            remedy=wording(self.remedy),
            places=[wording(place) for place in self.places],
        )

    def to_dict(self) -> dict[str, object]:
        """Return the finding as JSON has it."""
        return {
            "check": self.check,
            "severity": self.severity,
            "title": self.title,
            "count": self.count,
            "total": self.total,
            "remedy": self.remedy,
            "places": self.places,
        }

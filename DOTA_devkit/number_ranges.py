"""The range of every kind of number in labels and results.

What lies outside is damage or another unit, and would overflow later or be written as ``inf``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class NumberRange:
    """The values that a field may have.

    Attributes:
        low: smallest value.
        high: largest value.
        unit: of the values, for errors; empty for a plain number.
        whole: whether only integers are allowed.
    """

    low: float
    high: float
    unit: str = ""
    whole: bool = False

    def __str__(self) -> str:
        kind = "an integer" if self.whole else "a number"
        return f"{kind} from {self.low:.10g} to {self.high:.10g}{self.unit and f' {self.unit}'}"

    def holds(self, values: np.ndarray | float) -> np.ndarray:
        """Return which values are in the range, bool of the same shape; nan is not."""
        values = np.asarray(values, np.float64)
        inside = (values >= self.low) & (values <= self.high)
        return inside & (np.trunc(values) == values) if self.whole else inside


COORDINATE = NumberRange(-1e9, 1e9, "pixels")
"""Beyond any image (OpenCV reads up to 2^30 pixels), and exact to 1e-7 pixels in float64."""

DIFFICULTY = NumberRange(0, 2**31 - 1, whole=True)
"""What an int32 holds."""

ANGLE = NumberRange(-6.2832, 6.2832, "radians")
"""One turn; a larger number is an angle in degrees."""

DEGREE_TURN = NumberRange(-360, 360, "degrees")
"""One turn."""

SCORE = NumberRange(0, 1)
"""The confidence of a detector."""

"""IoU of one pair of quadrilaterals, with the interface of the devkit's compiled module.

For many pairs use `DOTA_devkit.polygon`, which is a hundred times faster per pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from DOTA_devkit.polygon import paired_iou

__all__ = ["VectorDouble", "iou_poly"]


class VectorDouble(list):
    """A list of floats with the methods of the compiled module's vector."""

    def __init__(self, values: Iterable[float] = ()) -> None:
        super().__init__(map(float, values))

    def push_back(self, value: float) -> None:
        """Append a value."""
        self.append(float(value))

    def size(self) -> int:
        """Get the number of values."""
        return len(self)

    def empty(self) -> bool:
        """Whether there are no values."""
        return not self


def iou_poly(p: Sequence[float], q: Sequence[float]) -> float:
    """Compute the IoU of two quadrilaterals.

    Args:
        p: x1, y1, ... x4, y4 of the first one.
        q: x1, y1, ... x4, y4 of the second one.

    Returns:
        IoU in [0, 1]; 0 if one of the two has no area.

    Raises:
        ValueError: ``p`` or ``q`` does not have 8 coordinates.
    """
    if len(p) != 8 or len(q) != 8:
        raise ValueError(f"p and q must have 8 coordinates each, got {len(p)} and {len(q)}")
    # Most pairs of a loop over all pairs are far apart, which is checked faster without arrays.
    if (
        max(p[0::2]) <= min(q[0::2])
        or max(q[0::2]) <= min(p[0::2])
        or max(p[1::2]) <= min(q[1::2])
        or max(q[1::2]) <= min(p[1::2])
    ):
        return 0.0
    return float(paired_iou(np.reshape(p, (1, 4, 2)), np.reshape(q, (1, 4, 2)))[0])

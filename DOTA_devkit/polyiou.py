"""The name that scripts know from the compiled module: IoU of one pair of quadrilaterals.

For many pairs use `DOTA_devkit.polygon`, which is a hundred times faster a pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from DOTA_devkit.polygon import paired_iou

__all__ = ["VectorDouble", "iou_poly"]


class VectorDouble(list):
    """A list of floats that also knows the calls of the compiled module's vector."""

    def __init__(self, values: Iterable[float] = ()) -> None:
        super().__init__(map(float, values))

    def push_back(self, value: float) -> None:
        self.append(float(value))

    def size(self) -> int:
        return len(self)

    def empty(self) -> bool:
        return not self


def iou_poly(p: Sequence[float], q: Sequence[float]) -> float:
    """IoU of two quadrilaterals given as x1, y1, ... x4, y4; 0 where one has no area."""
    if len(p) != 8 or len(q) != 8:
        raise ValueError(f"8 coordinates are expected each, came {len(p)} and {len(q)}")
    # Most pairs of a loop over all lie apart, which is seen without arrays.
    if (
        max(p[0::2]) <= min(q[0::2])
        or max(q[0::2]) <= min(p[0::2])
        or max(p[1::2]) <= min(q[1::2])
        or max(q[1::2]) <= min(p[1::2])
    ):
        return 0.0
    return float(paired_iou(np.reshape(p, (1, 4, 2)), np.reshape(q, (1, 4, 2)))[0])

"""Values that the building of a file and its check hand on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

ModelRunner = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""Runs a model: inputs by name -> outputs by name."""


class CheckImage(NamedTuple):
    """An image [H, W, 3] BGR of the report."""

    name: str
    pixels: np.ndarray
    truth: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    """Corners in its pixels, labels as the model counts them, and difficulties."""
    made_up: bool = False
    """Black, say: whether something is found on level ground is a matter of rounding."""

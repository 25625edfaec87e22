"""Values that the command line, building a file and checking it share; needs no ONNX package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

ModelRunner = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""Runs a model: inputs by name -> outputs by name."""

SUFFIXES = {
    "onnx": ".onnx",
    "torch": ".pt2",
    "openvino": ".xml",
    "tensorrt": ".onnx",
    "checkpoint": ".pth",
}
"""Format -> suffix of its file."""


class CheckImage(NamedTuple):
    """An image of the parity report.

    Attributes:
        name: Its name in the report.
        pixels: [H, W, 3] uint8, BGR.
        truth: Corners [N, 4, 2] in its pixels, labels [N] (indices of the model's classes) and
            difficulties [N], or None without labels.
        synthetic: Whether it is made up, for example black: what a model finds on a uniform image
            depends on rounding.
    """

    name: str
    pixels: np.ndarray
    truth: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    synthetic: bool = False

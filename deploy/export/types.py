"""Values that building a file and checking it share; needs no ONNX package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

ModelRunner = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""Runs a model: inputs by name -> outputs by name."""

OPSET = 18
"""Opset that ONNX graphs are built in."""

OLDEST_OPSET = 13
"""The first one in which `Split` and `Unsqueeze` take their sizes and axes as inputs."""

MAX_K = 3840
"""Most rows of a file. NVIDIA's documentation allows TensorRT's TopK up to 3840 entries; its ONNX
parser documents one fewer, which is `tensorrt_limits.MAX_TOP_K` and holds for the TensorRT
format."""

SIZE_MULTIPLE = 32
"""Height and width of the network's input are multiples of this."""

BEFORE_NMS = ("before_nms_corners", "before_nms_scores", "before_nms_labels")
"""Outputs that a graph has besides for the parity check: the rows before NMS."""


@dataclass(frozen=True)
class InputShape:
    """What of the input's shape is fixed; None is free.

    Attributes:
        batch: Number of images.
        height: Height of the input; for a uint8 input that of the images, which are scaled inside.
        width: Width of the same.
    """

    batch: int | None = None
    height: int | None = None
    width: int | None = None


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

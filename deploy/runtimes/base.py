"""What every runtime offers, and how a detector is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from structures.detections import Detections


@dataclass(frozen=True)
class DetectorSettings:
    """How a detector is run; None takes what the file says, or else the default in brackets.

    device: where PyTorch and ONNX Runtime run. classes: names, for a checkpoint that has none.
    backbone: what the file must have (any). input_hw: height and width of the network's input
    (608, 608). conf_thresh: scores above it are kept (0.18). nms_thresh: an IoU above it
    suppresses (0.1). theta_thresh: of `cls_theta` (0.8). K: most detections an image (500); an
    input larger than the model's, which `predict` may use, holds more in proportion, but for an
    exported file. squash: stretch images to the input as the original does, instead of padding.
    runtime: a name of `RUNTIMES` (by the kind of file). batch_size: images that go through the
    network together. threads: of ONNX Runtime and OpenVINO (as many as PyTorch uses, which
    `torch.set_num_threads` says for the whole process).
    """

    device: torch.device | str = "cpu"
    classes: Sequence[str] | None = None
    backbone: str | None = None
    input_hw: tuple[int, int] | None = None
    conf_thresh: float | None = None
    nms_thresh: float | None = None
    theta_thresh: float | None = None
    K: int | None = None
    squash: bool = False
    runtime: str | None = None
    batch_size: int = 8
    threads: int | None = None

    def used_threads(self) -> int:
        return torch.get_num_threads() if self.threads is None else self.threads


class Runtime(Protocol):
    """A model that is ready to run."""

    name: str
    classes: tuple[str, ...]
    input_hw: tuple[int, int]
    """Height and width that it was trained or exported at."""
    fixed_hw: bool
    """Whether it takes that size alone."""
    conf_thresh: float
    theta_thresh: float
    K: int
    nms_thresh: float | None
    """Of the NMS in the file, None where there is none in it."""

    def prepare(self, images: Sequence[np.ndarray]) -> Any:
        """Images [H, W, 3] uint8 BGR of one size -> what the network takes."""

    def network(self, batch: Any) -> Any:
        """The network; returns when it is done. Of an exported file this includes the decoder."""

    def decode(self, outputs: Any) -> list[Detections]:
        """Detections of each image in input pixels with scores above `conf_thresh`, by falling
        score, before any NMS that is not in the file."""


def first_given(asked: Any, otherwise: Any) -> Any:
    return otherwise if asked is None else asked

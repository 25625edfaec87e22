"""The interface of every runtime, and the settings of a detector."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Protocol

from DOTA_devkit.class_thresholds import Thresholds, check_thresholds, resolve_thresholds
from DOTA_devkit.cores import network_threads
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging.options import ReadOptions
from structures.views import parse_views

if TYPE_CHECKING:
    import numpy as np
    import torch

    from structures.detections import Detections


@dataclass(frozen=True)
class DetectorSettings:
    """How a detector is run.

    None stands for what the model file says, or else for a default, which is the constant of
    `structures.defaults` that is named below.

    Attributes:
        device: Device of PyTorch and ONNX Runtime.
        classes: Class names, for a checkpoint that has none.
        backbone: Backbone that the file must have, None for any.
        input_hw: Height and width of the network's input (`INPUT_HW`).
        conf_thresh: Scores above it are kept (`CONF_THRESH`). A mapping has the threshold of single
            classes by name; its key "default" stands for all others, which otherwise have the
            threshold of the file.
        nms_thresh: IoU above which NMS suppresses (`NMS_THRESH`).
        agnostic_nms_thresh: IoU above which boxes of different classes suppress one another as
            well, None for none.
        theta_thresh: Value of `cls_theta` above which a box counts as rotated (`THETA_THRESH`).
        K: Most detections of an image (`K`). An input larger than the model's, which `predict`
            may use, may hold more in proportion, except in an exported file.
        squash: Stretch images to the input as the original does, instead of padding them (False).
        runtime: A name in `RUNTIMES`, None for the usual one of the kind of file.
        batch_size: Images that go through the network together.
        threads: CPU threads of the network. PyTorch has one number for the whole process, so for a
            checkpoint it is set there. None for as many as PyTorch uses if it is imported
            (`torch.set_num_threads`), else the environment's `OMP_NUM_THREADS`, else the number
            of cores that the process may use.
        depth: How 16 bits are converted to 8, see `ReadOptions`; None as in training.
        bands: Bands that are read, see `ReadOptions`; None for those of the training.
        max_pixels: Images of more pixels by their header are refused.
        allow_remote: Whether virtual and remote images are read, see `ReadOptions`.
        tta: Test-time augmentation: the views that an image is seen in, such as "flips", see
            `structures.views.parse_views`. Only for models that output head maps: checkpoints, and
            files exported with `layout` heads. None for none.
    """

    device: torch.device | str = "cpu"
    classes: Sequence[str] | None = None
    backbone: str | None = None
    input_hw: tuple[int, int] | None = None
    conf_thresh: Thresholds | None = None
    nms_thresh: float | None = None
    agnostic_nms_thresh: float | None = None
    theta_thresh: float | None = None
    K: int | None = None
    squash: bool | None = None
    runtime: str | None = None
    batch_size: int = 8
    threads: int | None = None
    depth: str | None = None
    bands: tuple[int, ...] | None = None
    max_pixels: int | None = None
    allow_remote: bool | None = None
    tta: str | None = None

    def __post_init__(self) -> None:
        if self.conf_thresh is not None:
            check_thresholds(self.conf_thresh, "conf_thresh")
        for name in ("nms_thresh", "agnostic_nms_thresh", "theta_thresh"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value, Real) and 0 <= value <= 1):
                raise InputError(f"{name} must be a number from 0 to 1, got {value!r}")
        for name in ("K", "batch_size", "threads"):
            value = getattr(self, name)
            if not (value is None and name != "batch_size") and not (
                _is_number(value, Integral) and value >= 1
            ):
                raise InputError(f"{name} must be a whole number of 1 or more, got {value!r}")
        parse_views(self.tta)
        if isinstance(self.classes, str):
            raise InputError(f"classes must be a list of names, got the text {self.classes!r}")

    def conf_thresh_of(self, classes: Sequence[str], default: float) -> Thresholds:
        """Return the score threshold of a model: one number, or class name -> number.

        Args:
            classes: Its class names.
            default: Threshold of classes for which none was asked.

        Raises:
            InputError: A threshold is of a class that the model does not have.
        """
        return resolve_thresholds(self.conf_thresh, classes, default, "conf_thresh")

    def used_threads(self) -> int:
        """Return the number of CPU threads that the network uses."""
        if self.threads is not None:
            return self.threads
        if (torch := sys.modules.get("torch")) is not None:
            return torch.get_num_threads()
        asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
        return int(asked) if asked.isdecimal() and int(asked) > 0 else network_threads()

    def reading(self, trained: ReadOptions | None) -> ReadOptions:
        """Return how image files are read by a model that was trained on `trained`.

        Files that do not say how are of earlier versions, or of images of 8 bits.
        """
        names = ("depth", "bands", "max_pixels", "allow_remote")
        asked = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return replace(trained or ReadOptions(), **asked)


class Runtime(Protocol):
    """A model that is ready to run.

    It keeps no state between calls, and several threads may call it at a time.

    Attributes:
        name: Name of the runtime.
        classes: Class names in the order of the labels.
        input_hw: Height and width that the model was trained or exported at.
        squash: Whether it is meant for images that are stretched to the input, None if the file
            does not say.
        fixed_hw: Whether it takes only images of that size.
        conf_thresh: Scores above it are kept; where classes differ, class name -> threshold, in the
            order of the labels.
        theta_thresh: Value of `cls_theta` above which a box counts as rotated.
        K: Most detections of an image of `input_hw`.
        nms_thresh: IoU threshold of the NMS in the file, None if there is none in it.
        reading: How the images of its training were read, None if the file does not say.
        train_scale: Input pixels per pixel of the training images (median), None if the file does
            not say.
        box_coding: How its boxes are coded, one of `structures.boxes.BOX_CODINGS`; None if the file
            does not say.
    """

    name: str
    classes: tuple[str, ...]
    input_hw: tuple[int, int]
    squash: bool | None
    fixed_hw: bool
    conf_thresh: Thresholds
    theta_thresh: float
    K: int
    nms_thresh: float | None
    reading: ReadOptions | None
    train_scale: float | None
    box_coding: str | None

    def prepare(self, images: Sequence[np.ndarray]) -> Any:
        """Turn images [H, W, 3] uint8 BGR of one size into what the network takes."""

    def network(self, batch: Any) -> Any:
        """Run the network and wait for it. In an exported file this includes the decoder."""

    def decode(self, outputs: Any) -> list[Detections]:
        """Return the detections of each image with scores above `conf_thresh`.

        They are in input pixels and sorted by descending score. NMS is not applied, unless it is in
        the file.
        """


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def split_device(device: torch.device | str) -> tuple[str, int | None]:
    """Return the kind of a device and its index: ("cuda", 1) for "cuda:1", ("cpu", None).

    Raises:
        InputError: This is no device.
    """
    match = re.fullmatch(r"(cpu|cuda|mps|xpu)(?::(\d+))?", str(device))
    if match is None:
        raise InputError(f"device must be cpu, cuda or cuda:N, got {str(device)!r}")
    return match[1], None if match[2] is None else int(match[2])


def first_given(*values: Any) -> Any:
    """Return the first value that is not None, None if there is none."""
    return next((value for value in values if value is not None), None)

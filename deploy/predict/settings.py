"""How images of any size are searched, by which model, and which part of the work is done here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from DOTA_devkit.converters.table import WRITTEN
from DOTA_devkit.errors import InputError
from processes.numbers import ProcessNumbers

if TYPE_CHECKING:
    import numpy as np

    from DOTA_devkit.class_thresholds import Thresholds
    from DOTA_devkit.imaging import ReadOptions
    from structures.detections import Detections
    from structures.letterbox import Letterbox

FORMATS = ("pictures", "task1", "json", "csv", "geojson")
"""Names of the result formats that are written by default, see `deploy.predict.writers`."""

_LABEL_STUDIO, _LABEL_STUDIO_PREDICTIONS = "label-studio", "label-studio-predictions"

LABEL_FORMATS = {
    name: name for name in WRITTEN if name not in (_LABEL_STUDIO, _LABEL_STUDIO_PREDICTIONS)
} | {"labelstudio": _LABEL_STUDIO_PREDICTIONS}
"""Name of each format of labels that can be written too -> its name in the devkit's table.

Label Studio gets predictions, which it shows apart from what people have annotated.
"""

WHOLE_IMAGE = 0
"""Value of `PredictSettings.tile` for one window over the whole image."""

MAX_RUNS_PER_PROCESS = 8
"""Most runs of consecutive batches that one of several processes gets, see `Shard.part_of`."""


class DetectorLike(Protocol):
    """What a prediction needs of a detector; `deploy.detector.Detector` is one."""

    classes: tuple[str, ...]
    conf_thresh: Thresholds
    nms_thresh: float
    agnostic_nms_thresh: float | None
    input_hw: tuple[int, int]
    fixed_hw: bool
    reading: ReadOptions
    train_scale: float | None
    finds_rectangles: bool

    def detect_inputs(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Detect in images [H, W, 3] uint8 of one size that are at the network's scale."""

    def letterbox(self, size_wh: tuple[int, int]) -> Letterbox:
        """Return how an image of that size is placed in the network's input as a whole."""


@dataclass(frozen=True)
class ModelRecord:
    """What a prediction notes about its model.

    Attributes:
        weights: Path of the model file, for the JSON file.
        file_digest: Digest of the file's content (`deploy.detector.file_digest`).
        runtime: Name of the runtime that runs it.
        K: Most detections of one input.
        theta_thresh: Value of `cls_theta` above which a box counts as rotated.
        squash: Whether whole images are stretched to the input instead of padded.
        tta: Views of the test-time augmentation, None without it.
    """

    weights: str
    file_digest: str
    runtime: str
    K: int
    theta_thresh: float
    squash: bool = False
    tta: str | None = None

    def identity(self) -> dict[str, Any]:
        """Return what distinguishes this model's detections from another's.

        A killed run may only be resumed with the same model, wherever its file is.
        """
        return {
            "file": self.file_digest,
            "runtime": self.runtime,
            "K": self.K,
            "theta_thresh": self.theta_thresh,
            "squash": self.squash,
            **self._augmentation(),
        }

    def to_json(self) -> dict[str, Any]:
        """Return what the JSON file says about the model."""
        return {"weights": self.weights, "runtime": self.runtime, **self._augmentation()}

    def _augmentation(self) -> dict[str, str]:
        return {} if self.tta is None else {"tta": self.tta}


@dataclass(frozen=True)
class Shard:
    """The part of the work that this process does.

    Attributes:
        index: Number of this process, from 0.
        count: Number of processes.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise InputError(
                f"shard must be i/n with i from 0 to n - 1, such as 0/2 on one machine and 1/2 on "
                f"another, got {self.index}/{self.count}"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read a shard from text such as "0/2".

        Raises:
            InputError: The text has another form, or names a process that does not exist.
        """
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()):
            raise InputError(f"shard must be i/n, such as 0/2 and 1/2, got {text}")
        return cls(int(index), int(count))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Shard:
        """Return the shard of the rank and world size that torchrun sets, else all the work."""
        numbers = ProcessNumbers.of(environment)
        return cls(numbers.rank, numbers.count)

    def part_of(self, batches: int) -> list[int]:
        """Return the numbers of the batches that this process does.

        Batches are dealt out in runs of consecutive ones. The runs are long, because each process
        that has windows of an image must decode that image, but every process gets several of
        them, because windows without data take no time and may lie side by side.

        Args:
            batches: Number of batches of all processes.
        """
        run = -(-batches // (MAX_RUNS_PER_PROCESS * self.count))
        return [number for number in range(batches) if number // run % self.count == self.index]

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def device_of_rank(
    device: str, devices: Callable[[], int], environment: Mapping[str, str] = os.environ
) -> str:
    """Choose the GPU of a torchrun process where `cuda` was asked for without an index.

    It is the GPU of the process's rank on this machine, which torchrun sets. Processes share GPUs
    if there are fewer of them than processes.

    Args:
        device: The device that was asked for.
        devices: Returns the number of GPUs of this machine; it is only called inside torchrun.
        environment: Environment variables.

    Returns:
        The device to use, which is `device` itself outside torchrun.
    """
    rank = ProcessNumbers.of(environment).local_rank
    if device != "cuda" or rank is None:
        return device
    return f"cuda:{rank % max(devices(), 1)}"


@dataclass(frozen=True)
class PredictSettings:
    """How images are searched and what is written.

    Attributes:
        tile: Side of a window in input pixels, `WHOLE_IMAGE` for one window over the image. With
            None it is the network's input size, and images that fit into the input well enough
            (`TilingDefaults.max_whole_ratio`) are not cut, unless a scale is asked for.
        overlap: Overlap of neighboring windows in input pixels; None for 100, or a sixth of the
            window if that is less.
        scales: Input pixels per source pixel, one pass over the image for each; None for that of
            the training, see `deploy.predict.plan.usual_scale`.
        gsd: Ground sampling distance of the training images in meters per pixel; images with
            coordinates are rescaled to it first.
        crs: Coordinate reference system of images that do not name theirs, such as "EPSG:32633";
            None if there are none.
        batch_size: Windows that go through the network together.
        formats: Names out of `FORMATS` and `LABEL_FORMATS` to write.
        shard: Part of the work that this process does.
        overwrite: Whether labels of an earlier run are replaced, which may have been corrected
            since; other results always are.
    """

    tile: int | None = None
    overlap: int | None = None
    scales: tuple[float, ...] | None = None
    gsd: float | None = None
    crs: str | None = None
    batch_size: int = 8
    formats: tuple[str, ...] = FORMATS
    shard: Shard = field(default_factory=Shard)
    overwrite: bool = False

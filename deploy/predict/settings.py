"""How images of any size are gone over, and which part of the work is this process's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from deploy.predict.writers import FORMATS
from DOTA_devkit.errors import InputError
from structures.detections import Detections
from structures.letterbox import Letterbox

RUNS = 8
"""Of neighbouring batches that a process of several gets, where there are so many."""


class Detects(Protocol):
    """What is asked of a detector; `detector.Detector` is one."""

    classes: tuple[str, ...]
    conf_thresh: float
    nms_thresh: float
    input_hw: tuple[int, int]
    fixed_hw: bool

    def detect_inputs(self, images: Sequence[np.ndarray]) -> list[Detections]: ...

    def letterbox(self, size_wh: tuple[int, int]) -> Letterbox: ...


@dataclass(frozen=True)
class Shard:
    """This process's part of the work: it is number `index` (from 0) of `count`."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise InputError(
                f"--shard {self.index}/{self.count}: expected i/n with i from 0 to n - 1, such as "
                "0/2 on one machine and 1/2 on another"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()):
            raise InputError(f"--shard {text}: expected i/n, such as 0/2 and 1/2")
        return cls(int(index), int(count))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Shard:
        """The rank and world size that torchrun sets, else all the work."""
        rank, size = environment.get("RANK", ""), environment.get("WORLD_SIZE", "")
        return cls(int(rank), int(size)) if rank.isdecimal() and size.isdecimal() else cls()

    def part_of(self, batches: int) -> list[int]:
        """Numbers of the batches that are this process's.

        Batches are dealt out in runs of neighbours: long ones, as processes that have windows of
        one image must each decode it, but several to each, as windows without data take no time.
        """
        run = -(-batches // (RUNS * self.count))
        return [number for number in range(batches) if number // run % self.count == self.index]

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def device_of_rank(
    device: torch.device, devices: int, environment: Mapping[str, str] = os.environ
) -> torch.device:
    """The GPU that a process of torchrun takes where `cuda` is asked for without an index.

    It is the one of its rank on this machine, which torchrun sets; where there are fewer `devices`
    than processes, they share them.
    """
    rank = environment.get("LOCAL_RANK", "")
    if device.type != "cuda" or device.index is not None or not rank.isdecimal():
        return device
    return torch.device("cuda", int(rank) % max(devices, 1))


@dataclass(frozen=True)
class PredictSettings:
    """How images are gone over.

    tile: side of a window in input pixels, `WHOLE` for the image; None for the network's input
        size, but whole images where they fit (see `FITS`) and no scale is asked for.
    overlap: of two windows, in input pixels; None for 100, or a sixth of the window where that
        is less.
    scales: input pixels a source pixel; None for 1.
    gsd: metres a pixel that the model was trained at: images with coordinates are rescaled to it.
    """

    tile: int | None = None
    overlap: int | None = None
    scales: tuple[float, ...] | None = None
    gsd: float | None = None
    batch_size: int = 8
    formats: tuple[str, ...] = FORMATS
    shard: Shard = field(default_factory=Shard)

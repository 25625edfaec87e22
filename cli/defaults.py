"""What a flag is when it is not given."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from structures.defaults import INPUT_HW


@dataclass(frozen=True)
class Defaults:
    """What a flag is when it is not given: for the built-in sample set, and for own data."""

    epochs: int
    batch_size: int
    input_hw: tuple[int, int]
    lr: float
    schedule: str
    head_conv: int
    pretrained: str
    save_every: int
    num_workers: int


def usable_cores() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


OWN_DATA = Defaults(
    epochs=80,
    batch_size=16 if torch.cuda.is_available() else 8,
    input_hw=INPUT_HW,
    lr=1.25e-4,
    schedule="exponential",
    head_conv=256,
    pretrained="imagenet",
    save_every=5,
    num_workers=min(4, usable_cores()),
)


SAMPLE = Defaults(
    epochs=7,
    batch_size=4,
    input_hw=(192, 192),
    lr=2e-3,
    schedule="cosine",
    head_conv=64,
    pretrained="none",
    save_every=0,
    num_workers=0,
)

"""Default values of flags that depend on the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.devices import default_device
from DOTA_devkit.cores import usable_cores
from structures.defaults import INPUT_HW


@dataclass(frozen=True)
class Defaults:
    """Default values of flags, for the built-in sample set or for the user's own data."""

    epochs: int
    cpu_batch_size: int
    gpu_batch_size: int
    input_hw: tuple[int, int]
    head_conv: int
    pretrained: str
    save_every: int
    num_workers: int
    recipe_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name of a recipe -> settings of the recipe that differ for these data."""

    @property
    def batch_size(self) -> int:
        """Images of a batch on this machine."""
        return self.gpu_batch_size if default_device() == "cuda" else self.cpu_batch_size


SAMPLE_DIR = Path("sample_data")
"""Folder of the built-in sample set."""


OWN_DATA = Defaults(
    epochs=80,
    cpu_batch_size=8,
    gpu_batch_size=16,
    input_hw=INPUT_HW,
    head_conv=256,
    pretrained="imagenet",
    save_every=5,
    num_workers=min(4, usable_cores()),
)


SAMPLE = Defaults(
    epochs=7,
    cpu_batch_size=4,
    gpu_batch_size=4,
    input_hw=(192, 192),
    head_conv=64,
    pretrained="none",
    save_every=0,
    num_workers=0,
    recipe_settings={"paper": {"lr": 2e-3, "schedule": "cosine"}},
)

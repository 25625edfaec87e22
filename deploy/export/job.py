"""Inputs and result of building a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deploy.export.network import ExportNetwork
from deploy.export.settings import ExportSettings
from deploy.export.types import ModelRunner
from deploy.metadata import ModelMetadata
from models import CTRBOX


@dataclass(frozen=True)
class ExportJob:
    """What a file is built from.

    Attributes:
        network: The checkpoint's network. It is used once and may be changed.
        metadata: The contract of the file.
        settings: What is exported.
        input_hw: Height and width at which the checks run the network.
        calibration: Images [H, W, 3] BGR to calibrate int8 with.
        path: A temporary path for the file, with the name of the final one.
        model: The checkpoint's model, which is not to be changed.
    """

    network: ExportNetwork
    metadata: ModelMetadata
    settings: ExportSettings
    input_hw: tuple[int, int]
    calibration: Sequence[np.ndarray]
    path: Path
    model: CTRBOX


class BuiltModel(NamedTuple):
    """A model that has been built, but is not in its final place yet.

    Attributes:
        run: Runs it.
        write: Writes it to a path.
        run_before_nms: Runs it with the rows before NMS as further outputs, None without NMS.
        run_engine: Runs it in TensorRT, which rounds more, None without an engine.
        advice: Returns what to do with the written file, None if it is ready.
    """

    run: ModelRunner
    write: Callable[[Path], None]
    run_before_nms: ModelRunner | None = None
    run_engine: ModelRunner | None = None
    advice: Callable[[Path], str] | None = None

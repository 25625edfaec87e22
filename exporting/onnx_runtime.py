"""ONNX Runtime as the export uses it: to check a file on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from DOTA_devkit.errors import InputError
from structures.detections import Detections

ERRORS_ONLY = 3
"""Of ONNX Runtime's log. It warns of every input with a default value, and `conf_thresh` is one."""


def open_session(model: onnx.ModelProto | Path, providers: list | None = None):
    """A session on the CPU, or of the given providers.

    Raises:
        InputError: the runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise InputError("ONNX Runtime is not there: pip install -e '.[export]'") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(
        source, options, providers=providers or ["CPUExecutionProvider"]
    )


def rows_to_detections(corners: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> Detections:
    """The rows of one image that are not empty. corners [K, 4, 2], scores and labels [K]."""
    count = int((labels >= 0).sum())
    return Detections(corners[:count], scores[:count], labels[:count])

"""ONNX files in ONNX Runtime."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from deploy.metadata import read_onnx_metadata
from deploy.runtimes.base import DetectorSettings, split_device
from deploy.runtimes.exported import ExportedRuntime, translate_run_errors
from DOTA_devkit.errors import InputError

if TYPE_CHECKING:
    import onnx
    import torch
    from onnxruntime import InferenceSession

CUDA = "CUDAExecutionProvider"
"""Name of the execution provider of GPUs."""

_LOG_ERRORS_ONLY = 3
"""Severity of ONNX Runtime's log. It warns about every input with a default value, which
`conf_thresh` was in earlier versions."""

_WAIT, _WAIT_US = "session.intra_op.spin_duration_us", "100"
"""How long a thread without work keeps its core, in microseconds: long enough for the gap between
two operators, while the usual milliseconds hold up whatever else needs the core. Versions that do
not know the setting ignore it."""


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime.

    Raises:
        InputError: It is not installed.
    """
    try:
        return importlib.import_module("onnxruntime")
    except ImportError:
        raise InputError("this needs onnxruntime: pip install -e '.[export]'") from None


def open_session(
    model: Path | onnx.ModelProto, providers: Sequence[Any] = (), threads: int | None = None
) -> InferenceSession:
    """Open an ONNX model in ONNX Runtime.

    Args:
        model: Path of a file, or a model in memory.
        providers: Execution providers in the order of preference; the CPU without any.
        threads: CPU threads of one operator; as many as there are cores by default.

    Raises:
        InputError: ONNX Runtime is not installed.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _LOG_ERRORS_ONLY
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry(_WAIT, _WAIT_US)
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(
        source, options, providers=list(providers) or ["CPUExecutionProvider"]
    )


def cause(error: Exception) -> str:
    """Return the cause of an error of ONNX Runtime: its first line."""
    return str(error).partition("\n")[0] or type(error).__name__


class OnnxRuntime(ExportedRuntime):
    """An ONNX file in ONNX Runtime, see `deploy.runtimes.base.Runtime`."""

    name = "ONNX Runtime"

    def __init__(self, path: Path, settings: DetectorSettings):
        """Open an ONNX file; an InputError says why it cannot be used with the settings."""
        available = import_onnxruntime().get_available_providers()
        providers = self._providers(available, settings.device)
        metadata = read_onnx_metadata(path)  # before ONNX Runtime sees the file: it may be damaged
        try:
            self._session = open_session(path, providers, settings.used_threads())
        except Exception as error:  # ONNX Runtime has an error class for each fault of a file
            raise InputError(
                f"{path}: not a model that ONNX Runtime can run ({cause(error)})"
            ) from None
        # an input with a default value, as in files of earlier versions, counts as an initializer
        # that may be overridden
        inputs = (*self._session.get_inputs(), *self._session.get_overridable_initializers())
        shapes = {one.name: one.shape for one in inputs}
        self._names = [one.name for one in self._session.get_outputs()]
        shape = [side if isinstance(side, int) else None for side in shapes.get("input", [None])]
        super().__init__(path, metadata, shape, self._names, "conf_thresh" in shapes, settings)

    @staticmethod
    def _providers(available: Sequence[str], device: torch.device | str) -> list[Any]:
        """Return the execution providers of a device. Not tested on a GPU yet."""
        kind, index = split_device(device)
        if kind != "cuda":
            return ["CPUExecutionProvider"]
        if CUDA not in available:
            raise InputError(
                f"device {device}: this ONNX Runtime only has {', '.join(available)}; install "
                "onnxruntime-gpu for CUDA"
            )
        return [
            (CUDA, {"device_id": index or 0}),
            "CPUExecutionProvider",
        ]

    def _run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        with translate_run_errors(self.name, self.path, cause):
            values = self._session.run(self._names, self._inputs(batch))
        return dict(zip(self._names, values, strict=True))

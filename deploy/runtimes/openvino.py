"""OpenVINO models and ONNX files in OpenVINO."""

from __future__ import annotations

import queue
from pathlib import Path

import numpy as np

from deploy.runtimes import openvino_files
from deploy.runtimes.base import DetectorSettings
from deploy.runtimes.exported import ExportedRuntime, translate_run_errors
from deploy.runtimes.openvino_files import cause, own_name
from DOTA_devkit.errors import InputError


class OpenVino(ExportedRuntime):
    """An OpenVINO model or an ONNX file in OpenVINO, see `deploy.runtimes.base.Runtime`."""

    name = "OpenVINO"

    def __init__(self, path: Path, settings: DetectorSettings):
        """Open a file; an InputError says why it cannot be used with the settings."""
        model, metadata = openvino_files.read(path)
        try:
            self._compiled = openvino_files.compile_model(model, settings.used_threads())
        except RuntimeError as error:
            raise InputError(
                f"{path}: not a model that OpenVINO can run ({cause(error)})"
            ) from None
        # A request serves one caller at a time: each takes a free one, or makes another.
        self._requests: queue.SimpleQueue = queue.SimpleQueue()
        shapes = {own_name(one): one.get_partial_shape() for one in self._compiled.inputs}
        shape = [side.get_length() if side.is_static else None for side in shapes.get("input", ())]
        self._names = [own_name(one) for one in self._compiled.outputs]
        super().__init__(path, metadata, shape, self._names, "conf_thresh" in shapes, settings)

    def _run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        try:
            request = self._requests.get_nowait()
        except queue.Empty:
            request = self._compiled.create_infer_request()
        try:
            with translate_run_errors(self.name, self.path, cause):
                request.infer(self._inputs(batch))
            # copies, because the next caller of the request overwrites its memory
            outputs = {name: request.get_tensor(name).data.copy() for name in self._names}
        finally:
            self._requests.put(request)
        if any(len(rows) != len(batch) for rows in outputs.values()):
            # seen when memory was short: OpenVINO raises nothing and returns no rows
            raise MemoryError(f"OpenVINO returned no rows for a batch {batch.shape}")
        return outputs

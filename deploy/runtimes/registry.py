"""What runs a model file: input images -> head maps or boxes -> detections, for each runtime.

All of them are used alike, so that the detector, the phases and the benchmark need not know which
one they have: `prepare`, `network` and `decode`, one after the other. They keep no state between
calls, and several threads may call one runtime at a time.
"""

from __future__ import annotations

from pathlib import Path

from deploy.runtimes.base import DetectorSettings, Runtime
from deploy.runtimes.onnx_runtime import OnnxRuntime
from deploy.runtimes.openvino import OpenVino
from deploy.runtimes.torch_runtime import TorchRuntime
from DOTA_devkit.errors import InputError

RUNTIMES = {"pytorch": TorchRuntime, "onnxruntime": OnnxRuntime, "openvino": OpenVino}
_BY_SUFFIX = {".onnx": "onnxruntime", ".xml": "openvino"}
_NOT_RUN = {
    ".pt2": "a program of torch.export runs by torch.export.load alone (docs/deploy.md)",
    ".engine": "an engine of TensorRT runs in TensorRT alone (docs/deploy.md)",
}


def open_runtime(path: Path, settings: DetectorSettings) -> Runtime:
    """The runtime of a model file, by its kind or as the settings say.

    Raises:
        InputError: no such file, not one of this project, or a runtime that cannot read it.
    """
    if reason := _NOT_RUN.get(path.suffix.lower()):
        raise InputError(
            f"{path}: {reason}; a checkpoint, an ONNX file or an OpenVINO model (.xml) is expected"
        )
    model = path.with_suffix(".xml")
    if path.suffix.lower() == ".bin" and model.is_file():
        raise InputError(
            f"{path}: the weights of an OpenVINO model; give {model}, which reads them"
        )
    own = _BY_SUFFIX.get(path.suffix.lower(), "pytorch")
    name = settings.runtime or own
    if name not in RUNTIMES:
        raise InputError(f"runtime {name!r}: expected {', '.join(RUNTIMES)}")
    if name != own and (own, name) != ("onnxruntime", "openvino"):
        raise InputError(f"{path}: {name} cannot run this file, {own} does")
    if not path.is_file():
        raise InputError(f"{path}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
    return RUNTIMES[name](path, settings)

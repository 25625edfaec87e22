"""The runtimes by name, and which of them opens a model file.

All of them have one interface (`deploy.runtimes.base.Runtime`), so that the detector and the
benchmark do not depend on which one it is: `prepare`, `network` and `decode`, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from deploy.runtimes.base import DetectorSettings, Runtime
from DOTA_devkit.cores import wait_briefly
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import model_hint


class RuntimeEntry(NamedTuple):
    """A row of `RUNTIMES`."""

    package: str
    """Python package that the runtime needs."""
    open: Callable[[Path, DetectorSettings], Runtime]
    """Opens a model file. It imports the runtime's module, and no other runtime's package."""
    uses_gpu: Callable[[], bool]
    """Whether it may be able to use a GPU, judged without looking for one."""


def _onnxruntime_for_gpus() -> bool:
    if find_spec("onnxruntime") is None:
        return False
    from deploy.runtimes.onnx_runtime import CUDA, import_onnxruntime

    return CUDA in import_onnxruntime().get_available_providers()


def _open_pytorch(path: Path, settings: DetectorSettings) -> Runtime:
    wait_briefly()  # without effect if PyTorch has been imported already
    from deploy.runtimes.torch_runtime import TorchRuntime

    return TorchRuntime(path, settings)


def _open_onnxruntime(path: Path, settings: DetectorSettings) -> Runtime:
    from deploy.runtimes.onnx_runtime import OnnxRuntime

    return OnnxRuntime(path, settings)


def _open_openvino(path: Path, settings: DetectorSettings) -> Runtime:
    from deploy.runtimes.openvino import OpenVino

    return OpenVino(path, settings)


RUNTIMES = {
    "pytorch": RuntimeEntry("torch", _open_pytorch, lambda: True),
    "onnxruntime": RuntimeEntry("onnxruntime", _open_onnxruntime, _onnxruntime_for_gpus),
    "openvino": RuntimeEntry("openvino", _open_openvino, lambda: False),
}

_BY_SUFFIX = {".onnx": ("onnxruntime", "openvino"), ".xml": ("openvino",)}
"""Suffix of a model file -> the runtimes that can run it, the default one first."""

_UNSUPPORTED = {
    ".pt2": "a program of torch.export only runs by torch.export.load (docs/deploy.md)",
    ".engine": "an engine of TensorRT only runs in TensorRT (docs/deploy.md)",
}


def runtimes_of_file(path: Path) -> tuple[str, ...]:
    """Return the names of the runtimes that can run a file, judged by its suffix.

    Files with other suffixes than those of exported files are treated as checkpoints.
    """
    return _BY_SUFFIX.get(path.suffix.lower(), ("pytorch",))


def open_runtime(path: Path, settings: DetectorSettings) -> Runtime:
    """Open a model file in the runtime that the settings name, or in the usual one of its kind.

    Args:
        path: A checkpoint, an ONNX file or an OpenVINO model.
        settings: How it is run.

    Raises:
        InputError: There is no such file, it is not one of this project, or the runtime cannot
            read it.
    """
    if reason := _UNSUPPORTED.get(path.suffix.lower()):
        raise InputError(
            f"{path}: {reason}; a checkpoint, an ONNX file or an OpenVINO model (.xml) is expected"
        )
    if path.suffix.lower() == ".bin" and (model := path.with_suffix(".xml")).is_file():
        raise InputError(
            f"{path}: these are only the weights of an OpenVINO model: give {model} instead"
        )
    able = runtimes_of_file(path)
    name = settings.runtime or able[0]
    if name not in RUNTIMES:
        raise InputError(f"runtime must be one of {', '.join(RUNTIMES)}, got {name!r}")
    if name not in able:
        raise InputError(f"{path}: {name} cannot run this file, but {' or '.join(able)} can")
    require_file(path)
    return RUNTIMES[name].open(path, settings)


def require_file(path: Path) -> None:
    """Raise an InputError if there is no model file at a path."""
    if not path.is_file():
        found = "a folder, not a file" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {found}{model_hint(path)}")

"""Runtimes of model files: PyTorch, ONNX Runtime and OpenVINO behind one interface.

One module per runtime belongs here, with the code that opens model files in it, and the table from
which a runtime is chosen. Using the detections and exporting files do not belong here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from DOTA_devkit.lazy_names import lazy_names

if TYPE_CHECKING:
    from deploy.runtimes.base import DetectorSettings, Runtime
    from deploy.runtimes.registry import RUNTIMES, open_runtime

__all__ = ["RUNTIMES", "DetectorSettings", "Runtime", "open_runtime"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "base": ("DetectorSettings", "Runtime"),
        "registry": ("RUNTIMES", "open_runtime"),
    },
)

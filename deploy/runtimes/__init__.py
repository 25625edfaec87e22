"""Runtimes of model files: PyTorch, ONNX Runtime and OpenVINO behind one interface.

One module per runtime belongs here, with the code that opens model files in it, and the table from
which a runtime is chosen. Using the detections and exporting files do not belong here.
"""

from deploy.runtimes.base import DetectorSettings, Runtime
from deploy.runtimes.registry import RUNTIMES, open_runtime

__all__ = ["RUNTIMES", "DetectorSettings", "Runtime", "open_runtime"]

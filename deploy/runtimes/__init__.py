"""Runtimes of model files: PyTorch, ONNX Runtime and OpenVINO behind one interface.

Here belong one module per runtime, everything that opens model files in it, and the table that
chooses a runtime. What is done with the detections, and how a file is exported, does not.
"""

from deploy.runtimes.base import DetectorSettings, Runtime
from deploy.runtimes.registry import RUNTIMES, open_runtime

__all__ = ["RUNTIMES", "DetectorSettings", "Runtime", "open_runtime"]

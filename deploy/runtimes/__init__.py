"""What runs a model file: PyTorch, ONNX Runtime and OpenVINO behind one interface.

Here belongs one module a runtime and the table that chooses among them. What is done with the
detections, and how a file is made, does not.
"""

from deploy.runtimes.base import DetectorSettings, Runtime
from deploy.runtimes.registry import RUNTIMES, open_runtime

__all__ = ["RUNTIMES", "DetectorSettings", "Runtime", "open_runtime"]

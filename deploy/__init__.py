"""Use of trained detectors: model files, their runtimes, prediction and export.

Here belongs everything behind a checkpoint: `Detector` (the Python API), `runtimes` (what runs a
model file), `predict` (images of any size) and `export` (files for runtimes outside Python).
Training and the evaluation of data sets do not belong here.
"""

from deploy.detector import Detector
from deploy.runtimes import DetectorSettings

__all__ = ["Detector", "DetectorSettings"]

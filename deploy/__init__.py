"""Use of trained detectors: model files, their runtimes, prediction and export.

Everything that uses a finished checkpoint belongs here: `Detector` (the Python API), `runtimes`
(which run a model file), `predict` (images of any size), `export` (files for runtimes outside
Python) and `benchmark` (times). Training and the evaluation of data sets do not belong here.
"""

from deploy.detector import Detector
from deploy.runtimes import DetectorSettings

__all__ = ["Detector", "DetectorSettings"]

"""Use of trained detectors: model files, their runtimes, prediction and export.

Everything that uses a finished checkpoint belongs here: `Detector` (the Python API), `runtimes`
(which run a model file), `predict` (images of any size), `export` (files for runtimes outside
Python) and `benchmark` (times). Training and the evaluation of data sets do not belong here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from DOTA_devkit.lazy_names import lazy_names

if TYPE_CHECKING:
    from deploy.detector import Detector
    from deploy.runtimes import DetectorSettings

__all__ = ["Detector", "DetectorSettings"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "detector": ("Detector",),
        "runtimes": ("DetectorSettings",),
    },
)

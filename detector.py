"""The former place of `deploy.Detector`; importing it from here will end with the next release."""

from __future__ import annotations

import warnings

from deploy.detector import Detector, as_bgr, file_digest
from deploy.runtimes import DetectorSettings

__all__ = ["Detector", "DetectorSettings", "as_bgr", "file_digest"]

warnings.warn(
    "use `from deploy import Detector`; the module detector is removed in the next release",
    FutureWarning,
    stacklevel=2,
)

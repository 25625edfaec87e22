"""Defaults of inference, which phases, exported files and the Python API share."""

from __future__ import annotations

CONF_THRESH = 0.18
"""Score above which a detection is shown; an evaluation keeps lower ones for its curve."""

NMS_THRESH = 0.1
"""IoU above which the better of two detections of a class suppresses the other."""

THETA_THRESH = 0.8
"""Value of `cls_theta` above which a box counts as turned."""

K = 500
"""Most detections of an image."""

INPUT_HW = (608, 608)
"""Height and width of the input of a model that was made for no size in particular."""

"""Defaults of inference, shared by the phases, exported files and the Python API."""

from __future__ import annotations

CONF_THRESH = 0.18
"""Score above which a detection is kept."""

EVAL_CONF_THRESH = 0.01
"""Score above which an evaluation keeps detections: its PR curve needs the low ones as well."""

NMS_THRESH = 0.1
"""IoU above which the higher-scoring of two detections of a class suppresses the other."""

THETA_THRESH = 0.8
"""Value of `cls_theta` above which a box counts as rotated."""

K = 500
"""Maximum number of detections per image."""

INPUT_HW = (608, 608)
"""Height and width of the input of a model that has no input size of its own."""

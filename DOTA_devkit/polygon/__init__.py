"""Exact IoU of quadrilaterals and the non-maximum suppression built on it.

Geometry of many polygons at once belongs here, on NumPy arrays alone. Code that knows about
files, classes or images does not.
"""

from DOTA_devkit.polygon.iou import grouped_iou, grouped_rectangle_iou, iou_matrix, paired_iou
from DOTA_devkit.polygon.nms import polygon_nms, rectangle_nms
from DOTA_devkit.polygon.quads import Quads, bounding_rectangles, polygon_area, uncrossed
from DOTA_devkit.polygon.sweep import overlapping_pairs

__all__ = [
    "Quads",
    "bounding_rectangles",
    "grouped_iou",
    "grouped_rectangle_iou",
    "iou_matrix",
    "overlapping_pairs",
    "paired_iou",
    "polygon_area",
    "polygon_nms",
    "rectangle_nms",
    "uncrossed",
]

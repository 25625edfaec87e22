"""Exact overlap of quadrilaterals, and the non-maximum suppression that is built on it.

Here belongs geometry of many polygons at once, on NumPy arrays alone. What knows of files,
classes or images does not.
"""

from DOTA_devkit.polygon.iou import grouped_iou, grouped_rectangle_iou, iou_matrix, paired_iou
from DOTA_devkit.polygon.nms import polygon_nms, rectangle_nms
from DOTA_devkit.polygon.shapes import Shapes, bounding_rectangles, polygon_area
from DOTA_devkit.polygon.sweep import meeting_pairs

__all__ = [
    "Shapes",
    "bounding_rectangles",
    "grouped_iou",
    "grouped_rectangle_iou",
    "iou_matrix",
    "meeting_pairs",
    "paired_iou",
    "polygon_area",
    "polygon_nms",
    "rectangle_nms",
]

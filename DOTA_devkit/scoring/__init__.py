"""Average precision of detections against labels, as PASCAL VOC, COCO and DOTA compute it.

Code that turns labels and detections into numbers, tables and plots belongs here. Reading label
files belongs to `DOTA_devkit.formats`, merging patches to `DOTA_devkit.merging`.
"""

from DOTA_devkit.scoring.curves import Curve, average_precision
from DOTA_devkit.scoring.evaluation import SIZES, ClassScore, Evaluation
from DOTA_devkit.scoring.evaluator import COCO_THRESHOLDS, METRICS, evaluate
from DOTA_devkit.scoring.plots import plot_evaluation
from DOTA_devkit.scoring.truth import Truth, load_detections, load_truth, truth_from_labels

__all__ = [
    "COCO_THRESHOLDS",
    "METRICS",
    "SIZES",
    "ClassScore",
    "Curve",
    "Evaluation",
    "Truth",
    "average_precision",
    "evaluate",
    "load_detections",
    "load_truth",
    "plot_evaluation",
    "truth_from_labels",
]

"""Why a result loses AP, in which images, and whether it differs from another one.

What goes beyond the scores themselves belongs here: kinds of errors and their cost, the bootstrap,
the pictures and the page that show them. The scores belong to `DOTA_devkit.scoring`.
"""

from DOTA_devkit.error_analysis.comparison import Comparison, Difference, compare_results
from DOTA_devkit.error_analysis.kinds import BACKGROUND_IOU, EXPLANATIONS, ErrorKind
from DOTA_devkit.error_analysis.losses import (
    ALL_SIZES,
    CAUSES,
    ClassLosses,
    ErrorAnalysis,
    analyze_errors,
)
from DOTA_devkit.error_analysis.pool import DetectionPool
from DOTA_devkit.error_analysis.worst_images import ImageErrors, worst_images

__all__ = [
    "ALL_SIZES",
    "BACKGROUND_IOU",
    "CAUSES",
    "EXPLANATIONS",
    "ClassLosses",
    "Comparison",
    "DetectionPool",
    "Difference",
    "ErrorAnalysis",
    "ErrorKind",
    "ImageErrors",
    "analyze_errors",
    "compare_results",
    "worst_images",
]

"""Why a result loses AP, in which images, and whether it differs from another one.

What goes beyond the scores themselves belongs here: kinds of errors and their cost, the bootstrap,
the pictures and the page that show them. The scores belong to `DOTA_devkit.scoring`.
"""

from DOTA_devkit.error_analysis.comparison import (
    RESAMPLES,
    Comparison,
    Difference,
    compare_results,
    pool_to_compare,
)
from DOTA_devkit.error_analysis.kinds import BACKGROUND_IOU, EXPLANATIONS, ErrorKind
from DOTA_devkit.error_analysis.losses import (
    ALL_SIZES,
    CAUSES,
    ClassLosses,
    ErrorAnalysis,
    analyze_errors,
)
from DOTA_devkit.error_analysis.pictures import ImageReader, read_image_of
from DOTA_devkit.error_analysis.pool import DetectionPool
from DOTA_devkit.error_analysis.report import WORST, ErrorReport, report_files
from DOTA_devkit.error_analysis.worst_images import ImageErrors, worst_images

__all__ = [
    "ALL_SIZES",
    "BACKGROUND_IOU",
    "CAUSES",
    "EXPLANATIONS",
    "RESAMPLES",
    "WORST",
    "ClassLosses",
    "Comparison",
    "DetectionPool",
    "Difference",
    "ErrorAnalysis",
    "ErrorKind",
    "ErrorReport",
    "ImageErrors",
    "ImageReader",
    "analyze_errors",
    "compare_results",
    "pool_to_compare",
    "read_image_of",
    "report_files",
    "worst_images",
]

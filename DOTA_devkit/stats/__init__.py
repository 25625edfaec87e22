"""Statistics of a folder of DOTA labels: counts, box sizes and angles, and likely mistakes.

The measures, tables and plots of `python -m DOTA_devkit stats` belong here. Reading single label
files belongs to `DOTA_devkit.formats`, scoring detections to `DOTA_devkit.scoring`.
"""

from DOTA_devkit.stats.boxes import BoxMeasures, measure_boxes
from DOTA_devkit.stats.label_set import LabelSet, collect_label_set, read_label_set
from DOTA_devkit.stats.plots import plot_stats
from DOTA_devkit.stats.report import Stats, collect_stats

__all__ = [
    "BoxMeasures",
    "LabelSet",
    "Stats",
    "collect_label_set",
    "collect_stats",
    "measure_boxes",
    "plot_stats",
    "read_label_set",
]

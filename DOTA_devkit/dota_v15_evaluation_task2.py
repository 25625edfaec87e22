"""AP of axis-aligned rectangles for DOTA-1.5, where objects marked difficult count as well.

The original's name of this module, ``dota-v1.5_evaluation_task2``, cannot be imported.
"""

from DOTA_devkit._compat.voc import VocFunctions, read_rectangles_without_difficulty, voc_ap

__all__ = ["parse_gt", "voc_ap", "voc_eval"]

_functions = VocFunctions(read_rectangles_without_difficulty, task=2)
parse_gt, voc_eval = _functions.parse_gt, _functions.voc_eval

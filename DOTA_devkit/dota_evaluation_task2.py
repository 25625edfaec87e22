"""AP of axis-aligned rectangles (Task2), with the interface of the DOTA devkit."""

from DOTA_devkit._compat.voc import VocFunctions, read_rectangles, voc_ap

__all__ = ["parse_gt", "voc_ap", "voc_eval"]

_functions = VocFunctions(read_rectangles, task=2)
parse_gt, voc_eval = _functions.parse_gt, _functions.voc_eval

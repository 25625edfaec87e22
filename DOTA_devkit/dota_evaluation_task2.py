"""AP of upright rectangles (Task2) under the names of the DOTA devkit."""

from DOTA_devkit._compat.voc import VocFunctions, upright_rectangles, voc_ap

__all__ = ["parse_gt", "voc_ap", "voc_eval"]

_functions = VocFunctions(upright_rectangles, task=2)
parse_gt, voc_eval = _functions.parse_gt, _functions.voc_eval

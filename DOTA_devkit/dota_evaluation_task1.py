"""AP of oriented boxes (Task1), with the interface of the DOTA devkit."""

from DOTA_devkit._compat.voc import VocFunctions, voc_ap

__all__ = ["parse_gt", "voc_ap", "voc_eval"]

_functions = VocFunctions()
parse_gt, voc_eval = _functions.parse_gt, _functions.voc_eval

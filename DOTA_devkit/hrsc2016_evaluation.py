"""AP for HRSC2016: labels as DOTA text, or as the data set's own XML with all ships one class."""

from DOTA_devkit._compat.voc import VocFunctions, text_or_hrsc_xml, voc_ap

__all__ = ["parse_gt", "voc_ap", "voc_eval"]

_functions = VocFunctions(text_or_hrsc_xml)
parse_gt, voc_eval = _functions.parse_gt, _functions.voc_eval

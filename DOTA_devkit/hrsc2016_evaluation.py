"""AP for HRSC2016, with labels as DOTA text or as the dataset's XML with all ships as one class."""

from DOTA_devkit._compat.voc import VocFunctions, read_text_or_hrsc_xml, voc_ap

__all__ = ["parse_gt", "voc_ap", "voc_eval"]

_functions = VocFunctions(read_text_or_hrsc_xml)
parse_gt, voc_eval = _functions.parse_gt, _functions.voc_eval

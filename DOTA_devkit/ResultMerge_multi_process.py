"""As `DOTA_devkit.ResultMerge`, several classes at a time and with the paper's threshold, 0.1."""

from __future__ import annotations

import os
from pathlib import Path

from DOTA_devkit._compat.merge import (
    merge,
    merge_one,
    nmsbynamedict,
    poly2origpoly,
    py_cpu_nms,
    py_cpu_nms_poly,
    py_cpu_nms_poly_fast,
)

__all__ = [
    "mergebase",
    "mergebypoly",
    "mergebyrec",
    "mergesingle",
    "nmsbynamedict",
    "poly2origpoly",
    "py_cpu_nms",
    "py_cpu_nms_poly",
    "py_cpu_nms_poly_fast",
]

nms_thresh = 0.1
"""IoU above which the detection with the lower score is removed; may be set before merging."""


def mergesingle(dstpath: str | Path, nms, fullname: str | Path) -> None:
    """Merge one result file into a file of the same name in another folder."""
    merge_one(dstpath, nms, fullname, nms_thresh)


def mergebase(srcpath: str | Path, dstpath: str | Path, nms) -> None:
    """Merge all result files of a folder into another, with one of the ``py_cpu_nms`` functions."""
    merge(srcpath, dstpath, nms, nms_thresh, workers=os.cpu_count() or 1)


def mergebyrec(srcpath: str | Path, dstpath: str | Path) -> None:
    """Merge by the IoU of axis-aligned rectangles."""
    mergebase(srcpath, dstpath, py_cpu_nms)


def mergebypoly(srcpath: str | Path, dstpath: str | Path) -> None:
    """Merge by the IoU of the oriented boxes."""
    mergebase(srcpath, dstpath, py_cpu_nms_poly_fast)

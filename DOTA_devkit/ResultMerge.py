"""Merge results of patches, with the interface of the DOTA devkit.

The work is done by `DOTA_devkit.merging`.
"""

from __future__ import annotations

from pathlib import Path

from DOTA_devkit._compat.merge import (
    merge,
    nmsbynamedict,
    poly2origpoly,
    py_cpu_nms,
    py_cpu_nms_poly,
)

__all__ = [
    "mergebase",
    "mergebypoly",
    "mergebyrec",
    "nmsbynamedict",
    "poly2origpoly",
    "py_cpu_nms",
    "py_cpu_nms_poly",
]

nms_thresh = 0.3
"""IoU above which the detection with the lower score is removed; may be set before merging."""


def mergebase(srcpath: str | Path, dstpath: str | Path, nms) -> None:
    """Merge all result files of a folder into another, with one of the ``py_cpu_nms`` functions."""
    merge(srcpath, dstpath, nms, nms_thresh)


def mergebyrec(srcpath: str | Path, dstpath: str | Path) -> None:
    """Merge by the IoU of axis-aligned rectangles."""
    mergebase(srcpath, dstpath, py_cpu_nms)


def mergebypoly(srcpath: str | Path, dstpath: str | Path) -> None:
    """Merge by the IoU of the oriented boxes."""
    mergebase(srcpath, dstpath, py_cpu_nms_poly)

"""Code shared by the devkit's three merging modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from DOTA_devkit.merging import Suppression, merge_file, merge_results
from DOTA_devkit.polygon import bounding_rectangles, polygon_nms, rectangle_nms

NMS = Callable[[np.ndarray, float], Sequence[int]]
"""(rows of coordinates and score, IoU threshold) -> indices of the rows to keep."""


def py_cpu_nms_poly(dets: np.ndarray, thresh: float) -> list[int]:
    """Apply NMS by the IoU of quadrilaterals.

    Args:
        dets: ``[N, 9]``, rows (x1, y1, ... x4, y4, score).
        thresh: an IoU above it suppresses the row with the lower score.

    Returns:
        Indices of the rows to keep, by descending score.
    """
    dets = np.asarray(dets, np.float64).reshape(-1, 9)
    return polygon_nms(dets[:, :8].reshape(-1, 4, 2), dets[:, 8], thresh).tolist()


def py_cpu_nms_poly_fast(
    dets: np.ndarray, thresh: float, h_thresh: float | None = None
) -> list[int]:
    """As `py_cpu_nms_poly`, which is just as fast; ``h_thresh`` has no effect."""
    return py_cpu_nms_poly(dets, thresh)


def py_cpu_nms(dets: np.ndarray, thresh: float) -> list[int]:
    """Apply NMS by the IoU of axis-aligned rectangles, including the far border.

    Args:
        dets: ``[N, 5]``, rows (xmin, ymin, xmax, ymax, score), or ``[N, 9]``, rows of eight
            coordinates and a score, which stand for their bounding rectangles.
        thresh: an IoU above it suppresses the row with the lower score.

    Returns:
        Indices of the rows to keep, by descending score.
    """
    dets = np.asarray(dets, np.float64)
    dets = dets.reshape(len(dets), -1) if dets.size else dets.reshape(0, 5)
    rectangles = dets[:, :4]
    if dets.shape[1] == 9:
        rectangles = bounding_rectangles(dets[:, :8].reshape(-1, 4, 2))
    return rectangle_nms(rectangles, dets[:, -1], thresh, inclusive=True).tolist()


def nmsbynamedict(
    nameboxdict: dict[str, list[Sequence[float]]], nms: NMS, thresh: float
) -> dict[str, list[Sequence[float]]]:
    """Apply NMS within each image; argument and result are image id -> rows."""
    return {
        name: [rows[k] for k in nms(np.array(rows), thresh)] for name, rows in nameboxdict.items()
    }


def poly2origpoly(poly: Sequence[float], x: float, y: float, rate: float | str) -> list[float]:
    """Convert coordinates x1, y1, ... of a patch to those in its whole image."""
    offset = (x, y)
    return [float(value + offset[k % 2]) / float(rate) for k, value in enumerate(poly)]


def merge(
    source: str | Path,
    target: str | Path,
    nms: NMS,
    threshold: float,
    *,
    patches: bool = True,
    workers: int = 1,
) -> None:
    """Merge a folder of result files.

    Args:
        source: folder of result files.
        target: folder to write.
        nms: one of the functions above, or one with the same signature.
        threshold: of the IoU.
        patches: interpret ids as those of patches.
        workers: number of processes.
    """
    merge_results(source, target, threshold, _kind(nms), patches=patches, workers=workers)


def merge_one(
    target: str | Path, nms: NMS, source: str | Path, threshold: float, *, patches: bool = True
) -> None:
    """Merge one result file into a file of the same name in the folder ``target``."""
    target = Path(target) / f"{Path(source).stem}.txt"
    merge_file([source], target, threshold, _kind(nms), patches=patches)


def _kind(nms: NMS) -> str | Suppression:
    """What `merge_results` expects as ``kind``."""
    kinds = {py_cpu_nms: "rectangle", py_cpu_nms_poly: "polygon", py_cpu_nms_poly_fast: "polygon"}
    return kinds.get(nms) or _PerImageNMS(nms)


class _PerImageNMS:
    """Applies a user's NMS function, of rows (x1, ... y4, score) and threshold, image by image."""

    def __init__(self, nms: NMS) -> None:
        self._nms = nms

    def __call__(
        self, images: np.ndarray, scores: np.ndarray, corners: np.ndarray, threshold: float
    ) -> np.ndarray:
        rows = np.column_stack([corners.reshape(-1, 8), scores])
        order = np.argsort(images, kind="stable")
        starts = np.flatnonzero(np.diff(images[order], prepend=-1))
        keep = [
            group[np.asarray(self._nms(rows[group], threshold), np.int64)]
            for group in np.split(order, starts[1:])
        ]
        return np.concatenate(keep)

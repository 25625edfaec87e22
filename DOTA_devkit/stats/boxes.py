"""Sides and angles of oriented boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BoxMeasures:
    """The minimum-area rectangle around each object, as arrays ``[N]``.

    Attributes:
        longer: longer side in pixels.
        shorter: shorter side in pixels.
        angle: direction of the longer side in degrees, in [0, 180): 0 along x, 90 along y (down).
    """

    longer: np.ndarray
    shorter: np.ndarray
    angle: np.ndarray

    @property
    def aspect(self) -> np.ndarray:
        """Aspect ratio ``[N]``, longer by shorter side."""
        return self.longer / np.maximum(self.shorter, 1e-9)


def measure_boxes(corners: np.ndarray) -> BoxMeasures:
    """Measure the minimum-area rectangle around each quadrilateral.

    This rectangle has a side along an edge of the convex hull, and such an edge joins two of the
    four corners. Trying the directions of all six pairs of corners therefore finds it, for concave
    and self-intersecting outlines as well.

    Args:
        corners: ``[N, 4, 2]``.

    Returns:
        Sides and angles, ``[N]`` each.
    """
    first, second = np.triu_indices(4, 1)
    local = corners - corners[:, :1]
    direction = local[:, second] - local[:, first]
    length = np.linalg.norm(direction, axis=2)
    direction = np.where(length[..., None] > 0, direction, [1.0, 0.0])
    direction /= np.linalg.norm(direction, axis=2, keepdims=True)
    along = np.einsum("npd,nkd->npk", direction, local)
    across = np.einsum("npd,nkd->npk", direction[..., ::-1] * [-1, 1], local)
    extents = np.stack([np.ptp(along, axis=2), np.ptp(across, axis=2)], axis=2)  # [N, 6, 2]
    best = np.argmin(extents.prod(axis=2), axis=1)
    rows = np.arange(len(corners))
    extent, direction = extents[rows, best], direction[rows, best]
    angle = np.degrees(np.arctan2(direction[:, 1], direction[:, 0]))
    angle = np.where(extent[:, 0] >= extent[:, 1], angle, angle + 90) % 180
    return BoxMeasures(longer=extent.max(axis=1), shorter=extent.min(axis=1), angle=angle)

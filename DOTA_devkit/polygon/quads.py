"""Quadrilaterals prepared for area and IoU computations.

Every function works on whole arrays: corners ``[N, 4, 2]`` (x, y) in either orientation. A
quadrilateral may be convex, concave or self-intersecting; the interior of a self-intersecting
one follows the even-odd rule, so both wings of a bow tie count. Everything is computed in
float64 relative to a local origin, so that coordinates around a million are as accurate as
small ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from DOTA_devkit.polygon.intersection import (
    clipped_intersection,
    convex_intersection,
    corner_turns,
    reverse_where,
    signed_area,
    split_into_triangles,
)

# Pairs per step of the fast formula, so that its temporaries (about six arrays of
# 20 x PAIRS_PER_STEP floats) stay in the L2 cache.
PAIRS_PER_STEP = 512

# Rows per step of everything else.
ROWS_PER_STEP = 1 << 14

# A polygon whose area is smaller than this, relative to its squared extent, has no area.
AREA_TOLERANCE = 1e-14


def polygon_area(corners: np.ndarray | Quads) -> np.ndarray:
    """Compute the area of each quadrilateral.

    Args:
        corners: ``[N, 4, 2]``, of any shape and orientation.

    Returns:
        ``[N]`` float64, never negative. Both wings of a self-intersecting polygon count.
    """
    return as_quads(corners).area


def bounding_rectangles(corners: np.ndarray | Quads) -> np.ndarray:
    """Axis-aligned rectangles ``[N, 4]`` (xmin, ymin, xmax, ymax) around corners ``[N, 4, 2]``."""
    if isinstance(corners, Quads):
        return corners.rectangles
    x, y = _coordinate_planes(_as_corners(corners))
    return np.stack([x.min(axis=0), y.min(axis=0), x.max(axis=0), y.max(axis=0)], axis=1)


def uncrossed(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put the corners of outlines whose edges cross into the order around the box.

    Tools that do not mind the order write top left, top right, bottom left, bottom right, which is
    a bow tie. Four corners with crossing edges have one order in which none cross.

    Args:
        corners: ``[N, 4, 2]``.

    Returns:
        The corners ``[N, 4, 2]`` and which outlines crossed, ``[N]`` bool. Every other outline
        stays as it is, and the first corner stays the first.
    """
    corners = _as_corners(corners)
    crossing, first_edge = np.zeros((2, len(corners)), bool)
    for start in range(0, len(corners), ROWS_PER_STEP):
        x, y = _coordinate_planes(corners[start : start + ROWS_PER_STEP])
        turns = corner_turns(x - x[0], y - y[0])
        left = turns > 0
        # Only these can cross: two turns to the left, and two to the right or none.
        rows = np.flatnonzero((left[0] ^ left[1] ^ left[2] ^ ~left[3]) & ~left.all(axis=0))
        rows = rows[left[:, rows].any(axis=0)]
        x, y, turns = x[:, rows], y[:, rows], turns[:, rows]
        tolerance = AREA_TOLERANCE * np.maximum(np.ptp(x, axis=0), np.ptp(y, axis=0)) ** 2
        left, right = turns > tolerance, turns < -tolerance
        crossing[start + rows] = (left.sum(axis=0) == 2) & (right.sum(axis=0) == 2)
        # Two turns to one side follow each other, and a crossing edge lies between unequal ones.
        first_edge[start + rows] = left[0] != left[1]
    if crossing.any():
        corners = corners.copy()
        for rows, order in ((first_edge, [0, 2, 1, 3]), (~first_edge, [0, 1, 3, 2])):
            corners[crossing & rows] = corners[crossing & rows][:, order]
    return corners, crossing


def as_quads(corners: np.ndarray | Quads) -> Quads:
    """Prepare corners ``[N, 4, 2]``, or return them as they are if they are prepared already."""
    return corners if isinstance(corners, Quads) else Quads(corners)


class Quads:
    """Quadrilaterals prepared for IoU: all in one orientation, non-convex ones triangulated.

    The functions of this package accept one wherever they accept corners, which avoids
    preparing the same corners twice.

    Attributes:
        x: ``[4, N]``, corner coordinates, counter-clockwise with y pointing up.
        y: ``[4, N]``, as ``x``.
        area: ``[N]``, see `polygon_area`.
        extent: ``[N]``, the longer side of the bounding rectangle.
        rectangles: ``[N, 4]``, see `bounding_rectangles`.
    """

    def __init__(self, corners: np.ndarray) -> None:
        corners = _as_corners(corners)
        count = len(corners)
        self.x, self.y = np.empty((2, 4, count))
        self.rectangles = np.empty((count, 4))
        self.extent, self.area = np.empty((2, count))
        convex = np.empty(count, bool)
        for start in range(0, count, ROWS_PER_STEP):
            rows = slice(start, start + ROWS_PER_STEP)
            convex[rows] = self._prepare(rows, corners[rows])
        non_convex = np.flatnonzero(~convex)
        self._any_non_convex = len(non_convex) > 0
        # For each row the index of its pair of triangles, -1 for a convex polygon.
        self._triangle_index = np.full(count, -1)
        self._triangle_index[non_convex] = np.arange(len(non_convex))
        if self._any_non_convex:
            self._triangulate(non_convex, corners[non_convex])

    def _prepare(self, rows: slice, corners: np.ndarray) -> np.ndarray:
        """Fill in some rows and return which of them are convex."""
        x, y = _coordinate_planes(corners)
        bounds = x.min(axis=0), y.min(axis=0), x.max(axis=0), y.max(axis=0)
        self.rectangles[rows] = np.stack(bounds, axis=1)
        extent = np.maximum(bounds[2] - bounds[0], bounds[3] - bounds[1])
        local_x, local_y = x - x[0], y - y[0]
        turns = corner_turns(local_x, local_y)
        # Half the cross product of the diagonals.
        signed = (
            (local_x[2] - local_x[0]) * (local_y[3] - local_y[1])
            - (local_y[2] - local_y[0]) * (local_x[3] - local_x[1])
        ) / 2
        # Counter-clockwise as the formulas expect it, with y pointing up: all areas positive.
        self.x[:, rows], self.y[:, rows] = reverse_where(x, y, signed < 0)
        tolerance = AREA_TOLERANCE * extent**2
        area = np.abs(signed)
        self.extent[rows], self.area[rows] = extent, np.where(area > tolerance, area, 0)
        return (turns >= -tolerance).all(axis=0) | (turns <= tolerance).all(axis=0)

    def _triangulate(self, non_convex: np.ndarray, corners: np.ndarray) -> None:
        """Cut the non-convex rows into triangles; the areas of the triangles become theirs."""
        x, y = _coordinate_planes(corners)
        turns = corner_turns(x - x[0], y - y[0])
        self._triangles_x, self._triangles_y = split_into_triangles(x, y, turns)
        triangle_areas = signed_area(self._triangles_x - x[0], self._triangles_y - y[0])
        area = np.abs(triangle_areas).sum(axis=0)
        tolerance = AREA_TOLERANCE * self.extent[non_convex] ** 2
        self.area[non_convex] = np.where(area > tolerance, area, 0)

    def __len__(self) -> int:
        return len(self.area)

    def iou(self, i: np.ndarray, j: np.ndarray, other: Quads) -> np.ndarray:
        """IoU of the rows ``i`` with the rows ``j`` of another object.

        Args:
            i: ``[P]``, row numbers.
            j: ``[P]``, row numbers of ``other``.
            other: the quadrilaterals to compare with.

        Returns:
            ``[P]`` float64 in [0, 1]; 0 where neither polygon has an area.
        """
        shared, coincident = np.empty(len(i)), np.empty(len(i), bool)
        for start in range(0, len(i), PAIRS_PER_STEP):
            pairs = slice(start, start + PAIRS_PER_STEP)
            extent = np.maximum(self.extent[i[pairs]], other.extent[j[pairs]])
            shared[pairs], coincident[pairs] = convex_intersection(
                *self._local_corners(i[pairs], j[pairs], other), extent
            )
        for pairs in _steps(np.flatnonzero(coincident)):
            shared[pairs] = clipped_intersection(*self._local_corners(i[pairs], j[pairs], other))
        if self._any_non_convex or other._any_non_convex:
            non_convex = (self._triangle_index[i] >= 0) | (other._triangle_index[j] >= 0)
            for pairs in _steps(np.flatnonzero(non_convex)):
                shared[pairs] = self._non_convex_intersection(i[pairs], j[pairs], other)
        area, other_area = self.area[i], other.area[j]
        shared = np.minimum(np.maximum(shared, 0), np.minimum(area, other_area))
        union = area + other_area - shared
        return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)

    def _local_corners(
        self, i: np.ndarray, j: np.ndarray, other: Quads
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Get x and y ``[4, P]`` of both polygons, relative to the first corner of the first."""
        ax, ay = self.x.take(i, axis=1), self.y.take(i, axis=1)
        bx, by = other.x.take(j, axis=1), other.y.take(j, axis=1)
        origin_x, origin_y = ax[0].copy(), ay[0].copy()
        for plane, origin in ((ax, origin_x), (bx, origin_x), (ay, origin_y), (by, origin_y)):
            plane -= origin
        return ax, ay, bx, by

    def _non_convex_intersection(self, i: np.ndarray, j: np.ndarray, other: Quads) -> np.ndarray:
        """Intersection area where one polygon is not convex: the sum over the convex parts."""
        origin_x, origin_y = self.x[0, i], self.y[0, i]
        return sum(
            clipped_intersection(ax - origin_x, ay - origin_y, bx - origin_x, by - origin_y)
            for ax, ay in self._convex_parts(i)
            for bx, by in other._convex_parts(j)
        )

    def _convex_parts(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield two convex parts per row: its triangles, or a convex polygon and a point."""
        triangle_index = self._triangle_index[rows]
        for part in range(2):
            x, y = self.x[:, rows], self.y[:, rows]
            if part == 1:
                x, y = np.repeat(x[:1], 4, axis=0), np.repeat(y[:1], 4, axis=0)
            is_cut = triangle_index >= 0
            if self._any_non_convex:
                x[:, is_cut] = self._triangles_x[:, part, triangle_index[is_cut]]
                y[:, is_cut] = self._triangles_y[:, part, triangle_index[is_cut]]
            yield x, y


def _steps(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), ROWS_PER_STEP):
        yield rows[start : start + ROWS_PER_STEP]


def _coordinate_planes(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split into x and y, ``[4, N]`` each, contiguous: the layout all formulas use."""
    return np.ascontiguousarray(corners[:, :, 0].T), np.ascontiguousarray(corners[:, :, 1].T)


def _as_corners(corners: np.ndarray) -> np.ndarray:
    corners = np.asarray(corners, dtype=np.float64)
    if corners.size == 0:
        return corners.reshape(0, 4, 2)
    if corners.ndim != 3 or corners.shape[1:] != (4, 2):
        raise ValueError(f"corners must have the shape [N, 4, 2], got {list(corners.shape)}")
    return corners

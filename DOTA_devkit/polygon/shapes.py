"""Exact overlap of quadrilaterals, and the non-maximum suppression that stands on it.

Every function works on whole arrays: corners ``[N, 4, 2]`` (x, y) in either turning direction.
A quadrilateral may be convex, concave or self-crossing (then the points inside by the even-odd
rule count: both wings of a bow-tie). Everything is computed in float64 about a local origin, so
that coordinates of a million are as good as small ones.

The intersection of two convex polygons has the boundary (edges of A inside B) + (edges of B
inside A). By Green's theorem its area is the sum over those pieces of half the cross product of
their ends, and a piece that covers the share t of the edge p -> q contributes
t * cross(p, q) / 2. The shares need no sorting of corners and no branches, only minima and
maxima, which is what makes a million pairs in about a second possible in numpy. The formula
fails where an edge of A lies on an edge of B, as both would count: those few pairs are clipped
corner by corner instead (Sutherland and Hodgman, 1974).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# Pairs worked on at once, so that the temporaries (some six arrays of 20 x CHUNK floats) stay
# in the second-level cache.
CHUNK = 512

# An edge whose two ends are nearer to a line than this, in units of the pair's extent, counts as
# lying on it. The shares of all other edges are good to some 1e-16 / ON_LINE.
ON_LINE = 1e-7

# A polygon with less area than this, in units of its squared extent, has none.
FLAT = 1e-14

_NEXT, _BEFORE = [1, 2, 3, 0], [3, 0, 1, 2]
_TINY = np.finfo(np.float64).tiny


def polygon_area(corners: np.ndarray | Shapes) -> np.ndarray:
    """Area of each quadrilateral.

    Args:
        corners: ``[N, 4, 2]``, of any shape and turning direction.

    Returns:
        ``[N]`` float64, never negative. Of a self-crossing one both wings count.
    """
    return as_shapes(corners).area


def bounding_rectangles(corners: np.ndarray | Shapes) -> np.ndarray:
    """Axis-aligned rectangles ``[N, 4]`` (xmin, ymin, xmax, ymax) around corners ``[N, 4, 2]``."""
    if isinstance(corners, Shapes):
        return corners.rectangles
    x, y = _planes(_as_corners(corners))
    return np.stack([x.min(axis=0), y.min(axis=0), x.max(axis=0), y.max(axis=0)], axis=1)


class Shapes:
    """Quadrilaterals made ready for overlaps: turned one way, odd ones cut into triangles.

    Functions of this module take one wherever they take corners, which saves doing it twice.

    Attributes:
        area: ``[N]``, see `polygon_area`.
        rectangles: ``[N, 4]``, see `bounding_rectangles`.
    """

    def __init__(self, corners: np.ndarray) -> None:
        corners = _as_corners(corners)
        count = len(corners)
        self.x, self.y = np.empty((2, 4, count))
        self.rectangles = np.empty((count, 4))
        self.extent, self.area = np.empty((2, count))
        convex = np.empty(count, bool)
        for start in range(0, count, 1 << 14):
            rows = slice(start, start + (1 << 14))
            convex[rows] = self._prepare(rows, corners[rows])
        odd = np.flatnonzero(~convex)
        self._any_odd = len(odd) > 0
        # For each row the number of its pair of triangles, -1 for a convex one.
        self._odd = np.full(count, -1)
        self._odd[odd] = np.arange(len(odd))
        if self._any_odd:
            self._cut(odd, corners[odd])

    def _prepare(self, rows: slice, corners: np.ndarray) -> np.ndarray:
        """Fill in some rows; which of them are convex."""
        x, y = _planes(corners)
        bounds = x.min(axis=0), y.min(axis=0), x.max(axis=0), y.max(axis=0)
        self.rectangles[rows] = np.stack(bounds, axis=1)
        extent = np.maximum(bounds[2] - bounds[0], bounds[3] - bounds[1])
        local_x, local_y = x - x[0], y - y[0]
        turns = _turns(local_x, local_y)
        # Half the cross product of the diagonals.
        signed = (
            (local_x[2] - local_x[0]) * (local_y[3] - local_y[1])
            - (local_y[2] - local_y[0]) * (local_x[3] - local_x[1])
        ) / 2
        # Counter-clockwise in the sense that the formulas take, y up: all areas positive.
        self.x[:, rows], self.y[:, rows] = _turned(x, y, signed < 0)
        slack = FLAT * extent**2
        area = np.abs(signed)
        self.extent[rows], self.area[rows] = extent, np.where(area > slack, area, 0)
        return (turns >= -slack).all(axis=0) | (turns <= slack).all(axis=0)

    def _cut(self, odd: np.ndarray, corners: np.ndarray) -> None:
        """Triangles of the rows that are not convex, whose areas are those of the triangles."""
        x, y = _planes(corners)
        local_x, local_y = x - x[0], y - y[0]
        self._parts_x, self._parts_y = _triangles(x, y, _turns(local_x, local_y))
        parts = _signed_area(self._parts_x - x[0], self._parts_y - y[0])
        area = np.abs(parts).sum(axis=0)
        self.area[odd] = np.where(area > FLAT * self.extent[odd] ** 2, area, 0)

    def __len__(self) -> int:
        return len(self.area)

    def iou(self, i: np.ndarray, j: np.ndarray, other: Shapes) -> np.ndarray:
        """IoU of the rows i with the rows j of the other, ``[P]``."""
        shared, touch = np.empty(len(i)), np.empty(len(i), bool)
        for start in range(0, len(i), CHUNK):
            rows = slice(start, start + CHUNK)
            shared[rows], touch[rows] = _convex_overlap(*self._frame(i[rows], j[rows], other))
        for rows in _chunks(np.flatnonzero(touch)):
            shared[rows] = _clipped_area(*self._frame(i[rows], j[rows], other)[:4])
        if self._any_odd or other._any_odd:
            for rows in _chunks(np.flatnonzero((self._odd[i] >= 0) | (other._odd[j] >= 0))):
                shared[rows] = self._odd_overlap(i[rows], j[rows], other)
        ours, theirs = self.area[i], other.area[j]
        shared = np.minimum(np.maximum(shared, 0), np.minimum(ours, theirs))
        union = ours + theirs - shared
        return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)

    def _frame(
        self, i: np.ndarray, j: np.ndarray, other: Shapes
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Both polygons ``[4, P]`` about the first's first corner, and the pair's extent."""
        ax, ay = self.x.take(i, axis=1), self.y.take(i, axis=1)
        bx, by = other.x.take(j, axis=1), other.y.take(j, axis=1)
        origin_x, origin_y = ax[0].copy(), ay[0].copy()
        for plane, origin in ((ax, origin_x), (bx, origin_x), (ay, origin_y), (by, origin_y)):
            plane -= origin
        return ax, ay, bx, by, np.maximum(self.extent[i], other.extent[j])

    def _odd_overlap(self, i: np.ndarray, j: np.ndarray, other: Shapes) -> np.ndarray:
        """Shared area where one of the two is not convex: the sum over their parts."""
        origin_x, origin_y = self.x[0, i], self.y[0, i]
        return sum(
            _clipped_area(ax - origin_x, ay - origin_y, bx - origin_x, by - origin_y)
            for ax, ay in self._parts(i)
            for bx, by in other._parts(j)
        )

    def _parts(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Two convex parts of each row: its triangles or, of a convex one, itself and a point."""
        odd = self._odd[rows]
        for part in range(2):
            x, y = self.x[:, rows], self.y[:, rows]
            if part == 1:
                x, y = np.repeat(x[:1], 4, axis=0), np.repeat(y[:1], 4, axis=0)
            cut = odd >= 0
            if self._any_odd:
                x[:, cut] = self._parts_x[:, part, odd[cut]]
                y[:, cut] = self._parts_y[:, part, odd[cut]]
            yield x, y


def _chunks(rows: np.ndarray, size: int = 1 << 14) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _convex_overlap(
    ax: np.ndarray, ay: np.ndarray, bx: np.ndarray, by: np.ndarray, extent: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shared area of counter-clockwise convex quadrilaterals ``[4, n]`` near the origin.

    Args:
        ax, ay, bx, by: the two polygons of each pair.
        extent: ``[n]``, the longest side of the rectangles around the two.

    Returns:
        The area ``[n]``, and ``[n]`` where it is not to be trusted, as two edges lie on each
        other: `_clipped_area` has the answer.
    """
    ax, ay, bx, by = _closed(ax), _closed(ay), _closed(bx), _closed(by)
    near = ON_LINE * extent**2
    area, touch = _green(ax, ay, bx, by, near)
    other_area, other_touch = _green(bx, by, ax, ay, near)
    area += other_area
    return area, touch | other_touch


def _green(
    px: np.ndarray, py: np.ndarray, qx: np.ndarray, qy: np.ndarray, near: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the edges of P inside Q add to the shared area, by Green's theorem.

    Args:
        px, py, qx, qy: ``[5, n]``, closed: the first corner comes again at the end.
        near: ``[n]``, the cross product below which a corner counts as lying on a line.

    Returns:
        The areas ``[n]``, and ``[n]`` whether an edge of P lies on a line of Q.
    """
    ex, ey = qx[1:] - qx[:4], qy[1:] - qy[:4]
    # [line of Q, corner of P, n]: positive inside, by the length of the line's edge.
    side = ex[:, None] * py
    side -= ey[:, None] * px
    side -= (ex * qy[:4] - ey * qx[:4])[:, None]
    outside = np.minimum(side, 0)
    inside = np.maximum(side, _TINY, out=side)
    # The share of each edge that each line cuts off at its start, and at its end.
    start_cut = outside[:, :4] - inside[:, 1:]
    end_cut = outside[:, 1:] - inside[:, :4]
    # Together the two are minus the distances of both ends.
    touch = _highest(_highest(start_cut + end_cut)) > -near
    share = _highest(np.divide(outside[:, :4], start_cut, out=start_cut))
    share += _highest(np.divide(outside[:, 1:], end_cut, out=end_cut))
    np.subtract(1, share, out=share)
    np.maximum(share, 0, out=share)
    share *= px[:4] * py[1:] - px[1:] * py[:4]
    return (share[0] + share[1] + share[2] + share[3]) / 2, touch


def _clipped_area(ax: np.ndarray, ay: np.ndarray, bx: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Shared area ``[n]`` by clipping A at each line of B, corner by corner; inputs ``[4, n]``.

    Slower than `_green`, but a small error in a side moves the result by as little.
    """
    x, y = ax.T.copy(), ay.T.copy()
    for k in range(4):
        ex, ey = (bx[k - 3] - bx[k])[:, None], (by[k - 3] - by[k])[:, None]
        side = ex * (y - by[k][:, None]) - ey * (x - bx[k][:, None])
        x, y = _clip(x, y, side)
    area = np.abs(_signed_area(x.T - x[:, 0], y.T - y[:, 0]))
    # Of a point all lines are empty: nothing would be cut off.
    return np.where((np.ptp(bx, axis=0) > 0) | (np.ptp(by, axis=0) > 0), area, 0)


def _clip(x: np.ndarray, y: np.ndarray, side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep the part of each polygon ``[n, V]`` where ``side`` is not negative.

    Rows with fewer corners than the longest repeat their last one.
    """
    inside = side >= 0
    following = np.roll(side, -1, axis=1)
    crosses = inside != np.roll(inside, -1, axis=1)
    share = np.divide(side, side - following, out=np.zeros_like(side), where=crosses)
    cross_x = x + share * (np.roll(x, -1, axis=1) - x)
    cross_y = y + share * (np.roll(y, -1, axis=1) - y)
    shape = len(x), -1
    new_x = np.stack([x, cross_x], axis=2).reshape(shape)
    new_y = np.stack([y, cross_y], axis=2).reshape(shape)
    stays = np.stack([inside, crosses], axis=2).reshape(shape)
    count = stays.sum(axis=1)
    order = np.argsort(~stays, axis=1, kind="stable")[:, : max(count.max(initial=0), 1)]
    # Behind the last corner that stays: that corner again. A row without any becomes a point.
    column = np.minimum(np.arange(order.shape[1]), np.maximum(count - 1, 0)[:, None])
    order = np.take_along_axis(order, column, axis=1)
    return np.take_along_axis(new_x, order, axis=1), np.take_along_axis(new_y, order, axis=1)


def _triangles(x: np.ndarray, y: np.ndarray, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut quadrilaterals ``[4, n]`` that are not convex into two triangles each.

    A concave one has one corner that turns the other way: it is cut from there to the opposite
    corner. A self-crossing one turns twice each way; its crossing edges are those whose ends
    turn differently, and its wings stand on the two others.

    Returns:
        x and y, ``[4, 2, n]``: counter-clockwise triangles whose last corner comes twice.
    """
    left = turns > 0
    crossed = left.sum(axis=0) == 2
    # Turn each row so that a concave one begins at its odd corner, and a self-crossing one
    # with a crossing edge.
    odd_corner = np.where(left.sum(axis=0) == 1, left.argmax(axis=0), (~left).argmax(axis=0))
    first = np.where(crossed, (left != np.roll(left, -1, axis=0)).argmax(axis=0), odd_corner)
    order = (first + np.arange(4)[:, None]) % 4
    x, y = np.take_along_axis(x, order, axis=0), np.take_along_axis(y, order, axis=0)
    # Where edge 0-1 crosses edge 2-3.
    ex, ey = x[1] - x[0], y[1] - y[0]
    fx, fy = x[3] - x[2], y[3] - y[2]
    across = ex * fy - ey * fx
    share = (x[2] - x[0]) * fy - (y[2] - y[0]) * fx
    share = np.divide(share, across, out=np.zeros_like(share), where=crossed & (across != 0))
    middle_x = np.where(crossed, x[0] + share * ex, x[0])
    middle_y = np.where(crossed, y[0] + share * ey, y[0])
    # Concave: 0 1 2 and 0 2 3. Crossed: middle 1 2 and middle 3 0.
    parts_x = np.stack(
        [
            np.stack([middle_x, middle_x]),
            np.stack([x[1], np.where(crossed, x[3], x[2])]),
            np.stack([x[2], np.where(crossed, x[0], x[3])]),
        ]
    )
    parts_y = np.stack(
        [
            np.stack([middle_y, middle_y]),
            np.stack([y[1], np.where(crossed, y[3], y[2])]),
            np.stack([y[2], np.where(crossed, y[0], y[3])]),
        ]
    )
    parts_x, parts_y = parts_x[[0, 1, 2, 2]], parts_y[[0, 1, 2, 2]]
    clockwise = _signed_area(parts_x - parts_x[0], parts_y - parts_y[0]) < 0
    return _turned(parts_x, parts_y, clockwise)


def _turned(x: np.ndarray, y: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reverse the order of corners (axis 0, four of them) of those marked."""
    return np.where(which, x[::-1], x), np.where(which, y[::-1], y)


def _turns(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cross product of the two edges that meet at each corner, ``[4, n]``: the turn there."""
    ex, ey = x - x[_BEFORE], y - y[_BEFORE]
    return ex * ey[_NEXT] - ey * ex[_NEXT]


def _signed_area(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Shoelace formula over axis 0."""
    return (x * np.roll(y, -1, axis=0) - np.roll(x, -1, axis=0) * y).sum(axis=0) / 2


def _highest(x: np.ndarray) -> np.ndarray:
    """Maximum over axis 0, of length 4; several times faster than ``x.max(axis=0)``."""
    return np.maximum(np.maximum(x[0], x[1]), np.maximum(x[2], x[3]))


def _closed(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, x[:1]])


def rectangle_intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Shared area of axis-aligned rectangles ``[N, 4]``, paired row by row."""
    width = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
    height = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
    return np.maximum(width, 0) * np.maximum(height, 0)


def _planes(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y of each corner, ``[4, N]`` each, contiguous: the layout of all the formulas."""
    return np.ascontiguousarray(corners[:, :, 0].T), np.ascontiguousarray(corners[:, :, 1].T)


def as_shapes(corners: np.ndarray | Shapes) -> Shapes:
    return corners if isinstance(corners, Shapes) else Shapes(corners)


def _as_corners(corners: np.ndarray) -> np.ndarray:
    corners = np.asarray(corners, dtype=np.float64)
    if corners.size == 0:
        return corners.reshape(0, 4, 2)
    if corners.ndim != 3 or corners.shape[1:] != (4, 2):
        raise ValueError(f"corners must have the shape [N, 4, 2], came as {list(corners.shape)}")
    return corners

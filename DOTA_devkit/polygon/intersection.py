"""Intersection areas of many pairs of quadrilaterals, as array formulas.

Coordinates come as planes ``[4, n]``: one row per corner, one column per polygon.

The boundary of the intersection of two convex polygons consists of the edges of A inside B and
the edges of B inside A. By Green's theorem its area is the sum over those pieces of half the
cross product of their end points, and a piece that covers the share t of the edge p -> q
contributes t * cross(p, q) / 2. The shares need no sorting of corners and no branches, only
minima and maxima, which is what makes a million pairs in about a second possible in NumPy. The
formula fails where an edge of A lies on an edge of B, as both would count: those few pairs are
clipped corner by corner instead (Sutherland and Hodgman, 1974).
"""

from __future__ import annotations

import numpy as np

# An edge whose two ends are closer to a line than this, relative to the pair's extent, counts as
# lying on it. The shares of all other edges are accurate to about 1e-16 / LINE_TOLERANCE.
LINE_TOLERANCE = 1e-7

_NEXT, _BEFORE = [1, 2, 3, 0], [3, 0, 1, 2]
_TINY = np.finfo(np.float64).tiny


def rectangle_intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection area of axis-aligned rectangles ``[N, 4]``, paired row by row."""
    width = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
    height = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
    return np.maximum(width, 0) * np.maximum(height, 0)


def convex_intersection(
    ax: np.ndarray, ay: np.ndarray, bx: np.ndarray, by: np.ndarray, extent: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Intersection area of counter-clockwise convex quadrilaterals near the origin.

    Args:
        ax: ``[4, n]``, x of the first polygon of each pair.
        ay: ``[4, n]``, y of the first polygon.
        bx: ``[4, n]``, x of the second polygon.
        by: ``[4, n]``, y of the second polygon.
        extent: ``[n]``, the longest side of the two bounding rectangles.

    Returns:
        The areas ``[n]``, and ``[n]`` bool where they are not reliable because two edges
        coincide: use `clipped_intersection` there.
    """
    ax, ay, bx, by = _closed(ax), _closed(ay), _closed(bx), _closed(by)
    tolerance = LINE_TOLERANCE * extent**2
    area, coincident = _edge_contributions(ax, ay, bx, by, tolerance)
    other_area, other_coincident = _edge_contributions(bx, by, ax, ay, tolerance)
    area += other_area
    return area, coincident | other_coincident


def _edge_contributions(
    px: np.ndarray, py: np.ndarray, qx: np.ndarray, qy: np.ndarray, tolerance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sum what the edges of P inside Q add to the intersection area, by Green's theorem.

    Args:
        px: ``[5, n]``, x of P, closed: the first corner is repeated at the end.
        py: ``[5, n]``, y of P.
        qx: ``[5, n]``, x of Q.
        qy: ``[5, n]``, y of Q.
        tolerance: ``[n]``, the cross product below which a corner counts as lying on a line.

    Returns:
        The areas ``[n]``, and ``[n]`` bool whether an edge of P lies on a line of Q.
    """
    ex, ey = qx[1:] - qx[:4], qy[1:] - qy[:4]
    # [line of Q, corner of P, n]: positive inside, scaled by the length of the line's edge.
    side = ex[:, None] * py
    side -= ey[:, None] * px
    side -= (ex * qy[:4] - ey * qx[:4])[:, None]
    outside = np.minimum(side, 0)
    inside = np.maximum(side, _TINY, out=side)
    # The share of each edge of P that each line of Q cuts off at its start and at its end.
    start_cut = outside[:, :4] - inside[:, 1:]
    end_cut = outside[:, 1:] - inside[:, :4]
    # Together the two are the negated distances of both ends from the line.
    coincident = _corner_max(_corner_max(start_cut + end_cut)) > -tolerance
    share = _corner_max(np.divide(outside[:, :4], start_cut, out=start_cut))
    share += _corner_max(np.divide(outside[:, 1:], end_cut, out=end_cut))
    np.subtract(1, share, out=share)
    np.maximum(share, 0, out=share)
    share *= px[:4] * py[1:] - px[1:] * py[:4]
    return (share[0] + share[1] + share[2] + share[3]) / 2, coincident


def clipped_intersection(
    ax: np.ndarray, ay: np.ndarray, bx: np.ndarray, by: np.ndarray
) -> np.ndarray:
    """Intersection area by clipping A at each line of B, corner by corner.

    Slower than `convex_intersection`, but coincident edges do no harm: a small error in the
    distance from a line changes the area by as little.

    Args:
        ax: ``[4, n]``, x of the polygons to clip.
        ay: ``[4, n]``, y of the polygons to clip.
        bx: ``[4, n]``, x of the convex, counter-clockwise polygons to clip at.
        by: ``[4, n]``, y of the polygons to clip at.

    Returns:
        The areas ``[n]``.
    """
    x, y = ax.T.copy(), ay.T.copy()
    for k in range(4):
        ex, ey = (bx[k - 3] - bx[k])[:, None], (by[k - 3] - by[k])[:, None]
        side = ex * (y - by[k][:, None]) - ey * (x - bx[k][:, None])
        x, y = _clip(x, y, side)
    area = np.abs(signed_area(x.T - x[:, 0], y.T - y[:, 0]))
    # All edges of a point have length 0, so nothing would be clipped.
    return np.where((np.ptp(bx, axis=0) > 0) | (np.ptp(by, axis=0) > 0), area, 0)


def _clip(x: np.ndarray, y: np.ndarray, side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep the part of each polygon ``[n, V]`` where ``side`` is not negative.

    Rows with fewer corners than the longest one repeat their last corner.
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
    kept = np.stack([inside, crosses], axis=2).reshape(shape)
    count = kept.sum(axis=1)
    order = np.argsort(~kept, axis=1, kind="stable")[:, : max(count.max(initial=0), 1)]
    # Fill up with the last corner that is kept. A row that keeps none becomes a point.
    column = np.minimum(np.arange(order.shape[1]), np.maximum(count - 1, 0)[:, None])
    order = np.take_along_axis(order, column, axis=1)
    return np.take_along_axis(new_x, order, axis=1), np.take_along_axis(new_y, order, axis=1)


def split_into_triangles(
    x: np.ndarray, y: np.ndarray, turns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cut non-convex quadrilaterals into two triangles each.

    A concave one has a single corner that turns the other way and is cut from there to the
    opposite corner. A self-intersecting one turns twice each way; its crossing edges are those
    whose ends turn differently, and its wings stand on the two other edges.

    Args:
        x: ``[4, n]``, corner coordinates.
        y: ``[4, n]``, corner coordinates.
        turns: ``[4, n]``, see `corner_turns`.

    Returns:
        x and y, ``[4, 2, n]``: counter-clockwise triangles whose last corner is repeated.
    """
    left = turns > 0
    crossing = left.sum(axis=0) == 2
    # Rotate each row so that a concave one begins at its reflex corner, and a self-intersecting
    # one with a crossing edge.
    reflex_corner = np.where(left.sum(axis=0) == 1, left.argmax(axis=0), (~left).argmax(axis=0))
    first = np.where(crossing, (left != np.roll(left, -1, axis=0)).argmax(axis=0), reflex_corner)
    order = (first + np.arange(4)[:, None]) % 4
    x, y = np.take_along_axis(x, order, axis=0), np.take_along_axis(y, order, axis=0)
    # The point where edge 0-1 crosses edge 2-3.
    ex, ey = x[1] - x[0], y[1] - y[0]
    fx, fy = x[3] - x[2], y[3] - y[2]
    determinant = ex * fy - ey * fx
    share = (x[2] - x[0]) * fy - (y[2] - y[0]) * fx
    share = np.divide(
        share, determinant, out=np.zeros_like(share), where=crossing & (determinant != 0)
    )
    middle_x = np.where(crossing, x[0] + share * ex, x[0])
    middle_y = np.where(crossing, y[0] + share * ey, y[0])
    # Concave: 0 1 2 and 0 2 3. Self-intersecting: middle 1 2 and middle 3 0.
    parts_x = np.stack(
        [
            np.stack([middle_x, middle_x]),
            np.stack([x[1], np.where(crossing, x[3], x[2])]),
            np.stack([x[2], np.where(crossing, x[0], x[3])]),
        ]
    )
    parts_y = np.stack(
        [
            np.stack([middle_y, middle_y]),
            np.stack([y[1], np.where(crossing, y[3], y[2])]),
            np.stack([y[2], np.where(crossing, y[0], y[3])]),
        ]
    )
    parts_x, parts_y = parts_x[[0, 1, 2, 2]], parts_y[[0, 1, 2, 2]]
    clockwise = signed_area(parts_x - parts_x[0], parts_y - parts_y[0]) < 0
    return reverse_where(parts_x, parts_y, clockwise)


def reverse_where(x: np.ndarray, y: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reverse the corner order (axis 0, four corners) of the polygons in ``mask``."""
    return np.where(mask, x[::-1], x), np.where(mask, y[::-1], y)


def corner_turns(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cross product of the two edges that meet at each corner, ``[4, n]``: the turn there."""
    ex, ey = x - x[_BEFORE], y - y[_BEFORE]
    return ex * ey[_NEXT] - ey * ex[_NEXT]


def signed_area(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Shoelace formula over axis 0; positive if counter-clockwise with y pointing up."""
    return (x * np.roll(y, -1, axis=0) - np.roll(x, -1, axis=0) * y).sum(axis=0) / 2


def _corner_max(values: np.ndarray) -> np.ndarray:
    """Maximum over axis 0, of length 4; several times faster than ``values.max(axis=0)``."""
    return np.maximum(np.maximum(values[0], values[1]), np.maximum(values[2], values[3]))


def _closed(values: np.ndarray) -> np.ndarray:
    """Repeat the first corner at the end."""
    return np.concatenate([values, values[:1]])

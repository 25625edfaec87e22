"""Rotated rectangles: their corners, and the rectangle of four corners or of any outline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RECTANGLE_TOLERANCE_PX = 0.005
"""How far a corner may be from that of a rectangle: the rounding of DOTA text."""


class Rectangle(NamedTuple):
    """A rotated rectangle.

    Attributes:
        cx: x of the center.
        cy: y of the center.
        w: side along x before the rotation.
        h: side along y before the rotation.
        angle: rotation in radians from x towards y, which looks clockwise as y points down.
    """

    cx: float
    cy: float
    w: float
    h: float
    angle: float

    @property
    def corners(self) -> np.ndarray:
        """The corners ``[4, 2]``, see `rotated_corners`."""
        return rotated_corners(*self)

    @property
    def degrees(self) -> float:
        """The rotation in degrees, 0 to 360, clockwise."""
        return float(np.degrees(self.angle)) % 360


def rotated_corners(cx: float, cy: float, w: float, h: float, angle: float) -> np.ndarray:
    """Return the corners of a rotated rectangle.

    Args:
        cx: x of the center.
        cy: y of the center.
        w: side along x before the rotation.
        h: side along y before the rotation.
        angle: rotation in radians from x towards y, which looks clockwise as y points down.

    Returns:
        ``[4, 2]`` float64: the corners that are top left, top right, bottom right and bottom left
        before the rotation.
    """
    offsets = 0.5 * np.array([[-w, -h], [w, -h], [w, h], [-w, h]], dtype=np.float64)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([cx, cy]) + offsets @ np.array([[cos, sin], [-sin, cos]])


def upright_corners(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Return the corners ``[4, 2]`` of an upright rectangle whose sides may be exchanged."""
    (left, right), (top, bottom) = sorted((left, right)), sorted((top, bottom))
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def exact_rectangle(corners: np.ndarray) -> Rectangle | None:
    """Return the rectangle that four corners form, starting at the first of them.

    Args:
        corners: ``[4, 2]``.

    Returns:
        None if a corner is more than `RECTANGLE_TOLERANCE_PX` away from that of a rectangle.
    """
    corners = np.asarray(corners, dtype=np.float64)
    a, b, c, d = corners
    across, down = (b - a + c - d) / 2, (d - a + c - b) / 2
    if across[0] * down[1] - across[1] * down[0] < 0:  # the corners run the other way around
        corners, across, down = corners[[0, 3, 2, 1]], down, across
    longer = across if np.hypot(*across) >= np.hypot(*down) else np.array([down[1], -down[0]])
    angle = float(np.arctan2(longer[1], longer[0])) % (2 * np.pi)
    cx, cy = corners.mean(axis=0).tolist()
    found = Rectangle(cx, cy, float(np.hypot(*across)), float(np.hypot(*down)), angle)
    distance = np.abs(found.corners - corners).max()
    return found if distance <= RECTANGLE_TOLERANCE_PX else None


def smallest_rectangle(points: np.ndarray) -> Rectangle:
    """Return the rectangle of smallest area around points.

    One of its sides lies on an edge of their convex hull.

    Args:
        points: ``[K, 2]``, at least one.
    """
    import shapely

    points = np.asarray(points, dtype=np.float64)
    origin = points[0]
    hull = shapely.get_coordinates(shapely.convex_hull(shapely.multipoints(points - origin)))
    edges = np.roll(hull, -1, axis=0) - hull
    lengths = np.hypot(edges[:, 0], edges[:, 1])
    edges = edges[lengths > 0] / lengths[lengths > 0, None]
    if not len(edges):
        return Rectangle(*origin.tolist(), 0.0, 0.0, 0.0)
    along = edges @ hull.T
    across = np.stack([-edges[:, 1], edges[:, 0]], axis=1) @ hull.T
    w, h = np.ptp(along, axis=1), np.ptp(across, axis=1)
    best = int(np.argmin(w * h))
    middle = np.array([_middle(along[best]), _middle(across[best])])
    direction = edges[best]
    center = origin + middle[0] * direction + middle[1] * np.array([-direction[1], direction[0]])
    angle = float(np.arctan2(direction[1], direction[0])) % np.pi
    return Rectangle(*center.tolist(), float(w[best]), float(h[best]), angle)


def rectangle_around(corners: np.ndarray) -> tuple[Rectangle, bool]:
    """Return the rectangle of corners ``[4, 2]``, and whether it is the smallest one around them.

    It is their own, see `exact_rectangle`, where they have one.
    """
    exact = exact_rectangle(corners)
    return (exact, False) if exact is not None else (smallest_rectangle(corners), True)


def box_of_outline(points: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the four corners of an outline.

    Args:
        points: ``[K, 2]``, at least three different ones; the last may repeat the first.

    Returns:
        The corners ``[4, 2]``: the points, if there are four, else those of their smallest
        rectangle; and whether they are the latter.
    """
    points = np.asarray(points, dtype=np.float64)
    if len(points) > 3 and (points[0] == points[-1]).all():
        points = points[:-1]
    if len(points) == 4:
        return points, False
    return smallest_rectangle(points).corners, True


def box_of_outlines(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, bool]:
    """Return the four corners of an object of one or several outlines, see `box_of_outline`.

    Those of several are the corners of the smallest rectangle around all of them.
    """
    if len(parts) == 1:
        return box_of_outline(parts[0])
    return smallest_rectangle(np.concatenate(parts)).corners, True


def _middle(values: np.ndarray) -> float:
    return float(values.min() + values.max()) / 2

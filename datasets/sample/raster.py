"""Geometry and rasterization of the sample set: rotated boxes, pixel coverage, smooth noise.

It uses NumPy alone, so that the images depend on the seed and not on the version of OpenCV.

Coordinates: an image has x to the right and y down, in pixels; pixel (row i, column j) covers
[j, j + 1] x [i, i + 1]. An object has its own frame, with x forward and y to its right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

Random = np.random.RandomState


def box_corners(center: Sequence[float], length: float, width: float, heading: float) -> np.ndarray:
    """Return the corners [4, 2] of a rotated rectangle, clockwise from the front left."""
    half = np.array([[1, -1], [1, 1], [-1, 1], [-1, -1]]) * (length / 2, width / 2)
    return place(half, center, heading)


def rectangle(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """Return the corners [4, 2] of an axis-aligned rectangle."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def ellipse(length: float, width: float, count: int = 12) -> np.ndarray:
    """Approximate an ellipse with its center at 0 by a polygon [count, 2]."""
    turn = np.arange(count) * (2 * math.pi / count)
    return np.stack([np.cos(turn) * length / 2, np.sin(turn) * width / 2], axis=1)


def place(points: np.ndarray, center: Sequence[float], heading: float) -> np.ndarray:
    """Map points [K, 2] from an object's frame to the image; `heading` in radians, clockwise."""
    cos, sin = math.cos(heading), math.sin(heading)
    return points @ np.array([[cos, sin], [-sin, cos]]) + np.asarray(center, float)


def following(polygon: np.ndarray) -> np.ndarray:
    """Return the next corner of each corner [K, 2]; ten times as fast as np.roll by -1."""
    return np.concatenate((polygon[1:], polygon[:1]))


def polygon_area(polygon: np.ndarray) -> float:
    """Compute the area of a polygon [K, 2], positive if its corners run clockwise (y is down)."""
    (x0, y0), (x1, y1) = polygon.T, following(polygon).T
    return 0.5 * float((x0 * y1 - y0 * x1).sum())


def clip_to_image(polygon: np.ndarray, size: float) -> np.ndarray:
    """Clip a convex polygon to [0, size]^2 (Sutherland-Hodgman, one border after the other).

    Returns:
        [K, 2], with K = 0 if nothing is left.
    """
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    if (high <= 0).any() or (low >= size).any():
        return np.zeros((0, 2))
    if (low >= 0).all() and (high <= size).all():
        return polygon
    for axis, sign, bound in ((0, 1, 0.0), (0, -1, -size), (1, 1, 0.0), (1, -1, -size)):
        kept = []
        for a, b in zip(polygon, following(polygon), strict=True):
            depth_a, depth_b = sign * a[axis] - bound, sign * b[axis] - bound
            if depth_a >= 0:
                kept.append(a)
            if depth_a * depth_b < 0:
                kept.append(a + (b - a) * (depth_a / (depth_a - depth_b)))
        polygon = np.array(kept).reshape(-1, 2)
    return polygon


def fitted_rectangle(polygon: np.ndarray) -> np.ndarray:
    """Return the corners [4, 2] of the minimum-area rectangle of a convex polygon, clockwise."""
    best, best_area = polygon, math.inf
    for dx, dy in following(polygon) - polygon:
        length = math.hypot(dx, dy)
        if length < 1e-6:
            continue
        axes = np.array([[dx, dy], [-dy, dx]]) / length
        low, high = (polygon @ axes.T).min(axis=0), (polygon @ axes.T).max(axis=0)
        if np.prod(high - low) < best_area - 1e-9:
            best_area = np.prod(high - low)
            (u0, v0), (u1, v1) = low, high
            best = np.array([[u0, v0], [u1, v0], [u1, v1], [u0, v1]]) @ axes
    return best


def overlap_any(box: np.ndarray, others: Sequence[np.ndarray], gap: float) -> bool:
    """Return whether a rectangle [4, 2] is within `gap` pixels of another (separating axes)."""
    if not others:
        return False
    boxes = np.stack(others)  # [N, 4, 2]
    own_axes = np.broadcast_to(box[1:3] - box[0:2], (len(boxes), 2, 2))
    axes = np.concatenate([own_axes, boxes[:, 1:3] - boxes[:, 0:2]], axis=1)
    axes = axes / np.linalg.norm(axes, axis=2, keepdims=True)
    own, their = axes @ box.T, axes @ boxes.transpose(0, 2, 1)  # [N, 4 axes, 4 corners]
    apart = np.maximum(own.min(2) - their.max(2), their.min(2) - own.max(2)).max(axis=1)
    return bool((apart < gap).any())


def coverage(polygon: np.ndarray, size: int) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """Compute how much of each pixel a convex polygon [K, 2] covers.

    Alpha falls from 1 to 0 over the one pixel around an edge, by the distance of the pixel's
    center, so that edges are accurate to a fraction of a pixel.

    Returns:
        The window (rows, columns) of the polygon and alpha [h, w] in it, or None if the polygon is
        outside of the image.
    """
    # Plain floats: most polygons have a handful of corners and a few hundred pixels, for which
    # the overhead of NumPy calls dominates. A set has 80,000 of them.
    corners = polygon.tolist()
    xs, ys = zip(*corners, strict=True)
    x0, x1 = max(math.floor(min(xs) - 0.5), 0), min(math.ceil(max(xs) + 0.5), size)
    y0, y1 = max(math.floor(min(ys) - 0.5), 0), min(math.ceil(max(ys) + 0.5), size)
    if x1 <= x0 or y1 <= y0:
        return None
    edges = [(x, y, u - x, v - y) for (x, y), (u, v) in pairwise((*corners, corners[0]))]
    turn = math.copysign(1.0, sum(x * dy - y * dx for x, y, dx, dy in edges))  # 1 is clockwise
    lines = []  # (a, b, c): a x + b y + c is a point's distance inside the edge
    for x, y, dx, dy in edges:
        length = math.hypot(dx, dy)
        if length > 0:
            a, b = -turn * dy / length, turn * dx / length
            lines.append((a, b, -a * x - b * y))
    a, b, c = np.array(lines, np.float32).T[:, :, None]
    across = a * (np.arange(x0, x1, dtype=np.float32) + 0.5)  # [K, w]
    down = b * (np.arange(y0, y1, dtype=np.float32) + 0.5) + (c + 0.5)  # [K, h]
    alpha = (across[:, None, :] + down[:, :, None]).min(axis=0)
    return (slice(y0, y1), slice(x0, x1)), np.minimum(np.maximum(alpha, 0.0), 1.0)


def value_noise(rng: Random, size: int, cell_xy: tuple[float, float]) -> np.ndarray:
    """Generate smooth noise [size, size] in [-1, 1] with bumps about `cell_xy` pixels wide."""
    steps = []
    for cell in cell_xy:
        position = np.arange(size) / cell + rng.rand()
        index = position.astype(int)
        t = (position - index).astype(np.float32)
        steps.append((index, t * t * (3 - 2 * t)))
    (ix, tx), (iy, ty) = steps
    grid = rng.uniform(-1, 1, (iy[-1] + 2, ix[-1] + 2)).astype(np.float32)
    columns = grid[:, ix] + (grid[:, ix + 1] - grid[:, ix]) * tx
    return columns[iy] + (columns[iy + 1] - columns[iy]) * ty[:, None]

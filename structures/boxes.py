"""Oriented boxes: rectangles, boundary vectors, corner order and the layout of the head maps.

The targets (encoding), the decoder and exported files all take the box format from here.

Coordinates: corners are (x, y) with y down. A pixel covers the unit square from its index to its
index plus one, so an image spans [0, width] x [0, height]. Coordinates in the head maps ("cells")
are those of the network's input divided by `STRIDE`.
"""

from __future__ import annotations

import numpy as np

STRIDE = 4
"""Input pixels per cell of the head maps, for every backbone."""

HEAD_CHANNELS = {"wh": 10, "reg": 2, "cls_theta": 1}
"""Channels of the heads; the heat map `hm` has one per class."""

WH = {
    "t": slice(0, 2),
    "r": slice(2, 4),
    "b": slice(4, 6),
    "l": slice(6, 8),
    "size": slice(8, 10),
}
"""Channels of `wh`, in cells: the vectors (x, y) from the center to the midpoints of the top,
right, bottom and left edge, then width and height of the enclosing axis-aligned rectangle."""

VECTORS, RECTANGLE = "vectors", "rectangle"
BOX_CODINGS = (VECTORS, RECTANGLE)
"""How a network is trained to describe a box: by the vectors of `WH`, or by a symmetric matrix, see
`models.box_coding`."""

UPRIGHT_MIDPOINTS = ((0.0, -0.5), (0.5, 0.0), (0.0, 0.5), (-0.5, 0.0))
"""Midpoints (x, y) of the top, right, bottom and left edge of an axis-aligned box, relative to its
center and in units of its width and height."""

CORNER_VECTORS = ((0, 1), (2, 1), (2, 3), (0, 3))
"""Indices into the boundary vectors (t, r, b, l) of the two vectors whose sum is a corner, for the
corners top right, bottom right, bottom left, top left."""

# Columns of a decoded row, in cells: the center, the four edge midpoints t, r, b, l in absolute
# coordinates, the score and the class index.
ROW_CENTER = slice(0, 2)
ROW_MIDPOINTS = slice(2, 10)
ROW_SCORE = 10
ROW_LABEL = 11

# A coordinate of a boundary vector closer to 0 than this (in cells) counts as 0: the published
# weights learned the order of OpenCV 4.3, whose float arithmetic has no finer resolution.
_VECTOR_EPS = 2e-5


def rectangles_to_corners(rectangles: np.ndarray) -> np.ndarray:
    """Convert rectangles with an angle, as the original's annotations have them, to corners.

    The arithmetic is that of `cv2.boxPoints` in float32, because `cls_theta` truncates corners and
    so depends on their last bit.

    Args:
        rectangles: [N, 5] center x, center y, width, height, degrees.

    Returns:
        Corners [N, 4, 2] float32.
    """
    rectangles = np.asarray(rectangles, np.float32).reshape(-1, 5)
    center, width, height = rectangles[:, :2], rectangles[:, 2], rectangles[:, 3]
    radians = np.deg2rad(rectangles[:, 4].astype(np.float64))
    half = np.float32(0.5)
    cos, sin = np.cos(radians).astype(np.float32) * half, np.sin(radians).astype(np.float32) * half
    x, y = center[:, 0], center[:, 1]
    first = np.stack([x - sin * height - cos * width, y + cos * height - sin * width], axis=1)
    second = np.stack([x + sin * height - cos * width, y - cos * height - sin * width], axis=1)
    return np.stack([first, second, 2 * center - first, 2 * center - second], axis=1)


def corners_to_rectangles(corners: np.ndarray) -> np.ndarray:
    """Convert corners to rectangles with an angle, the inverse of `rectangles_to_corners`.

    Args:
        corners: [N, 4, 2] corners of rectangles.

    Returns:
        [N, 5] float32 center x, center y, width, height, degrees. The angle is that of the edge
        from the first corner to the second, in (-90, 90].
    """
    corners = np.asarray(corners, np.float64).reshape(-1, 4, 2)
    edge, side = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1]
    degrees = np.rad2deg(np.arctan2(edge[:, 1], edge[:, 0]))
    degrees = 90 - (90 - degrees) % 180
    sizes = np.hypot(edge[:, 0], edge[:, 1]), np.hypot(side[:, 0], side[:, 1])
    return np.column_stack([corners.mean(axis=1), *sizes, degrees]).astype(np.float32)


def min_area_rectangles(points: np.ndarray) -> np.ndarray:
    """Compute the minimum-area rectangle around each set of points.

    The smallest rectangle has a side along an edge of the convex hull, and every such edge joins
    two of the points. Trying the directions of all pairs of points therefore needs no hull, and is
    exact for concave and self-intersecting outlines as well. The result depends on the points
    alone, not on the version of OpenCV.

    Args:
        points: [N, K, 2], K points in each of N sets.

    Returns:
        Corners [N, 4, 2], clockwise as seen on the image.
    """
    points = np.asarray(points)
    dtype = np.result_type(points.dtype, np.float32)
    count, corners_each = points.shape[:2]
    if count == 0:
        return np.zeros((0, 4, 2), dtype)

    origin = points[:, :1].astype(np.float64)  # relative coordinates lose no digits far from 0
    # N is the last axis throughout, because NumPy is slow at reducing short inner axes.
    x, y = np.ascontiguousarray((points - origin).transpose(2, 1, 0))  # [K, N] each
    # Neighbors come first: in a usual outline they are its edges, and ties go to the first.
    pairs = [
        (i, (i + step) % corners_each)
        for step in range(1, corners_each // 2 + 1)
        for i in range(corners_each)
        if 2 * step != corners_each or i < step
    ]
    start, end = np.array(pairs).T
    cos, sin = x[end] - x[start], y[end] - y[start]  # [P, N]
    length = np.hypot(cos, sin)
    usable = length > 0
    scale = 1 / np.where(usable, length, 1.0)
    cos, sin = np.where(usable, cos * scale, 1.0), sin * scale

    frames = np.empty((2, len(pairs), corners_each, count))
    frames[0] = cos[:, None] * x + sin[:, None] * y  # coordinates along each direction
    frames[1] = cos[:, None] * y - sin[:, None] * x  # coordinates across it
    low, high = frames.min(axis=2), frames.max(axis=2)  # [2, P, N]
    area = (high[0] - low[0]) * (high[1] - low[1])
    area[~usable] = np.inf
    # A later pair must be better by more than rounding, so a rectangle keeps its own edges.
    smallest = area.min(axis=0)
    with np.errstate(invalid="ignore"):  # inf + inf if all points coincide
        best = np.argmax(area <= smallest + 1e-9 * (1 + smallest), axis=0)
    chosen = best, np.arange(count)
    chosen_frames = (slice(None), *chosen)
    (left, top), (right, bottom) = low[chosen_frames], high[chosen_frames]
    cos, sin = cos[chosen], sin[chosen]
    rectangles = np.empty((count, 4, 2))
    for corner, (u, v) in enumerate(((left, top), (right, top), (right, bottom), (left, bottom))):
        rectangles[:, corner, 0] = cos * u - sin * v
        rectangles[:, corner, 1] = sin * u + cos * v
    return (rectangles + origin).astype(dtype, copy=False)


def side_lengths(rectangles: np.ndarray) -> np.ndarray:
    """Compute the lengths [N, 2] of the first two sides of rectangles [N, 4, 2]."""
    sides = rectangles[:, 1:3] - rectangles[:, 0:2]
    return np.hypot(sides[..., 0], sides[..., 1])


def corners_to_vectors(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Convert rectangles to boundary vectors.

    Of the vectors from the center to the four edge midpoints, t has y < 0 and x <= 0, r has x > 0
    and y <= 0, b has y > 0 and x >= 0, and l is the remaining one. For an axis-aligned rectangle t
    points up, r right, b down and l left. This is the order that the published weights learned,
    derived from the corners alone.

    Args:
        corners: [N, 4, 2] corners of rectangles, starting anywhere, in either orientation.

    Returns:
        Centers [N, 2]; boundary vectors [N, 8], t, r, b, l as (x, y) relative to the center; and
        sizes [N, 2], width and height of the enclosing axis-aligned rectangle.
    """
    corners = np.asarray(corners)
    corners = corners.astype(np.result_type(corners.dtype, np.float32), copy=False)
    corners = corners.reshape(-1, 4, 2)
    centers = (corners[:, 0] + corners[:, 2]) / 2
    middles = (corners + corners[:, (1, 2, 3, 0)]) / 2 - centers[:, None]
    is_top = (middles[..., 1] <= -_VECTOR_EPS) & (middles[..., 0] < _VECTOR_EPS)
    top = np.argmax(is_top, axis=1)
    # t, r, b, l run clockwise on the image: follow the corners or reverse them.
    cross = middles[:, 0, 0] * middles[:, 1, 1] - middles[:, 0, 1] * middles[:, 1, 0]
    step = np.where(cross < 0, -1, 1)
    order = (top[:, None] + step[:, None] * np.arange(4)) % 4
    vectors = middles[np.arange(len(middles))[:, None], order].reshape(-1, 8)
    sizes = corners.max(axis=1) - corners.min(axis=1)
    return centers, vectors, sizes


def vectors_to_corners(centers: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Convert boundary vectors to corners, the inverse of `corners_to_vectors`.

    For vectors as a network predicts them, the corners form a parallelogram.

    Args:
        centers: [N, 2] box centers.
        vectors: [N, 8] boundary vectors t, r, b, l relative to the centers.

    Returns:
        Corners [N, 4, 2] in the order top right, bottom right, bottom left, top left.
    """
    vectors = vectors.reshape(*vectors.shape[:-1], 4, 2)
    first, second = zip(*CORNER_VECTORS, strict=True)
    return centers[..., None, :] + (vectors[..., first, :] + vectors[..., second, :])

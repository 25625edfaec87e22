"""Geometry of labels: exact clipping of outlines to a view, and new rectangles around the rest."""

from __future__ import annotations

import numpy as np

from structures import boxes


def transform_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Map points [..., 2] by an affine matrix [2, 3]."""
    # One flat product, because NumPy is slow at multiplying stacks of small matrices.
    return (points.reshape(-1, 2) @ matrix[:, :2].T + matrix[:, 2]).reshape(points.shape)


def polygon_areas(points: np.ndarray) -> np.ndarray:
    """Compute the areas [N] of simple polygons [N, K, 2] (shoelace formula)."""
    points = points - points[:, :1]  # avoids cancellation far from the origin
    x, y = points[..., 0], points[..., 1]
    # The first corner is now the origin, so the closing edge adds nothing.
    cross = x[:, :-1] * y[:, 1:] - x[:, 1:] * y[:, :-1]
    return np.abs(cross.sum(axis=1)) / 2


def is_convex(points: np.ndarray) -> np.ndarray:
    """Return whether polygons [N, K, 2] of either orientation are convex, [N] bool."""
    corner = np.arange(points.shape[1])
    edges = points[:, corner - 1] - points
    following = edges[:, corner - 1]
    turns = edges[..., 0] * following[..., 1] - edges[..., 1] * following[..., 0]
    return (turns >= 0).all(axis=1) | (turns <= 0).all(axis=1)


def clip_polygons(points: np.ndarray, size_wh: tuple[float, float]) -> np.ndarray:
    """Clip convex polygons to [0, width] x [0, height].

    This is the Sutherland-Hodgman algorithm on all polygons at once, one border after the other.

    Args:
        points: [N, K, 2] convex polygons.
        size_wh: Width and height.

    Returns:
        [N, L, 2]. Rows with fewer than L corners repeat their last one, which changes neither area
        nor hull; a polygon entirely outside becomes a single point.
    """
    for axis, limit in enumerate(size_wh):
        for bound, sign in ((0.0, 1.0), (float(limit), -1.0)):
            points = _clip_half_plane(points, sign * (points[..., axis] - bound), axis, bound)
    return points


def _clip_half_plane(
    points: np.ndarray, distance: np.ndarray, axis: int, bound: float
) -> np.ndarray:
    """Keep the parts whose `distance` [N, K] to the border `axis` = `bound` is not negative."""
    inside = distance >= 0
    if inside.all():
        return points
    following = np.arange(1, inside.shape[1] + 1) % inside.shape[1]
    after, distance_after = points[:, following], distance[:, following]
    crosses = inside != inside[:, following]
    span = np.where(crosses, distance - distance_after, 1.0)
    share = np.where(crosses, distance / span, 0.0)
    crossing = points + share[..., None] * (after - points)
    crossing[..., axis] = bound

    count, corners = inside.shape
    candidates = np.stack([points, crossing], axis=2).reshape(count, 2 * corners, 2)
    valid = np.stack([inside, crosses], axis=2).reshape(count, 2 * corners)
    order = np.argsort(~valid, axis=1, kind="stable")
    kept = valid.sum(axis=1)
    width = max(int(kept.max(initial=0)), 3)
    column = np.minimum(np.arange(width), np.maximum(kept - 1, 0)[:, None])
    return np.take_along_axis(candidates, np.take_along_axis(order, column, 1)[..., None], axis=1)


def rectangles_in_view(
    outlines: np.ndarray,
    matrix: np.ndarray,
    source_wh: tuple[int, int],
    view_wh: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute what a view of an image shows of labeled outlines.

    Args:
        outlines: [N, 4, 2] in source pixels; corners may lie outside of the image.
        matrix: [2, 3] affine map from the source to the view.
        source_wh: Size of the source image.
        view_wh: Size of the view.

    Returns:
        rectangles: [N, 4, 2] in view pixels, the minimum-area rectangles around the visible part,
            which is inside both the source image and the view.
        shares: [N] visible share of the outline's area (1: all; 0 for an outline without area).
        whole: [N, 4, 2] the minimum-area rectangles around the whole outlines.
    """
    outlines = np.asarray(outlines, np.float64).reshape(-1, 4, 2)
    points = transform_points(outlines, matrix)
    whole = boxes.min_area_rectangles(points)
    shares = (boxes.side_lengths(whole).min(axis=1) > 1e-6).astype(np.float64)
    low, high = _extent(points)
    source_low, source_high = _extent(outlines)
    # Tolerates rounding errors; otherwise rectangles that touch the border would be refitted.
    slack = 1e-6
    cut = (low < -slack) | (high > np.array(view_wh) + slack)
    cut |= (source_low < -slack) | (source_high > np.array(source_wh) + slack)
    hidden = (high <= 0) | (low >= view_wh)
    shares[hidden[:, 0] | hidden[:, 1]] = 0
    cut = (cut[:, 0] | cut[:, 1]) & (shares > 0)
    if not cut.any():
        return whole, shares, whole

    # The area of a concave or self-intersecting outline is of no use; its rectangle replaces it.
    sources = outlines[cut]
    not_convex = ~is_convex(sources)
    if not_convex.any():
        sources[not_convex] = boxes.min_area_rectangles(sources[not_convex])
    areas = polygon_areas(sources) * abs(np.linalg.det(matrix[:, :2]))
    in_source = clip_polygons(sources, source_wh)
    in_view = clip_polygons(transform_points(in_source, matrix), view_wh)
    shares[cut] = np.minimum(polygon_areas(in_view) / areas, 1)
    rectangles = whole.copy()
    rectangles[cut] = boxes.min_area_rectangles(in_view)
    return rectangles, shares, whole


def reaches_size(outlines: np.ndarray, min_size: float) -> np.ndarray:
    """Return whether the longer side of each object is at least `min_size`.

    Args:
        outlines: [N, 4, 2] corners.
        min_size: Length in the unit of the corners.

    Returns:
        [N] bool, for the sides of the minimum-area rectangles around the outlines.
    """
    # The longer side is between 0.7 times the largest distance of two corners and that distance,
    # which decides nearly all cases without the rectangle.
    spans = outlines[:, (0, 0, 0, 1, 1, 2)] - outlines[:, (1, 2, 3, 2, 3, 3)]
    span = np.hypot(spans[..., 0], spans[..., 1]).max(axis=1)
    large = span >= min_size
    close = large & (0.7 * span < min_size)
    sides = boxes.side_lengths(boxes.min_area_rectangles(outlines[close]))
    large[close] = sides.max(axis=1, initial=0) >= min_size
    return large


def _extent(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and largest coordinates [N, 2] of outlines [N, K, 2]."""
    columns = np.ascontiguousarray(points.transpose(1, 0, 2))  # takes half the time to reduce
    return columns.min(axis=0), columns.max(axis=0)

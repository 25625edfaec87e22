"""What remains of labelled outlines in a view of their image: exact clipping and new rectangles."""

from __future__ import annotations

import numpy as np

from structures import boxes


def transform_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points [..., 2] mapped by an affine matrix [2, 3]."""
    # As one flat product: NumPy multiplies stacks of small matrices slowly.
    return (points.reshape(-1, 2) @ matrix[:, :2].T + matrix[:, 2]).reshape(points.shape)


def polygon_areas(points: np.ndarray) -> np.ndarray:
    """Areas [N] of simple polygons [N, K, 2] (shoelace formula)."""
    points = points - points[:, :1]  # no cancellation far from the origin
    x, y = points[..., 0], points[..., 1]
    # The first corner is the origin now, so the closing edge adds nothing.
    cross = x[:, :-1] * y[:, 1:] - x[:, 1:] * y[:, :-1]
    return np.abs(cross.sum(axis=1)) / 2


def is_convex(points: np.ndarray) -> np.ndarray:
    """Whether polygons [N, K, 2] are convex, in either sense of rotation."""
    corner = np.arange(points.shape[1])
    edges = points[:, corner - 1] - points
    following = edges[:, corner - 1]
    turns = edges[..., 0] * following[..., 1] - edges[..., 1] * following[..., 0]
    return (turns >= 0).all(axis=1) | (turns <= 0).all(axis=1)


def clip_polygons(points: np.ndarray, size_wh: tuple[float, float]) -> np.ndarray:
    """The parts [N, L, 2] of convex polygons [N, K, 2] inside [0, width] x [0, height].

    Sutherland and Hodgman's algorithm on all polygons at once, one border after the other. Rows
    with fewer than L corners repeat their last one, which changes neither area nor hull; a polygon
    wholly outside becomes one point.
    """
    for axis, limit in enumerate(size_wh):
        for bound, sign in ((0.0, 1.0), (float(limit), -1.0)):
            points = _clip_half_plane(points, sign * (points[..., axis] - bound), axis, bound)
    return points


def _clip_half_plane(
    points: np.ndarray, distance: np.ndarray, axis: int, bound: float
) -> np.ndarray:
    """Keep what has `distance` [N, K] >= 0 to the border `axis` = `bound`."""
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
    """What a view of an image shows of labelled outlines.

    Args:
        outlines: [N, 4, 2] in source pixels; corners outside of the image are fine.
        matrix: [2, 3] affine map from the source to the view.
        source_wh: size of the source image.
        view_wh: size of the view.

    Returns:
        rectangles [N, 4, 2] in view pixels: the smallest around the outline, or around the part
        of it that is inside both the source image and the view where it is cut;
        shares [N]: how much of the outline's area that part is (1: all; 0 where an outline has
        no area);
        whole [N, 4, 2]: the smallest rectangles around the uncut outlines.
    """
    outlines = np.asarray(outlines, np.float64).reshape(-1, 4, 2)
    points = transform_points(outlines, matrix)
    whole = boxes.min_area_rectangles(points)
    shares = (boxes.side_lengths(whole).min(axis=1) > 1e-6).astype(np.float64)
    low, high = _extent(points)
    source_low, source_high = _extent(outlines)
    # A rounding error outside is inside: else rectangles that touch the border would be re-fitted.
    slack = 1e-6
    cut = (low < -slack) | (high > np.array(view_wh) + slack)
    cut |= (source_low < -slack) | (source_high > np.array(source_wh) + slack)
    hidden = (high <= 0) | (low >= view_wh)
    shares[hidden[:, 0] | hidden[:, 1]] = 0
    cut = (cut[:, 0] | cut[:, 1]) & (shares > 0)
    if not cut.any():
        return whole, shares, whole

    # Of a concave or self-crossing outline the area is no use: its rectangle stands in.
    sources = outlines[cut]
    odd = ~is_convex(sources)
    if odd.any():
        sources[odd] = boxes.min_area_rectangles(sources[odd])
    areas = polygon_areas(sources) * abs(np.linalg.det(matrix[:, :2]))
    in_source = clip_polygons(sources, source_wh)
    in_view = clip_polygons(transform_points(in_source, matrix), view_wh)
    shares[cut] = np.minimum(polygon_areas(in_view) / areas, 1)
    rectangles = whole.copy()
    rectangles[cut] = boxes.min_area_rectangles(in_view)
    return rectangles, shares, whole


def _extent(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest coordinates [N, 2] of outlines [N, K, 2]."""
    columns = np.ascontiguousarray(points.transpose(1, 0, 2))  # reduced in half the time
    return columns.min(axis=0), columns.max(axis=0)

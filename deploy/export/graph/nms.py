"""Non-maximum suppression of quadrilaterals in ONNX, by their exact overlap.

It keeps the same rows as `DOTA_devkit.polygon.polygon_nms`. First the pairs of rows of one class
are narrowed down to those whose bounding rectangles and areas allow an IoU above the threshold. The
IoU of these is computed in double precision, some thousand pairs at a time, so that the data stays
in the cache. Then greedy suppression runs down the rows.

The intersection of A and B: B is cut into two triangles. In the frame of a triangle, with the
corners (0, 0), (1, 0) and (0, 1), the area that it shares with A is the integral along the outline
of A of the height below the outline within the triangle,

    min(max(y, 0), 1 - x) = max(y, 0) - max(x + y - 1, 0)    for x clipped to [0, 1],

and along a straight edge both terms have a closed form. No corners are sorted, nothing branches,
and no division is ill-conditioned: even where edges touch or are nearly parallel, an error in the
coordinates changes the area by no more than that. (Clipping the edges of each polygon at the lines
of the other, as the NumPy code does, would need a second method for such pairs.)
"""

from __future__ import annotations

import numpy as np

from deploy.export.graph.builder import Graph, Value

PAIRS_PER_CHUNK = 4096
"""Pairs whose IoU is computed together: 8 x 4096 doubles are 256 KiB."""

_SINGLE_PRECISION_SLACK = 1e-3
"""Relative slack of narrowing down the pairs, which is done in single precision and must let
through all pairs that could be above the threshold."""

_TINY = 1e-30
"""Makes 0 / 0 equal to 1 and leaves all other quotients as they are. (It must not be 0 in single
precision: ONNX Runtime would take the addition for one of 0 and drop it.)"""

_MIN_IOU = 1e-9
"""An IoU up to this counts as none: the area shared by boxes that touch is rounded."""


def suppress(
    graph: Graph, corners: Value, scores: Value, labels: Value, K: int, iou_thresh: float
) -> Value:
    """Set the scores of suppressed rows to 0.

    Args:
        graph: The graph to add to.
        corners: [B, 4, 2, K] float32, convex.
        scores: [B, K] in descending order, 0 in empty rows.
        labels: [B, K].
        K: Number of rows.
        iou_thresh: A row is suppressed where its IoU with a better row of its class that is kept is
            above this.

    Returns:
        The scores, [B, K].
    """
    # Boxes of empty rows get no area, so that they overlap nothing.
    corners = (scores > 0).unsqueeze(1, 2).where(corners, 0)
    possible = possible_pairs(graph, corners, labels, K, iou_thresh)
    pairs = graph.op("NonZero", possible, dtype=np.int64)  # [3, P]: image, better, worse row
    above = overlaps_above(graph, corners, pairs, K, iou_thresh)
    none = possible.cast(np.float32) * 0
    matrix = graph.op("ScatterND", none, pairs.transpose(1, 0), above.cast(np.float32))
    keep = keep_greedily(graph, matrix, K)
    return keep.where(scores, 0)


def possible_pairs(graph: Graph, corners: Value, labels: Value, K: int, iou_thresh: float) -> Value:
    """Return which pairs could have an IoU above the threshold, [B, K, K]: row i before row j."""
    corner_axis = np.array([1])
    low = graph.op("ReduceMin", corners, corner_axis, keepdims=0)  # [B, 2, K]
    high = graph.op("ReduceMax", corners, corner_axis, keepdims=0)
    # Relative to the first corner: far from the origin a product of coordinates loses its digits.
    local = corners - corners.take(np.array([0]), axis=1)
    area = outline_area(graph, local).reshape(0, 1, -1)  # [B, 1, K]

    def pairwise(kind: str, values: Value) -> Value:
        """Combine each row with each other one: [B, N, K] -> [B, N, K, K]."""
        return graph.op(kind, values.unsqueeze(3), values.unsqueeze(2))

    # Rectangles that share only an edge do not overlap; the edges themselves may be rounded.
    shared = pairwise("Min", high) - pairwise("Max", low)
    width, height = graph.op("Max", shared, 0).split([1, 1], axis=1)
    largest = graph.op("Min", pairwise("Min", area), width * height)
    union = pairwise("Add", area) - largest
    row = np.arange(K)
    earlier = graph.constant(row[:, None]) < graph.constant(row[None, :])
    lowered = iou_thresh * (1 - _SINGLE_PRECISION_SLACK)
    enough = (largest > union * lowered) & (width * height > 0)
    same = labels.unsqueeze(2).equals(labels.unsqueeze(1))
    return enough.reshape(0, K, K) & same & earlier


def outline_area(graph: Graph, corners: Value) -> Value:
    """Return the area [B, N] of corners [B, 4, 2, N] near the origin, by the shoelace formula."""
    x, y = corners.split([1, 1], axis=2)
    next_corner = np.array([1, 2, 3, 0])
    doubled = x * y.take(next_corner, axis=1) - x.take(next_corner, axis=1) * y
    total = graph.op("ReduceSum", doubled, np.array([1, 2]), keepdims=0)
    return graph.op("Abs", total) * 0.5


def overlaps_above(graph: Graph, corners: Value, pairs: Value, K: int, iou_thresh: float) -> Value:
    """Return whether the IoU of each pair [3, P] is above the threshold, [P] bool."""
    boxes = corners.transpose(0, 3, 1, 2).reshape(-1, 8).cast(np.float64)  # [B * K, 8]
    image, better, worse = pairs.split([1, 1, 1], axis=0)
    rows = graph.concat([image * K + better, image * K + worse], axis=0)  # [2, P]
    count = pairs.dims(2)[1]
    trips = count // PAIRS_PER_CHUNK + 1
    # The last chunk is filled up with pairs of the first row with itself.
    missing = trips * PAIRS_PER_CHUNK - count
    rows = graph.op("Pad", rows, graph.concat([np.array([0, 0, 0]), missing], axis=0))

    def trip(inner: Graph, number: Value) -> tuple[None, list[Value], list[Value]]:
        start = (number * PAIRS_PER_CHUNK).reshape(1)
        end = start + PAIRS_PER_CHUNK
        chunk = inner.op("Slice", inner.value(rows.name, np.int64), start, end, np.array([1]))
        both = inner.value(boxes.name, np.float64)
        both = inner.op("Gather", both, chunk, axis=0, dtype=np.float64)  # [2, P, 8]
        both = both.reshape(2, -1, 4, 2).transpose(0, 2, 3, 1)  # [2, 4, 2, P]
        return None, [], [pair_iou(inner, both) > max(iou_thresh, _MIN_IOU)]

    (above,) = graph.loop(trips.reshape(), [], [], trip)
    return graph.op("Slice", above.reshape(-1), np.array([0]), count, np.array([0]))


def pair_iou(graph: Graph, pairs: Value) -> Value:
    """Return the IoU [P] of pairs of convex quadrilaterals [2, 4, 2, P] float64."""
    first = pairs.take(np.array([1]), axis=0).take(np.array([0]), axis=1)
    local = pairs - first  # the first corner of B becomes the origin
    area_a, area_b = outline_area(graph, local).split([1, 1], axis=0)  # [1, P] each
    a, b = local.split([1, 1], axis=0)
    largest = graph.op("Min", area_a, area_b)
    shared = graph.op("Min", shared_area(graph, a, b), largest)
    return (shared / (area_a + area_b - shared)).reshape(-1)


def shared_area(graph: Graph, a: Value, b: Value) -> Value:
    """Return the area that A and B share, [1, P].

    Args:
        graph: The graph to add to.
        a: Corners of A, [1, 4, 2, P].
        b: Corners of B, [1, 4, 2, P], the first of which is the origin.
    """
    px, py = a.split([1, 1], axis=2)  # [1, 4, 1, P]
    ex, ey = b.take(np.array([1, 2]), axis=1).transpose(1, 0, 2, 3).split([1, 1], axis=2)
    fx, fy = b.take(np.array([2, 3]), axis=1).transpose(1, 0, 2, 3).split([1, 1], axis=2)
    # The corners of A in the frame of each triangle (0, e, f) of B, [2, 4, 1, P].
    twice = ex * fy - ey * fx
    scale = graph.op("Reciprocal", twice.equals(0).where(1, twice))
    x = (px * fy - py * fx) * scale
    y = (ex * py - ey * px) * scale

    next_corner = np.array([1, 2, 3, 0])
    x_end, y_end = x.take(next_corner, axis=1), y.take(next_corner, axis=1)
    left, right = graph.op("Clip", x, 0, 1), graph.op("Clip", x_end, 0, 1)
    width, rise = x_end - x, y_end - y
    slope = rise / width.equals(0).where(1, width)
    y_left = y + (left - x) * slope
    y_right = y_end + (right - x_end) * slope
    below = mean_above_zero(graph, y_left, y_right)
    beyond = mean_above_zero(graph, y_left + left - 1, y_right + right - 1)
    parts = graph.op("ReduceSum", (right - left) * (below - beyond), np.array([1, 2]), keepdims=0)
    # The parts are [2, P] and have the same sign, as B is convex.
    return graph.op("Abs", graph.op("ReduceSum", parts * twice.reshape(2, -1), np.array([0])))


def mean_above_zero(graph: Graph, start: Value, end: Value) -> Value:
    """Return the mean of max(value, 0) along the line from `start` to `end`."""
    start_above, end_above = graph.op("Max", start, 0), graph.op("Max", end, 0)
    above = graph.op("Abs", start_above - end_above) + _TINY
    share = above / (graph.op("Abs", start - end) + _TINY)
    return (start_above + end_above) * 0.5 * share


def keep_greedily(graph: Graph, matrix: Value, K: int) -> Value:
    """Return which rows are kept by greedy suppression, [B, K] bool.

    A row is kept if no earlier kept row suppresses it. Each trip of the loop settles at least one
    more row of each chain, and the loop ends when nothing changes any more.

    Args:
        graph: The graph to add to.
        matrix: [B, K, K], 1 where row i, if it is kept, suppresses row j.
        K: Number of rows.
    """
    everything = graph.op("ReduceMax", matrix, np.array([1]), keepdims=1) * 0 + 1  # [B, 1, K]

    def trip(inner: Graph, number: Value, keep: Value) -> tuple[Value, list[Value], list[Value]]:
        hits = inner.op("MatMul", keep, inner.value(matrix.name, np.float32))
        after = (hits < 0.5).cast(np.float32)
        changes = inner.op("ReduceSum", inner.op("Abs", after - keep), keepdims=0)
        return changes > 0, [after], []

    (keep,) = graph.loop(K + 1, [everything], [[None, 1, K]], trip)
    return (keep > 0.5).reshape(0, -1)

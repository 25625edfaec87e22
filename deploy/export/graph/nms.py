"""Non-maximum suppression of quadrilaterals in ONNX, by their exact overlap.

The same rows stay as with `DOTA_devkit.polygon.polygon_nms`. Pairs of rows of one class are
narrowed to those whose rectangles and areas allow an overlap above the threshold; of these the
overlap is computed, in double precision and some thousand at a time, so that the work stays in the
cache. Then suppression runs down the rows.

The overlap of A and B: B is cut into two triangles. In the frame of a triangle, with the corners
(0, 0), (1, 0) and (0, 1), the area that it shares with A is the integral, along the outline of A,
of the height that lies below the outline within the triangle,

    min(max(y, 0), 1 - x) = max(y, 0) - max(x + y - 1, 0)    for x clipped to [0, 1],

and along a straight edge both terms have a closed form. No corner is sorted, nothing branches, and
no division is ill-conditioned: also where edges touch or are nearly parallel, an error in the
coordinates moves the area by as little. (Cutting the edges of each polygon at the lines of the
other, as the NumPy code does, would need a second way for such pairs.)
"""

from __future__ import annotations

import numpy as np

from deploy.export.graph.builder import Graph, Value

PAIRS_AT_ONCE = 4096
"""Pairs whose overlaps are computed together: 8 x 4096 doubles are 256 KiB."""

# The narrowing is done in single precision: it must let through all that could be above.
_SLACK = 1e-3

# Next to nothing, so that 0 / 0 becomes 1 and all else stays as it is. (ONNX Runtime takes the
# addition of a number that is 0 in single precision for one of 0, and drops it.)
_TINY = 1e-30


_TOUCH = 1e-9
"""An overlap up to this is none: the area that two boxes beside each other share is rounded."""


def suppress(
    graph: Graph, corners: Value, scores: Value, labels: Value, K: int, iou_thresh: float
) -> Value:
    """The scores [B, K], but 0 where a better row of the same class suppresses one.

    corners: [B, 4, 2, K] float32, convex; scores: [B, K], falling, 0 in rows that are none;
    labels: [B, K]. An IoU above the threshold suppresses.
    """
    corners = (scores > 0).unsqueeze(1, 2).where(corners, 0)  # no area: meets nothing
    possible = possible_pairs(graph, corners, labels, K, iou_thresh)
    pairs = graph.op("NonZero", possible, dtype=np.int64)  # [3, P]: image, better, worse row
    above = overlaps_above(graph, corners, pairs, K, iou_thresh)
    none = possible.cast(np.float32) * 0
    matrix = graph.op("ScatterND", none, pairs.transpose(1, 0), above.cast(np.float32))
    keep = keep_greedily(graph, matrix, K)
    return keep.where(scores, 0)


def possible_pairs(graph: Graph, corners: Value, labels: Value, K: int, iou_thresh: float) -> Value:
    """Which pairs could have an IoU above the threshold, [B, K, K]: row i before row j."""
    sides = np.array([1])
    low = graph.op("ReduceMin", corners, sides, keepdims=0)  # [B, 2, K]
    high = graph.op("ReduceMax", corners, sides, keepdims=0)
    # about the first corner: far from the origin a product of coordinates has no digits left
    local = corners - corners.take(np.array([0]), axis=1)
    area = outline_area(graph, local).reshape(0, 1, -1)  # [B, 1, K]

    def across(kind: str, values: Value) -> Value:
        """Each row with each: [B, N, K] -> [B, N, K, K]."""
        return graph.op(kind, values.unsqueeze(3), values.unsqueeze(2))

    # an edge of no length is no overlap; the sides themselves may be rounded
    shared = across("Min", high) - across("Max", low)
    width, height = graph.op("Max", shared, 0).split([1, 1], axis=1)
    most = graph.op("Min", across("Min", area), width * height)
    union = across("Add", area) - most
    row = np.arange(K)
    earlier = graph.constant(row[:, None]) < graph.constant(row[None, :])
    enough = (most > union * (iou_thresh * (1 - _SLACK))) & (width * height > 0)
    same = labels.unsqueeze(2).equals(labels.unsqueeze(1))
    return enough.reshape(0, K, K) & same & earlier


def outline_area(graph: Graph, corners: Value) -> Value:
    """Area by the shoelace formula of corners [B, 4, 2, N] that are near the origin, [B, N]."""
    x, y = corners.split([1, 1], axis=2)
    following = np.array([1, 2, 3, 0])
    doubled = x * y.take(following, axis=1) - x.take(following, axis=1) * y
    total = graph.op("ReduceSum", doubled, np.array([1, 2]), keepdims=0)
    return graph.op("Abs", total) * 0.5


def overlaps_above(graph: Graph, corners: Value, pairs: Value, K: int, iou_thresh: float) -> Value:
    """For each pair [3, P] whether the IoU of its two boxes is above the threshold, [P]."""
    boxes = corners.transpose(0, 3, 1, 2).reshape(-1, 8).cast(np.float64)  # [B * K, 8]
    image, better, worse = pairs.split([1, 1, 1], axis=0)
    rows = graph.concat([image * K + better, image * K + worse], axis=0)  # [2, P]
    count = pairs.sides(2)[1]
    trips = count // PAIRS_AT_ONCE + 1
    # the last trip is filled up with pairs of the first row with itself
    missing = trips * PAIRS_AT_ONCE - count
    rows = graph.op("Pad", rows, graph.concat([np.array([0, 0, 0]), missing], axis=0))

    def trip(inner: Graph, number: Value) -> tuple[None, list[Value], list[Value]]:
        start = (number * PAIRS_AT_ONCE).reshape(1)
        end = start + PAIRS_AT_ONCE
        some = inner.op("Slice", inner.value(rows.name, np.int64), start, end, np.array([1]))
        both = inner.value(boxes.name, np.float64)
        both = inner.op("Gather", both, some, axis=0, dtype=np.float64)  # [2, P, 8]
        both = both.reshape(2, -1, 4, 2).transpose(0, 2, 3, 1)  # [2, 4, 2, P]
        return None, [], [pair_iou(inner, both) > max(iou_thresh, _TOUCH)]

    (above,) = graph.loop(trips.reshape(), [], [], trip)
    return graph.op("Slice", above.reshape(-1), np.array([0]), count, np.array([0]))


def pair_iou(graph: Graph, pairs: Value) -> Value:
    """IoU [P] of pairs of convex quadrilaterals [2, 4, 2, P] float64."""
    first = pairs.take(np.array([1]), axis=0).take(np.array([0]), axis=1)
    local = pairs - first  # about the first corner of B, which so is the origin
    area_a, area_b = outline_area(graph, local).split([1, 1], axis=0)  # [1, P] each
    a, b = local.split([1, 1], axis=0)
    most = graph.op("Min", area_a, area_b)
    shared = graph.op("Min", shared_area(graph, a, b), most)
    return (shared / (area_a + area_b - shared)).reshape(-1)


def shared_area(graph: Graph, a: Value, b: Value) -> Value:
    """Area that A and B share, [1, P]. a, b: [1, 4, 2, P], the first corner of B the origin."""
    px, py = a.split([1, 1], axis=2)  # [1, 4, 1, P]
    ex, ey = b.take(np.array([1, 2]), axis=1).transpose(1, 0, 2, 3).split([1, 1], axis=2)
    fx, fy = b.take(np.array([2, 3]), axis=1).transpose(1, 0, 2, 3).split([1, 1], axis=2)
    # [2, 4, 1, P]: the corners of A in the frame of each triangle (0, e, f) of B
    twice = ex * fy - ey * fx
    scale = graph.op("Reciprocal", twice.equals(0).where(1, twice))
    x = (px * fy - py * fx) * scale
    y = (ex * py - ey * px) * scale

    following = np.array([1, 2, 3, 0])
    x_end, y_end = x.take(following, axis=1), y.take(following, axis=1)
    left, right = graph.op("Clip", x, 0, 1), graph.op("Clip", x_end, 0, 1)
    width, rise = x_end - x, y_end - y
    slope = rise / width.equals(0).where(1, width)
    y_left = y + (left - x) * slope
    y_right = y_end + (right - x_end) * slope
    below = mean_above_zero(graph, y_left, y_right)
    beyond = mean_above_zero(graph, y_left + left - 1, y_right + right - 1)
    parts = graph.op("ReduceSum", (right - left) * (below - beyond), np.array([1, 2]), keepdims=0)
    # [2, P], and both of one sign, as B turns one way
    return graph.op("Abs", graph.op("ReduceSum", parts * twice.reshape(2, -1), np.array([0])))


def mean_above_zero(graph: Graph, start: Value, end: Value) -> Value:
    """Mean of max(value, 0) along the line from `start` to `end`."""
    start_above, end_above = graph.op("Max", start, 0), graph.op("Max", end, 0)
    above = graph.op("Abs", start_above - end_above) + _TINY
    share = above / (graph.op("Abs", start - end) + _TINY)
    return (start_above + end_above) * 0.5 * share


def keep_greedily(graph: Graph, matrix: Value, K: int) -> Value:
    """Which rows stay, [B, K]. matrix: [B, K, K], 1 where row i, if it stays, suppresses row j.

    A row stays where no row before it that stays suppresses it. Each trip gets at least one more
    row of each chain right, and what does not change any more is the answer.
    """
    everything = graph.op("ReduceMax", matrix, np.array([1]), keepdims=1) * 0 + 1  # [B, 1, K]

    def trip(inner: Graph, number: Value, keep: Value) -> tuple[Value, list[Value], list[Value]]:
        hits = inner.op("MatMul", keep, inner.value(matrix.name, np.float32))
        after = (hits < 0.5).cast(np.float32)
        changes = inner.op("ReduceSum", inner.op("Abs", after - keep), keepdims=0)
        return changes > 0, [after], []

    (keep,) = graph.loop(K + 1, [everything], [[None, 1, K]], trip)
    return (keep > 0.5).reshape(0, -1)

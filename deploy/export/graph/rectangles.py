"""Boxes that are coded as rectangles, in ONNX, as `models.box_coding` decodes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.box_coding import AGREEMENT, LEAST_HALF_SIDE, NEIGHBORS, SQUARE_WEIGHT, TINY

if TYPE_CHECKING:
    from deploy.export.graph.builder import Graph, Value  # it imports onnx


def decode_rectangles(graph: Graph, parts: Value) -> Value:
    """Turn the boxes around the peaks into the output of a network that is trained with vectors.

    Args:
        graph: The graph to add to.
        parts: The boxes of the 3x3 cells around each peak, [B, 9, 7, K] float32, as
            `box_coding.agreeing_mean` takes them, and zeros in cells beyond the border.

    Returns:
        Vectors and size, offset of the center, and 1 in place of `cls_theta`, [B, 13, K].
    """
    xx, xy, yy, cos4, sin4, offset = agreeing_mean(graph, parts).split([1] * 5 + [2], axis=1)
    vectors = _vectors(graph, xx, xy, yy, cos4, sin4)
    rotated = xx * 0 + 1
    return graph.concat([*vectors, offset, rotated], axis=1)


def agreeing_mean(graph: Graph, parts: Value) -> Value:
    """Average the boxes [B, 9, 7, K] of 3x3 cells, see `models.box_coding`; [B, 7, K]."""
    steps = np.zeros((9, 7, 1), np.float32)
    steps[:, [6, 5], 0] = NEIGHBORS
    parts = parts + steps
    own = parts.take(np.array([4]), axis=1)
    side = (own.take(np.array([0]), axis=2) + own.take(np.array([2]), axis=2)) / 2
    side = graph.op("Max", side * side, LEAST_HALF_SIDE * LEAST_HALF_SIDE)
    error = parts - own
    xx, xy, yy, _, x, y = (error * error).split([1, 1, 1, 2, 1, 1], axis=2)
    error = (xx + yy) / 2 + xy + x + y
    weight = graph.op("Max", 1 - error / (side * AGREEMENT), 0.0)
    total = graph.op("ReduceSum", weight, np.array([1]), keepdims=0)
    return graph.op("ReduceSum", parts * weight, np.array([1]), keepdims=0) / total


def _vectors(
    graph: Graph, xx: Value, xy: Value, yy: Value, cos4: Value, sin4: Value
) -> list[Value]:
    """Return the ten channels [B, 1, K] of `models.box_coding.vectors_of_parts`."""
    middle, half = (xx + yy) / 2, (xx - yy) / 2
    one, minus_one = graph.constant(1.0, np.float32), graph.constant(-1.0, np.float32)

    length4 = graph.op("Sqrt", cos4 * cos4 + sin4 * sin4)
    larger, steep = length4 + graph.op("Abs", cos4) + TINY, cos4 < 0
    x, y = steep.where(sin4, larger), steep.where(larger, sin4)
    scale = graph.op("Abs", middle) * SQUARE_WEIGHT * length4 / graph.op("Sqrt", x * x + y * y)
    scale = scale * (half * x + xy * y < 0).where(minus_one, one)
    double_x, double_y = half + scale * x, xy + scale * y

    double = graph.op("Sqrt", double_x * double_x + double_y * double_y) + TINY
    difference = (half * double_x + xy * double_y) / double
    sign = (double_x < 0).where(minus_one, one)
    x, y = double + graph.op("Abs", double_x), double_y * sign
    length = graph.op("Sqrt", x * x + y * y)
    x, y = x / length, y / length
    along = graph.op("Max", middle + sign * difference, LEAST_HALF_SIDE)
    across = graph.op("Max", middle - sign * difference, LEAST_HALF_SIDE)
    rx, ry, by = along * x, along * y, across * x
    bx = graph.op("Neg", across * y)
    down = ry > 0
    rx, bx = down.where(graph.op("Neg", bx), rx), down.where(rx, bx)
    ry, by = down.where(graph.op("Neg", by), ry), down.where(ry, by)
    tx, ty, lx, ly = (graph.op("Neg", one) for one in (bx, by, rx, ry))
    width = (graph.op("Abs", rx) + graph.op("Abs", bx)) * 2
    height = (graph.op("Abs", ry) + graph.op("Abs", by)) * 2
    return [tx, ty, rx, ry, bx, by, lx, ly, width, height]

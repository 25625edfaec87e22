"""Boxes that are coded as rectangles, in ONNX: `models.box_coding.rectangle_vectors`."""

from __future__ import annotations

import numpy as np

from deploy.export.graph.builder import Graph, Value
from models.box_coding import LEAST_HALF_SIDE, SQUARE_WEIGHT, TINY


def decode_rectangles(graph: Graph, values: Value) -> Value:
    """Turn the outputs of the heads into those of a network that is trained with vectors.

    Args:
        graph: The graph to add to.
        values: `wh`, `reg` and `cls_theta` at the peaks' cells, [B, 13, K] float32.

    Returns:
        The same with vectors and size of the rectangles, and `cls_theta` 1, [B, 13, K].
    """
    *vectors, cos4, sin4, offset, theta = values.split([1] * 10 + [2, 1], axis=1)
    tx, ty, rx, ry, bx, by, lx, ly = vectors
    xx, xy, yy = (rx - lx) / 2, (ry - ly + bx - tx) / 4, (by - ty) / 2
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
    rotated = theta * 0 + 1
    return graph.concat([tx, ty, rx, ry, bx, by, lx, ly, width, height, offset, rotated], axis=1)

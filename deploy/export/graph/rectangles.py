"""Boxes that are coded as rectangles, in ONNX: `models.box_coding.rectangle_vectors`."""

from __future__ import annotations

import numpy as np

from deploy.export.graph.builder import Graph, Value
from models.box_coding import LEAST_HALF_SIDE, TINY


def decode_rectangles(graph: Graph, values: Value) -> Value:
    """Turn the outputs of the heads into those of a network that is trained with vectors.

    Args:
        graph: The graph to add to.
        values: `wh`, `reg` and `cls_theta` at the peaks' cells, [B, 13, K] float32.

    Returns:
        The same with vectors and size of the rectangles, and `cls_theta` 1, [B, 13, K].
    """
    *vectors, _, offset, theta = values.split([1] * 8 + [2, 2, 1], axis=1)
    tx, ty, rx, ry, bx, by, lx, ly = vectors
    xx, xy, yy = (rx - lx) / 2, (ry - ly + bx - tx) / 4, (by - ty) / 2
    middle, half = (xx + yy) / 2, (xx - yy) / 2
    radius = graph.op("Sqrt", half * half + xy * xy)
    sign = (half < 0).where(np.float32(-1), graph.constant(1.0, np.float32))
    x = radius + graph.op("Abs", half) + TINY
    y = xy * sign
    length = graph.op("Sqrt", x * x + y * y)
    x, y = x / length, y / length
    along = graph.op("Max", middle + sign * radius, LEAST_HALF_SIDE)
    across = graph.op("Max", middle - sign * radius, LEAST_HALF_SIDE)
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

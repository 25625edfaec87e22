"""A picture as bytes -> the network's input, and boxes back, in ONNX: `boxes.Letterbox` in a graph.

The bytes are those of `cv2.resize` to the last bit, which computes with weights of 11 bits in
integers: so the exported file sees what training and testing have seen. Everything outside the
scaled picture gets weights of 0, which makes it black, and all shapes but the picture's fixed. In a
runtime that computes float64 in float32, OpenVINO for one, a few bytes in a million are off by 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.export.graph.builder import Graph, Value

_UNIT = 2048
"""A weight of 1 in the fixed-point arithmetic of OpenCV's bilinear resize."""


@dataclass(frozen=True)
class Side:
    """How one dimension of the picture lies in the input's `size` pixels."""

    size: int
    source: Value
    """[1] int64, the picture's."""
    inner: Value
    """[1] int64, of the scaled picture."""
    pad: Value
    """[1] int64, black pixels in front."""

    @property
    def scale(self) -> Value:
        """[1] float64, input pixels a source pixel."""
        return self.inner.cast(np.float64) / self.source.cast(np.float64)


def fit(graph: Graph, picture: Value, input_hw: tuple[int, int]) -> tuple[Side, Side]:
    """Rows and columns of a picture [B, h, w, 3] in the input, as `Letterbox.fit` has them."""
    (height, width), (source_h, source_w) = input_hw, picture.sides(4)[1:3]
    fills_width = source_h * width <= source_w * height
    inner_h = fills_width.where(_rounded(graph, source_h * width, source_w), height)
    inner_w = fills_width.where(width, _rounded(graph, source_w * height, source_h))
    return tuple(
        Side(size, source, inner, (size - inner) // 2)
        for size, source, inner in ((height, source_h, inner_h), (width, source_w, inner_w))
    )


def _rounded(graph: Graph, numerator: Value, denominator: Value) -> Value:
    """The quotient as the nearest whole number, a half upwards, but at least 1."""
    return graph.op("Max", (numerator * 2 + denominator) // (denominator * 2), 1)


def letterbox(graph: Graph, picture: Value, rows: Side, columns: Side, rgb: bool) -> Value:
    """[B, h, w, 3] uint8 -> [B, 3, H, W] float32 as the network wants it."""
    (top, bottom), (top_weight, bottom_weight) = _neighbours(graph, rows, at_border=False)
    (left, right), (left_weight, right_weight) = _neighbours(graph, columns, at_border=True)

    def line(index: Value) -> Value:
        pixels = picture.take(index, axis=1)
        left_part = pixels.take(left, axis=2).cast(np.int32) * left_weight.reshape(-1, 1)
        right_part = pixels.take(right, axis=2).cast(np.int32) * right_weight.reshape(-1, 1)
        return (left_part + right_part) // 16

    upper = line(top) * top_weight.reshape(-1, 1, 1) // 65536
    lower = line(bottom) * bottom_weight.reshape(-1, 1, 1) // 65536
    bytes_ = ((upper + lower + 2) // 4).transpose(0, 3, 1, 2)
    if rgb:
        bytes_ = bytes_.take(np.array([2, 1, 0]), axis=1)
    return bytes_.cast(np.float32) / 255 - 0.5


def to_source(graph: Graph, corners: Value, rows: Side, columns: Side) -> Value:
    """Corners [B, 4, 2, K] of the input in pixels of the picture."""
    pad = graph.concat([columns.pad, rows.pad], axis=0).cast(np.float64)
    scale = graph.concat([columns.scale, rows.scale], axis=0)
    moved = corners.cast(np.float64) - pad.reshape(1, 1, 2, 1)
    return (moved / scale.reshape(1, 1, 2, 1)).cast(np.float32)


def _neighbours(
    graph: Graph, side: Side, at_border: bool
) -> tuple[tuple[Value, Value], tuple[Value, Value]]:
    """For each pixel of the input the two pixels of the source around it, and their weights.

    at_border: where there is only one, it gets the whole weight. OpenCV does so with columns; of
    rows it takes the one twice, which rounds otherwise.
    """
    place = graph.constant(np.arange(side.size)) - side.pad
    last = side.source - 1
    # (place + 0.5) * source / inner - 0.5, its whole part in integers: what is left to divide is
    # small, and good enough also where a runtime computes float64 in float32, as OpenVINO does
    above = (place * 2 + 1) * side.source + side.inner  # one more than the position, times `unit`
    unit = side.inner * 2
    whole = above // unit
    rest = (above - whole * unit).cast(np.float64) / unit.cast(np.float64)
    position = ((whole - 1).cast(np.float64) + rest).cast(np.float32)
    floor = graph.op("Floor", position)
    share = position - floor
    first = floor.cast(np.int64)
    if at_border:
        share = ((first < 0) | (last <= first)).where(0, share)
    inside = ~(place < 0) & (place < side.inner)
    weights = [
        inside.where(graph.op("Round", part * float(_UNIT)), 0).cast(np.int32)
        for part in (1 - share, share)
    ]
    neighbours = [graph.op("Min", graph.op("Max", index, 0), last) for index in (first, first + 1)]
    return (neighbours[0], neighbours[1]), (weights[0], weights[1])

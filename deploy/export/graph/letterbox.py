"""The letterbox in ONNX: a uint8 image -> the network's input, and corners back to the image.

It is `structures.letterbox.Letterbox` in a graph. The pixels are those of `cv2.resize` to the last
bit, which computes in integers with 11-bit weights: so the exported file sees what training and
testing saw. Everything outside the scaled image gets weights of 0, which makes it black and keeps
all shapes but the image's fixed. In a runtime that computes float64 in float32, such as OpenVINO, a
few pixel values in a million are off by 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.export.graph.builder import Graph, Value

_FIXED_POINT_ONE = 2048
"""A weight of 1 in the fixed-point arithmetic of OpenCV's bilinear resize."""


@dataclass(frozen=True)
class FittedAxis:
    """How one dimension of the image lies in the network's input.

    Attributes:
        size: Pixels of the input.
        source: [1] int64, pixels of the source image.
        scaled: [1] int64, pixels of the scaled image.
        pad: [1] int64, black pixels in front of it.
    """

    size: int
    source: Value
    scaled: Value
    pad: Value

    @property
    def scale(self) -> Value:
        """[1] float64, input pixels per source pixel."""
        return self.scaled.cast(np.float64) / self.source.cast(np.float64)


def fit(
    graph: Graph, image: Value, input_hw: tuple[int, int], squash: bool = False
) -> tuple[FittedAxis, FittedAxis]:
    """Return how rows and columns of an image [B, h, w, 3] lie in the input, as `Letterbox.fit`."""
    (height, width), (source_h, source_w) = input_hw, image.dims(4)[1:3]
    if squash:
        scaled_h, scaled_w = (graph.constant(np.array([side])) for side in input_hw)
    else:
        fills_width = source_h * width <= source_w * height
        scaled_h = fills_width.where(_round_divide(graph, source_h * width, source_w), height)
        scaled_w = fills_width.where(width, _round_divide(graph, source_w * height, source_h))
    return tuple(
        FittedAxis(size, source, scaled, (size - scaled) // 2)
        for size, source, scaled in ((height, source_h, scaled_h), (width, source_w, scaled_w))
    )


def _round_divide(graph: Graph, numerator: Value, denominator: Value) -> Value:
    """Return the quotient rounded to the nearest integer, halves upward, but at least 1."""
    return graph.op("Max", (numerator * 2 + denominator) // (denominator * 2), 1)


def letterbox(
    graph: Graph, image: Value, rows: FittedAxis, columns: FittedAxis, rgb: bool
) -> Value:
    """Scale, pad and normalize an image.

    Args:
        graph: The graph to add to.
        image: [B, h, w, 3] uint8.
        rows: How its rows lie in the input.
        columns: How its columns lie in the input.
        rgb: Whether its channels are RGB; the network's are BGR.

    Returns:
        The network's input, [B, 3, H, W] float32.
    """
    (top, bottom), (top_weight, bottom_weight) = _neighbors(graph, rows, at_border=False)
    (left, right), (left_weight, right_weight) = _neighbors(graph, columns, at_border=True)

    def line(index: Value) -> Value:
        pixels = image.take(index, axis=1)
        left_part = pixels.take(left, axis=2).cast(np.int32) * left_weight.reshape(-1, 1)
        right_part = pixels.take(right, axis=2).cast(np.int32) * right_weight.reshape(-1, 1)
        return (left_part + right_part) // 16

    upper = line(top) * top_weight.reshape(-1, 1, 1) // 65536
    lower = line(bottom) * bottom_weight.reshape(-1, 1, 1) // 65536
    scaled = ((upper + lower + 2) // 4).transpose(0, 3, 1, 2)
    if rgb:
        scaled = scaled.take(np.array([2, 1, 0]), axis=1)
    return scaled.cast(np.float32) / 255 - 0.5


def to_source(graph: Graph, corners: Value, rows: FittedAxis, columns: FittedAxis) -> Value:
    """Move corners [B, 4, 2, K] from pixels of the input to pixels of the source image."""
    pad = graph.concat([columns.pad, rows.pad], axis=0).cast(np.float64)
    scale = graph.concat([columns.scale, rows.scale], axis=0)
    moved = corners.cast(np.float64) - pad.reshape(1, 1, 2, 1)
    return (moved / scale.reshape(1, 1, 2, 1)).cast(np.float32)


def _neighbors(
    graph: Graph, axis: FittedAxis, at_border: bool
) -> tuple[tuple[Value, Value], tuple[Value, Value]]:
    """Return the two source pixels around each input pixel, and their weights.

    Args:
        graph: The graph to add to.
        axis: The dimension.
        at_border: Whether a source pixel without a second one beside it gets the whole weight. That
            is how OpenCV treats columns; of rows it takes the one pixel twice, which rounds
            differently.
    """
    place = graph.constant(np.arange(axis.size)) - axis.pad
    last = axis.source - 1
    # The position is (place + 0.5) * source / scaled - 0.5. Its integer part is computed in
    # integers: what is left to divide is small, and so is accurate enough also in a runtime that
    # computes float64 in float32, as OpenVINO does.
    above = (place * 2 + 1) * axis.source + axis.scaled  # (position + 1) times `unit`
    unit = axis.scaled * 2
    whole = above // unit
    rest = (above - whole * unit).cast(np.float64) / unit.cast(np.float64)
    position = ((whole - 1).cast(np.float64) + rest).cast(np.float32)
    floor = graph.op("Floor", position)
    share = position - floor
    first = floor.cast(np.int64)
    if at_border:
        share = ((first < 0) | (last <= first)).where(0, share)
    inside = ~(place < 0) & (place < axis.scaled)
    weights = [
        inside.where(graph.op("Round", part * float(_FIXED_POINT_ONE)), 0).cast(np.int32)
        for part in (1 - share, share)
    ]
    neighbors = [graph.op("Min", graph.op("Max", index, 0), last) for index in (first, first + 1)]
    return (neighbors[0], neighbors[1]), (weights[0], weights[1])

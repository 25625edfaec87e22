"""The decoder in ONNX: heat map and what the other heads say at its peaks -> boxes.

All shapes are fixed. It makes the same boxes as `decoder.DecDecoder`, from the same numbers to the
last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.export.graph.builder import Graph, Value
from structures.boxes import STRIDE, WH

MAX_K = 3840
"""What TensorRT's TopK takes at most."""

# Edge midpoints t, r, b, l of an axis-aligned box, in units of its width and height.
_UPRIGHT = np.array([[0, -0.5], [0.5, 0], [0, 0.5], [-0.5, 0]], np.float32)
# The corners tr, br, bl, tl are the sums of these two midpoints.
_FIRST, _SECOND = np.array([0, 2, 2, 0]), np.array([1, 1, 3, 3])
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Peaks:
    """The best K local maxima of each image, by falling score, ties by (class, y, x).

    Rows beyond the number of maxima have the score 0, and a cell that is within the map.
    """

    scores: Value
    """[B, K] float32."""
    labels: Value
    """[B, K] int64."""
    cells: Value
    """[B, K] int64, `y * W + x`."""
    width: Value
    """[1] int64, W."""


@dataclass(frozen=True)
class Boxes:
    """In cells of the stride-4 grid, the rows last: planes of numbers are what runtimes do fast."""

    center: Value
    """[B, 1, 2, K]."""
    midpoints: Value
    """[B, 4, 2, K], t, r, b, l, absolute."""


def find_peaks(graph: Graph, heatmap: Value, K: int) -> Peaks:
    """heatmap: [B, C, H, W] after the sigmoid."""
    around = graph.op("MaxPool", heatmap, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    peaks = graph.op("Flatten", heatmap.equals(around).where(heatmap, 0), axis=1)
    # K zeros more, so that there are K entries however small the map is
    scores, index = graph.top_k(graph.op("Pad", peaks, np.array([0, 0, 0, K])), K)
    _, _, height, width = heatmap.sides(4)
    area = height * width
    return Peaks(scores, index // area, index % area, width)


def find_boxes(graph: Graph, values: Value, peaks: Peaks, theta_thresh: float) -> Boxes:
    """values: of `wh`, `reg` and `cls_theta` at the peaks' cells, [B, 13, K]."""
    vectors, size, offset, theta = values.split([WH["size"].start, 2, 2, 1], axis=1)

    x, y = peaks.cells % peaks.width, peaks.cells // peaks.width
    grid = graph.concat([x.unsqueeze(1), y.unsqueeze(1)], axis=1).cast(np.float32)
    center = (grid + offset).unsqueeze(1)
    turned = vectors.reshape(0, 4, 2, -1)
    upright = size.unsqueeze(1) * _UPRIGHT[None, :, :, None]
    vectors = (theta.unsqueeze(1) > theta_thresh).where(turned, upright)
    return Boxes(center, center + vectors)


def corners_of(graph: Graph, boxes: Boxes) -> Value:
    """Corners tr, br, bl, tl in input pixels, [B, 4, 2, K]."""
    # back from absolute midpoints: the eager decoder's roundings
    vectors = boxes.midpoints - boxes.center
    sums = vectors.take(_FIRST, axis=1) + vectors.take(_SECOND, axis=1)
    return (boxes.center + sums) * STRIDE


def only_found(graph: Graph, corners: Value, scores: Value, conf_thresh: Value) -> Value:
    """The scores [B, K], but 0 where they are not above the threshold, and where the box
    (corners [B, 4, 2, K]) of a broken model is not finite.
    """
    largest = graph.op("ReduceMax", graph.op("Abs", corners), np.array([1, 2]), keepdims=0)
    # false for NaN as well
    return ((scores > conf_thresh) & (largest <= _LARGEST)).where(scores, 0)


def as_rows(
    graph: Graph, corners: Value, scores: Value, labels: Value, K: int
) -> tuple[Value, Value, Value]:
    """The three outputs. Rows of a score above 0 come first, in their order; others are empty.

    corners: [B, 4, 2, K]; scores, labels: [B, K].

    Returns:
        corners [B, K, 4, 2], scores [B, K], labels [B, K], 0, 0 and -1 in empty rows.
    """
    scores, order = graph.top_k(scores, K)
    found = scores > 0
    labels = graph.op("GatherElements", labels, order, axis=1)
    rows = graph.op("Expand", order.unsqueeze(1), np.array([1, 8, 1]))
    corners = graph.op("GatherElements", corners.reshape(0, 8, -1), rows, axis=2)
    corners = found.unsqueeze(1).where(corners, 0)
    return corners.reshape(0, 4, 2, -1).transpose(0, 3, 1, 2), scores, found.where(labels, -1)


def light_fork_rows(graph: Graph, peaks: Peaks, boxes: Boxes, classes: int) -> Value:
    """[B, K, 12] in cells: centre, midpoints t, r, b, l (absolute), score, class. No threshold."""
    # of the rows beyond the map's end the class would be none of the model's
    labels = graph.op("Min", peaks.labels, classes - 1).cast(np.float32)
    columns = [
        boxes.center.reshape(0, 2, -1),
        boxes.midpoints.reshape(0, 8, -1),
        peaks.scores.unsqueeze(1),
        labels.unsqueeze(1),
    ]
    return graph.concat(columns, axis=1).transpose(0, 2, 1)

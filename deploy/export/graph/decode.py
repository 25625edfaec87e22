"""The decoder in ONNX: the heat map, and the other heads at its peaks -> boxes.

All shapes are fixed. From the same numbers it makes the same boxes as `decoder.DecDecoder`, to the
last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.export.graph.builder import Graph, Value
from structures.boxes import CORNER_VECTORS, STRIDE, UPRIGHT_MIDPOINTS, WH

_MAX_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Peaks:
    """The best K local maxima of each image, by descending score, ties by (class, y, x).

    Rows beyond the number of maxima have a score of 0 and a cell within the map.

    Attributes:
        scores: [B, K] float32.
        labels: [B, K] int64.
        cells: [B, K] int64, `y * W + x`.
        width: [1] int64, W.
    """

    scores: Value
    labels: Value
    cells: Value
    width: Value


@dataclass(frozen=True)
class Boxes:
    """Boxes in cells of the stride-4 grid.

    K is the last dimension, since runtimes are fast at whole planes of numbers.

    Attributes:
        center: [B, 1, 2, K].
        midpoints: [B, 4, 2, K], the edge midpoints t, r, b, l in absolute coordinates.
    """

    center: Value
    midpoints: Value


def find_peaks(graph: Graph, heatmap: Value, K: int) -> Peaks:
    """Find the best K local maxima of a heat map [B, C, H, W] (after the sigmoid)."""
    around = graph.op("MaxPool", heatmap, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    peaks = graph.op("Flatten", heatmap.equals(around).where(heatmap, 0), axis=1)
    # K extra zeros, so that there are K entries however small the map is.
    scores, index = graph.top_k(graph.op("Pad", peaks, np.array([0, 0, 0, K])), K)
    _, _, height, width = heatmap.dims(4)
    area = height * width
    return Peaks(scores, index // area, index % area, width)


def decode_boxes(graph: Graph, values: Value, peaks: Peaks, theta_thresh: float) -> Boxes:
    """Decode the boxes at the peaks.

    Args:
        graph: The graph to add to.
        values: `wh`, `reg` and `cls_theta` at the peaks' cells, [B, 13, K].
        peaks: The peaks.
        theta_thresh: Above it a box is turned and its four vectors are used, else its upright
            rectangle.
    """
    vectors, size, offset, theta = values.split([WH["size"].start, 2, 2, 1], axis=1)

    x, y = peaks.cells % peaks.width, peaks.cells // peaks.width
    grid = graph.concat([x.unsqueeze(1), y.unsqueeze(1)], axis=1).cast(np.float32)
    center = (grid + offset).unsqueeze(1)
    turned = vectors.reshape(0, 4, 2, -1)
    upright = size.unsqueeze(1) * np.array(UPRIGHT_MIDPOINTS, np.float32)[None, :, :, None]
    vectors = (theta.unsqueeze(1) > theta_thresh).where(turned, upright)
    return Boxes(center, center + vectors)


def box_corners(graph: Graph, boxes: Boxes) -> Value:
    """Return the corners tr, br, bl, tl in input pixels, [B, 4, 2, K]."""
    # Going back from absolute midpoints rounds as the eager decoder does.
    vectors = boxes.midpoints - boxes.center
    first, second = np.array(CORNER_VECTORS).T
    sums = vectors.take(first, axis=1) + vectors.take(second, axis=1)
    return (boxes.center + sums) * STRIDE


def apply_threshold(graph: Graph, corners: Value, scores: Value, conf_thresh: Value) -> Value:
    """Set the scores of rows that are no detections to 0.

    Those are rows whose score is not above the threshold, and boxes of a broken model that are not
    finite.

    Args:
        graph: The graph to add to.
        corners: [B, 4, 2, K].
        scores: [B, K].
        conf_thresh: A scalar.

    Returns:
        The scores, [B, K].
    """
    largest = graph.op("ReduceMax", graph.op("Abs", corners), np.array([1, 2]), keepdims=0)
    # The second comparison is false for NaN as well.
    return ((scores > conf_thresh) & (largest <= _MAX_FLOAT32)).where(scores, 0)


def pack_rows(
    graph: Graph, corners: Value, scores: Value, labels: Value, K: int
) -> tuple[Value, Value, Value]:
    """Make the three outputs: rows with a score above 0 in their order, then empty rows.

    Args:
        graph: The graph to add to.
        corners: [B, 4, 2, K].
        scores: [B, K].
        labels: [B, K].
        K: Number of rows.

    Returns:
        Corners [B, K, 4, 2], scores [B, K] and labels [B, K], with 0, 0 and -1 in empty rows.
    """
    scores, order = graph.top_k(scores, K)
    found = scores > 0
    labels = graph.op("GatherElements", labels, order, axis=1)
    rows = graph.op("Expand", order.unsqueeze(1), np.array([1, 8, 1]))
    corners = graph.op("GatherElements", corners.reshape(0, 8, -1), rows, axis=2)
    corners = found.unsqueeze(1).where(corners, 0)
    return corners.reshape(0, 4, 2, -1).transpose(0, 3, 1, 2), scores, found.where(labels, -1)


def light_fork_rows(graph: Graph, peaks: Peaks, boxes: Boxes, num_classes: int) -> Value:
    """Return the light fork's rows [B, K, 12] in cells, without a threshold.

    The columns are center, midpoints t, r, b, l (absolute), score and class.
    """
    # Rows beyond the end of the map would have a class that the model does not have.
    labels = graph.op("Min", peaks.labels, num_classes - 1).cast(np.float32)
    columns = [
        boxes.center.reshape(0, 2, -1),
        boxes.midpoints.reshape(0, 8, -1),
        peaks.scores.unsqueeze(1),
        labels.unsqueeze(1),
    ]
    return graph.concat(columns, axis=1).transpose(0, 2, 1)

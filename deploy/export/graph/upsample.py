"""2x upsampling followed by a 3x3 convolution, with a quarter of the products.

Both steps are linear, and a 3x3 convolution is the sum of nine 1x1 convolutions of maps that are
shifted by a cell. So the nine are applied to the coarse map, which has a quarter of the cells, and
their outputs are upsampled, shifted and added. That trades products for sums, which are limited by
memory, and pays where the convolution has many input channels: in the merges of the larger ResNets.
Quantized networks are left as they are, as nine roundings would take the place of one.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deploy.export.graph.builder import Graph, Value

MIN_CHANNELS = 256
"""Channels of the coarse map from which on this pays. With fewer the sums cost as much as they
save, on two cores with AVX2."""


def convolve_before_upsampling(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a float32 network of `export_network` with such convolutions replaced."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    weights = {one.name: one for one in copied.graph.initializer}
    users = {name: node for node in copied.graph.node for name in node.input}
    graph = Graph("upsampled.")
    nodes: list[onnx.NodeProto] = []
    replaced = set()
    for node in copied.graph.node:
        if node.op_type == "Resize":
            convolution = users[node.output[0]]
            weight = numpy_helper.to_array(weights[convolution.input[1]])
            if weight.shape[1] >= MIN_CHANNELS:
                _check(node, convolution, weights)
                bias = numpy_helper.to_array(weights[convolution.input[2]])
                coarse = graph.value(node.input[0], np.float32)
                result = upsampled_convolution(graph, coarse, weight, bias)
                nodes += graph.nodes
                graph.nodes.clear()
                # Keep the old name for the nodes that follow.
                name = f"{result.name}_result"
                nodes.append(helper.make_node("Identity", [result.name], convolution.output, name))
                replaced.add(convolution.output[0])
                continue
        if node.output[0] not in replaced:
            nodes.append(node)
    del copied.graph.node[:]
    copied.graph.node.extend(nodes)
    needed = {name for node in nodes for name in node.input}
    kept = [one for one in copied.graph.initializer if one.name in needed]
    del copied.graph.initializer[:]
    copied.graph.initializer.extend([*kept, *graph.initializers])
    return copied


def _check(
    resize: onnx.NodeProto, convolution: onnx.NodeProto, weights: dict[str, onnx.TensorProto]
) -> None:
    """Raise ValueError unless these are 2x bilinear upsampling and a 3x3 convolution."""
    attributes = {one.name: helper.get_attribute_value(one) for one in resize.attribute}
    scales = numpy_helper.to_array(weights[resize.input[2]])
    shape = weights[convolution.input[1]].dims
    bilinear = attributes.get("mode") == b"linear" and attributes.get(
        "coordinate_transformation_mode"
    ) in (b"half_pixel", b"pytorch_half_pixel")
    if not (bilinear and list(scales) == [1, 1, 2, 2] and list(shape[2:]) == [3, 3]):
        raise ValueError(f"{resize.name} and {convolution.name} are not a merge of this network")


def upsampled_convolution(
    graph: Graph, coarse: Value, weight: np.ndarray, bias: np.ndarray
) -> Value:
    """Upsample a map to twice its size (bilinear) and convolve it.

    Args:
        graph: The graph to add to.
        coarse: [B, C, h, w].
        weight: [M, C, 3, 3], of a convolution padded with zeros.
        bias: [M].

    Returns:
        [B, M, 2 h, 2 w].
    """
    channels = weight.shape[0]
    taps = weight.transpose(2, 3, 0, 1).reshape(9 * channels, -1, 1, 1)
    _, _, _, width = coarse.dims(4)
    taps = graph.op("Conv", coarse, np.ascontiguousarray(taps))
    rows = taps.split([3 * channels] * 3, axis=1)
    even, odd = _upsample_and_sum(graph, rows, axis=2)
    both = graph.concat([even.unsqueeze(3), odd.unsqueeze(3)], axis=3)
    columns = both.reshape(0, 3 * channels, -1, width).split([channels] * 3, axis=1)
    even, odd = _upsample_and_sum(graph, columns, axis=3)
    both = graph.concat([even.unsqueeze(4), odd.unsqueeze(4)], axis=4)
    return both.reshape(0, channels, 0, -1) + bias[:, None, None]


def _upsample_and_sum(graph: Graph, taps: tuple[Value, ...], axis: int) -> tuple[Value, Value]:
    """Upsample the maps of three taps along an axis and sum them as a convolution does.

    Upsampling is bilinear with the border repeated; the convolution sees 0 beyond the border.

    An upsampled map y has 1/4 y[i - 1] + 3/4 y[i] at 2i and 3/4 y[i] + 1/4 y[i + 1] at 2i + 1. The
    first tap is read one cell earlier, the last one cell later. What that makes of the cells i - 1,
    i and i + 1 is written out here. At the border, the missing cell is set so that the tap that
    reads beyond it counts as 0.

    Args:
        graph: The graph to add to.
        taps: The three taps' maps, with n cells along the axis.
        axis: The axis.

    Returns:
        The even and the odd cells, n each.
    """
    quarter_front, quarter_middle, quarter_behind = (one * 0.25 for one in taps)
    three_front, three_middle, three_behind = (one * 0.75 for one in taps)
    first, last = np.array([0]), np.array([-1])

    def cells(values: Value, which: np.ndarray) -> Value:
        return values.take(which, axis=axis)

    def before(values: Value, missing: Value) -> Value:
        """Return cell i - 1 at i."""
        return graph.concat([missing, _slice(graph, values, axis, 0, -1)], axis=axis)

    def after(values: Value, missing: Value) -> Value:
        """Return cell i + 1 at i."""
        end = np.iinfo(np.int64).max
        return graph.concat([_slice(graph, values, axis, 1, end), missing], axis=axis)

    even = (
        before(
            three_front + quarter_middle,
            cells(quarter_middle, first) - cells(quarter_front, first),
        )
        + (quarter_front + three_middle + three_behind)
        + after(quarter_behind, cells(quarter_behind, last))
    )
    odd = (
        before(quarter_front, cells(quarter_front, first))
        + (three_front + three_middle + quarter_behind)
        + after(
            quarter_middle + three_behind,
            cells(quarter_middle, last) - cells(quarter_behind, last),
        )
    )
    return even, odd


def _slice(graph: Graph, values: Value, axis: int, start: int, end: int) -> Value:
    return graph.op("Slice", values, np.array([start]), np.array([end]), np.array([axis]))

"""A map brought up to twice its size, then a 3x3 convolution: the same by a quarter the products.

Both steps are linear, and a 3x3 convolution is the sum of nine 1x1 ones of maps that are shifted by
a cell. So the nine are taken of the map as it is, which has a quarter of the cells, and what they
give is brought up, shifted and added. The sums cost memory's time in place of products, which pays
where the convolution takes many channels: in the merges of the larger ResNets. Quantised networks
are left as they are, as nine roundings would take the place of one.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deploy.export.graph.builder import Graph, Value

LEAST_CHANNELS = 256
"""Of the coarse map. With fewer the sums cost as much as they save, on two cores with AVX2."""


def rewrite(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a float32 network of `export_network` in which such convolutions are replaced."""
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
            if weight.shape[1] >= LEAST_CHANNELS:
                _check(node, convolution, weights)
                bias = numpy_helper.to_array(weights[convolution.input[2]])
                coarse = graph.value(node.input[0], np.float32)
                result = upsampled_convolution(graph, coarse, weight, bias)
                nodes += graph.nodes
                graph.nodes.clear()
                # under its old name, for what stands behind it
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
    """ValueError where they are not what is replaced here."""
    how = {one.name: helper.get_attribute_value(one) for one in resize.attribute}
    scales = numpy_helper.to_array(weights[resize.input[2]])
    shape = weights[convolution.input[1]].dims
    bilinear = how.get("mode") == b"linear" and how.get("coordinate_transformation_mode") in (
        b"half_pixel", b"pytorch_half_pixel",
    )  # fmt: skip
    if not (bilinear and list(scales) == [1, 1, 2, 2] and list(shape[2:]) == [3, 3]):
        raise ValueError(f"{resize.name} and {convolution.name} are no merge of this network")


def upsampled_convolution(
    graph: Graph, coarse: Value, weight: np.ndarray, bias: np.ndarray
) -> Value:
    """coarse: [B, C, h, w]. weight: [M, C, 3, 3]; beyond the border it sees 0.

    Returns [B, M, 2 h, 2 w].
    """
    channels = weight.shape[0]
    taps = weight.transpose(2, 3, 0, 1).reshape(9 * channels, -1, 1, 1)
    _, _, _, width = coarse.sides(4)
    taps = graph.op("Conv", coarse, np.ascontiguousarray(taps))
    rows = taps.split([3 * channels] * 3, axis=1)
    even, odd = _bring_up(graph, rows, axis=2)
    both = graph.concat([even.unsqueeze(3), odd.unsqueeze(3)], axis=3)
    columns = both.reshape(0, 3 * channels, -1, width).split([channels] * 3, axis=1)
    even, odd = _bring_up(graph, columns, axis=3)
    both = graph.concat([even.unsqueeze(4), odd.unsqueeze(4)], axis=4)
    return both.reshape(0, channels, 0, -1) + bias[:, None, None]


def _bring_up(graph: Graph, taps: tuple[Value, ...], axis: int) -> tuple[Value, Value]:
    """Along an axis: the three taps' maps [.., n, ..] brought up to 2n cells (bilinear, the border
    repeated) and summed as a convolution does, which sees 0 beyond the border. Returns the even
    and the odd cells.

    Brought up, a map y has 1/4 y[i - 1] + 3/4 y[i] at 2i and 3/4 y[i] + 1/4 y[i + 1] at 2i + 1; the
    tap in front is read one cell before, that behind one cell after. What that makes of the cells
    i - 1, i and i + 1 is written out here. At the border, the cell that is missing is set so that
    the tap that looks beyond it counts as 0.
    """
    quarter_front, quarter_middle, quarter_behind = (one * 0.25 for one in taps)
    three_front, three_middle, three_behind = (one * 0.75 for one in taps)
    first, last = np.array([0]), np.array([-1])

    def cells(values: Value, which: np.ndarray) -> Value:
        return values.take(which, axis=axis)

    def before(values: Value, missing: Value) -> Value:
        """Cell i - 1 at i."""
        return graph.concat([missing, _sliced(graph, values, axis, 0, -1)], axis=axis)

    def after(values: Value, missing: Value) -> Value:
        """Cell i + 1 at i."""
        end = np.iinfo(np.int64).max
        return graph.concat([_sliced(graph, values, axis, 1, end), missing], axis=axis)

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


def _sliced(graph: Graph, values: Value, axis: int, start: int, end: int) -> Value:
    return graph.op("Slice", values, np.array([start]), np.array([end]), np.array([axis]))

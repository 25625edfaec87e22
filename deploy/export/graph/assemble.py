"""Assemble the ONNX model of a checkpoint: letterbox, network, decoder, NMS and metadata."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx

from deploy.export.graph import decode as decode_graph
from deploy.export.graph import letterbox as letterbox_graph
from deploy.export.graph.builder import Graph, Value
from deploy.export.graph.decode import Boxes, Peaks
from deploy.export.graph.heads import FusedHeads, heads_at_cells
from deploy.export.graph.letterbox import FittedAxis
from deploy.export.graph.nms import suppress
from deploy.export.types import BEFORE_NMS, InputShape
from deploy.metadata import OUTPUTS, RELEASE, ModelMetadata
from structures.boxes import VECTORS

GraphOutput = tuple[Value, list[int | str]]
"""An output and its shape."""


def assemble(
    network: onnx.ModelProto,
    box_heads: Sequence[FusedHeads],
    metadata: ModelMetadata,
    shape: InputShape,
    show_before_nms: bool = False,
    box_coding: str = VECTORS,
) -> onnx.ModelProto:
    """Assemble the model whose contract is `metadata`.

    Args:
        network: What `export_network` returns, quantized or not.
        box_heads: The heads of the boxes of the same network, fused with the same coding.
        metadata: What the model computes and in which layout.
        shape: What of the input's shape is fixed.
        show_before_nms: Whether to add the outputs `BEFORE_NMS`, the rows before NMS.
        box_coding: How the network's boxes are coded, one of `structures.boxes.BOX_CODINGS`.
    """
    graph = Graph("bbavectors.")
    axes, network_input = _add_input(graph, metadata, shape)
    graph.include(network, {"input": network_input})
    heatmap = graph.value("hm", np.float32)
    features = graph.value("features", output_types(network)["features"])
    peaks = decode_graph.find_peaks(graph, heatmap, metadata.K)
    values = heads_at_cells(graph, box_heads, features, peaks.cells, box_coding)
    boxes = decode_graph.decode_boxes(graph, values, peaks, metadata.theta_thresh)
    batch = shape.batch or "batch"
    if metadata.layout == "light-fork":
        rows = decode_graph.light_fork_rows(graph, peaks, boxes, metadata.num_classes)
        outputs = [(graph.rename(rows, "output"), [batch, metadata.K, 12])]
    else:
        lowest = metadata.min_conf_thresh
        if lowest is None:
            threshold = graph.input("conf_thresh", np.float32, [])
        else:
            threshold = graph.constant(lowest, np.float32)
        outputs = _add_row_outputs(
            graph, metadata, batch, peaks, boxes, threshold, axes, show_before_nms
        )
    return _labeled(graph.model(outputs), metadata)


def assemble_maps(network: onnx.ModelProto, metadata: ModelMetadata) -> onnx.ModelProto:
    """Assemble the model of a file in the layout "heads", which has no nodes but the network's.

    Args:
        network: What `export_head_maps` returns.
        metadata: What the file says about itself.
    """
    graph = Graph()
    (image,) = network.graph.input
    graph.include(network, {"input": graph.input("input", np.float32, shape_of(image))})
    outputs = [(graph.value(one.name, np.float32), shape_of(one)) for one in network.graph.output]
    return _labeled(graph.model(outputs), metadata)


def _labeled(model: onnx.ModelProto, metadata: ModelMetadata) -> onnx.ModelProto:
    model.producer_version = RELEASE
    onnx.helper.set_model_props(model, metadata.to_props())
    return model


def _add_input(
    graph: Graph, metadata: ModelMetadata, shape: InputShape
) -> tuple[tuple[FittedAxis, FittedAxis] | None, Value]:
    """Add the input `input`, and for uint8 images the letterbox.

    Returns:
        How rows and columns of uint8 images lie in the network's input, else None, and the
        network's input.
    """
    batch, height, width = shape.batch or "batch", shape.height or "height", shape.width or "width"
    if metadata.input_type != "uint8":
        return None, graph.input("input", np.float32, [batch, 3, height, width])
    image = graph.input("input", np.uint8, [batch, height, width, 3])
    axes = letterbox_graph.fit(graph, image, metadata.input_size, metadata.squash)
    rgb = metadata.color == "RGB"
    return axes, letterbox_graph.letterbox(graph, image, *axes, rgb=rgb)


def _add_row_outputs(
    graph: Graph,
    metadata: ModelMetadata,
    batch: int | str,
    peaks: Peaks,
    boxes: Boxes,
    threshold: Value,
    axes: tuple[FittedAxis, FittedAxis] | None,
    show_before_nms: bool,
) -> list[GraphOutput]:
    """Add corners, scores and labels as outputs, after NMS where the metadata ask for it."""
    K = metadata.K
    corners = decode_graph.box_corners(graph, boxes)
    scores = decode_graph.apply_threshold(graph, corners, peaks.scores, threshold)
    if axes is not None:
        corners = letterbox_graph.to_source(graph, corners, *axes)
    kept = scores
    if metadata.nms_thresh is not None:
        kept = suppress(graph, corners, scores, peaks.labels, K, metadata.nms_thresh)
    outputs: list[GraphOutput] = []
    for names, row_scores in ((OUTPUTS, kept), (BEFORE_NMS, scores))[: 1 + show_before_nms]:
        rows = decode_graph.pack_rows(graph, corners, row_scores, peaks.labels, K)
        for value, name, shape in zip(rows, names, _row_shapes(batch, K), strict=True):
            outputs.append((graph.rename(value, name), shape))
    return outputs


def _row_shapes(batch: int | str, K: int) -> tuple[list[int | str], ...]:
    """Return the shapes of corners, scores and labels."""
    return [batch, K, 4, 2], [batch, K], [batch, K]


def nms_model(K: int, iou_thresh: float) -> onnx.ModelProto:
    """Build the NMS of a file as a model of its own, to test and time it without a network.

    Its inputs are `corners` [B, K, 4, 2], `scores` [B, K] in descending order and `labels` [B, K];
    its outputs `kept_corners`, `kept_scores` and `kept_labels` are the rows that a file returns.
    """
    graph = Graph()
    shapes = _row_shapes("B", K)
    corners = graph.input("corners", np.float32, shapes[0])
    scores = graph.input("scores", np.float32, shapes[1])
    labels = graph.input("labels", np.int64, shapes[2])
    planes = corners.transpose(0, 2, 3, 1)
    kept = suppress(graph, planes, scores, labels, K, iou_thresh)
    rows = decode_graph.pack_rows(graph, planes, kept, labels, K)
    names = ("kept_corners", "kept_scores", "kept_labels")
    model = graph.model(
        [
            (graph.rename(value, name), shape)
            for value, name, shape in zip(rows, names, shapes, strict=True)
        ]
    )
    check_model(model)
    return model


def output_types(model: onnx.ModelProto) -> dict[str, np.dtype]:
    """Return the element type of each output."""
    return {
        one.name: onnx.helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type)
        for one in model.graph.output
    }


def shape_of(value: onnx.ValueInfoProto) -> list[int | str]:
    """Return the dimensions of an input or output; those with a name are free."""
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def check_model(model: onnx.ModelProto) -> None:
    """Run ONNX's checker with types and shapes.

    Raises:
        ValueError: An operator is not of the standard domain.
    """
    onnx.checker.check_model(model, full_check=True)
    domains = {node.domain for node in all_nodes(model.graph)}
    if domains - {"", "ai.onnx"}:
        raise ValueError(f"operators outside the standard domain: {', '.join(sorted(domains))}")


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph and of the bodies of its loops."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from all_nodes(attribute.g)

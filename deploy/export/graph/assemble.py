"""A checkpoint's model -> one ONNX model: letterbox, network, decoder, suppression, metadata."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from deploy.export.graph import decode as decoding
from deploy.export.graph import letterbox as letterbox_graph
from deploy.export.graph.builder import Graph, Value
from deploy.export.graph.heads import Products, values_at
from deploy.export.graph.nms import suppress
from deploy.metadata import OUTPUTS, RELEASE, ModelMetadata

BEFORE_NMS = ("before_nms_corners", "before_nms_scores", "before_nms_labels")
"""Outputs of a model that `assemble` makes for checks, beside its own."""


@dataclass(frozen=True)
class Shape:
    """What of the input is fixed; None is free."""

    batch: int | None = None
    height: int | None = None
    width: int | None = None


def assemble(
    network: onnx.ModelProto,
    box_heads: Sequence[Products],
    metadata: ModelMetadata,
    shape: Shape,
    fix_conf: bool = False,
    show_before_nms: bool = False,
) -> onnx.ModelProto:
    """The model whose contract is `metadata`.

    network: of `export_network`, quantised or not. box_heads: of the same network. shape: of the
    input; for bytes, height and width of the pictures, which are usually free. fix_conf: the
    threshold is a constant. show_before_nms: add `BEFORE_NMS`, the rows as they are before
    suppression.
    """
    graph = Graph("bbavectors.")
    batch = shape.batch or "batch"
    sides = None
    if metadata.input_type == "uint8":
        size = [batch, shape.height or "height", shape.width or "width", 3]
        picture = graph.input("input", np.uint8, size)
        sides = letterbox_graph.fit(graph, picture, metadata.input_size)
        image = letterbox_graph.letterbox(graph, picture, *sides, rgb=metadata.color == "RGB")
    else:
        size = [batch, 3, shape.height or "height", shape.width or "width"]
        image = graph.input("input", np.float32, size)
    graph.include(network, {"input": image})
    heatmap = graph.value("hm", np.float32)
    features = graph.value("features", output_types(network)["features"])
    K = metadata.K
    peaks = decoding.find_peaks(graph, heatmap, K)
    values = values_at(graph, box_heads, features, peaks.cells)
    boxes = decoding.find_boxes(graph, values, peaks, metadata.theta_thresh)
    if metadata.layout == "light-fork":
        rows = decoding.light_fork_rows(graph, peaks, boxes, metadata.num_classes)
        outputs = [(graph.rename(rows, "output"), [batch, K, 12])]
    else:
        conf = np.array(metadata.conf_thresh, np.float32)
        threshold = graph.constant(conf) if fix_conf else graph.optional_input("conf_thresh", conf)
        corners = decoding.corners_of(graph, boxes)
        scores = decoding.only_found(graph, corners, peaks.scores, threshold)
        if sides is not None:
            corners = letterbox_graph.to_source(graph, corners, *sides)
        shapes = ([batch, K, 4, 2], [batch, K], [batch, K])
        outputs = []

        def put_out(names: tuple[str, ...], scores: Value) -> None:
            rows = decoding.as_rows(graph, corners, scores, peaks.labels, K)
            for value, name, shape_ in zip(rows, names, shapes, strict=True):
                outputs.append((graph.rename(value, name), shape_))

        kept = scores
        if metadata.nms_thresh is not None:
            kept = suppress(graph, corners, scores, peaks.labels, K, metadata.nms_thresh)
        put_out(OUTPUTS, kept)
        if show_before_nms:
            put_out(BEFORE_NMS, scores)
    model = graph.model(outputs)
    model.producer_version = RELEASE
    onnx.helper.set_model_props(model, metadata.to_props())
    return model


def suppression_model(K: int, iou_thresh: float) -> onnx.ModelProto:
    """The suppression of a file as a model of its own, to be tried and timed without a network.

    Inputs `corners` [B, K, 4, 2], `scores` [B, K] by falling score and `labels` [B, K]; outputs
    `kept_corners`, `kept_scores` and `kept_labels`, the rows as a file puts them out.
    """
    graph = Graph()
    shapes = (["B", K, 4, 2], ["B", K], ["B", K])
    corners = graph.input("corners", np.float32, shapes[0])
    scores = graph.input("scores", np.float32, shapes[1])
    labels = graph.input("labels", np.int64, shapes[2])
    planes = corners.transpose(0, 2, 3, 1)
    kept = suppress(graph, planes, scores, labels, K, iou_thresh)
    rows = decoding.as_rows(graph, planes, kept, labels, K)
    names = ("kept_corners", "kept_scores", "kept_labels")
    model = graph.model(
        [
            (graph.rename(value, name), shape)
            for value, name, shape in zip(rows, names, shapes, strict=True)
        ]
    )
    check(model)
    return model


def output_types(model: onnx.ModelProto) -> dict[str, np.dtype]:
    """Element type of each output."""
    return {
        one.name: onnx.helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type)
        for one in model.graph.output
    }


def check(model: onnx.ModelProto) -> None:
    """The onnx checker with types and shapes; ValueError for operators that are not standard."""
    onnx.checker.check_model(model, full_check=True)
    domains = {node.domain for node in every_node(model.graph)}
    if domains - {"", "ai.onnx"}:
        raise ValueError(f"operators outside the standard: {', '.join(sorted(domains))}")


def every_node(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the bodies of its loops."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from every_node(attribute.g)

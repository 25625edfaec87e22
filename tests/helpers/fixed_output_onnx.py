"""An ONNX file in the layout of exported files that finds the same rows in every image."""

import json

import numpy as np
import pytest

NAMES = ("plane", "ship", "harbor")

PROPS = {
    "bbavectors": "1", "classes": json.dumps(NAMES), "backbone": "resnet18", "stride": "4",
    "color": "BGR", "normalization": "x / 255 - 0.5", "input_size": "dynamic",
    "conf_thresh": "0.3", "nms_thresh": "", "theta_thresh": "0.8", "K": "3",
    "input_type": "float32", "layout": "corners",
}  # fmt: skip

ROWS = (
    np.array([[[[30, 10], [30, 20], [10, 20], [10, 10]]] * 3], np.float32),
    np.array([[0.9, 0.4, 0.0]], np.float32),
    np.array([[2, 1, -1]], np.int64),
)


def onnx_file(path, props=PROPS, batch="batch", size=("height", "width")):
    """Write a model that finds `ROWS` in every image, whatever runs it."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    constants = [
        numpy_helper.from_array(rows, name)
        for name, rows in zip(("rows_corners", "rows_scores", "rows_labels"), ROWS, strict=True)
    ]
    constants += [
        numpy_helper.from_array(np.array(values, np.int64), name)
        for name, values in (("one3", [1, 1, 1]), ("one1", [1]), ("zero", [0]))
    ]
    nodes = [
        helper.make_node("Shape", ["input"], ["count"], start=0, end=1),
        helper.make_node("Concat", ["count", "one3"], ["count4"], axis=0),
        helper.make_node("Concat", ["count", "one1"], ["count2"], axis=0),
        helper.make_node("Tile", ["rows_corners", "count4"], ["corners"]),
        helper.make_node("Tile", ["rows_scores", "count2"], ["scores"]),
        helper.make_node("Tile", ["rows_labels", "count2"], ["labels"]),
    ]
    graph = helper.make_graph(
        nodes, "known",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, *size])],
        [
            helper.make_tensor_value_info("corners", TensorProto.FLOAT, [batch, 3, 4, 2]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 3]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, [batch, 3]),
        ],
        constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    for key, value in props.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, str(path))
    return path

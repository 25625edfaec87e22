"""Exported files against the table of what TensorRT supports, and the rules of the check."""

import functools

import numpy as np
import pytest

from helpers.small_exports import CLASSES, sharp_model

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import onnx

from deploy.export.graph.assemble import all_nodes, assemble
from deploy.export.graph.builder import Graph
from deploy.export.graph.heads import fuse_heads
from deploy.export.network import ExportNetwork
from deploy.export.network_onnx import export_network
from deploy.export.quantize import quantize
from deploy.export.settings import ExportSettings
from deploy.export.tensorrt_limits import MAX_RANK, MAX_TOP_K, OPSETS, TYPES
from deploy.export.tensorrt_support import unsupported_features
from deploy.export.types import OPSET

pytestmark = pytest.mark.slow  # exports networks or runs exported files

BACKBONES = ("mobilenetv2", "mobilenet_v3_large", "efficientnet_b0", "resnet18")
"""One for each set of operators: the other resnets have those of resnet18."""


@functools.lru_cache(2)
def parts_of_network(backbone, half=False):
    """Return the graph of a network and its heads."""
    return parts_of(ExportNetwork(sharp_model(backbone)), half)


def parts_of(network, half=False):
    return export_network(network, half), fuse_heads(network.box_heads)


def file_of(parts, **settings):
    asked = ExportSettings(**settings)
    return assemble(*parts, asked.metadata(sharp_model()), asked.input_shape())


# Of the TensorRT format, whose decoder is the same for all networks: fixed, light fork layout, most
# and fewest rows.
VARIANTS = (
    {"static": (64, 96, 2)},
    {"static": (64, 96, 1), "layout": "light-fork"},
    {"K": MAX_TOP_K},
    {"K": 1},
)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(
    ("backbone", "settings"),
    [*((name, {}) for name in BACKBONES), *(("resnet18", one) for one in VARIANTS)],
)
def test_exported_files_are_supported(backbone, half, settings):
    parts = parts_of_network(backbone, half)
    file = file_of(parts, format="tensorrt", half=half, **settings)
    assert unsupported_features(file) == []
    # The check has seen the operators that it is for.
    kinds = {node.op_type for node in all_nodes(file.graph)}
    assert {"Conv", "TopK", "GatherND", "MaxPool", "Where"} <= kinds <= set(TYPES)


# The settings that the TensorRT format refuses are those that the table does not support.
@pytest.mark.parametrize(
    ("settings", "reasons"),
    [
        ({"nms_thresh": 0.1}, {"Mul of float64", "NonZero of bool"}),
        ({"input_type": "uint8"}, {"Add of float64", "Gather of uint8"}),
        ({"K": MAX_TOP_K + 1}, {f"TopK: {MAX_TOP_K + 1} entries, {MAX_TOP_K} at most"}),
    ],
)
def test_unsupported_settings_are_found(settings, reasons):
    assert reasons <= set(unsupported_features(file_of(parts_of_network("resnet18"), **settings)))


def test_nms_loop_output_is_unsupported():
    file = file_of(parts_of_network("resnet18"), nms_thresh=0.1)
    assert any(
        text.startswith("Loop: an output stacked over") for text in unsupported_features(file)
    )


def test_int8_zero_points_are_unsupported():
    images = [np.random.default_rng(0).random((1, 3, 64, 96), np.float32) - np.float32(0.5)]
    graph, box_heads = parts_of(ExportNetwork(sharp_model()))
    found = unsupported_features(file_of((quantize(graph, images), box_heads)))
    assert any("zero point" in text for text in found)


def value(dtype=np.float32, shape=("N", "C", 8, 8)):
    graph = Graph()
    return graph, graph.input("x", dtype, list(shape))


def finish(graph, output, shape=None):
    shape = [f"d{k}" for k in range(4)] if shape is None else shape
    return unsupported_features(graph.model([(graph.rename(output, "y"), shape)]))


RANK_9 = [1] * 9


def rank_9(graph, x):
    return graph.op("Reshape", x, np.array([*RANK_9[:-1], -1])), RANK_9


# One unsupported feature each, or None for a supported variant.
@pytest.mark.parametrize(
    ("dtype", "build", "fault"),
    [
        (np.float32, lambda g, x: g.op("Abs", x), None),
        (np.float64, lambda g, x: g.op("Abs", x), "Abs of float64"),
        (np.int8, lambda g, x: g.op("Abs", x), "Abs of int8"),
        (np.float32, lambda g, x: g.op("Erf", x), "Erf: not in the table"),
        (np.float32, lambda g, x: x.cast(np.float64), "Cast: to float64"),
        (np.uint8, lambda g, x: x.cast(np.float32), None),  # a uint8 input may be cast
        (np.float32, lambda g, x: x.cast(np.uint8).cast(np.float32), "Cast: to uint8"),
        (np.int64, lambda g, x: x % 3, None),
        (np.float32, lambda g, x: (x > 0).where(x, 0), None),
        (np.float32, lambda g, x: g.top_k(x.reshape(1, 1, 1, -1), MAX_TOP_K)[0], None),
        (
            np.float32,
            lambda g, x: g.top_k(x.reshape(1, 1, 1, -1), 3840)[0],
            "TopK: 3840 entries, 3839 at most",
        ),
        (np.float32, lambda g, x: g.op("MaxPool", x, kernel_shape=[3, 3]), None),
        (
            np.float32,
            lambda g, x: g.op("MaxPool", x, kernel_shape=[3, 3], dilations=[2, 2]),
            "MaxPool: only 2 or 3 dimensions",
        ),
        (
            np.float32,
            lambda g, x: g.op("Resize", x, np.float32([]), np.float32([1, 1, 2, 2]), mode="cubic"),
            "Resize: cubic",
        ),
        (np.float32, lambda g, x: g.op("ReduceMax", x, np.array([1])), None),
        (
            np.float32,
            lambda g, x: g.op("ReduceMax", x, g.op("Cast", x.dims(4)[0], to=7)),
            "ReduceMax: axes that are not constant",
        ),
        (
            np.float32,
            lambda g, x: g.op("ScatterND", x, np.array([[0]]), x, reduction="add"),
            "ScatterND: reduction add",
        ),
        (np.float32, lambda g, x: quantized(g, x, np.int8(0)), None),
        (np.float32, lambda g, x: quantized(g, x, np.int8(3)), "QuantizeLinear: a zero point"),
        (np.float32, lambda g, x: quantized(g, x, np.uint8(0)), "QuantizeLinear: a zero point"),
        (np.float32, lambda g, x: looped(g, x, 3), None),
        (np.float32, lambda g, x: looped(g, x, x.dims(4)[0].reshape()), "Loop: an output stacked"),
    ],
)
def test_operator_rules(dtype, build, fault):
    graph, x = value(dtype)
    found = finish(graph, build(graph, x), [f"d{k}" for k in range(4)])
    if fault is None:
        assert found == []
    else:
        assert any(text.startswith(fault) for text in found), found


def quantized(graph, x, zero):
    scale, zero = np.array(0.1, np.float32), graph.constant(zero, zero.dtype)
    low = graph.op("QuantizeLinear", x, scale, zero, dtype=zero.dtype)
    return graph.op("DequantizeLinear", low, scale, zero, dtype=np.float32)


def looped(graph, x, trips):
    """Return the first row of x stacked `trips` times, [trips, ...]."""
    first = x.take(np.array(0), axis=0)  # [C, 8, 8]
    (rows,) = graph.loop(trips, [], [], lambda g, _: (None, [], [g.op("Relu", _outer(g, first))]))
    return rows


def _outer(graph, value):
    return graph.value(value.name, np.float32)


def test_rank_limit():
    graph, x = value()
    output, shape = rank_9(graph, x)
    assert finish(graph, output, shape)[0] == f"Reshape: 9 dimensions, {MAX_RANK} at most"


def test_opset_range():
    graph, x = value()
    model = graph.model([(graph.rename(x + 1, "y"), ["N", "C", 8, 8])])
    assert OPSET in OPSETS and unsupported_features(model) == []
    model.opset_import[0].version = 25
    assert unsupported_features(model)[0] == "opset 25: TensorRT reads 9 to 24"


def test_operators_of_other_domains_are_unsupported():
    graph, x = value()
    model = graph.model([(graph.rename(x + 1, "y"), ["N", "C", 8, 8])])
    stranger = onnx.helper.make_node("Stranger", ["x"], ["z"], domain="elsewhere")
    model.graph.node.append(stranger)
    model.opset_import.append(onnx.helper.make_opsetid("elsewhere", 1))
    assert unsupported_features(model) == ["Stranger: not in the table of supported operators"]
    assert len(CLASSES) == 3

"""Quantization to 8 bits: its layers, its effect on the maps, and equalization before it."""

import numpy as np
import pytest
import torch

from helpers.networks import recorded_model
from models import BACKBONES, CTRBOX
from structures.boxes import HEAD_CHANNELS

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from onnx import numpy_helper

from deploy.export.equalize import equalize, max_channel_outputs
from deploy.export.graph.heads import HeadsAtPeaks
from deploy.export.network import ExportNetwork
from deploy.export.network_onnx import export_network
from deploy.export.quantize import (
    calibration_chunk,
    nodes_before_stride_4,
    quantize,
    with_node_names,
)
from deploy.runtimes.onnx_runtime import open_session

pytestmark = pytest.mark.slow  # exports networks or runs exported files


def model_of(backbone, neck=None, box_coding="vectors"):
    torch.manual_seed(0)
    heads = {"hm": 2, **HEAD_CHANNELS}
    return CTRBOX(heads, None, 4, 1, 16, backbone=backbone, neck=neck, box_coding=box_coding).eval()


def batches(count, height=64, width=96):
    rng = np.random.default_rng(0)
    return [rng.random((1, 3, height, width), np.float32) - np.float32(0.5) for _ in range(count)]


@torch.no_grad()
def maps_of(network, image):
    """Return the heat map, and the other heads in every cell."""
    heatmap, features = network(torch.from_numpy(image))
    cells = torch.arange(heatmap[0, 0].numel())[None]
    return heatmap, HeadsAtPeaks(network.box_heads)(features, cells)


@pytest.mark.parametrize(
    ("backbone", "neck", "box_coding"),
    [
        *((name, None, "vectors") for name in BACKBONES),
        ("mobilenetv2", 40, "vectors"),
        ("mobilenetv2", 40, "rectangle"),
    ],
)
def test_equalize_keeps_the_maps(backbone, neck, box_coding):
    network, images = ExportNetwork(model_of(backbone, neck, box_coding)), batches(3)
    before = [maps_of(network, image) for image in images]
    equalize(network, images[:2])
    after = [maps_of(network, image) for image in images]
    for ours, theirs in zip(after, before, strict=True):
        for values, expected in zip(ours, theirs, strict=True):
            torch.testing.assert_close(values, expected, rtol=1e-3, atol=1e-4)


def test_equalize_makes_channel_ranges_alike():
    network, images = ExportNetwork(model_of("resnet18")), batches(2)
    with torch.no_grad():
        network.hm[0].weight[:4] *= 50  # make some channels far larger than the others
    layers = [network.dec_c4.up[0], network.dec_c2.cat_conv[0], network.hm[0]]
    with torch.no_grad():
        equalize(network, images)
        for highest in max_channel_outputs(network, layers, images).values():
            active = highest > 1e-2  # the others stay far below the largest
            assert active.any()
            torch.testing.assert_close(highest[active].max(), torch.tensor(1.0), rtol=1e-4, atol=0)
            assert highest[active].median() > 0.9


def test_equalize_network_with_dead_channels():
    network = ExportNetwork(model_of("resnet18"))
    with torch.no_grad():
        network.hm[0].weight.zero_()
        network.hm[0].bias.fill_(-1.0)
        network.dec_c2.cat_conv[0].weight.zero_()
        network.dec_c2.cat_conv[0].bias.fill_(-1.0)
        equalize(network, batches(1))
    assert all(values.isfinite().all() for values in maps_of(network, batches(1)[0]))


@pytest.fixture(scope="module")
def both(shared):
    """Return the recorded network in float32 and in 8 bits."""
    network, images = ExportNetwork(recorded_model(shared)), batches(4, 128, 128)
    equalize(network, images)
    graph = export_network(network)
    return graph, quantize(graph, images)


def scales_of(model):
    """Return output name -> weight [C, ...] of each DequantizeLinear of a stored weight."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {
        node.output[0]: stored[node.input[0]]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in stored
    }


def test_quantize_layers(both):
    graph, quantized = both
    weights = scales_of(quantized)
    in_8_bits = [
        node.name
        for node in quantized.graph.node
        if node.op_type == "Conv" and node.input[1] in weights
    ]
    named = with_node_names(graph).graph
    convolutions = [node.name for node in named.node if node.op_type == "Conv"]
    first = [name for name in nodes_before_stride_4(named) if name.startswith("Conv")]
    assert (
        len(first) == 5
    )  # the stem, and the first two blocks of MobileNetV2 up to their stride of 2
    assert in_8_bits == convolutions[len(first) : -1]


def test_last_convolutions_of_both_parts_of_the_scores_stay_in_float():
    """A network of rectangles multiplies the heat map with how well boxes fit."""
    network, images = ExportNetwork(model_of("resnet18", box_coding="rectangle")), batches(2)
    equalize(network, images)
    graph = export_network(network)
    quantized = quantize(graph, images)
    weights = scales_of(quantized)
    in_float = [
        quantized_node.output[0]
        for quantized_node in quantized.graph.node
        if quantized_node.op_type == "Conv" and quantized_node.input[1] not in weights
    ]
    assert len(in_float) == 1 + 2  # the stem of ResNet, and the scores
    found, wanted = (open_session(one).run(["hm"], {"input": images[0]})[0]
                     for one in (quantized, graph))  # fmt: skip
    assert 0 < np.abs(found - wanted).max() < 0.05


def test_quantize_weights_per_channel_in_7_bits(both):
    _, quantized = both
    stored = {t.name: numpy_helper.to_array(t) for t in quantized.graph.initializer}
    count = 0
    for node in quantized.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in stored:
            continue
        weight = stored[node.input[0]]
        if weight.ndim == 4:
            count += 1
            assert weight.dtype == np.int8 and np.abs(weight.astype(int)).max() <= 64
            assert stored[node.input[1]].shape == (len(weight),)
    assert count > 40
    assert {node.domain for node in quantized.graph.node} <= {"", "ai.onnx"}


def test_quantize_keeps_the_maps_close(both):
    (image,) = batches(1, 160, 128)  # not the size used for calibration
    names = ["hm", "features"]
    expected, found = (open_session(one).run(names, {"input": image}) for one in both)
    for name, values, wanted in zip(names, found, expected, strict=True):
        spread = np.abs(wanted - wanted.mean()).mean()
        error = np.abs(values - wanted).mean()
        assert 0 < error < 0.35 * spread, name


@pytest.mark.parametrize("count", range(1, 70))
def test_calibration_chunk_leaves_a_rest(count):
    assert count % calibration_chunk(count)

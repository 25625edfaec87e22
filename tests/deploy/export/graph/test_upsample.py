"""Convolution before upsampling against PyTorch's two steps in their order."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models import CTRBOX
from structures.boxes import HEAD_CHANNELS

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from deploy.export.graph.builder import Graph
from deploy.export.graph.upsample import (
    MIN_CHANNELS,
    convolve_before_upsampling,
    upsampled_convolution,
)
from deploy.export.network import ExportNetwork
from deploy.export.network_onnx import export_network
from deploy.runtimes.onnx_runtime import open_session


# Sizes where one dimension is 1, where every cell is at the border, and where some are not.
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (2, 2), (5, 8)])
@pytest.mark.parametrize("batch", [1, 3])
def test_upsampled_convolution_equals_two_steps(size, batch):
    torch.manual_seed(0)
    weight, bias = torch.randn(5, 7, 3, 3), torch.randn(5)
    coarse = torch.randn(batch, 7, *size)
    fine = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    expected = F.conv2d(fine, weight, bias, padding=1)

    graph = Graph()
    given = graph.input("x", np.float32, ["B", 7, "h", "w"])
    result = upsampled_convolution(graph, given, weight.numpy(), bias.numpy())
    model = graph.model([(graph.rename(result, "y"), ["B", 5, "H", "W"])])
    (values,) = open_session(model).run(None, {"x": coarse.numpy()})
    np.testing.assert_allclose(values, expected.numpy(), atol=1e-5)


def kinds(model, *wanted):
    found = [node.op_type for node in model.graph.node]
    return [found.count(kind) for kind in wanted]


@pytest.fixture(scope="module")
def network():
    """Return the graph of a resnet18, and an input."""
    torch.manual_seed(0)
    model = CTRBOX({"hm": 2, **HEAD_CHANNELS}, None, 4, 1, 8, backbone="resnet18").eval()
    image = np.random.default_rng(0).random((2, 3, 96, 160), np.float32) - np.float32(0.5)
    return export_network(ExportNetwork(model)), image


@pytest.mark.slow
def test_merges_with_many_channels_are_replaced(network):
    """The merges of resnet18 have 512, 256 and 128 channels; the new graph still takes any size."""
    graph, image = network
    rewritten = convolve_before_upsampling(graph)
    assert MIN_CHANNELS == 256
    assert kinds(graph, "Resize", "Conv") == [3, kinds(rewritten, "Conv")[0]]
    assert kinds(rewritten, "Resize") == [1]
    assert len({node.name for node in rewritten.graph.node}) == len(rewritten.graph.node)
    for size in (image, image[:1, :, :64, :32]):
        before, after = (
            open_session(one).run(["hm", "features"], {"input": size}) for one in (graph, rewritten)
        )
        for values, expected in zip(after, before, strict=True):
            np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_replaced_weights_are_removed(network):
    graph, _ = network
    sizes = [one.ByteSize() for one in (graph, convolve_before_upsampling(graph))]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.01)


@pytest.mark.slow
def test_merges_with_few_channels_are_kept(network):
    torch.manual_seed(0)
    model = CTRBOX({"hm": 2, **HEAD_CHANNELS}, None, 4, 1, 8, backbone="mobilenetv2").eval()
    graph = export_network(ExportNetwork(model))
    assert kinds(convolve_before_upsampling(graph), "Resize") == [2]  # 320, 96 and 32 channels


@pytest.mark.slow
def test_other_upsampling_is_refused(network):
    graph, _ = network
    for node in graph.graph.node:
        if node.op_type == "Resize":
            for attribute in node.attribute:
                if attribute.name == "mode":
                    attribute.s = b"nearest"
    with pytest.raises(ValueError, match="are not a merge of this network"):
        convolve_before_upsampling(graph)

"""The heads at chosen cells against their maps, computed by PyTorch's convolutions."""

import numpy as np
import pytest
import torch

from models import CTRBOX
from structures.boxes import HEAD_CHANNELS

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from deploy.export.graph.assemble import check_model
from deploy.export.graph.builder import Graph
from deploy.export.graph.heads import BOX_HEADS, HeadsAtPeaks, fuse_heads, heads_at_cells
from deploy.runtimes.onnx_runtime import open_session

CHANNELS = 24


def heads_of(final_kernel=1):
    torch.manual_seed(0)
    model = CTRBOX({"hm": 3, **HEAD_CHANNELS}, None, 4, final_kernel, 8, backbone="mobilenetv2")
    heads = [model.get_submodule(name).eval() for name in BOX_HEADS]
    for head in heads:
        torch.nn.init.normal_(head[-1].bias)  # otherwise errors beyond the border would not show
    return heads


@torch.no_grad()
def expected_of(heads, features, cells):
    """Return [B, 13, K] from the maps."""
    wh, reg, theta = (head(features) for head in heads)
    maps = torch.cat([wh, reg, theta.sigmoid()], dim=1).flatten(2)
    return torch.stack([one[:, index] for one, index in zip(maps, cells, strict=True)]).numpy()


def in_onnx(heads, features, cells):
    graph = Graph()
    dtype = features.numpy().dtype
    given = graph.input("features", dtype, ["B", CHANNELS, "H", "W"])
    index = graph.input("cells", np.int64, ["B", "K"])
    values = graph.rename(heads_at_cells(graph, fuse_heads(heads), given, index), "values")
    model = graph.model([(values, ["B", 13, "K"])])
    check_model(model)
    feeds = {"features": features.numpy(), "cells": cells.numpy()}
    return open_session(model).run(None, feeds)[0]


def in_torch(heads, features, cells):
    with torch.no_grad():
        return HeadsAtPeaks(heads)(features, cells).transpose(1, 2).numpy()


BOTH = pytest.mark.parametrize("way", [in_onnx, in_torch])


@BOTH
# The final kernel of all heads except wh, whose last convolution is always 3x3.
@pytest.mark.parametrize("final_kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [(5, 8), (1, 1), (1, 6), (2, 2)])
def test_heads_at_every_cell(way, final_kernel, size):
    heads, (height, width) = heads_of(final_kernel), size
    features = torch.rand(2, CHANNELS, height, width)
    cells = torch.arange(height * width).expand(2, -1)
    expected = expected_of(heads, features, cells)
    np.testing.assert_allclose(way(heads, features, cells), expected, atol=1e-5)


@BOTH
def test_heads_at_different_cells_per_image(way):
    heads, features = heads_of(), torch.rand(3, CHANNELS, 6, 9)
    cells = torch.randint(0, 54, (3, 20))  # in random order, some twice
    expected = expected_of(heads, features, cells)
    np.testing.assert_allclose(way(heads, features, cells), expected, atol=1e-5)


@BOTH
def test_heads_at_no_cells(way):
    heads = heads_of()
    values = way(heads, torch.rand(2, CHANNELS, 4, 4), torch.zeros(2, 0, dtype=torch.int64))
    assert values.shape == (2, 13, 0)


def test_heads_of_float16_features():
    heads, features = heads_of(), torch.rand(1, CHANNELS, 5, 8)
    cells = torch.arange(40)[None]
    values = in_onnx(heads, features.half(), cells)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, expected_of(heads, features, cells), atol=1e-2)


def test_fuse_heads_groups_by_kernel_size():
    assert [one.radius for one in fuse_heads(heads_of(1))] == [1, 0]
    (together,) = fuse_heads(heads_of(3))
    assert together.last.shape == (9 * 3 * 8, 13)

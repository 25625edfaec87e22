"""The heads at chosen cells against their maps, computed by PyTorch's convolutions."""

import numpy as np
import pytest
import torch

from models import CTRBOX
from models.ctrbox_net import decode_heads
from structures.boxes import HEAD_CHANNELS, RECTANGLE, VECTORS

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from deploy.export.graph.assemble import check_model
from deploy.export.graph.builder import Graph
from deploy.export.graph.heads import BOX_HEADS, HeadsAtPeaks, fuse_heads, heads_at_cells
from deploy.runtimes.onnx_runtime import open_session

CHANNELS = 24


def heads_of(final_kernel=1, box_coding=VECTORS):
    torch.manual_seed(0)
    heads = {"hm": 3, **HEAD_CHANNELS}
    model = CTRBOX(heads, None, 4, final_kernel, 8, backbone="mobilenetv2", box_coding=box_coding)
    heads = [model.get_submodule(name).eval() for name in BOX_HEADS]
    for head in heads:
        torch.nn.init.normal_(head[-1].bias)  # otherwise errors beyond the border would not show
    return heads


@torch.no_grad()
def expected_of(heads, features, cells, box_coding=VECTORS):
    """Return [B, 13, K] from the maps."""
    maps = {name: head(features) for name, head in zip(BOX_HEADS, heads, strict=True)}
    maps = decode_heads(maps, box_coding)
    maps = torch.cat([maps[name] for name in BOX_HEADS], dim=1).flatten(2)
    return torch.stack([one[:, index] for one, index in zip(maps, cells, strict=True)]).numpy()


def in_onnx(heads, features, cells, coding=VECTORS):
    graph = Graph()
    dtype = features.numpy().dtype
    given = graph.input("features", dtype, ["B", CHANNELS, "H", "W"])
    index = graph.input("cells", np.int64, ["B", "K"])
    values = heads_at_cells(graph, fuse_heads(heads, coding), given, index, coding)
    values = graph.rename(values, "values")
    model = graph.model([(values, ["B", 13, "K"])])
    check_model(model)
    feeds = {"features": features.numpy(), "cells": cells.numpy()}
    return open_session(model).run(None, feeds)[0]


def in_torch(heads, features, cells, coding=VECTORS):
    with torch.no_grad():
        return HeadsAtPeaks(heads, coding)(features, cells).transpose(1, 2).numpy()


BOTH = pytest.mark.parametrize("way", [in_onnx, in_torch])


@BOTH
@pytest.mark.parametrize("coding", [VECTORS, RECTANGLE])
# The final kernel of all heads except wh, whose last convolution is always 3x3.
@pytest.mark.parametrize("final_kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [(5, 8), (1, 1), (1, 6), (2, 2)])
def test_heads_at_every_cell(way, coding, final_kernel, size):
    heads, (height, width) = heads_of(final_kernel, coding), size
    features = torch.rand(2, CHANNELS, height, width)
    cells = torch.arange(height * width).expand(2, -1)
    expected = expected_of(heads, features, cells, coding)
    # The direction of a square is the root of a difference of squares.
    tolerance = 1e-5 if coding == VECTORS else 1e-4
    np.testing.assert_allclose(way(heads, features, cells, coding), expected, atol=tolerance)


@BOTH
@pytest.mark.parametrize("coding", [VECTORS, RECTANGLE])
def test_heads_at_different_cells_per_image(way, coding):
    heads, features = heads_of(box_coding=coding), torch.rand(3, CHANNELS, 6, 9)
    cells = torch.randint(0, 54, (3, 20))  # in random order, some twice
    expected = expected_of(heads, features, cells, coding)
    np.testing.assert_allclose(way(heads, features, cells, coding), expected, atol=1e-4)


@BOTH
@pytest.mark.parametrize("coding", [VECTORS, RECTANGLE])
def test_heads_at_no_cells(way, coding):
    heads, no_cells = heads_of(box_coding=coding), torch.zeros(2, 0, dtype=torch.int64)
    values = way(heads, torch.rand(2, CHANNELS, 4, 4), no_cells, coding)
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


def test_fuse_heads_of_rectangles_gives_the_boxes_of_nine_cells():
    shape, center = fuse_heads(heads_of(1, RECTANGLE), RECTANGLE)
    assert (shape.radius, shape.last.shape) == (2, (25 * 8, 9 * 5))
    assert (center.radius, center.last.shape) == (1, (9 * 8, 9 * 2))

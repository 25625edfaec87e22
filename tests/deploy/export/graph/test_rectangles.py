"""Boxes coded as rectangles: the graph decodes them as the network does."""

import numpy as np
import onnxruntime
import torch

from deploy.export.graph.assemble import check_model
from deploy.export.graph.builder import Graph
from deploy.export.graph.rectangles import decode_rectangles
from models.box_coding import rectangle_vectors


def test_the_graph_decodes_as_pytorch():
    values = np.random.default_rng(0).normal(0, 3, (2, 13, 500)).astype(np.float32)
    values[:, :8, :3] = 0  # no box
    values[:, :8, 3:6] = np.array([0, -3, 3, 0, 0, 3, -3, 0])[:, None]  # a square
    values[:, :8, 6:9] = np.array([-2, -3, 3, 2, 2, 3, -3, -2])[:, None]  # turned by 45 degrees
    graph = Graph()
    outcome = decode_rectangles(graph, graph.input("values", np.float32, [2, 13, "K"]))
    model = graph.model([(graph.rename(outcome, "decoded"), [2, 13, "K"])])
    check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (decoded,) = session.run(None, {"values": values})
    expected = rectangle_vectors(torch.from_numpy(values[:, :10])).numpy()
    np.testing.assert_allclose(decoded[:, :10], expected, atol=1e-5)
    np.testing.assert_array_equal(decoded[:, 10:12], values[:, 10:12])
    assert (decoded[:, 12] == 1).all()

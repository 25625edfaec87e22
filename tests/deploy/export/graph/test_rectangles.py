"""Boxes coded as rectangles: the graph decodes them as the network does."""

import numpy as np
import onnxruntime
import torch

from deploy.export.graph.assemble import check_model
from deploy.export.graph.builder import Graph
from deploy.export.graph.rectangles import decode_rectangles
from models.box_coding import agreeing_mean, vectors_of_parts


def test_the_graph_decodes_as_pytorch():
    rng = np.random.default_rng(0)
    own = rng.normal(0, 3, (2, 1, 7, 500))
    parts = own + rng.normal(0, 1, (2, 9, 7, 500)) * rng.choice([0, 0.1, 3], (2, 9, 1, 500))
    parts[:, :, :5, :3] = 0  # no box
    parts[:, :, :5, 3:6] = np.array([3, 0, 3, 1, 0])[:, None]  # a square
    parts[:, :, :5, 6:9] = np.array([3, 2, 3, -1, 0])[:, None]  # turned by 45 degrees
    parts[0, :3, :, 9:20] = 0  # beyond the border
    parts = parts.astype(np.float32)
    graph = Graph()
    outcome = decode_rectangles(graph, graph.input("parts", np.float32, [2, 9, 7, "K"]))
    model = graph.model([(graph.rename(outcome, "decoded"), [2, 13, "K"])])
    check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (decoded,) = session.run(None, {"parts": parts})
    box = agreeing_mean(torch.from_numpy(parts).unbind(1))
    np.testing.assert_allclose(decoded[:, :10], vectors_of_parts(box).numpy(), atol=1e-4)
    np.testing.assert_allclose(decoded[:, 10:12], box[:, 5:].numpy(), atol=1e-5)
    assert (decoded[:, 12] == 1).all()

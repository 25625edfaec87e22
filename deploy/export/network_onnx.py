"""The network as an ONNX graph, made by PyTorch's exporter."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings

import onnx
import torch
from torch import Tensor, nn

from deploy.export.graph.builder import OPSET
from deploy.export.network import OUTPUTS, ExportNetwork

MULTIPLE = 32
"""Sides of the network's input are multiples of it."""


class _Precision(nn.Module):
    """float32 outside but for the features, float16 inside where `half`."""

    def __init__(self, network: ExportNetwork, half: bool) -> None:
        super().__init__()
        self.network = network.half() if half else network
        self.half_inside = half

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        heatmap, features = self.network(image.half() if self.half_inside else image)
        return heatmap.float(), features


def export_network(network: ExportNetwork, half: bool = False) -> onnx.ModelProto:
    """Input `input` float32 [B, 3, H, W], outputs `hm` float32 and `features` (float16 if `half`).

    B, H and W are free: what a network of convolutions does depends on no size. It is traced at one
    size all the same, since tracing with symbols takes minutes; the parity report runs the result
    at the size that it is for.

    The network is float16 afterwards where `half`.
    """
    with torch.no_grad(), quiet():
        program = torch.onnx.export(
            _Precision(network, half).eval(),
            (torch.zeros(2, 3, 2 * MULTIPLE, 3 * MULTIPLE),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["input"],
            output_names=list(OUTPUTS),
            optimize=True,  # not the default in PyTorch 2.6
            verbose=False,
        )
    model = program.model_proto
    forget_shapes(model.graph)
    return model


def forget_shapes(graph: onnx.GraphProto) -> None:
    """Take out the sizes of the traced example, and what the exporter noted on each node (names
    and lines of source files).
    """
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        dimensions = value.type.tensor_type.shape.dim
        for index, name in ((0, "batch"), (2, None), (3, None)):
            dimensions[index].Clear()
            if name:
                dimensions[index].dim_param = name
        del value.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]


@contextlib.contextmanager
def quiet():
    """Exporter and quantiser talk of their own affairs, on every channel that there is."""
    previous = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(previous)

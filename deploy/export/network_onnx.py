"""Export the network to an ONNX graph with PyTorch's exporter."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import torch
from torch import Tensor, nn

from deploy.export.exporter_output import quiet
from deploy.export.network import TRACED_OUTPUTS, ExportNetwork, HeadMaps
from deploy.export.types import OPSET, SIZE_MULTIPLE
from deploy.metadata import MAPS

TRACED_SHAPE = (2, 2 * SIZE_MULTIPLE, 3 * SIZE_MULTIPLE)
"""Batch size, height and width at which a network is traced where they are free."""


class _Precision(nn.Module):
    """Runs the network in float16 if `half`; input and heat map stay float32, features do not."""

    def __init__(self, network: ExportNetwork, half: bool) -> None:
        super().__init__()
        self.network = network.half() if half else network
        self.half_inside = half

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        heatmap, features = self.network(image.half() if self.half_inside else image)
        return heatmap.float(), features


def export_network(
    network: ExportNetwork, half: bool = False, shape: tuple[int, int, int] = TRACED_SHAPE
) -> onnx.ModelProto:
    """Export the network with free batch size, height and width.

    A convolutional network does the same at every size. It is traced at one fixed size, since
    tracing with symbolic sizes takes minutes; the parity check runs the result at the size that it
    is meant for.

    Args:
        network: The network; it is converted to float16 in place if `half`.
        half: Whether to export it in float16.
        shape: Batch size, height and width of the trace, which matter where the network is not
            convolutional.

    Returns:
        A model with the input `input` float32 [B, 3, H, W] and the outputs `hm` float32 and
        `features`, float16 if `half`.
    """
    batch, height, width = shape
    example = torch.zeros(batch, 3, height, width)
    model = _trace(_Precision(network, half), example, TRACED_OUTPUTS)
    for value in (*model.graph.input, *model.graph.output):
        dimensions = value.type.tensor_type.shape.dim
        for index, name in ((0, "batch"), (2, None), (3, None)):
            dimensions[index].Clear()
            if name:
                dimensions[index].dim_param = name
    return model


def export_head_maps(network: ExportNetwork, shape: tuple[int, int, int]) -> onnx.ModelProto:
    """Export the network with all heads as maps, for importers that only take fixed shapes.

    Args:
        network: The network.
        shape: Batch size, height and width.

    Returns:
        A model with the input `input` float32 [B, 3, H, W] and the outputs `MAPS`.
    """
    batch, height, width = shape
    return _trace(HeadMaps(network), torch.zeros(batch, 3, height, width), MAPS)


def _trace(module: nn.Module, example: Tensor, outputs: Sequence[str]) -> onnx.ModelProto:
    """Export a module at the shape of an example, with an input `input` and the given outputs."""
    with torch.no_grad(), quiet():
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["input"],
            output_names=list(outputs),
            optimize=True,  # not the default in PyTorch 2.6
            verbose=False,
        )
    model = program.model_proto
    remove_trace_details(model.graph)
    return model


def remove_trace_details(graph: onnx.GraphProto) -> None:
    """Remove shapes inside the network, and names and lines of source files on the nodes."""
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        del value.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]

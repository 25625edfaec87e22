"""The network in 8 bits: static quantisation, calibrated with images, a scale for each channel.

Values have 8 bits and weights 7. Processors without dot products of bytes (VNNI and the like) add
two products in 16 bits, which products of 8 bits by 8 can overflow: the results would be wrong
without a word. With 7 bits the sums fit, and a file gives the same on every processor. The layers
in front of the first map of stride 4 stay in float32: every error that is made there goes through
the whole network.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx

from deploy.export.network_onnx import quiet

QUANTISED = ("Conv", "Add", "Concat", "MaxPool", "Resize", "Relu", "Clip")
"""Kinds of nodes; between them the values stay in 8 bits."""


def quantize(network: onnx.ModelProto, batches: Sequence[np.ndarray]) -> onnx.ModelProto:
    """The network of `export_network` with backbone, merges and the heat map's hidden convolution
    in 8 bits; the first layers and the heat map's last convolution stay in float32, as the other
    heads do, which are no part of it.

    batches: what the network sees, [B, 3, H, W] float32 each, for the ranges of its values.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._batches: Iterator[np.ndarray] = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"input": batch}

    network = with_node_names(network)
    with tempfile.TemporaryDirectory() as folder, quiet():
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        onnx.save(network, source)
        quantize_static(
            str(source),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=before_stride_4(network.graph) + from_last_convolution(network.graph),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "CalibMaxIntermediateOutputs": chunk(len(batches)),
                # one odd image would coarsen the steps of all others
                "CalibMovingAverage": True,
                "CalibMovingAverageConstant": 0.05,
            },
        )
        return onnx.load(target)


def chunk(count: int) -> int:
    """After how many batches the calibrator forgets their values, which take memory by the
    gigabyte. It fails where the last chunk is a full one.
    """
    return next(size for size in itertools.count(2) if count % size)


def with_node_names(network: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every node has a name of its own, as the quantiser goes by them."""
    named = onnx.ModelProto()
    named.CopyFrom(network)
    for number, node in enumerate(named.graph.node):
        node.name = f"{node.op_type}_{number}"
    return named


def before_stride_4(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes up to the second one that halves its map."""
    names, halved = [], 0
    for node in graph.node:
        names.append(node.name)
        strides = next((list(a.ints) for a in node.attribute if a.name == "strides"), [])
        halved += strides == [2, 2]
        if halved == 2:
            return names
    raise ValueError("the network never reaches stride 4")


def from_last_convolution(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes from the heat map's last convolution to the heat map."""
    makers = {name: node for node in graph.node for name in node.output}
    node, names = makers["hm"], []
    while node.op_type != "Conv":
        names.append(node.name)
        node = makers[node.input[0]]
    return [node.name, *reversed(names)]

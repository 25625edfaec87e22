"""The network in 8 bits: static quantisation, calibrated with images, a scale for each channel."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx

from exporting.network import HEADS

QUANTISED = ("Conv", "Add", "Concat", "MaxPool", "Resize", "Relu", "Clip")
"""Kinds of nodes; between them the values stay in 8 bits."""


def quantise(network: onnx.ModelProto, batches: Sequence[np.ndarray]) -> onnx.ModelProto:
    """The network of `export_network` with backbone, merges and the joined first convolution of the
    heads in 8 bits; the heads' last convolutions stay in float32.

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
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        onnx.save(network, source)
        quantize_static(
            str(source),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=behind_the_split(network.graph),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
        return onnx.load(target)


def with_node_names(network: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every node has a name of its own, as the quantiser goes by them."""
    named = onnx.ModelProto()
    named.CopyFrom(network)
    for number, node in enumerate(named.graph.node):
        node.name = f"{node.op_type}_{number}"
    return named


def behind_the_split(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes from the one that parts the heads to the outputs."""
    tainted, names = set(), []
    for node in graph.node:
        if node.op_type == "Split" or tainted.intersection(node.input):
            names.append(node.name)
            tainted.update(node.output)
    if not set(HEADS) <= tainted:
        raise ValueError("the network does not part into heads at a Split")
    return names

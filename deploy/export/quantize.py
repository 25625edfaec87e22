"""Quantize the network to 8 bits: static quantization, calibrated with images, per channel.

Activations have 8 bits and weights 7. Processors without dot products of bytes (VNNI and the like)
add two products in 16 bits, which products of 8 by 8 bits can overflow: the results would silently
be wrong. With 7 bits the sums fit, and a file gives the same results on every processor. The layers
before the first map of stride 4 stay in float32: an error made there goes through the whole
network.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx

from deploy.export.exporter_output import quiet
from DOTA_devkit.errors import InputError

QUANTIZED_OPS = ("Conv", "Add", "Concat", "MaxPool", "Resize", "Relu", "Clip")
"""Operators that are quantized; between them the values stay in 8 bits."""


def quantize(network: onnx.ModelProto, batches: Sequence[np.ndarray]) -> onnx.ModelProto:
    """Quantize backbone, merges and the hidden convolutions of the scores.

    The first layers and the last convolutions of the scores stay in float32, as do the other heads,
    which are not part of this graph.

    Args:
        network: What `export_network` returns.
        batches: Inputs of the network, [B, 3, H, W] float32 each, to calibrate the ranges with.

    Returns:
        A quantized copy.
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
            op_types_to_quantize=list(QUANTIZED_OPS),
            nodes_to_exclude=[
                *nodes_before_stride_4(network.graph),
                *other_additions(network.graph),
                *heatmap_output_nodes(network.graph),
            ],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "CalibMaxIntermediateOutputs": calibration_chunk(len(batches)),
                # With the extremes instead of a moving average, one unusual image would coarsen
                # the steps for all others.
                "CalibMovingAverage": True,
                "CalibMovingAverageConstant": 0.05,
            },
        )
        return onnx.load(target)


def calibration_chunk(count: int) -> int:
    """Return after how many of `count` batches the calibrator frees their activations.

    They take gigabytes of memory. The calibrator fails if the last chunk is a full one.
    """
    return next(size for size in itertools.count(2) if count % size)


def with_node_names(network: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which every node has a unique name, which the quantizer needs."""
    named = onnx.ModelProto()
    named.CopyFrom(network)
    for number, node in enumerate(named.graph.node):
        node.name = f"{node.op_type}_{number}"
    return named


def nodes_before_stride_4(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the nodes up to the one that makes the first map of stride 4.

    Raises:
        InputError: No node does: the network gets there without a stride.
    """
    names, stride = [], 1
    for node in graph.node:
        names.append(node.name)
        strides = next((list(a.ints) for a in node.attribute if a.name == "strides"), [1])
        stride *= strides[0]
        if stride >= 4:
            return names
    raise InputError(
        "int8 does not support this backbone: no convolution or pooling takes it to stride 4"
    )


def other_additions(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the additions of values that are not in 8 bits.

    Those of attention and linear layers are among them: 8 bits would be too coarse for a mask.
    """
    in_8_bits: set[str] = set()
    names = []
    for node in graph.node:
        if node.op_type == "Add" and not in_8_bits.issuperset(node.input):
            names.append(node.name)
        elif node.op_type in QUANTIZED_OPS:
            in_8_bits.update(node.output)
    return names


def heatmap_output_nodes(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the nodes from the last convolutions of the scores to the heat map."""
    producers = {name: node for node in graph.node for name in node.output}
    names, following = [], [producers["hm"]]
    while following:
        node = following.pop()
        names.append(node.name)
        if node.op_type != "Conv":
            following += [producers[name] for name in node.input if name in producers]
    return names

"""Check an ONNX file against what TensorRT supports (`tensorrt_limits`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deploy.export.tensorrt_limits import (
    MAX_RANK,
    MAX_TOP_K,
    OPSETS,
    RESIZE_COORDINATE_MODES,
    TYPES,
)
from deploy.export.types import OPSET

_DATA_TYPE_PARAMETERS = {"T", "T1", "B", "V"}
"""Names of the type parameters that ONNX's schemas give to the tensors an operator computes
with."""


class Scope:
    """Types, ranks and constants of the tensors of a graph and of the graphs around it.

    Args:
        graph: The graph.
        outer: The scope of the graph around it, None for the main graph.
    """

    def __init__(self, graph: onnx.GraphProto, outer: Scope | None = None) -> None:
        self.graph = graph
        self.outer = outer
        self.inputs = {value.name for value in graph.input}
        self.types = {
            value.name: value.type.tensor_type
            for value in (*graph.input, *graph.value_info, *graph.output)
        }
        self.constants = {one.name: one for one in graph.initializer}

    def dtype(self, name: str) -> str:
        """Return the element type, "" if it is unknown."""
        if name in self.constants:
            return _type_name(self.constants[name].data_type)
        if name in self.types:
            return _type_name(self.types[name].elem_type)
        return self.outer.dtype(name) if self.outer else ""

    def rank(self, name: str) -> int | None:
        """Return the number of dimensions, None if it is unknown."""
        if name in self.constants:
            return len(self.constants[name].dims)
        if name in self.types and self.types[name].HasField("shape"):
            return len(self.types[name].shape.dim)
        return self.outer.rank(name) if self.outer else None

    def constant(self, name: str) -> np.ndarray | None:
        """Return the value of a constant, None for other tensors."""
        if name in self.constants:
            return numpy_helper.to_array(self.constants[name])
        return self.outer.constant(name) if self.outer else None


def unsupported_features(model: onnx.ModelProto) -> list[str]:
    """Return what of a file TensorRT does not support, each kind once, as operator and reason."""
    found = {}
    versions = {one.domain: one.version for one in model.opset_import}
    if versions.get("", 0) not in OPSETS:
        found[f"opset {versions.get('')}: TensorRT reads {OPSETS[0]} to {OPSETS[-1]}"] = None
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    for fault in _unsupported_in(Scope(model.graph)):
        found[fault] = None
    return list(found)


def _unsupported_in(scope: Scope) -> Iterator[str]:
    for node in scope.graph.node:
        kind = node.op_type
        if node.domain or kind not in TYPES:
            yield f"{kind}: not in the table of supported operators"
            continue
        for dtype in sorted({scope.dtype(name) for name in _data_tensors(node)}):
            if dtype not in TYPES[kind]:
                yield f"{kind} of {dtype or 'an unknown type'}"
        for name in (*node.input, *node.output):
            if (scope.rank(name) or 0) > MAX_RANK:
                yield f"{kind}: {scope.rank(name)} dimensions, {MAX_RANK} at most"
        if kind in _RULES and (fault := _RULES[kind](node, scope)):
            yield f"{kind}: {fault}"
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _unsupported_in(Scope(attribute.g, scope))


def _data_tensors(node: onnx.NodeProto) -> list[str]:
    """Return the inputs that a node computes with, and its outputs of the same type."""
    schema = onnx.defs.get_schema(node.op_type, OPSET)
    inputs = _with_type_parameters(schema.inputs, node.input)
    of_inputs = {parameter for parameter, _ in inputs} & _DATA_TYPE_PARAMETERS
    outputs = _with_type_parameters(schema.outputs, node.output)
    return [name for parameter, name in inputs + outputs if name and parameter in of_inputs]


def _with_type_parameters(formal: Sequence, actual: Sequence[str]) -> list[tuple[str, str]]:
    """Return the type parameter in the schema and the name of each tensor.

    The last formal parameter may repeat.
    """
    return [
        (formal[min(index, len(formal) - 1)].type_str, name) for index, name in enumerate(actual)
    ]


def _cast(node: onnx.NodeProto, scope: Scope) -> str | None:
    name = node.input[0]
    is_network_input = scope.outer is None and name in scope.inputs
    if scope.dtype(name) == "uint8" and not is_network_input:
        return "uint8 that is not an input of the network"
    # The output's type parameter is T2, which the general check ignores.
    target = _type_name(_attribute(node, "to", 0))
    return None if target in TYPES["Cast"] - {"uint8"} else f"to {target}"


def _top_k(node: onnx.NodeProto, scope: Scope) -> str | None:
    count = scope.constant(node.input[1])
    if count is None or not _attribute(node, "sorted", 1):
        return "only sorted and with a constant count"
    return None if count.item() <= MAX_TOP_K else f"{count.item()} entries, {MAX_TOP_K} at most"


def _max_pool(node: onnx.NodeProto, scope: Scope) -> str | None:
    plain = len(node.output) == 1 and set(_attribute(node, "dilations", [1])) == {1}
    has_rank = len(_attribute(node, "kernel_shape", [])) in (2, 3)
    return None if plain and has_rank else "only 2 or 3 dimensions, no indices and no dilations"


def _resize(node: onnx.NodeProto, scope: Scope) -> str | None:
    coordinates = _attribute(node, "coordinate_transformation_mode", b"half_pixel").decode()
    mode = _attribute(node, "mode", b"nearest").decode()
    policy = _attribute(node, "keep_aspect_ratio_policy", b"stretch").decode()
    known = coordinates in RESIZE_COORDINATE_MODES and mode in ("nearest", "linear")
    if not known or policy != "stretch":
        return f"{mode}, {coordinates}, {policy}"
    return "antialias" if _attribute(node, "antialias", 0) else None


def _constant_axes(node: onnx.NodeProto, scope: Scope) -> str | None:
    if len(node.input) < 2 or scope.constant(node.input[1]) is not None:
        return None
    return "axes that are not constant"


def _loop(node: onnx.NodeProto, scope: Scope) -> str | None:
    body = next(attribute.g for attribute in node.attribute if attribute.name == "body")
    carried = len(node.input) - 2
    if len(body.output) - 1 > carried and scope.constant(node.input[0]) is None:
        return "an output stacked over a number of trips that is not constant"
    return None


def _scatter(node: onnx.NodeProto, scope: Scope) -> str | None:
    reduction = _attribute(node, "reduction", b"none").decode()
    return None if reduction == "none" else f"reduction {reduction}"


def _zero_point(node: onnx.NodeProto, scope: Scope) -> str | None:
    if len(node.input) < 3 or not node.input[2]:
        return None
    zero = scope.constant(node.input[2])
    if zero is None or zero.dtype != np.int8 or zero.any():
        return "a zero point other than int8 0"
    return None


_RULES: dict[str, Callable[[onnx.NodeProto, Scope], str | None]] = {
    "Cast": _cast,
    "TopK": _top_k,
    "MaxPool": _max_pool,
    "Resize": _resize,
    "ReduceMax": _constant_axes,
    "ReduceMean": _constant_axes,
    "ReduceMin": _constant_axes,
    "ReduceSum": _constant_axes,
    "Unsqueeze": _constant_axes,
    "Loop": _loop,
    "ScatterND": _scatter,
    "QuantizeLinear": _zero_point,
    "DequantizeLinear": _zero_point,
}


def _attribute(node: onnx.NodeProto, name: str, default: object) -> object:
    for attribute in node.attribute:
        if attribute.name == name:
            return helper.get_attribute_value(attribute)
    return default


def _type_name(element: int) -> str:
    return helper.tensor_dtype_to_np_dtype(element).name if element else ""

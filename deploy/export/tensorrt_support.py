"""What TensorRT takes of ONNX, as far as our files could need it, and what of a file it would not.

The table is our own extract of two pages, as they were for TensorRT 10.15 (January 2026):
`docs/operators.md` of onnx/onnx-tensorrt, which is the parser behind `trtexec --onnx` and ONNX
Runtime's provider, and the operators' pages of NVIDIA's documentation (checked once more against
those of TensorRT 11). Where the two differ, the stricter is kept: the parser's page gives NonZero
no bool and TopK less than 3840 rows, the other one bool and 3840.

No GPU has run what is held against this table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deploy.export.graph.builder import OPSET

TABLE_OF = "TensorRT 10.15 (January 2026)"
OPSETS = range(9, 25)
MAX_RANK = 8
MAX_TOP_K = 3839

_FLOAT = frozenset({"float32", "float16"})
_NUMBER = _FLOAT | {"int32", "int64"}
_ANY = _NUMBER | {"bool"}
_BOOL = frozenset({"bool"})

TYPES: dict[str, frozenset[str]] = {
    "Abs": _NUMBER,
    "Add": _NUMBER,
    "And": _BOOL,
    "Cast": _ANY | {"uint8"},
    "Clip": _FLOAT,
    "Concat": _ANY,
    "Constant": _ANY,
    "Conv": _FLOAT,
    "DequantizeLinear": frozenset({"int8"}),
    "Div": _NUMBER,
    "Equal": _NUMBER,
    "Expand": _ANY,
    "Flatten": _ANY,
    "Floor": _FLOAT,
    "Gather": _ANY,
    "GatherElements": _ANY,
    "GatherND": _ANY,
    "Greater": _NUMBER,
    "Identity": _ANY,
    "Less": _NUMBER,
    "LessOrEqual": _NUMBER,
    "Loop": _ANY,
    "MatMul": _FLOAT,
    "Max": _NUMBER,
    "MaxPool": _FLOAT,
    "Min": _NUMBER,
    "Mod": _NUMBER,
    "Mul": _NUMBER,
    "NonZero": _FLOAT,
    "Not": _BOOL,
    "Or": _BOOL,
    "Pad": _NUMBER,
    "QuantizeLinear": _FLOAT,
    "Reciprocal": _FLOAT,
    "ReduceMax": _NUMBER,
    "ReduceMin": _NUMBER,
    "ReduceSum": _NUMBER,
    "Relu": _NUMBER,
    "Reshape": _ANY,
    "Resize": _FLOAT,
    "Round": _FLOAT,
    "ScatterND": _NUMBER,
    "Shape": _ANY,
    "Sigmoid": _FLOAT,
    "Slice": _ANY,
    "Split": _ANY,
    "Sub": _NUMBER,
    "TopK": _NUMBER,
    "Transpose": _ANY,
    "Unsqueeze": _ANY,
    "Where": _ANY,
}
"""Operator -> element types of the tensors that it computes with. Those of shapes, axes and indices
are not meant. DOUBLE is in no row: TensorRT reads it and computes in float32. UINT8 is for inputs
and outputs of the network alone, so that only Cast takes it."""

_DATA = {"T", "T1", "B", "V"}
"""Names of types that ONNX's schemas give to the tensors an operator computes with."""
_RESIZE_FRAMES = {
    "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners",
}  # fmt: skip


class Scope:
    """The tensors of a graph, and of the graphs around it: types, ranks and constants."""

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
        """Element type; "" where it is not known."""
        if name in self.constants:
            return _type_name(self.constants[name].data_type)
        if name in self.types:
            return _type_name(self.types[name].elem_type)
        return self.outer.dtype(name) if self.outer else ""

    def rank(self, name: str) -> int | None:
        if name in self.constants:
            return len(self.constants[name].dims)
        if name in self.types and self.types[name].HasField("shape"):
            return len(self.types[name].shape.dim)
        return self.outer.rank(name) if self.outer else None

    def constant(self, name: str) -> np.ndarray | None:
        """The value of what is fixed when the engine is built."""
        if name in self.constants:
            return numpy_helper.to_array(self.constants[name])
        return self.outer.constant(name) if self.outer else None


def misfits(model: onnx.ModelProto) -> list[str]:
    """What of a file TensorRT does not take by the table, each kind once: operator and reason."""
    found = {}
    versions = {one.domain: one.version for one in model.opset_import}
    if versions.get("", 0) not in OPSETS:
        found[f"opset {versions.get('')}: it reads {OPSETS[0]} to {OPSETS[-1]}"] = None
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    for fault in _misfits_of(Scope(model.graph)):
        found[fault] = None
    return list(found)


def _misfits_of(scope: Scope) -> Iterator[str]:
    for node in scope.graph.node:
        kind = node.op_type
        if node.domain or kind not in TYPES:
            yield f"{kind}: not in its table"
            continue
        for dtype in sorted({scope.dtype(name) for name in _data_names(node)}):
            if dtype not in TYPES[kind]:
                yield f"{kind} of {dtype or 'an unknown type'}"
        for name in (*node.input, *node.output):
            if (scope.rank(name) or 0) > MAX_RANK:
                yield f"{kind}: {scope.rank(name)} dimensions, {MAX_RANK} at most"
        if kind in _RULES and (fault := _RULES[kind](node, scope)):
            yield f"{kind}: {fault}"
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _misfits_of(Scope(attribute.g, scope))


def _data_names(node: onnx.NodeProto) -> list[str]:
    """Inputs that a node computes with, and outputs of the same type."""
    schema = onnx.defs.get_schema(node.op_type, OPSET)
    inputs = _with_kinds(schema.inputs, node.input)
    kinds = {kind for kind, _ in inputs}
    outputs = _with_kinds(schema.outputs, node.output)
    return [name for kind, name in inputs + outputs if name and kind in kinds & _DATA]


def _with_kinds(formal: Sequence, actual: Sequence[str]) -> list[tuple[str, str]]:
    """Name of the type in the schema, and name of the tensor; the last formal one may repeat."""
    return [
        (formal[min(index, len(formal) - 1)].type_str, name) for index, name in enumerate(actual)
    ]


def _cast(node: onnx.NodeProto, scope: Scope) -> str | None:
    name = node.input[0]
    outside = scope.outer is None and name in scope.inputs
    if scope.dtype(name) == "uint8" and not outside:
        return "uint8 that is no input of the network"
    # the output's type is T2, which the general check leaves alone
    target = _type_name(_attribute(node, "to", 0))
    return None if target in TYPES["Cast"] - {"uint8"} else f"to {target}"


def _top_k(node: onnx.NodeProto, scope: Scope) -> str | None:
    count = scope.constant(node.input[1])
    if count is None or not _attribute(node, "sorted", 1):
        return "sorted, and of a count that is a constant"
    return None if count.item() <= MAX_TOP_K else f"{count.item()} rows, {MAX_TOP_K} at most"


def _max_pool(node: onnx.NodeProto, scope: Scope) -> str | None:
    plain = len(node.output) == 1 and set(_attribute(node, "dilations", [1])) == {1}
    flat = len(_attribute(node, "kernel_shape", [])) in (2, 3)
    return None if plain and flat else "2 or 3 dimensions, without indices and dilations"


def _resize(node: onnx.NodeProto, scope: Scope) -> str | None:
    frame = _attribute(node, "coordinate_transformation_mode", b"half_pixel").decode()
    mode = _attribute(node, "mode", b"nearest").decode()
    policy = _attribute(node, "keep_aspect_ratio_policy", b"stretch").decode()
    if frame not in _RESIZE_FRAMES or mode not in ("nearest", "linear") or policy != "stretch":
        return f"{mode}, {frame}, {policy}"
    return "antialias" if _attribute(node, "antialias", 0) else None


def _constant_axes(node: onnx.NodeProto, scope: Scope) -> str | None:
    if len(node.input) < 2 or scope.constant(node.input[1]) is not None:
        return None
    return "axes that are no constant"


def _loop(node: onnx.NodeProto, scope: Scope) -> str | None:
    body = next(attribute.g for attribute in node.attribute if attribute.name == "body")
    carried = len(node.input) - 2
    if len(body.output) - 1 > carried and scope.constant(node.input[0]) is None:
        return "an output that grows with each of a number of trips that is no constant"
    return None


def _scatter(node: onnx.NodeProto, scope: Scope) -> str | None:
    reduction = _attribute(node, "reduction", b"none").decode()
    return None if reduction == "none" else f"reduction {reduction}"


def _zero_point(node: onnx.NodeProto, scope: Scope) -> str | None:
    if len(node.input) < 3 or not node.input[2]:
        return None
    zero = scope.constant(node.input[2])
    if zero is None or zero.dtype != np.int8 or zero.any():
        return "a zero point that is not 0 of int8"
    return None


_RULES: dict[str, Callable[[onnx.NodeProto, Scope], str | None]] = {
    "Cast": _cast,
    "TopK": _top_k,
    "MaxPool": _max_pool,
    "Resize": _resize,
    "ReduceMax": _constant_axes,
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

"""What TensorRT supports of ONNX, as far as exported files could need it.

The table is our own extract of two pages, as of TensorRT 10.15 (January 2026): `docs/operators.md`
of onnx/onnx-tensorrt, the parser behind `trtexec --onnx` and ONNX Runtime's provider, and the
operator pages of NVIDIA's documentation (checked again against those of TensorRT 11). Where the two
differ, the stricter one is kept: for NonZero the parser's page does not list bool and NVIDIA's
does, and for TopK see `MAX_TOP_K`.

No GPU has run what is checked against this table.
"""

from __future__ import annotations

from deploy.export.types import MAX_K

OPSETS = range(9, 25)
MAX_RANK = 8
MAX_TOP_K = MAX_K - 1
"""Most entries of TopK: NVIDIA's page allows 3840 (`MAX_K`), the parser's page fewer than 3840."""

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
    "HardSigmoid": _FLOAT,
    "HardSwish": _FLOAT,
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
    "ReduceMean": _NUMBER,
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
"""Operator -> element types of the tensors that it computes with.

Tensors of shapes, axes and indices do not count. DOUBLE is in no row: TensorRT reads it and
computes in float32. UINT8 is for inputs and outputs of the network only, so only Cast takes it."""

RESIZE_COORDINATE_MODES = frozenset(
    {
        "half_pixel",
        "pytorch_half_pixel",
        "tf_half_pixel_for_nn",
        "asymmetric",
        "align_corners",
    }
)
"""The `coordinate_transformation_mode`s of Resize."""

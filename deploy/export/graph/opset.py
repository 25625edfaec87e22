"""Express a finished model in another opset than the one that it is built in.

Newer opsets only add to the operators that are used here. In older ones, some attributes are
missing, which is fine where they have their defaults, and `ReduceMax` and `ReduceMin` take their
axes as an attribute instead of an input.
"""

from __future__ import annotations

import onnx
from onnx import helper, numpy_helper

from deploy.export.graph.assemble import check_model
from deploy.export.types import OPSET
from DOTA_devkit.errors import InputError


def newest_opset() -> int:
    """Return the newest opset that the installed onnx package knows."""
    return onnx.defs.onnx_opset_version()


def with_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Return a model, which is of opset `OPSET`, in another one.

    Raises:
        InputError: Something in the model has no equivalent in that opset. The message names the
            first opset that has one.
    """
    if opset == OPSET:
        return model
    try:
        return _convert(model, opset)
    except _NOT_EXPRESSIBLE as error:
        cause = str(error).strip().splitlines()[0]
    for later in range(opset + 1, newest_opset() + 1):
        try:
            with_opset(model, later)
        except (InputError, *_NOT_EXPRESSIBLE):
            continue
        raise InputError(
            f"opset {opset} cannot express this file; the first one that can is {later} ({cause})"
        )
    raise InputError(f"no opset from {opset} to {newest_opset()} can express this file ({cause})")


_NOT_EXPRESSIBLE = (
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    onnx.defs.SchemaError,
)


def _convert(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    converted = onnx.ModelProto()
    converted.CopyFrom(model)
    del converted.opset_import[:]
    converted.opset_import.append(helper.make_opsetid("", opset))
    converted.ir_version = helper.find_min_ir_version_for(converted.opset_import)
    if opset < OPSET:
        _lower(converted.graph, opset, {})
    check_model(converted)
    return converted


def _lower(graph: onnx.GraphProto, opset: int, outer: dict[str, onnx.TensorProto]) -> None:
    """Rewrite the nodes of a graph, and of the bodies of its loops, for an older opset."""
    constants = outer | {one.name: one for one in graph.initializer}
    for node in graph.node:
        older = onnx.defs.get_schema(node.op_type, opset)
        defaults = onnx.defs.get_schema(node.op_type, OPSET).attributes
        for attribute in list(node.attribute):
            if attribute.name in older.attributes:
                if attribute.HasField("g"):
                    _lower(attribute.g, opset, constants)
            elif _value(attribute) == _value(defaults[attribute.name].default_value):
                node.attribute.remove(attribute)
        takes_axes = "axes" in older.attributes and len(node.input) == 2 > older.max_input
        if takes_axes and node.input[1] in constants:
            axes = numpy_helper.to_array(constants[node.input[1]])
            node.attribute.append(helper.make_attribute("axes", axes.tolist()))
            del node.input[1:]


def _value(attribute: onnx.AttributeProto) -> object:
    return helper.get_attribute_value(attribute) if attribute.type else None

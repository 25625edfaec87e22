"""OpenVINO models of ours and ONNX files of ours in OpenVINO: how both are read.

The export makes the first of the second, and the detector runs either.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from deploy.metadata import OUTPUTS, ModelMetadata, read_onnx_metadata
from DOTA_devkit.errors import InputError

INFO = "model_info"
"""Section of a model's own information that holds our metadata, one text a key."""

_HEAD = 1000
"""Bytes of an .xml file within which its root must begin."""


def import_openvino() -> ModuleType:
    """The package; InputError where it is not installed."""
    try:
        return importlib.import_module("openvino")
    except ImportError:
        raise InputError("OpenVINO is not installed: pip install -e '.[openvino]'") from None


@functools.cache
def core() -> Any:
    """OpenVINO's core, one for the whole process, which is never closed.

    A core gives its thread another stack for signals, and when it is closed the one that it found.
    Of two that are closed in the order of their making, the second so brings back a stack that is
    gone, and the next signal that Python handles (Ctrl-C, a child that ends) kills the process.
    """
    return import_openvino().Core()


def read(path: Path) -> tuple[Any, ModelMetadata]:
    """The model of an `.xml` or `.onnx` file, whose inputs are those of the file, and its metadata.

    Raises:
        InputError: OpenVINO is not installed or cannot read the file, or it is none of ours.
    """
    import_openvino()
    if path.suffix.lower() == ".onnx":
        metadata = read_onnx_metadata(path)
        return read_onnx(path), metadata
    with open(path, "rb") as file:
        # OpenVINO would try all formats that it knows, each with a complaint of its own
        if b"<net" not in file.read(_HEAD):
            raise InputError(f"{path}: no model of OpenVINO: it does not begin with <net")
    model = _read(path)
    return model, ModelMetadata.from_props(_props(model), path)


def read_onnx(path: Path) -> Any:
    """The model of an ONNX file, with `conf_thresh` as an input that must be fed where the file
    has it as one with a default value: of such inputs OpenVINO makes constants.

    Of equal values TopK takes the first one first, as ONNX has it; OpenVINO takes any.
    """
    openvino = import_openvino()
    model = _read(path)
    _make_stable(model)
    for node in model.get_ops():
        if node.get_type_name() == "Constant" and node.get_friendly_name() == "conf_thresh":
            threshold = openvino.op.Parameter(openvino.Type.f32, openvino.PartialShape([]))
            threshold.set_friendly_name("conf_thresh")
            threshold.output(0).set_names({"conf_thresh"})
            for use in node.output(0).get_target_inputs():
                use.replace_source_output(threshold.output(0))
            model.add_parameters([threshold])
    return model


def _make_stable(model: Any) -> None:
    """Let each TopK keep the order of equal values.

    OpenVINO can, but takes 2 microseconds a value. So its usual TopK finds the lowest value that is
    taken; of the values above it and the first ones that equal it keys are made of which no two are
    alike, and it is those that another one takes; the few that are left can be sorted slowly.
    """
    ops = importlib.import_module("openvino.opset11")
    for node in model.get_ops():
        if node.get_type_name() != "TopK":
            continue
        values, count = node.input_value(0), node.input_value(1)
        settings = node.get_attributes()
        axis, integers = settings["axis"], "i32"
        uses = [list(node.output(port).get_target_inputs()) for port in (0, 1)]
        lowest = ops.reduce_min(node.output(0), axis, keep_dims=True)
        length = ops.gather(ops.shape_of(values, integers), axis, 0)
        place = ops.range(ops.constant(np.int32(0)), length, ops.constant(np.int32(1)), integers)
        early = ops.subtract(length, place)  # n for the first, 1 for the last
        key = ops.select(ops.equal(values, lowest), early, ops.constant(np.int32(0)))
        key = ops.select(ops.greater(values, lowest), ops.add(early, length), key)
        taken = ops.topk(key, count, axis, "max", "value", integers)
        scores = ops.gather_elements(values, taken.output(1), axis)
        best = ops.topk(scores, count, axis, "max", "value", integers, stable=True)
        index = ops.gather_elements(taken.output(1), best.output(1), axis)
        outputs = best.output(0), ops.convert(index, settings["index_element_type"]).output(0)
        for own, those in zip(outputs, uses, strict=True):
            for use in those:
                use.replace_source_output(own)


def set_metadata(model: Any, metadata: ModelMetadata) -> None:
    for key, text in metadata.to_props().items():
        model.set_rt_info(text, [INFO, key])


def own_name(port: Any) -> str:
    """Of an input or output: OpenVINO may add names of its own to that of the file."""
    ours = port.get_names() & {"input", "conf_thresh", *OUTPUTS}
    return min(ours) if ours else port.get_any_name()


def cause(error: Exception) -> str:
    """What is wrong, of an error of OpenVINO: its last line, after the places in its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _read(path: Path) -> Any:
    try:
        return core().read_model(str(path))
    except Exception as error:  # RuntimeError with a page of text
        raise InputError(f"{path}: no model that OpenVINO can read ({cause(error)})") from None


def _props(model: Any) -> dict[str, str]:
    """The entries of the metadata in an OpenVINO model's `model_info`."""
    if not model.has_rt_info([INFO]):
        return {}
    return {
        key: str(value.astype(str) if hasattr(value, "astype") else value)
        for key, value in model.get_rt_info([INFO]).value.items()
    }

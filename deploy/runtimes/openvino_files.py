"""How OpenVINO reads, compiles and labels this project's models, both `.xml` and `.onnx` files.

The export converts ONNX files to OpenVINO models, and the detector runs either.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from deploy.digest import OPENVINO_KEY, check_openvino
from deploy.metadata import MAPS, OUTPUTS, ModelMetadata, read_onnx_metadata
from deploy.sidecar import warn_of_mismatch
from DOTA_devkit.errors import InputError

INFO = "model_info"
"""Section of a model's runtime information that holds our metadata, one text per key."""

_HEAD_BYTES = 1000
"""Length of the start of an .xml file in which its root element must begin."""


def import_openvino() -> ModuleType:
    """Import OpenVINO.

    Raises:
        InputError: It is not installed.
    """
    try:
        return importlib.import_module("openvino")
    except ImportError:
        raise InputError("OpenVINO is not installed: pip install -e '.[openvino]'") from None


@functools.cache
def core() -> Any:
    """Return OpenVINO's core, one for the whole process, which is never closed.

    A core gives its thread another stack for signals, and restores the one that it found when it is
    closed. If two cores are closed in the order in which they were made, the second restores a
    stack that no longer exists, and the next signal that Python handles (Ctrl-C, or a child process
    that ends) kills the process.
    """
    return import_openvino().Core()


def read(path: Path) -> tuple[Any, ModelMetadata]:
    """Read a model of this project.

    Args:
        path: An `.xml` or `.onnx` file.

    Returns:
        The model, whose inputs are those of the file, and its metadata.

    Raises:
        InputError: OpenVINO is not installed or cannot read the file, or the file was not exported
            by this project.
    """
    import_openvino()
    if path.suffix.lower() == ".onnx":
        metadata = read_onnx_metadata(path)
        return read_onnx(path), metadata
    with open(path, "rb") as file:
        # OpenVINO would try all formats that it knows and log an error for each
        if b"<net" not in file.read(_HEAD_BYTES):
            raise InputError(f"{path}: not an OpenVINO model: it does not begin with <net")
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise InputError(f"{path}: its weights are missing: expected the bin file {weights}")
    check_openvino(path)
    model = _read(path)
    props = _props(model)
    metadata = ModelMetadata.from_props(props, path)
    warn_of_mismatch(path, props)
    return model, metadata


def read_onnx(path: Path) -> Any:
    """Read an ONNX file so that it behaves in OpenVINO as ONNX defines it.

    If `conf_thresh` is an input with a default value, as in files of earlier versions, it becomes
    an input that must be fed: OpenVINO turns such inputs into constants. TopK takes equal values in
    their order, as ONNX requires; OpenVINO takes them in any order.

    Raises:
        InputError: OpenVINO is not installed or cannot read the file.
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


def compile_model(model: Any, threads: int | None = None) -> Any:
    """Compile a model for the CPU, for low latency and in float32.

    On some newer processors OpenVINO would compute in bfloat16 unasked, and find other boxes.

    Args:
        model: A model of OpenVINO, or the path of a file as text.
        threads: CPU threads; None leaves the number to OpenVINO.
    """
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    return core().compile_model(model, "CPU", config)


def _make_stable(model: Any) -> None:
    """Let each TopK keep the order of equal values.

    OpenVINO has a stable TopK, but it takes 2 microseconds per value. So the usual TopK finds the
    lowest value that is taken. The values above it, and the first ones that equal it, get keys of
    which no two are alike. Another usual TopK takes those, and only the few that are left go
    through the stable one.
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
        position = ops.range(ops.constant(np.int32(0)), length, ops.constant(np.int32(1)), integers)
        early = ops.subtract(length, position)  # n for the first, 1 for the last
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


def set_metadata(model: Any, metadata: ModelMetadata, digest: str) -> None:
    """Store metadata and the digest of the files in a model, from which `read` gets them back."""
    for key, text in (metadata.to_props() | {OPENVINO_KEY: digest}).items():
        model.set_rt_info(text, [INFO, key])


def own_name(port: Any) -> str:
    """Return the name of an input or output in the file; OpenVINO may add others to it."""
    ours = port.get_names() & {"input", "conf_thresh", *OUTPUTS, *MAPS}
    return min(ours) if ours else port.get_any_name()


def cause(error: Exception) -> str:
    """Return the cause of an error of OpenVINO: its last line, after the places in its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _read(path: Path) -> Any:
    try:
        return core().read_model(str(path))
    except Exception as error:  # RuntimeError with a page of text
        raise InputError(f"{path}: not a model that OpenVINO can read ({cause(error)})") from None


def _props(model: Any) -> dict[str, str]:
    """Return the entries of the metadata in an OpenVINO model."""
    if not model.has_rt_info([INFO]):
        return {}
    return {
        key: str(value.astype(str) if hasattr(value, "astype") else value)
        for key, value in model.get_rt_info([INFO]).value.items()
    }

"""An ONNX model of ours -> an OpenVINO model (`.xml` and `.bin`), and how it is run for checks."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from deploy.export.types import ModelRunner
from deploy.metadata import ModelMetadata
from deploy.runtimes.openvino_files import (
    cause,
    compile_model,
    import_openvino,
    read_onnx,
    set_metadata,
)
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing


def convert(model: onnx.ModelProto, metadata: ModelMetadata, path: Path) -> None:
    """Write `path` (`.xml`) and the weights beside it, float16 where the metadata says so.

    An input with a default value becomes one that must be fed: OpenVINO has no optional inputs.
    """
    openvino = import_openvino()
    source = path.with_suffix(".onnx")
    onnx.save(model, source)
    try:
        # not convert_model, which does the same with ONNX files and reports its use to Intel
        converted = read_onnx(source)
        set_metadata(converted, metadata)
        openvino.save_model(converted, str(path), compress_to_fp16=metadata.precision == "float16")
    except RuntimeError as error:
        raise InputError(f"OpenVINO could not convert the model: {cause(error)}") from None
    finally:
        source.unlink()


def runner(path: Path) -> ModelRunner:
    """The model by the names of its inputs and outputs."""
    compiled = compile_model(str(path))
    # OpenVINO adds names of its own to that of the file
    ports = {name: output for output in compiled.outputs for name in output.get_names()}

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        results = compiled(dict(inputs))
        return {name: results[port].copy() for name, port in ports.items()}

    return run


def write(source: Path, output: Path) -> None:
    """Copy a converted model to where it belongs, both files or none."""
    target = output.with_suffix(".bin")
    # the last one to be opened is the first to be put in place: weights before what needs them
    with replacing(output, "wb") as graph, replacing(target, "wb") as weights:
        for path, file in ((source, graph), (source.with_suffix(".bin"), weights)):
            with open(path, "rb") as content:
                shutil.copyfileobj(content, file)

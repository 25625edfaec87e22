"""Convert an exported ONNX model to OpenVINO (`.xml` and `.bin`), and run it for the checks."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from deploy.digest import openvino_digest
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
    """Write an OpenVINO model and its weights (`.bin`) beside it.

    Args:
        model: The ONNX model.
        metadata: Its metadata; the weights are written in float16 if its precision says so.
        path: The `.xml` file.

    Raises:
        InputError: OpenVINO cannot convert the model.
    """
    openvino = import_openvino()
    source = path.with_suffix(".onnx")
    onnx.save(model, source)
    try:
        # convert_model would do the same with ONNX files, but it reports its use to Intel.
        converted = read_onnx(source)
        half = metadata.precision == "float16"
        openvino.save_model(converted, str(path), compress_to_fp16=half)
        set_metadata(converted, metadata, openvino_digest(path))
        openvino.save_model(converted, str(path), compress_to_fp16=half)
    except RuntimeError as error:
        raise InputError(f"OpenVINO could not convert the model: {cause(error)}") from None
    finally:
        source.unlink()


def runner(path: Path) -> ModelRunner:
    """Compile the model and call it by the names of its inputs and outputs."""
    compiled = compile_model(str(path))
    # OpenVINO adds names of its own to those of the file.
    ports = {name: output for output in compiled.outputs for name in output.get_names()}

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        results = compiled(dict(inputs))
        return {name: results[port].copy() for name, port in ports.items()}

    return run


def write(source: Path, output: Path) -> None:
    """Copy a converted model to its place, both files or none."""
    target = output.with_suffix(".bin")
    # The file opened last is put in place first: the weights before the graph that needs them.
    with replacing(output, "wb") as graph, replacing(target, "wb") as weights:
        for path, file in ((source, graph), (source.with_suffix(".bin"), weights)):
            with open(path, "rb") as content:
                shutil.copyfileobj(content, file)

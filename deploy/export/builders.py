"""Build the files that are made from an ONNX graph or a trace: one function for each format."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnxruntime import InferenceSession

from deploy.digest import ONNX_KEY, onnx_digest
from deploy.export import openvino as openvino_model
from deploy.export import tensorrt, tensorrt_support, torch_program
from deploy.export.equalize import equalize
from deploy.export.graph.assemble import assemble, assemble_maps, check_model
from deploy.export.graph.heads import fuse_heads
from deploy.export.graph.opset import with_opset
from deploy.export.graph.upsample import convolve_before_upsampling
from deploy.export.job import BuiltModel, ExportJob
from deploy.export.network_onnx import export_head_maps
from deploy.export.quantize import quantize
from deploy.export.settings import ExportSettings
from deploy.export.trace import traced_network, traced_program
from deploy.export.types import OPSET, ModelRunner
from deploy.runtimes.onnx_runtime import open_session
from deploy.runtimes.openvino_files import import_openvino
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from structures.letterbox import Letterbox, normalize

logger = logging.getLogger(__name__)


def write_bytes(output: Path, content: bytes) -> None:
    """Write a file, complete or not at all."""
    with replacing(output, "wb") as target:
        target.write(content)


def with_digest(file: onnx.ModelProto) -> bytes:
    """Return the content of an ONNX file whose metadata hold the digest of its graph."""
    content = file.SerializeToString()
    entry = onnx.ModelProto()
    entry.metadata_props.add(key=ONNX_KEY, value=onnx_digest(content))
    return content + entry.SerializeToString()  # protobuf merges what is joined like this


def build_onnx(job: ExportJob) -> BuiltModel:
    """Build an ONNX file."""
    file, with_rows_before_nms = onnx_files(job)
    run_before_nms = None
    if with_rows_before_nms is not None:
        run_before_nms = session_runner(open_checked(with_rows_before_nms, job.settings))
    return BuiltModel(
        session_runner(open_checked(file, job.settings)),
        lambda output: write_bytes(output, with_digest(file)),
        run_before_nms,
    )


def build_torch(job: ExportJob) -> BuiltModel:
    """Build a PyTorch program (`.pt2`)."""
    logger.info("tracing network and decoder")
    shape = job.settings.input_shape()
    program = traced_program(job.network, job.metadata, shape)
    content = torch_program.serialize(program, job.metadata)
    run = torch_program.runner(content, job.metadata.outputs)
    return BuiltModel(run, lambda output: write_bytes(output, content))


def build_openvino(job: ExportJob) -> BuiltModel:
    """Build an OpenVINO model (`.xml` and `.bin`)."""
    import_openvino()  # fails before the work if it is not installed
    file, with_rows_before_nms = onnx_files(job)
    graph = job.path.with_name("graph.xml")
    openvino_model.convert(file, job.metadata, graph)
    run_before_nms = None
    if with_rows_before_nms is not None:
        second_graph = job.path.with_name("rows_before_nms.xml")
        openvino_model.convert(with_rows_before_nms, job.metadata, second_graph)
        run_before_nms = openvino_model.runner(second_graph)
    run = openvino_model.runner(graph)
    return BuiltModel(run, lambda output: openvino_model.write(graph, output), run_before_nms)


def build_tensorrt(job: ExportJob) -> BuiltModel:
    """Build an ONNX file for TensorRT, and its engine where ONNX Runtime can use TensorRT."""
    file, _ = onnx_files(job)
    if faults := tensorrt_support.unsupported_features(file):
        raise InputError(f"TensorRT does not support this file: {'; '.join(faults)}")
    cache = tensorrt.cache_folder(job.path)
    profile = tensorrt.OptimizationProfile.of(job.settings.input_shape(), job.input_hw)
    engine = None
    if tensorrt.is_available():
        onnx.save(file, job.path)
        logger.info("building the TensorRT engine, which takes minutes")
        try:
            engine = tensorrt.open_engine(job.path, cache, profile, job.settings.half)
        except Exception as error:  # ONNX Runtime raises classes of its own, without a common base
            logger.warning("TensorRT failed: %s", str(error).strip().partition("\n")[0])
    if engine is None:
        logger.warning(
            "no engine is built: this ONNX Runtime cannot use TensorRT on this machine. The ONNX "
            "file is written anyway"
        )

    def write(output: Path) -> None:
        write_bytes(output, with_digest(file))
        if engine is not None:
            tensorrt.write_cache(cache, output)

    def advice(output: Path) -> str:
        commands = tensorrt.trtexec_commands(output, profile, job.settings.half)
        return "to build an engine for TensorRT's own runtime:\n  " + "\n  ".join(commands)

    run = session_runner(open_checked(file, job.settings))
    run_engine = None if engine is None else session_runner(engine)
    return BuiltModel(run, write, run_engine=run_engine, advice=advice)


def onnx_files(job: ExportJob) -> tuple[onnx.ModelProto, onnx.ModelProto | None]:
    """Return the checked model, and if it does NMS the same with the rows before it as outputs."""
    settings, metadata = job.settings, job.metadata
    if settings.layout == "heads":
        return head_maps_file(job), None
    if settings.int8:
        graph = quantized_network(job)
    else:
        logger.info("tracing the network")
        # OpenVINO's float16 is a compression of the weights alone, done when it converts.
        half = settings.half and settings.format != "openvino"
        graph = traced_network(job.network, settings, half)
        # On a GPU products are cheaper than memory accesses.
        if not half and settings.format != "tensorrt":
            graph = convolve_before_upsampling(graph)
    coding = job.network.box_coding
    box_heads = fuse_heads(job.network.box_heads, coding)
    logger.info("building and checking the graph")
    shape = settings.input_shape()
    file = assemble(graph, box_heads, metadata, shape, box_coding=coding)
    check_model(file)
    file = with_opset(file, settings.opset)
    if metadata.nms_thresh is None:
        return file, None
    shown = assemble(graph, box_heads, metadata, shape, show_before_nms=True, box_coding=coding)
    return file, with_opset(shown, settings.opset)


def head_maps_file(job: ExportJob) -> onnx.ModelProto:
    """Return the checked model of the layout "heads"."""
    logger.info("tracing the network")
    height, width, batch = job.settings.static
    file = assemble_maps(export_head_maps(job.network, (batch, height, width)), job.metadata)
    check_model(file)
    return with_opset(file, job.settings.opset)


def quantized_network(job: ExportJob) -> onnx.ModelProto:
    """Return the network's graph in 8 bits; the network's channels are equalized in place."""
    network, images = job.network, job.calibration
    if not images:
        raise InputError("int8 needs calibration images: pass them as calibration")
    logger.info("calibrating int8 on %d images", len(images))
    height, width = job.input_hw
    boxes = [
        Letterbox.fit(image.shape[1::-1], (width, height), job.settings.squash) for image in images
    ]
    batches = [normalize(box.apply(image))[None] for box, image in zip(boxes, images, strict=True)]
    equalize(network, batches)
    graph = traced_network(network, job.settings)
    # A network that is not convolutional may only take the batch size of its trace.
    static = None if network.convolutional else job.settings.static
    return quantize(graph, [np.repeat(batch, static[2] if static else 1, 0) for batch in batches])


def open_checked(file: onnx.ModelProto, settings: ExportSettings) -> InferenceSession:
    """Open a file in ONNX Runtime.

    Raises:
        InputError: ONNX Runtime lacks an operator of the opset that the file is written in.
    """
    try:
        return open_session(file)
    except Exception as error:  # ONNX Runtime raises classes of its own, without a common base
        if settings.opset <= OPSET:
            raise
        cause = str(error).strip().partition("\n")[0]
        raise InputError(
            f"opset {settings.opset}: the installed ONNX Runtime cannot run the file in it, so it "
            f"cannot be checked ({cause}): choose a lower one"
        ) from None


def session_runner(session) -> ModelRunner:
    """Return a runner of an ONNX Runtime session."""
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run

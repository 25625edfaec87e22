"""How each format is built: one function a format, and the table that names them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

from deploy.export import openvino as openvino_model
from deploy.export import tensorrt, tensorrt_support, torch_program
from deploy.export.equalize import equalize
from deploy.export.graph import assemble as onnx_model
from deploy.export.graph import upsample as upsampled_convolutions
from deploy.export.graph.heads import products_of
from deploy.export.network import ExportNetwork
from deploy.export.network_onnx import export_network
from deploy.export.quantize import quantize
from deploy.export.settings import ExportSettings
from deploy.export.types import ModelRunner
from deploy.metadata import ModelMetadata
from deploy.runtimes.onnx_runtime import open_session
from deploy.runtimes.openvino_files import import_openvino
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from structures.letterbox import Letterbox, normalize

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportJob:
    """What a format is built of.

    network: of the checkpoint, for this once: it may be changed. input_hw: height and width at
    which images go through it here. calibration: images [H, W, 3] BGR for int8. path: where files
    can be put meanwhile, of the name that the output will have.
    """

    network: ExportNetwork
    metadata: ModelMetadata
    settings: ExportSettings
    input_hw: tuple[int, int]
    calibration: Sequence[np.ndarray]
    path: Path

    def profile(self) -> tensorrt.Profile | None:
        return tensorrt.Profile.of(self.settings.input_shape(), self.input_hw)


class BuiltModel(NamedTuple):
    """A model that is not at its place yet."""

    run: ModelRunner
    write: Callable[[Path], None]
    run_before_nms: ModelRunner | None = None
    """The same with the rows before suppression as further outputs, where it has suppression."""
    engine: ModelRunner | None = None
    """The same in TensorRT, which rounds more."""


def write_bytes(output: Path, content: bytes) -> None:
    with replacing(output, "wb") as target:
        target.write(content)


def build_onnx(job: ExportJob) -> BuiltModel:
    file, before_nms = onnx_files(job)
    shown = None if before_nms is None else runner(open_session(before_nms))
    return BuiltModel(
        runner(open_session(file)),
        lambda output: write_bytes(output, file.SerializeToString()),
        shown,
    )


def build_torch(job: ExportJob) -> BuiltModel:
    logger.info("tracing network and decoder")
    shape, fix_conf = job.settings.input_shape(), job.settings.fix_conf
    program = torch_program.export_program(job.network, job.metadata, shape, fix_conf)
    content = torch_program.serialize(program, job.metadata)
    return BuiltModel(torch_program.runner(content), lambda output: write_bytes(output, content))


def build_openvino(job: ExportJob) -> BuiltModel:
    import_openvino()  # told before the work
    file, before_nms = onnx_files(job)
    graph = job.path.with_name("graph.xml")
    openvino_model.convert(file, job.metadata, graph)
    shown = None
    if before_nms is not None:
        beside = job.path.with_name("rows_too.xml")
        openvino_model.convert(before_nms, job.metadata, beside)
        shown = openvino_model.runner(beside)
    run = openvino_model.runner(graph)
    return BuiltModel(run, lambda output: openvino_model.write(graph, output), shown)


def build_tensorrt(job: ExportJob) -> BuiltModel:
    file, _ = onnx_files(job)
    if faults := tensorrt_support.misfits(file):
        raise InputError(f"TensorRT does not take this file: {'; '.join(faults)}")
    cache = tensorrt.cache_folder(job.path)
    engine = None
    if tensorrt.is_available():
        onnx.save(file, job.path)
        logger.info("building TensorRT's engine, which takes minutes")
        try:
            engine = tensorrt.open_engine(job.path, cache, job.profile(), job.settings.half)
        except Exception as error:  # of the runtime's own class, which bears no better name
            logger.warning("TensorRT failed: %s", str(error).strip().partition("\n")[0])
    if engine is None:
        logger.warning(
            "no engine is built: this ONNX Runtime cannot use TensorRT on this machine. The ONNX "
            "file is written all the same"
        )

    def write(output: Path) -> None:
        write_bytes(output, file.SerializeToString())
        if engine is not None:
            tensorrt.write_cache(cache, output)

    run = runner(open_session(file))
    return BuiltModel(run, write, engine=None if engine is None else runner(engine))


BUILDERS: Mapping[str, Callable[[ExportJob], BuiltModel]] = {
    "onnx": build_onnx,
    "torch": build_torch,
    "openvino": build_openvino,
    "tensorrt": build_tensorrt,
}


def onnx_files(job: ExportJob) -> tuple[onnx.ModelProto, onnx.ModelProto | None]:
    """The checked model, and where it has suppression the same with the rows before it."""
    settings, metadata = job.settings, job.metadata
    if settings.int8:
        graph = quantized_network(job.network, job.input_hw, job.calibration)
    else:
        logger.info("tracing the network")
        # OpenVINO has its own way to float16: weights alone
        half = settings.half and settings.format != "openvino"
        graph = export_network(job.network, half)
        if not half and settings.format != "tensorrt":  # on a GPU products are cheaper than memory
            graph = upsampled_convolutions.rewrite(graph)
    box_heads = products_of(job.network.box_heads)
    logger.info("building and checking the graph")
    shape, fixed = settings.input_shape(), not settings.takes_conf
    file = onnx_model.assemble(graph, box_heads, metadata, shape, fixed)
    onnx_model.check(file)
    if metadata.nms_thresh is None:
        return file, None
    return file, onnx_model.assemble(graph, box_heads, metadata, shape, fixed, True)


def quantized_network(
    network: ExportNetwork, input_hw: tuple[int, int], images: Sequence[np.ndarray]
) -> onnx.ModelProto:
    """The network's graph in 8 bits. The network's channels are scaled on the way."""
    if not images:
        raise InputError("--int8 needs images to calibrate with: --calibrate PATH, or --data_dir")
    logger.info("calibrating 8 bits with %d images", len(images))
    height, width = input_hw
    batches = [
        normalize(Letterbox.fit(image.shape[1::-1], (width, height)).apply(image))[None]
        for image in images
    ]
    equalize(network, batches)
    return quantize(export_network(network), batches)


def runner(session) -> ModelRunner:
    """A session of ONNX Runtime by names."""
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run

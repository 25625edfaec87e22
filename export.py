"""Checkpoint -> a file that runtimes outside Python run whole, checked against the checkpoint.

python main.py --phase export --weights model_best.pth --output model.onnx
python main.py --phase export --weights model_best.pth --format openvino
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch

from deploy_metadata import COLORS, INPUT_TYPES, LAYOUTS, ModelMetadata
from DOTA_devkit import interrupts
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import refuse_unwritable, replacing
from DOTA_devkit.scoring import Truth, evaluate
from exporting import (
    Picture,
    onnx_model,
    openvino_model,
    tensorrt,
    tensorrt_support,
    torch_program,
    upsampled_convolutions,
)
from exporting.decode_graph import MAX_K
from exporting.equalise import equalise
from exporting.heads_at_peaks import products_of
from exporting.light_fork import compare_rows
from exporting.network import ExportNetwork, check_same_maps
from exporting.network_onnx import export_network
from exporting.onnx_model import Shape
from exporting.onnx_runtime import open_session
from exporting.parity import Comparison, Report, Run
from exporting.quantize import quantise
from exporting.rounding import TOLERANCES, RoundedComparison
from models import CTRBOX
from openvino_files import import_openvino
from structures.defaults import CONF_THRESH, INPUT_HW, NMS_THRESH, THETA_THRESH, K
from structures.detections import Detections
from structures.letterbox import Letterbox, normalize
from structures.task1 import to_task1

log = logging.getLogger(__name__)

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2", "openvino": ".xml", "tensorrt": ".onnx"}
FORMATS = tuple(SUFFIXES)
BATCH = 4  # of the parity report, where the file's is free
REPORT_CONF = 0.05  # of the report, where the threshold is an input: the more is compared


@dataclass(frozen=True)
class ExportSettings:
    """What is exported.

    format: one of `FORMATS`. static: height, width and batch of a fixed input, None for free
    ones. input_hw: of the network where bytes come in, and of the images of the report.
    nms_thresh: IoU above which the graph suppresses, None for no NMS in it. color: order of the
    channels of bytes. fix_conf: `conf_thresh` is no input. half, int8: the network's precision,
    float32 without either. check_nms_thresh: of the AP in the report.
    """

    format: str = "onnx"
    conf_thresh: float = CONF_THRESH
    theta_thresh: float = THETA_THRESH
    K: int = K
    static: tuple[int, int, int] | None = None
    input_hw: tuple[int, int] = INPUT_HW
    input_type: str = INPUT_TYPES[0]
    color: str = COLORS[0]
    layout: str = LAYOUTS[0]
    nms_thresh: float | None = None
    fix_conf: bool = False
    half: bool = False
    int8: bool = False
    check_nms_thresh: float = NMS_THRESH

    def __post_init__(self) -> None:
        if self.half and self.int8:
            raise InputError("--half and --int8 are two precisions: give one of them")
        if not 1 <= self.K <= MAX_K:
            raise InputError(f"--K is {self.K}, but a file has 1 to {MAX_K} rows")
        for side in self.static[:2] if self.static else self.input_hw:
            if side < 32 or side % 32:
                raise InputError(
                    f"height and width of the network's input are multiples of 32, not {side}"
                )
        if self.static and self.static[2] < 1:
            raise InputError(f"a batch of {self.static[2]}: 1 or more is expected")
        if self.color != "BGR" and self.input_type == "float32":
            raise InputError("--color RGB is for --input uint8; a float32 input is BGR")
        if self.layout == "light-fork" and (not self.static or self.static[2] != 1):
            raise InputError(
                "--layout light-fork has a fixed input of one image, say --static 608 608 1"
            )
        if self.layout == "light-fork" and (
            self.nms_thresh is not None or self.input_type != "float32"
        ):
            raise InputError(
                "--layout light-fork has float32 input and no NMS, as the light fork's file"
            )
        self._refuse_for_format()

    def _refuse_for_format(self) -> None:
        """InputError where the format has not what is asked for."""
        asked = {
            "--nms graph": self.nms_thresh is not None,
            "--input uint8": self.input_type == "uint8",
            "--layout light-fork": self.layout == "light-fork",
            "--half": self.half,
            "--int8": self.int8,
        }
        for flag, reason in REFUSED.get(self.format, {}).items():
            if asked[flag]:
                raise InputError(f"--format {self.format} has no {flag}: {reason}")
        if self.format == "tensorrt" and self.K > tensorrt_support.MAX_TOP_K:
            raise InputError(
                f"--format tensorrt: --K is {self.K}, but TensorRT takes "
                f"{tensorrt_support.MAX_TOP_K} at most"
            )

    @property
    def takes_conf(self) -> bool:
        """Whether the threshold can be changed in the file."""
        return not self.fix_conf and self.format != "tensorrt"

    @property
    def network_hw(self) -> tuple[int, int] | None:
        """Size of the network's input, None where it is free."""
        if self.static:
            return self.static[:2]
        return self.input_hw if self.input_type == "uint8" else None

    @property
    def fitted_hw(self) -> tuple[int, int]:
        """Height and width at which images go through the network here."""
        return self.network_hw or self.input_hw

    def input_shape(self) -> Shape:
        """What of the input is fixed. Pictures as bytes have any size, whatever the network's."""
        if not self.static:
            return Shape()
        height, width, batch = self.static
        return Shape(batch) if self.input_type == "uint8" else Shape(batch, height, width)

    def metadata(self, model: CTRBOX) -> ModelMetadata:
        if model.classes is None:
            raise InputError(
                f"the checkpoint does not name its {model.heads['hm']} classes: give them "
                "(--classes A,B or dota1.0)"
            )
        return ModelMetadata(
            classes=model.classes,
            backbone=model.backbone,
            conf_thresh=self.conf_thresh,
            theta_thresh=self.theta_thresh,
            K=self.K,
            input_size=self.network_hw,
            trained_size=model.input_size,
            nms_thresh=self.nms_thresh,
            color=self.color,
            input_type=self.input_type,
            layout=self.layout,
            precision="int8" if self.int8 else "float16" if self.half else "float32",
        )


@dataclass(frozen=True)
class Job:
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


class Built(NamedTuple):
    """A model that is not at its place yet."""

    run: Run
    write: Callable[[Path], None]
    show_rows: Run | None = None
    """The same with the rows before suppression as further outputs, where it has suppression."""
    engine: Run | None = None
    """The same in TensorRT, which rounds more."""


def export(
    model: CTRBOX,
    output: Path,
    settings: ExportSettings,
    pictures: Sequence[Picture],
    calibration: Sequence[np.ndarray] = (),
) -> Report:
    """Write `output` once it has passed the checks.

    pictures: for the report; the AP is reported where all of them have labels.
    calibration: images [H, W, 3] BGR from which int8 learns the ranges of the network's values;
        others than `pictures`, or the report flatters.

    Raises:
        InputError: something is not installed, nothing can be written there, or the file and the
            checkpoint differ by more than they may.
    """
    metadata = settings.metadata(model)
    check_output(output, settings.format)
    refuse_non_finite(model)
    log.info("exporting %s as %s", model.backbone, settings.format)
    network = ExportNetwork(model)
    check_same_maps(network, model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, output.name)
        job = Job(network, metadata, settings, settings.fitted_hw, calibration, path)
        try:
            built = BUILDERS[settings.format](job)
        except OSError as error:
            error.filename = error.filename or folder  # a write that fails does not know its file
            raise
        interrupts.stop_if_pressed()
        log.info("comparing it with the checkpoint on %d images", len(pictures))
        report = compare(model, job, built, pictures, metadata.precision)
        if built.engine is not None:
            log.info("comparing TensorRT's engine with the checkpoint")
            compare(model, job, built._replace(run=built.engine), pictures, "float16")
        interrupts.stop_if_pressed()
        built.write(output)
    files = files_of(output, settings.format)
    log.info(
        "%s: %.1f MB, input %s %s", " and ".join(map(str, files)),
        sum(file.stat().st_size for file in files) / 1e6,
        metadata.input_type, metadata.to_props()["input_size"],
    )  # fmt: skip
    if settings.format == "tensorrt":
        lines = tensorrt.trtexec_lines(output, job.profile(), settings.half)
        log.info("an engine for TensorRT's own runtime is made by\n  %s", "\n  ".join(lines))
    return report


def refuse_non_finite(model: CTRBOX) -> None:
    """InputError where a weight is not: no file can be compared with such a checkpoint."""
    for name, values in model.state_dict().items():
        if not torch.isfinite(values).all():
            raise InputError(
                f"the checkpoint finds nothing: {name} holds values that are not finite, as after "
                "a training that diverged"
            )


def files_of(output: Path, kind: str) -> list[Path]:
    """What a format writes: OpenVINO has its weights beside the graph."""
    return [output, *([output.with_suffix(".bin")] if kind == "openvino" else [])]


def check_output(output: Path, kind: str) -> None:
    """InputError where nothing can be written; told before the work, not after it."""
    suffix = SUFFIXES[kind]
    if output.suffix.lower() != suffix:
        fitting = [f"--format {name}" for name, own in SUFFIXES.items() if own == output.suffix]
        instead = f" ({fitting[0]} writes {output.suffix})" if fitting else ""
        raise InputError(f"--output {output}: a file of --format {kind} ends in {suffix}{instead}")
    if output.is_dir():
        raise InputError(f"--output {output}: a folder is there; a file is expected")
    for beside in files_of(output, kind)[1:]:
        if beside.exists() and not output.exists():
            raise InputError(
                f"--output {output} would come with {beside}, where another file is: move it, or "
                "give another name"
            )
    refuse_unwritable(output.parent)


def write_bytes(output: Path, content: bytes) -> None:
    with replacing(output, "wb") as target:
        target.write(content)


def build_onnx(job: Job) -> Built:
    file, rows_too = onnx_files(job)
    shown = None if rows_too is None else runner(open_session(rows_too))
    return Built(
        runner(open_session(file)),
        lambda output: write_bytes(output, file.SerializeToString()),
        shown,
    )


def build_torch(job: Job) -> Built:
    log.info("tracing network and decoder")
    shape, fix_conf = job.settings.input_shape(), job.settings.fix_conf
    program = torch_program.export_program(job.network, job.metadata, shape, fix_conf)
    content = torch_program.serialize(program, job.metadata)
    return Built(torch_program.runner(content), lambda output: write_bytes(output, content))


def build_openvino(job: Job) -> Built:
    import_openvino()  # told before the work
    file, rows_too = onnx_files(job)
    graph = job.path.with_name("graph.xml")
    openvino_model.convert(file, job.metadata, graph)
    shown = None
    if rows_too is not None:
        beside = job.path.with_name("rows_too.xml")
        openvino_model.convert(rows_too, job.metadata, beside)
        shown = openvino_model.runner(beside)
    run = openvino_model.runner(graph)
    return Built(run, lambda output: openvino_model.write(graph, output), shown)


def build_tensorrt(job: Job) -> Built:
    file, _ = onnx_files(job)
    if faults := tensorrt_support.misfits(file):
        raise InputError(f"TensorRT does not take this file: {'; '.join(faults)}")
    cache = tensorrt.cache_folder(job.path)
    engine = None
    if tensorrt.is_available():
        onnx.save(file, job.path)
        log.info("building TensorRT's engine, which takes minutes")
        try:
            engine = tensorrt.open_engine(job.path, cache, job.profile(), job.settings.half)
        except Exception as error:  # of the runtime's own class, which bears no better name
            log.warning("TensorRT failed: %s", str(error).strip().partition("\n")[0])
    if engine is None:
        log.warning(
            "no engine is built: this ONNX Runtime cannot use TensorRT on this machine. The ONNX "
            "file is written all the same"
        )

    def write(output: Path) -> None:
        write_bytes(output, file.SerializeToString())
        if engine is not None:
            tensorrt.write_cache(cache, output)

    run = runner(open_session(file))
    return Built(run, write, engine=None if engine is None else runner(engine))


BUILDERS: Mapping[str, Callable[[Job], Built]] = {
    "onnx": build_onnx,
    "torch": build_torch,
    "openvino": build_openvino,
    "tensorrt": build_tensorrt,
}

_ROUNDS = "it computes in float64 and with shapes that depend on what is found"
REFUSED: Mapping[str, Mapping[str, str]] = {
    "torch": {
        "--nms graph": "suppress what it puts out",
        "--input uint8": "scale and pad before it",
        "--layout light-fork": "that is a layout of ONNX files",
        "--half": "it is written in float32 alone",
        "--int8": "it is written in float32 alone",
    },
    "tensorrt": {
        "--nms graph": f"{_ROUNDS}, which TensorRT does not",
        "--input uint8": "it scales with bytes and in float64, which TensorRT does not",
        "--int8": "its values are bytes with a zero point, and TensorRT's have none",
    },
}


def onnx_files(job: Job) -> tuple[onnx.ModelProto, onnx.ModelProto | None]:
    """The checked model, and where it has suppression the same with the rows before it."""
    settings, metadata = job.settings, job.metadata
    if settings.int8:
        graph = quantised_network(job.network, job.input_hw, job.calibration)
    else:
        log.info("tracing the network")
        # OpenVINO has its own way to float16: weights alone
        half = settings.half and settings.format != "openvino"
        graph = export_network(job.network, half)
        if not half and settings.format != "tensorrt":  # on a GPU products are cheaper than memory
            graph = upsampled_convolutions.rewrite(graph)
    box_heads = products_of(job.network.box_heads)
    log.info("building and checking the graph")
    shape, fixed = settings.input_shape(), not settings.takes_conf
    file = onnx_model.assemble(graph, box_heads, metadata, shape, fixed)
    onnx_model.check(file)
    if metadata.nms_thresh is None:
        return file, None
    return file, onnx_model.assemble(graph, box_heads, metadata, shape, fixed, True)


def quantised_network(
    network: ExportNetwork, input_hw: tuple[int, int], images: Sequence[np.ndarray]
) -> onnx.ModelProto:
    """The network's graph in 8 bits. The network's channels are scaled on the way."""
    if not images:
        raise InputError("--int8 needs images to calibrate with: --calibrate PATH, or --data_dir")
    log.info("calibrating 8 bits with %d images", len(images))
    height, width = input_hw
    batches = [
        normalize(Letterbox.fit(image.shape[1::-1], (width, height)).apply(image))[None]
        for image in images
    ]
    equalise(network, batches)
    return quantise(export_network(network), batches)


def runner(session) -> Run:
    """A session of ONNX Runtime by names."""
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run


def compare(
    model: CTRBOX, job: Job, built: Built, pictures: Sequence[Picture], precision: str
) -> Report:
    """The report on the pictures and on a black one.

    precision: in which the model computes.

    Raises:
        InputError: it is too far from the checkpoint.
    """
    settings = job.settings
    free = settings.takes_conf or settings.layout == "light-fork"
    conf = min(settings.conf_thresh, REPORT_CONF) if free else None
    both = (model.cpu(), job.metadata, job.input_hw, built.run, built.show_rows, conf)
    if precision == "float32":
        comparison = Comparison(*both)
    else:
        comparison = RoundedComparison(*both, tolerance=TOLERANCES[precision])
    if settings.layout == "light-fork":
        found = compare_rows(comparison, pictures)
    else:
        found = compare_detections(comparison, settings, pictures)
    comparison.report.ap = ap_of_both(found, pictures, comparison.metadata.classes, settings)
    log.info("%s", comparison.report)
    tell_of_little(comparison.report)
    if isinstance(comparison, RoundedComparison):
        line, faults = comparison.verdict()
        log.warning("%s %s", precision, line)
    else:
        faults = comparison.report.faults()
    if faults:
        raise InputError(f"the file would not equal the checkpoint: {'; '.join(faults)}")
    return comparison.report


def tell_of_little(report: Report) -> None:
    """Warn where the report says little."""
    if not report.detections and not report.lost:
        log.warning("nothing is found in these images, and so little is compared: give others")
    elif 2 * report.matched < report.detections:
        log.warning(
            "rounding decides on most detections in these images, and so little is compared"
        )
    if not report.empty_images and not report.emptied:
        log.warning("no image was without detections: give one (--source) to see that as well")


def compare_detections(
    comparison: Comparison, settings: ExportSettings, pictures: Sequence[Picture]
) -> list[tuple[Picture, tuple[Detections, Detections]]]:
    """Run both over the pictures, and the file at a threshold that nothing passes.

    Returns:
        For each what the checkpoint and what the file finds, in source pixels.
    """
    found = []
    for batch in batches(pictures, comparison.input_hw, settings):
        found += zip(batch, comparison.compare(batch), strict=True)
    if settings.takes_conf:
        comparison.check_empty(batch)
    return found


def ap_of_both(
    found: Sequence[tuple[Picture, tuple[Detections, Detections]]],
    pictures: Sequence[Picture],
    classes: Sequence[str],
    settings: ExportSettings,
) -> tuple[float, float] | None:
    """Of the checkpoint and of the file; None where not all pictures are labelled."""
    labelled = [(picture, both) for picture, both in found if picture.truth is not None]
    some_objects = any(len(picture.truth[0]) for picture, _ in labelled)
    if not some_objects or {one.name for one in pictures} - {one.name for one, _ in labelled}:
        return None
    mine, other = (
        ap([(one, both[side]) for one, both in labelled], classes, settings) for side in (0, 1)
    )
    return mine, other


def batches(
    pictures: Sequence[Picture], input_hw: tuple[int, int], settings: ExportSettings
) -> Iterator[list[Picture]]:
    """The pictures in batches that the file takes, with black ones to begin with and to fill up."""
    size = settings.static[2] if settings.static else BATCH
    black = Picture("black", np.zeros((*input_hw, 3), np.uint8), made_up=True)
    if settings.input_type == "float32":
        rest = [black, *pictures]
        for start in range(0, len(rest), size):
            batch = rest[start : start + size]
            yield batch + [black] * (size - len(batch)) if settings.static else batch
        return
    # pictures of a batch have one size: each comes with its mirror image and a black one
    yield [black] * (size if settings.static else 1)
    for picture in pictures:
        mirrored = Picture(f"{picture.name} mirrored", picture.pixels[:, ::-1])
        empty = Picture("black", np.zeros_like(picture.pixels), made_up=True)
        yield ([picture, mirrored, empty] + [empty] * size)[: size if settings.static else 3]


def ap(
    found: Sequence[tuple[Picture, Detections]], classes: Sequence[str], settings: ExportSettings
) -> float:
    """Mean AP at IoU 0.5 (voc07) over the labelled pictures, after NMS in Python."""
    truth = Truth.from_arrays({one.name: one.truth for one, _ in found}, classes)
    iou = settings.check_nms_thresh if settings.nms_thresh is None else settings.nms_thresh
    tables = to_task1([(one.name, d.nms(iou)) for one, d in found], classes)
    return float(evaluate(tables, truth, confusion=False).mean_ap[0])

"""Checkpoint -> a file that runtimes outside Python run whole, checked against the checkpoint.

python main.py --phase export --weights model_best.pth --output model.onnx
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from boxes import Letterbox
from datasets.augment import normalize
from decoder import DecDecoder
from deploy_metadata import COLORS, INPUT_TYPES, LAYOUTS, ModelMetadata
from detections import Detections
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.scoring import Truth, evaluate
from eval import to_task1
from exporting import Picture, onnx_model
from exporting.decode_graph import MAX_K
from exporting.equalise import equalise
from exporting.network import ExportNetwork, check_same_maps
from exporting.network_onnx import export_network
from exporting.onnx_model import Shape
from exporting.onnx_runtime import open_session
from exporting.parity import Comparison, Report, Run
from exporting.quantize import quantise
from inference import Found
from models import CTRBOX

log = logging.getLogger(__name__)

FORMATS = ("onnx", "torch", "openvino", "tensorrt")
BATCH = 4  # of the parity report, where the file's is free
REPORT_CONF = 0.05  # of the report, where the threshold is an input: the more is compared


@dataclass(frozen=True)
class ExportSettings:
    """What is exported.

    static: height, width and batch of a fixed input, None for free ones. input_hw: of the network
    where bytes come in. nms_thresh: IoU above which the graph suppresses, None for no NMS in it.
    color: order of the channels of bytes. fix_conf: `conf_thresh` is no input. half, int8: the
    network's precision, float32 without either. check_nms_thresh: of the AP in the report.
    """

    conf_thresh: float = 0.18
    theta_thresh: float = 0.8
    K: int = 500
    static: tuple[int, int, int] | None = None
    input_hw: tuple[int, int] = (608, 608)
    input_type: str = INPUT_TYPES[0]
    color: str = COLORS[0]
    layout: str = LAYOUTS[0]
    nms_thresh: float | None = None
    fix_conf: bool = False
    half: bool = False
    int8: bool = False
    check_nms_thresh: float = 0.1

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
        if self.layout == "light-fork" and (self.nms_thresh or self.input_type != "float32"):
            raise InputError(
                "--layout light-fork has float32 input and no NMS, as the light fork's file"
            )

    @property
    def network_hw(self) -> tuple[int, int] | None:
        """Size of the network's input, None where it is free."""
        if self.static:
            return self.static[:2]
        return self.input_hw if self.input_type == "uint8" else None

    def fitted(self, model: CTRBOX) -> tuple[int, int]:
        """Height and width at which images go through the network here."""
        return self.network_hw or model.input_size or self.input_hw

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
            nms_thresh=self.nms_thresh,
            color=self.color,
            input_type=self.input_type,
            layout=self.layout,
            precision="int8" if self.int8 else "float16" if self.half else "float32",
        )


def export(
    model: CTRBOX,
    output: Path,
    settings: ExportSettings,
    pictures: Sequence[Picture],
    calibration: Sequence[np.ndarray] = (),
) -> Report | None:
    """Write `output`, an ONNX file, once it has passed the checks.

    pictures: for the report; the AP is reported where all of them have labels.
    calibration: images [H, W, 3] BGR from which int8 learns the ranges of the network's values;
        others than `pictures`, or the report flatters.

    Returns:
        The report; None for the light fork's layout, which has no rows of ours.

    Raises:
        InputError: something is not installed, the disk is full, or the file and the checkpoint
            differ by more than rounding.
    """
    metadata = settings.metadata(model)
    network = ExportNetwork(model)
    check_same_maps(network, model)
    log.info("exporting %s", model.backbone)
    if settings.int8:
        graph = quantised_network(network, settings.fitted(model), calibration)
    else:
        graph = export_network(network, settings.half)
    shape = settings.input_shape()
    file = onnx_model.assemble(graph, metadata, shape, settings.fix_conf)
    onnx_model.check(file)
    run = runner(open_session(file))
    if settings.layout == "light-fork":
        check_light_fork(run, model, settings)
        report = None
    else:
        shown = None
        if settings.nms_thresh is not None:
            rows_too = onnx_model.assemble(graph, metadata, shape, settings.fix_conf, True)
            shown = runner(open_session(rows_too))
        report = compare(model, metadata, settings, run, shown, pictures)
        log.info("%s", report)
        if metadata.precision == "float32" and (faults := report.faults()):
            raise InputError(f"the file would not equal the checkpoint: {'; '.join(faults)}")
    with replacing(output, "wb") as target:
        target.write(file.SerializeToString())
    log.info(
        "%s: %.1f MB, opset %d, input %s %s", output, output.stat().st_size / 1e6,
        file.opset_import[0].version, metadata.input_type, metadata.to_props()["input_size"],
    )  # fmt: skip
    return report


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
    model: CTRBOX,
    metadata: ModelMetadata,
    settings: ExportSettings,
    run: Run,
    show_rows: Run | None,
    pictures: Sequence[Picture],
) -> Report:
    """The report on the pictures and on a black one."""
    conf = None if settings.fix_conf else min(settings.conf_thresh, REPORT_CONF)
    input_hw = settings.fitted(model)
    comparison = Comparison(model, metadata, input_hw, run, show_rows, conf)
    found = []
    for batch in batches(pictures, input_hw, settings):
        names, pixels = [one.name for one in batch], [one.pixels for one in batch]
        found += zip(batch, comparison.compare(names, pixels), strict=True)
    report = comparison.report
    labelled = [(picture, both) for picture, both in found if picture.truth is not None]
    if labelled and {one.name for one in pictures} <= {one.name for one, _ in labelled}:
        report.ap = tuple(
            ap([(one, both[side]) for one, both in labelled], metadata.classes, settings)
            for side in (0, 1)
        )
    return report


def batches(
    pictures: Sequence[Picture], input_hw: tuple[int, int], settings: ExportSettings
) -> Iterator[list[Picture]]:
    """The pictures in batches that the file takes, with black ones to begin with and to fill up."""
    size = settings.static[2] if settings.static else BATCH
    black = Picture("black", np.zeros((*input_hw, 3), np.uint8))
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
        empty = Picture("black", np.zeros_like(picture.pixels))
        yield ([picture, mirrored, empty] + [empty] * size)[: size if settings.static else 3]


def ap(
    found: Sequence[tuple[Picture, Detections]], classes: Sequence[str], settings: ExportSettings
) -> float:
    """Mean AP at IoU 0.5 (voc07) over the labelled pictures, after NMS in Python."""
    truth = Truth.from_arrays({one.name: one.truth for one, _ in found}, classes)
    iou = settings.nms_thresh or settings.check_nms_thresh
    tables = to_task1([Found(one.name, d.nms(iou), None) for one, d in found], classes)
    return float(evaluate(tables, truth, confusion=False).mean_ap[0])


def check_light_fork(run: Run, model: CTRBOX, settings: ExportSettings) -> None:
    """InputError where the rows differ from the checkpoint's; there is no threshold in them."""
    height, width = settings.network_hw
    image = np.random.default_rng(0).random((1, 3, height, width), np.float32) - np.float32(0.5)
    decoder = DecDecoder(settings.K, 0.0, model.heads["hm"], settings.theta_thresh)
    with torch.no_grad():
        expected = decoder.ctdet_decode(model.cpu().eval()(torch.from_numpy(image)))[0]
    rows = run({"input": image})["output"][0]
    # each row of the one has a row of the other: equal scores may have changed places by rounding
    near = np.abs(rows[: len(expected), None, :2] - expected[None, :, :2]).max(axis=2) < 0.01
    if near.any(axis=1).mean() < 0.99:
        raise InputError("the rows of the light fork's layout differ from the checkpoint's")

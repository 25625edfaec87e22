"""Checkpoint -> a file that runtimes outside Python run whole, checked against the checkpoint.

python main.py --phase export --weights model_best.pth --output model.onnx
python main.py --phase export --weights model_best.pth --format openvino
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from deploy.export import tensorrt
from deploy.export.formats import BUILDERS, ExportJob
from deploy.export.network import ExportNetwork, check_same_maps
from deploy.export.parity.check import compare
from deploy.export.parity.report import Report
from deploy.export.settings import SUFFIXES, ExportSettings
from deploy.export.types import CheckImage
from DOTA_devkit import interrupts
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import refuse_unwritable
from models import CTRBOX

logger = logging.getLogger(__name__)


def export(
    model: CTRBOX,
    output: Path,
    settings: ExportSettings,
    pictures: Sequence[CheckImage],
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
    logger.info("exporting %s as %s", model.backbone, settings.format)
    network = ExportNetwork(model)
    check_same_maps(network, model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, output.name)
        job = ExportJob(network, metadata, settings, settings.fitted_hw, calibration, path)
        try:
            built = BUILDERS[settings.format](job)
        except OSError as error:
            error.filename = error.filename or folder  # a write that fails does not know its file
            raise
        interrupts.stop_if_pressed()
        logger.info("comparing it with the checkpoint on %d images", len(pictures))
        report = compare(model, job, built, pictures, metadata.precision)
        if built.engine is not None:
            logger.info("comparing TensorRT's engine with the checkpoint")
            compare(model, job, built._replace(run=built.engine), pictures, "float16")
        interrupts.stop_if_pressed()
        built.write(output)
    files = files_of(output, settings.format)
    logger.info(
        "%s: %.1f MB, input %s %s", " and ".join(map(str, files)),
        sum(file.stat().st_size for file in files) / 1e6,
        metadata.input_type, metadata.to_props()["input_size"],
    )  # fmt: skip
    if settings.format == "tensorrt":
        lines = tensorrt.trtexec_lines(output, job.profile(), settings.half)
        logger.info("an engine for TensorRT's own runtime is made by\n  %s", "\n  ".join(lines))
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
    refuse_unwritable(output.parent, "--output")

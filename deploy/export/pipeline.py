"""Export a checkpoint to a file, checked against the checkpoint before it is written.

python main.py --phase export --weights model_best.pth --output model.onnx
python main.py --phase export --weights model_best.pth --format openvino
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from deploy.export.formats import EXPORT_FORMATS, ExportFormat
from deploy.export.job import ExportJob
from deploy.export.network import ExportNetwork, check_same_maps
from deploy.export.parity.check import compare
from deploy.export.parity.report import Report
from deploy.export.settings import ExportSettings
from deploy.export.types import CheckImage
from deploy.metadata import ModelMetadata
from deploy.sidecar import refuse_foreign_sidecar, sidecar_path, write_sidecar
from DOTA_devkit import interrupts
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import refuse_unwritable
from DOTA_devkit.torch_files import refuse_non_finite
from models import CTRBOX

logger = logging.getLogger(__name__)


def export(
    model: CTRBOX,
    output: Path,
    settings: ExportSettings,
    images: Callable[[], Sequence[CheckImage]],
    calibration: Callable[[], Sequence[np.ndarray]] = tuple,
) -> Report:
    """Export a model, and write the file once it has passed the checks.

    The images are only read, or drawn, once it is known that the file can be written.

    Args:
        model: The checkpoint's model.
        output: The file to write.
        settings: What is exported.
        images: Returns the images of the parity report; it includes the AP if all of them have
            labels.
        calibration: Returns images [H, W, 3] BGR from which int8 takes the ranges of the network's
            values. They should not be among `images`, or the report is too optimistic.

    Raises:
        InputError: Something is not installed, the file cannot be written there, or it differs from
            the checkpoint by more than is allowed.
    """
    metadata, row = settings.metadata(model), EXPORT_FORMATS[settings.format]
    _check_output(output, settings.format)
    refuse_non_finite(model.state_dict(), "the checkpoint")
    calibrated, checked = calibration() if settings.int8 else (), images()
    logger.info("exporting %s as %s", model.backbone, settings.format)
    network = ExportNetwork(model)
    check_same_maps(network, model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, output.name)
        job = ExportJob(network, metadata, settings, settings.fitted_hw, calibrated, path, model)
        try:
            built = row.build(job)
        except OSError as error:
            error.filename = error.filename or folder  # a failed write does not name its file
            raise
        interrupts.stop_if_pressed()
        logger.info("comparing the file with the checkpoint on %d images", len(checked))
        report = compare(model, job, built, checked, metadata.precision)
        if built.run_engine is not None:
            logger.info("comparing the TensorRT engine with the checkpoint")
            compare(model, job, built._replace(run=built.run_engine), checked, "float16")
        interrupts.stop_if_pressed()
        built.write(output)
        if row.has_metadata:
            write_sidecar(output, metadata.to_props())
    _log_written(output, row, metadata)
    if built.advice is not None:
        logger.info("%s", built.advice(output))
    return report


def _log_written(output: Path, row: ExportFormat, metadata: ModelMetadata) -> None:
    files = row.files_of(output)
    size = sum(file.stat().st_size for file in files) / 1e6
    if row.has_metadata:
        logger.info(
            "%s: %.1f MB, input %s %s, metadata also in %s", " and ".join(map(str, files)), size,
            metadata.input_type, metadata.to_props()["input_size"], sidecar_path(output),
        )  # fmt: skip
    else:
        logger.info("%s: %.1f MB, weights in %s", output, size, metadata.precision)


def _check_output(output: Path, format: str) -> None:
    """Check before the work that the file can be written.

    Raises:
        InputError: `output` has another format's suffix, is a folder, or cannot be written, or a
            file that the export did not write would be replaced.
    """
    row = EXPORT_FORMATS[format]
    if output.suffix.lower() != row.suffix:
        fitting = [name for name, other in EXPORT_FORMATS.items() if other.suffix == output.suffix]
        instead = f" (format {fitting[0]} writes {output.suffix})" if fitting else ""
        raise InputError(
            f"output {output}: the name of a file of format {format} must end in "
            f"{row.suffix}{instead}"
        )
    if output.is_dir():
        raise InputError(f"output {output}: expected a file, but this is a folder")
    for second in row.files_of(output)[1:]:
        if second.exists() and not output.exists():
            raise InputError(
                f"output {output} would be written together with {second}, which exists already: "
                "move that file, or choose another name"
            )
    if row.has_metadata:
        refuse_foreign_sidecar(output)
    refuse_unwritable(output.parent, "--output")

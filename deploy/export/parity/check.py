"""The parity check: whether an exported file differs from its checkpoint by more than allowed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from deploy.export.job import BuiltModel, ExportJob
from deploy.export.parity.comparison import ParityComparison
from deploy.export.parity.head_maps import with_decoder
from deploy.export.parity.light_fork import compare_rows
from deploy.export.parity.model_pair import ModelPair, Thresholds
from deploy.export.parity.report import Report
from deploy.export.parity.tolerance import TOLERANCES
from deploy.export.parity.verdict import judge
from deploy.export.settings import ExportSettings
from deploy.export.types import CheckImage
from DOTA_devkit.errors import InputError
from DOTA_devkit.scoring import Truth, evaluate
from models import CTRBOX
from structures.detections import Detections
from structures.task1 import to_task1

logger = logging.getLogger(__name__)

DYNAMIC_BATCH_SIZE = 4
"""Images per batch of the check if the file's batch size is dynamic."""

MAX_REPORT_CONF = 0.05
"""Highest score threshold of the check: a lower one than that of the export compares more
detections. A file whose fixed threshold is higher is checked at its own."""

CheckedImage = tuple[CheckImage, tuple[Detections, Detections]]
"""An image with the detections of the checkpoint and of the file."""


def compare(
    model: CTRBOX, job: ExportJob, built: BuiltModel, images: Sequence[CheckImage], precision: str
) -> Report:
    """Compare a file with its checkpoint on images and on a black one, and log the report.

    Args:
        model: The checkpoint's model.
        job: What the file was built from.
        built: The file.
        images: The images of the report.
        precision: The precision in which the file computes, a key of `TOLERANCES`.

    Raises:
        InputError: The file differs from the checkpoint by more than the tolerance.
    """
    settings, tolerance = job.settings, TOLERANCES[precision]
    reported = min(settings.conf_thresh, MAX_REPORT_CONF)
    thresholds = Thresholds.of(job.metadata, tolerance, reported)
    run = with_decoder(built.run, job.metadata) if settings.layout == "heads" else built.run
    models = ModelPair(
        model.cpu(), job.metadata, job.input_hw, thresholds, run, built.run_before_nms
    )
    comparison = ParityComparison(models, tolerance)
    if settings.layout == "light-fork":
        found = compare_rows(comparison, images)
    else:
        found = compare_detections(comparison, settings, images)
    report = comparison.report
    report.ap = ap_of_both(found, images, job.metadata.classes, settings)
    logger.info("%s", report)
    warn_if_inconclusive(report)
    verdict = judge(report, tolerance)
    if precision != "float32":
        logger.warning("%s rounds more than float32: %s", precision, verdict.summary)
    if verdict.faults:
        raise InputError(
            f"the exported file differs from the checkpoint: {'; '.join(verdict.faults)}"
        )
    return report


def warn_if_inconclusive(report: Report) -> None:
    """Warn if the images of the report test the file only weakly."""
    if not report.detections and not report.unmatched:
        logger.warning(
            "the checkpoint finds no detections in these images, so the comparison is weak: use "
            "images with objects"
        )
    elif not report.unmatched and 2 * report.matched < report.detections:
        logger.warning(
            "most detections in these images depend on rounding, so the comparison is weak: use "
            "other images"
        )
    if not report.empty_images and not report.emptied_images:
        logger.warning(
            "every image has detections: add one without objects to check that case as well"
        )


def compare_detections(
    comparison: ParityComparison, settings: ExportSettings, images: Sequence[CheckImage]
) -> list[CheckedImage]:
    """Run both models on the images, and the file also at a threshold of 1 if it is an input.

    Returns:
        Each image with the detections of the checkpoint and of the file, in pixels of the image.
    """
    found = []
    for batch in batches(images, comparison.models.input_hw, settings):
        found += zip(batch, comparison.compare(batch), strict=True)
    if settings.conf_input:
        comparison.check_empty(batch)
    return found


def batches(
    images: Sequence[CheckImage], input_hw: tuple[int, int], settings: ExportSettings
) -> Iterator[list[CheckImage]]:
    """Yield the images in batches that the file accepts.

    A black image comes first. If the batch size is static, black images fill up the last batch, or
    each batch for a uint8 input.
    """
    size = settings.static[2] if settings.static else DYNAMIC_BATCH_SIZE
    black = CheckImage("black", np.zeros((*input_hw, 3), np.uint8), synthetic=True)
    if settings.input_type == "float32":
        all_images = [black, *images]
        for start in range(0, len(all_images), size):
            batch = all_images[start : start + size]
            yield batch + [black] * (size - len(batch)) if settings.static else batch
        return
    # uint8 images of a batch have the same size: each is batched with its mirror image and black.
    yield [black] * (size if settings.static else 1)
    for image in images:
        mirrored = CheckImage(f"{image.name} mirrored", image.pixels[:, ::-1])
        empty = CheckImage("black", np.zeros_like(image.pixels), synthetic=True)
        yield ([image, mirrored, empty] + [empty] * size)[: size if settings.static else 3]


def ap_of_both(
    found: Sequence[CheckedImage],
    images: Sequence[CheckImage],
    classes: Sequence[str],
    settings: ExportSettings,
) -> tuple[float, float] | None:
    """Return the AP of the checkpoint and of the file.

    Returns:
        None if an image is not labeled or the labels contain no objects.
    """
    labeled = [(image, both) for image, both in found if image.truth is not None]
    has_objects = any(len(image.truth[0]) for image, _ in labeled)
    if not has_objects or {one.name for one in images} - {one.name for one, _ in labeled}:
        return None
    checkpoint_ap, file_ap = (
        mean_ap([(one, both[side]) for one, both in labeled], classes, settings) for side in (0, 1)
    )
    return checkpoint_ap, file_ap


def mean_ap(
    found: Sequence[tuple[CheckImage, Detections]], classes: Sequence[str], settings: ExportSettings
) -> float:
    """Return the mean AP at IoU 0.5 (voc07) over the labeled images, after NMS in Python."""
    truth = Truth.from_arrays({one.name: one.truth for one, _ in found}, classes)
    iou = settings.check_nms_thresh if settings.nms_thresh is None else settings.nms_thresh
    tables = to_task1([(one.name, d.nms(iou)) for one, d in found], classes)
    return float(evaluate(tables, truth, confusion=False).mean_ap[0])

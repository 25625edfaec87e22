"""The parity check: how far an exported file is from its checkpoint, and if that is allowed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from deploy.export.job import BuiltModel, ExportJob
from deploy.export.parity.comparison import ParityComparison
from deploy.export.parity.head_maps import decoding
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

FREE_BATCH_SIZE = 4
"""Images in a batch of the check where the file's batch size is free."""

MAX_REPORT_CONF = 0.05
"""Highest threshold of the check, unless the file outputs no such scores: more detections are
compared."""

CheckedImage = tuple[CheckImage, tuple[Detections, Detections]]
"""An image with what the checkpoint and what the file finds in it."""


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
        InputError: The file is too far from the checkpoint.
    """
    settings, tolerance = job.settings, TOLERANCES[precision]
    reported = min(settings.conf_thresh, MAX_REPORT_CONF)
    thresholds = Thresholds.of(job.metadata, tolerance, reported)
    run = decoding(built.run, job.metadata) if settings.layout == "heads" else built.run
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
    """Warn if the images of the report show little."""
    if not report.detections and not report.unmatched:
        logger.warning(
            "the checkpoint detects nothing in these images, so the comparison is weak: use images "
            "with objects"
        )
    elif 2 * report.matched < report.detections:
        logger.warning(
            "rounding decides most detections in these images, so the comparison is weak: use "
            "other images"
        )
    if not report.empty_images and not report.emptied_images:
        logger.warning(
            "no image was without detections: add one to the source images to check that case"
        )


def compare_detections(
    comparison: ParityComparison, settings: ExportSettings, images: Sequence[CheckImage]
) -> list[CheckedImage]:
    """Run both models on the images, and the file also at a threshold of 1 if that is an input.

    Returns:
        Each image with what the checkpoint and what the file finds, in pixels of the image.
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
    """Yield the images in batches that the file takes.

    A black image comes first, and black images fill up the batches where their size is fixed.
    """
    size = settings.static[2] if settings.static else FREE_BATCH_SIZE
    black = CheckImage("black", np.zeros((*input_hw, 3), np.uint8), synthetic=True)
    if settings.input_type == "float32":
        all_images = [black, *images]
        for start in range(0, len(all_images), size):
            batch = all_images[start : start + size]
            yield batch + [black] * (size - len(batch)) if settings.static else batch
        return
    # The uint8 images of a batch have one size: each comes with its mirror image and a black one.
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
    """Return the AP of the checkpoint and of the file, None unless all images are labeled."""
    labeled = [(image, both) for image, both in found if image.truth is not None]
    has_objects = any(len(image.truth[0]) for image, _ in labeled)
    if not has_objects or {one.name for one in images} - {one.name for one, _ in labeled}:
        return None
    mine, other = (
        mean_ap([(one, both[side]) for one, both in labeled], classes, settings) for side in (0, 1)
    )
    return mine, other


def mean_ap(
    found: Sequence[tuple[CheckImage, Detections]], classes: Sequence[str], settings: ExportSettings
) -> float:
    """Return the mean AP at IoU 0.5 (voc07) over the labeled images, after NMS in Python."""
    truth = Truth.from_arrays({one.name: one.truth for one, _ in found}, classes)
    iou = settings.check_nms_thresh if settings.nms_thresh is None else settings.nms_thresh
    tables = to_task1([(one.name, d.nms(iou)) for one, d in found], classes)
    return float(evaluate(tables, truth, confusion=False).mean_ap[0])

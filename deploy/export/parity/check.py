"""Runs an exported file and its checkpoint over images and judges how far they are apart."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from deploy.export.formats import Built, ExportJob
from deploy.export.parity.comparison import Comparison
from deploy.export.parity.light_fork import compare_rows
from deploy.export.parity.report import Report
from deploy.export.parity.tolerance import TOLERANCES, RoundedComparison
from deploy.export.settings import ExportSettings
from deploy.export.types import CheckImage
from DOTA_devkit.errors import InputError
from DOTA_devkit.scoring import Truth, evaluate
from models import CTRBOX
from structures.detections import Detections
from structures.task1 import to_task1

logger = logging.getLogger(__name__)


BATCH = 4  # of the parity report, where the file's is free


REPORT_CONF = 0.05  # of the report, where the threshold is an input: the more is compared


def compare(
    model: CTRBOX, job: ExportJob, built: Built, pictures: Sequence[CheckImage], precision: str
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
    logger.info("%s", comparison.report)
    warn_if_inconclusive(comparison.report)
    if isinstance(comparison, RoundedComparison):
        line, faults = comparison.verdict()
        logger.warning("%s %s", precision, line)
    else:
        faults = comparison.report.faults()
    if faults:
        raise InputError(f"the file would not equal the checkpoint: {'; '.join(faults)}")
    return comparison.report


def warn_if_inconclusive(report: Report) -> None:
    """Warn where the report says little."""
    if not report.detections and not report.lost:
        logger.warning("nothing is found in these images, and so little is compared: give others")
    elif 2 * report.matched < report.detections:
        logger.warning(
            "rounding decides on most detections in these images, and so little is compared"
        )
    if not report.empty_images and not report.emptied:
        logger.warning("no image was without detections: give one (--source) to see that as well")


def compare_detections(
    comparison: Comparison, settings: ExportSettings, pictures: Sequence[CheckImage]
) -> list[tuple[CheckImage, tuple[Detections, Detections]]]:
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
    found: Sequence[tuple[CheckImage, tuple[Detections, Detections]]],
    pictures: Sequence[CheckImage],
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
    pictures: Sequence[CheckImage], input_hw: tuple[int, int], settings: ExportSettings
) -> Iterator[list[CheckImage]]:
    """The pictures in batches that the file takes, with black ones to begin with and to fill up."""
    size = settings.static[2] if settings.static else BATCH
    black = CheckImage("black", np.zeros((*input_hw, 3), np.uint8), made_up=True)
    if settings.input_type == "float32":
        rest = [black, *pictures]
        for start in range(0, len(rest), size):
            batch = rest[start : start + size]
            yield batch + [black] * (size - len(batch)) if settings.static else batch
        return
    # pictures of a batch have one size: each comes with its mirror image and a black one
    yield [black] * (size if settings.static else 1)
    for picture in pictures:
        mirrored = CheckImage(f"{picture.name} mirrored", picture.pixels[:, ::-1])
        empty = CheckImage("black", np.zeros_like(picture.pixels), made_up=True)
        yield ([picture, mirrored, empty] + [empty] * size)[: size if settings.static else 3]


def ap(
    found: Sequence[tuple[CheckImage, Detections]], classes: Sequence[str], settings: ExportSettings
) -> float:
    """Mean AP at IoU 0.5 (voc07) over the labelled pictures, after NMS in Python."""
    truth = Truth.from_arrays({one.name: one.truth for one, _ in found}, classes)
    iou = settings.check_nms_thresh if settings.nms_thresh is None else settings.nms_thresh
    tables = to_task1([(one.name, d.nms(iou)) for one, d in found], classes)
    return float(evaluate(tables, truth, confusion=False).mean_ap[0])

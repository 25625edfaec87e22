"""Compare a file in the light fork's layout with its checkpoint, column by column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from decoder import rows_to_detections, to_source
from deploy.export.parity.comparison import ParityComparison
from deploy.export.parity.model_pair import ModelPair
from deploy.export.parity.reference import Reference
from deploy.export.parity.report import Report
from deploy.export.types import CheckImage
from structures.boxes import ROW_LABEL, ROW_SCORE, STRIDE
from structures.detections import Detections
from structures.letterbox import normalize


def compare_rows(
    comparison: ParityComparison, images: Sequence[CheckImage]
) -> list[tuple[CheckImage, tuple[Detections, Detections]]]:
    """Compare the models on the images, a black image and noise, one image at a time.

    Only rows above the threshold are compared. All ten coordinates and the score count for the
    largest differences of the report.

    Returns:
        Each image with the detections of the checkpoint and of the file, in pixels of the image.
    """
    models, report = comparison.models, comparison.report
    noise = np.random.default_rng(0).integers(0, 256, (*models.input_hw, 3), np.uint8)
    synthetic = [
        CheckImage("black", np.zeros_like(noise), synthetic=True),
        CheckImage("noise", noise),
    ]
    found = []
    for image in [*synthetic, *images]:
        box = models.letterbox(image.pixels)
        batch = normalize(box.apply(image.pixels))[None]
        expected, reference = run_checkpoint_rows(models, batch)
        rows = models.run({"input": batch})["output"][0]
        rows = rows[rows[:, ROW_SCORE] > models.thresholds.file]
        if not (np.diff(rows[:, ROW_SCORE]) <= 0).all():
            report.row_faults.append(f"{image.name}: the scores are not in descending order")
        exported = rows_to_detections(rows)
        matched = comparison.add_image(image, reference, exported)
        if matched is not None:
            in_reference, in_exported = matched.pairs
            add_column_errors(report, expected[in_reference], rows[in_exported])
        both = (to_source(one, box) for one in (reference.detections, exported))
        found.append((image, tuple(one[models.thresholds.is_reported(one)] for one in both)))
    return found


@torch.no_grad()
def run_checkpoint_rows(models: ModelPair, batch: np.ndarray) -> tuple[np.ndarray, Reference]:
    """Return the checkpoint's rows [M, 12] for one image [1, 3, H, W], and its reference."""
    maps = models.model(torch.from_numpy(batch))
    rows = models.decoder.ctdet_decode(maps)[0]
    return rows, Reference.of(rows_to_detections(rows), maps, models.decoder)


def add_column_errors(report: Report, expected: np.ndarray, rows: np.ndarray) -> None:
    """Add the largest differences of matched rows [N, 12] to the report.

    Corners do not show all differences, as their eight coordinates come from ten columns.
    """
    if not len(rows):
        return
    difference = np.abs(expected - rows)
    report.add_errors(STRIDE * difference[:, :ROW_SCORE].max(), difference[:, ROW_SCORE].max())
    if difference[:, ROW_LABEL].any():
        report.unmatched.append("a matched row has another class")

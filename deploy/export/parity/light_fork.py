"""A file in the light fork's layout against the checkpoint: its rows by value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from decoder import rows_to_detections, to_source
from deploy.export.parity.comparison import Comparison
from deploy.export.parity.reference import Reference
from deploy.export.parity.report import Report
from deploy.export.types import CheckImage
from structures.boxes import ROW_LABEL, ROW_SCORE, STRIDE
from structures.detections import Detections
from structures.letterbox import normalize


def compare_rows(
    comparison: Comparison, pictures: Sequence[CheckImage]
) -> list[tuple[CheckImage, tuple[Detections, Detections]]]:
    """Report on the pictures, a black one and noise, each alone: the rows above the threshold.

    All ten coordinates and the score are in the report's largest differences.

    Returns:
        For each what the checkpoint and what the file finds, in source pixels.
    """
    noise = np.random.default_rng(0).integers(0, 256, (*comparison.input_hw, 3), np.uint8)
    made_up = [
        CheckImage("black", np.zeros_like(noise), made_up=True),
        CheckImage("noise", noise),
    ]
    found = []
    for picture in [*made_up, *pictures]:
        box = comparison.letterbox(picture.pixels)
        image = normalize(box.apply(picture.pixels))[None]
        expected, reference = eager_rows(comparison, image)
        rows = comparison.run({"input": image})["output"][0]
        rows = rows[rows[:, ROW_SCORE] > comparison.file_above]
        if not (np.diff(rows[:, ROW_SCORE]) <= 0).all():
            comparison.report.row_faults.append(f"{picture.name}: the scores do not fall")
        exported = rows_to_detections(rows)
        mine, other = comparison.add(picture, reference, exported)
        note_columns(comparison.report, expected[mine], rows[other])
        both = (to_source(one, box) for one in (reference.detections, exported))
        found.append((picture, tuple(one[comparison.shown(one)] for one in both)))
    return found


@torch.no_grad()
def eager_rows(comparison: Comparison, image: np.ndarray) -> tuple[np.ndarray, Reference]:
    """The checkpoint's rows [M, 12] of an image [1, 3, H, W], and the same as a reference."""
    maps = comparison.model(torch.from_numpy(image))
    rows = comparison.decoder.ctdet_decode(maps)[0]
    return rows, Reference.of(rows_to_detections(rows), maps, comparison.decoder)


def note_columns(report: Report, expected: np.ndarray, rows: np.ndarray) -> None:
    """Put the largest differences of matched rows [N, 12] into the report: corners do not tell all,
    as ten numbers give eight.
    """
    difference = np.abs(expected - rows)
    if not len(difference):
        return
    places, scores = STRIDE * difference[:, :ROW_SCORE].max(), difference[:, ROW_SCORE].max()
    # np.maximum keeps a NaN
    report.corner_error = float(np.maximum(report.corner_error, places))
    report.score_error = float(np.maximum(report.score_error, scores))
    if difference[:, ROW_LABEL].any():
        report.lost.append("a row of another class")

"""The result of a validation, and the columns of the history that are computed from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from datasets import BaseDataset
from DOTA_devkit.scoring import Evaluation, Truth
from structures.detections import Detections

SHOWN_THRESHOLDS = {"ap50": 0.5, "ap75": 0.75}
"""Column of the history -> the IoU threshold of its AP."""


class ValidatedImage(Protocol):
    """An image of a validation, such as an `inference.ImageDetections`."""

    image_id: str
    detections: Detections
    """In source pixels."""
    losses: Mapping[str, float] | None
    """By name, None if they were not measured."""


class Validation(Protocol):
    """A whole validation, such as an `eval.SplitScores`; a plain score is a float instead."""

    ap: float
    """The main score, which decides which epoch is the best."""
    scores: Evaluation
    truth: Truth
    dataset: BaseDataset
    images: Sequence[ValidatedImage]
    """In the order of `dataset`."""


def validation_columns(validation: Validation) -> dict[str, float]:
    """Return the columns of the history that a validation fills.

    Returns:
        `ap`, the main score; `ap50` and `ap75`, also by class (`ap50_<class>`); `precision` and
        `recall` at the best F1 of each class, means over the classes with objects, in which a class
        without a match counts as 0; `val_loss`, the mean loss of an image, and its parts
        (`val_<name>`). What is not known is left out.
    """
    scores = validation.scores
    classes = [score for score in scores.classes if score.objects]
    row = {"ap": float(validation.ap)}
    columns = {
        name: int(np.isclose(scores.iou_thresholds, threshold).argmax())
        for name, threshold in SHOWN_THRESHOLDS.items()
        if np.isclose(scores.iou_thresholds, threshold).any()
    }
    row |= {name: float(scores.mean_ap[column]) for name, column in columns.items() if classes}
    if classes:
        for name in ("precision", "recall"):
            values = [getattr(score, f"best_{name}") for score in classes]
            row[name] = float(np.nan_to_num(values, nan=0.0).mean())
    row |= mean_losses(validation.images)
    for name, column in columns.items():
        row |= {f"{name}_{score.name}": float(score.ap[column]) for score in classes}
    return row


def mean_losses(images: Sequence[ValidatedImage]) -> dict[str, float]:
    """Return the mean over the images of their losses: `val_loss`, the sum, and `val_<name>`."""
    measured = [one.losses for one in images if one.losses is not None]
    if not measured:
        return {}
    parts = {
        name: math.fsum(losses[name] for losses in measured) / len(measured) for name in measured[0]
    }
    return {"val_loss": sum(parts.values()), **{f"val_{name}": v for name, v in parts.items()}}

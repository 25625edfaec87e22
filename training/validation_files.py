"""The files of a validation: pictures of truth against detections, and its scores.

They are in a folder of their own below that of the run. Those of the best and of the latest
validation are kept, so that the report of a resumed run can show either.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from DOTA_devkit.files import replacing
from DOTA_devkit.scoring import ClassScore, Curve, Evaluation
from structures.defaults import CONF_THRESH
from structures.drawing import write_picture
from training.validation import Validation

logger = logging.getLogger(__name__)

SPREAD, BEST_LOSS, WORST_LOSS = "sample", "best", "worst"
"""Why an image is drawn: it is spread over the list, or its loss is among the lowest or highest."""

_SIDES_PX = (320, 640)
"""Least and greatest length of the longer side of a picture."""
_CURVE_POINTS = 500
"""Most points of a precision-recall curve that are kept, which is as many as a plot can show."""


@dataclass(frozen=True)
class DrawnImage:
    """A picture of a validation.

    Attributes:
        role: `SPREAD`, `BEST_LOSS` or `WORST_LOSS`.
        number: of the picture among those of its role, from 1.
        image_id: of the image.
        objects: number of its objects.
        detections: number of the detections that are drawn.
        loss: of the image, None if it was not measured.
    """

    role: str
    number: int
    image_id: str
    objects: int
    detections: int
    loss: float | None

    def path(self, folder: Path, epoch: int) -> Path:
        """Return the path of the picture."""
        return folder / f"epoch_{epoch}_{self.role}_{self.number}.jpg"

    def caption(self) -> str:
        """Say what the picture shows."""
        loss = "" if self.loss is None else f"loss {self.loss:.3f}, "
        return f"{self.image_id}: {loss}objects {self.objects}, detections {self.detections}"


@dataclass(frozen=True)
class KeptValidation:
    """What is kept of a validation.

    Attributes:
        epoch: its epoch.
        scores: AP, precision and recall by class.
        pictures: in the order in which they are shown.
    """

    epoch: int
    scores: Evaluation
    pictures: tuple[DrawnImage, ...]


def write_validation(
    folder: Path, epoch: int, validation: Validation, count: int
) -> KeptValidation:
    """Draw images of a validation and write its scores.

    Args:
        folder: gets `epoch_<epoch>_<role>_<number>.jpg` and, last of all, `epoch_<epoch>.json`.
        epoch: number of the epoch.
        validation: what the validation has found.
        count: pictures of each role.

    Raises:
        UnreadableImage: an image can no longer be read.
    """
    pictures = []
    for role, indices in chosen_images(validation, count).items():
        for number, index in enumerate(indices, start=1):
            drawn, picture = draw_image(validation, role, number, index)
            write_picture(drawn.path(folder, epoch), picture)
            pictures.append(drawn)
    kept = KeptValidation(epoch, _thinned(validation.scores), tuple(pictures))
    content = {"scores": _plain(kept.scores), "pictures": list(map(asdict, pictures))}
    with replacing(folder / f"epoch_{epoch}.json") as file:
        json.dump(content, file)
    return kept


def read_validation(folder: Path, epoch: int) -> KeptValidation | None:
    """Read what `write_validation` wrote; None if it is missing or, with a warning, damaged."""
    path = folder / f"epoch_{epoch}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        scores = _evaluation(content["scores"])
        pictures = tuple(DrawnImage(**entry) for entry in content["pictures"])
        if any(one.role not in (SPREAD, BEST_LOSS, WORST_LOSS) for one in pictures):
            raise ValueError("a picture has no known role")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s is damaged (%s) and is left out of the report", path, error)
        return None
    return KeptValidation(epoch, scores, pictures)


def keep_only(folder: Path, epochs: Collection[int]) -> None:
    """Delete the files of all validations but those of the given epochs."""
    for path in folder.glob("epoch_*.*"):
        number = path.stem.split("_")[1]
        if number.isdecimal() and int(number) not in epochs:
            path.unlink()


def kept_epochs(folder: Path) -> list[int]:
    """Return the epochs whose validations have been kept, in ascending order."""
    numbers = (path.stem.removeprefix("epoch_") for path in folder.glob("epoch_*.json"))
    return sorted(int(number) for number in numbers if number.isdecimal())


def chosen_images(validation: Validation, count: int) -> dict[str, list[int]]:
    """Choose the images to draw.

    Args:
        validation: what the validation has found.
        count: most images of each role.

    Returns:
        Role -> indices into `validation.images`: those of the highest losses in descending order,
        those of the lowest in ascending order (only images with objects, as it is easy to find
        nothing where nothing is), and some that are spread evenly over the images with objects and
        therefore the same in each validation. No image is both among the highest and the lowest.
    """
    images, truth = validation.images, validation.truth
    labeled = {truth.image_ids[place] for place in np.unique(truth.images)}
    has_objects = np.array([one.image_id in labeled for one in images])
    candidates = np.flatnonzero(has_objects) if has_objects.any() else np.arange(len(images))
    spread = np.linspace(0, len(candidates) - 1, min(count, len(candidates))).round().astype(int)
    losses = [_loss(validation, index) for index in range(len(images))]
    measured = [index for index, loss in enumerate(losses) if loss is not None]
    worst = sorted(measured, key=lambda index: -losses[index])[:count]
    others = [index for index in measured if has_objects[index] and index not in worst]
    best = sorted(others, key=lambda index: losses[index])[:count]
    return {WORST_LOSS: worst, BEST_LOSS: best, SPREAD: candidates[spread].tolist()}


def _outlines(validation: Validation, index: int) -> np.ndarray:
    """Return the corners [N, 4, 2] of the objects of an image, in source pixels."""
    truth = validation.truth
    place = truth.image_ids.index(validation.images[index].image_id)
    return truth.corners[truth.images == place]


def _loss(validation: Validation, index: int) -> float | None:
    """Return the loss of an image, infinite if it is not finite, None if it was not measured."""
    losses = validation.images[index].losses
    if losses is None:
        return None
    total = float(sum(losses.values()))
    return total if math.isfinite(total) else math.inf


def draw_image(
    validation: Validation, role: str, number: int, index: int
) -> tuple[DrawnImage, np.ndarray]:
    """Draw the truth in white and the detections in the colors of their classes.

    Only detections with a score above the default of the phase `test` are drawn: a validation keeps
    many more, for its precision-recall curve.

    Args:
        validation: what the validation has found.
        role: why the image is drawn.
        number: of the picture among those of its role.
        index: of the image.

    Returns:
        What is drawn, and the picture [H, W, 3] in BGR.
    """
    one, outlines = validation.images[index], _outlines(validation, index)
    image = validation.dataset.source_image(index)
    image = np.clip(image, 0, 255).astype(np.uint8)
    longer = max(image.shape[:2])
    scale = np.clip(longer, *_SIDES_PX) / longer
    if scale != 1:
        size_wh = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = cv2.resize(image, size_wh, interpolation=method)
    shown = one.detections[one.detections.scores > CONF_THRESH]
    shown = shown.with_names(validation.dataset.category)
    picture = shown.with_corners(shown.corners * scale).draw(image, outlines * scale)
    loss = _loss(validation, index)
    return DrawnImage(role, number, one.image_id, len(outlines), len(shown), loss), picture


def _thinned(scores: Evaluation) -> Evaluation:
    """Return scores whose curves have few points."""
    classes = []
    for score in scores.classes:
        total = len(score.curve.scores)
        rows = np.linspace(0, total - 1, min(total, _CURVE_POINTS)).round().astype(int)
        curve = score.curve
        curve = Curve(curve.scores[rows], curve.recall[rows], curve.precision[rows])
        classes.append(ClassScore(**{**vars(score), "curve": curve}))
    return Evaluation(
        scores.metric, scores.iou_thresholds, tuple(classes), None, scores.unlisted, scores.images
    )


def _plain(scores: Evaluation) -> dict[str, object]:
    """Return scores as plain values, without a confusion matrix."""
    classes = []
    for score in scores.classes:
        curve = {name: values.tolist() for name, values in vars(score.curve).items()}
        classes.append({**vars(score), "ap": score.ap.tolist(), "curve": curve})
    return {
        "metric": scores.metric,
        "iou_thresholds": list(scores.iou_thresholds),
        "images": scores.images,
        "classes": classes,
    }


def _evaluation(plain: dict) -> Evaluation:
    """Return what `_plain` got."""
    classes = []
    for entry in plain["classes"]:
        curve = Curve(**{name: np.array(values) for name, values in entry["curve"].items()})
        classes.append(ClassScore(**{**entry, "ap": np.array(entry["ap"]), "curve": curve}))
    return Evaluation(
        plain["metric"],
        tuple(plain["iou_thresholds"]),
        tuple(classes),
        images=plain["images"],
    )

"""A trained network whose output another one learns beside the labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from DOTA_devkit.errors import InputError
from models import CTRBOX
from models.losses import ObjectCounts
from models.teacher_loss import teacher_losses
from training.precision import Precision

logger = logging.getLogger(__name__)


class Teacher:
    """A trained network in eval mode, and the losses of another one against it.

    Args:
        model: The network, which this puts onto the device and freezes.
        device: Where the other one is trained.
        mean_objects: As of the losses against the labels, see `models.DetectionLoss`.
    """

    def __init__(self, model: CTRBOX, device: torch.device, mean_objects: float) -> None:
        self._model = model.eval().requires_grad_(False)
        # The shift does not turn with an augmented view, and the run measures its own.
        self._model.remove_center_shift()
        self._model.to(device, memory_format=torch.channels_last)
        self._mean_objects = mean_objects

    def losses(
        self,
        images: Tensor,
        cells: Tensor,
        maps: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        counts: ObjectCounts | None,
        precision: Precision,
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch, see `teacher_losses`.

        Args:
            images: [B, 3, H, W], the input of both networks.
            cells: [B, K] at which the boxes are learned.
            maps: Output of the other network for them.
            targets: As the criterion's `assign` returns them.
            counts: Of the step, if the batch is a part of it.
            precision: In which the networks compute.
        """
        with torch.no_grad():
            taught = precision.forward(self._model, images, logits=True, cells=cells)
        counts = counts or ObjectCounts.of(targets)
        coding = self._model.box_coding
        return teacher_losses(maps, taught, targets, counts, self._mean_objects, coding)


def check_teacher(path: Path, model: CTRBOX, student: CTRBOX) -> None:
    """Check that a network can be the teacher of another one.

    Args:
        path: Its file, for errors.
        model: The network.
        student: The one that is to learn from it.

    Raises:
        InputError: It has other classes or another box coding.
    """
    named = model.classes is not None and student.classes is not None
    if model.heads["hm"] != student.heads["hm"] or (named and model.classes != student.classes):
        raise InputError(
            f"{path}: a teacher has the classes of the data, {_names(student)}, in this order; "
            f"this one has {_names(model)}"
        )
    if model.box_coding != student.box_coding:
        raise InputError(
            f"{path}: the teacher codes boxes as {model.box_coding}, and this run as "
            f"{student.box_coding}: train both with the same `recipe`"
        )
    if model.input_size not in (None, student.input_size):
        logger.warning(
            "%s: the teacher was trained at %s, and this run is at %s; a teacher knows objects of "
            "the size that it was trained at", path, _size(model), _size(student),
        )  # fmt: skip


def _names(model: CTRBOX) -> str:
    if model.classes is None:
        return f"{model.heads['hm']} without names"
    return ", ".join(model.classes)


def _size(model: CTRBOX) -> str:
    return "x".join(map(str, reversed(model.input_size or ())))

"""The losses of a network against the output of a trained one, its teacher.

Labels say where objects are, but not how certain that is. The heat map of a teacher gives a
probability in every cell, also for unlabeled objects and for background that looks like one
(Hinton et al. 2015, "Distilling the knowledge in a neural network").
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from models.box_coding import rectangle_vectors
from models.losses import ObjectCounts, bernoulli_from_logits, cross_entropy, masked_mean
from models.rectangle_loss import box_losses
from structures.boxes import RECTANGLE, WH


def teacher_losses(
    maps: Mapping[str, Tensor],
    taught: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    counts: ObjectCounts,
    mean_objects: float,
    box_coding: str,
) -> dict[str, Tensor]:
    """Compute the losses of a batch against the output of a teacher, in float32.

    The heat map has the quality focal loss (Li et al. 2020, eq. 3, beta 2) with the teacher's
    probabilities as targets: the cross-entropy of a cell times the square of its error. The boxes
    have the losses that they have against the labels, at the same cells.

    Args:
        maps: From `model(x, logits=True, cells=object_cells(targets))`.
        taught: The same from the teacher, without gradients.
        targets: As the criterion's `assign` returns them.
        counts: Of the step.
        mean_objects: Divisor for a step without objects, in place of their number.
        box_coding: Of both networks, one of `structures.boxes.BOX_CODINGS`.

    Returns:
        `teacher_hm` and `teacher_box`, scalar float32 tensors.
    """
    with torch.autocast(maps["hm"].device.type, enabled=False):
        own, other = bernoulli_from_logits(maps["hm"]), torch.sigmoid(taught["hm"].float())
        heatmap = (own.p - other).square() * cross_entropy(own, other)
        if (weight := targets.get("hm_weight")) is not None:
            heatmap = heatmap * weight.float()
        divisor = torch.where(counts.centers > 0, counts.centers, mean_objects)
        box = _rectangles if box_coding == RECTANGLE else _vectors
        return {
            "teacher_hm": heatmap.sum() / divisor,
            "teacher_box": box(maps, taught, targets, counts.objects.clamp(min=1)),
        }


def _rectangles(
    maps: Mapping[str, Tensor],
    taught: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    objects: Tensor,
) -> Tensor:
    used = targets["reg_mask"] != 0
    wh, reg = (maps[name][used].float() for name in ("wh", "reg"))
    other_wh, other_reg = (taught[name][used].float() for name in ("wh", "reg"))
    # Where the teacher has not seen the object, its box is no example.
    fit = torch.sigmoid(taught["cls_theta"][used].float()[:, 0])
    share = fit * targets["cell_weight"][used] / objects
    losses, _ = box_losses(wh, reg, rectangle_vectors(other_wh), other_reg, share)
    # The teacher's own numbers, which are near 0 where it does not know the angle.
    angle = (wh[:, WH["size"]] - other_wh[:, WH["size"]]).square().mean(dim=1)
    losses["angle"] = (angle * share).sum()
    return sum(losses.values())


def _vectors(
    maps: Mapping[str, Tensor],
    taught: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    objects: Tensor,
) -> Tensor:
    errors = (
        F.smooth_l1_loss(maps[name].float(), taught[name].float(), reduction="none")
        for name in ("wh", "reg")
    )
    is_rotated = torch.sigmoid(taught["cls_theta"].float())
    rotated = cross_entropy(bernoulli_from_logits(maps["cls_theta"]), is_rotated)
    return sum(masked_mean(error, targets["reg_mask"], objects) for error in (*errors, rotated))

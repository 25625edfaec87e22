"""The four losses of the detector, computed in float32 whatever the precision of the model.

Each is a sum over cells or objects divided by their number, at least 1. A batch without objects
needs no special case: its box losses are 0 and part of the autograd graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PROBABILITY_EPS = 1e-6  # 1e-4 would already change the gradients of confident centers


class Bernoulli(NamedTuple):
    """A probability p, 1 - p and their logarithms, all finite, as a cross-entropy needs them."""

    p: Tensor
    not_p: Tensor
    log_p: Tensor
    log_not_p: Tensor


def bernoulli_from_logits(logits: Tensor) -> Bernoulli:
    """Convert logits exactly; the gradient does not vanish where the sigmoid saturates."""
    logits = logits.float()
    return Bernoulli(
        torch.sigmoid(logits), torch.sigmoid(-logits), F.logsigmoid(logits), F.logsigmoid(-logits)
    )


def bernoulli_from_probabilities(probabilities: Tensor) -> Bernoulli:
    """Clamp probabilities away from 0 and 1, where a logarithm is infinite.

    In half precision the sigmoid is 1 from a logit of 6.2 (bfloat16) or 8.3 (float16) on, and
    clamped values have no gradient: with mixed precision, use the logits.
    """
    p = probabilities.float().clamp(PROBABILITY_EPS, 1 - PROBABILITY_EPS)
    return Bernoulli(p, 1 - p, p.log(), (1 - p).log())


def cross_entropy(predicted: Bernoulli, target: Tensor) -> Tensor:
    """Return the cross-entropy of each prediction with a target probability."""
    return -target * predicted.log_p - (1 - target) * predicted.log_not_p


class ObjectCounts(NamedTuple):
    """What the losses of a step are divided by.

    Attributes:
        centers: Weighted number of the cells of the heat maps that are centers.
        objects: Number of objects.
    """

    centers: Tensor
    objects: Tensor

    @classmethod
    def of(cls, targets: Mapping[str, Tensor]) -> ObjectCounts:
        """Count in the targets of a batch, see `DetectionLoss.forward`."""
        is_center = targets["hm"].eq(1).float()
        if (weight := targets.get("hm_weight")) is not None:
            is_center = is_center * weight.float()
        objects = targets.get("objects")
        return cls(
            is_center.sum(), targets["reg_mask"].float().sum() if objects is None else objects
        )

    def __add__(self, other: ObjectCounts) -> ObjectCounts:
        return ObjectCounts(self.centers + other.centers, self.objects + other.objects)


def focal_loss(
    heatmap: Bernoulli,
    target: Tensor,
    weight: Tensor | None = None,
    mean_objects: float = 1.0,
    centers: Tensor | None = None,
) -> Tensor:
    """Penalty-reduced focal loss of CornerNet (Law and Deng 2018, eq. 1), alpha 2 and beta 4.

    Args:
        heatmap: Predicted probabilities, [B, C, H, W] each.
        target: [B, C, H, W] Gaussians, exactly 1 at the centers of objects.
        weight: [B, C, H, W] factor of each cell's term, or None for 1 everywhere.
        mean_objects: Divisor for a batch without centers, in place of their number.
        centers: Number of centers of the step if the batch is a part of it; by default its own.

    Returns:
        Scalar loss, divided by the (weighted) number of centers.
    """
    is_center = target.eq(1).float()
    background = (1 - target.float()).pow(4)  # 0 at centers
    if weight is not None:
        weight = weight.float()
        is_center = is_center * weight
        background = background * weight
    loss = is_center * heatmap.not_p.square() * heatmap.log_p
    loss = loss + background * heatmap.p.square() * heatmap.log_not_p
    centers = is_center.sum() if centers is None else centers
    return -loss.sum() / torch.where(centers > 0, centers, mean_objects)


def masked_mean(values: Tensor, mask: Tensor, objects: Tensor | None = None) -> Tensor:
    """Mean over objects and channels; 0, with a gradient of 0, if there are no objects.

    Args:
        values: [B, K, C].
        mask: [B, K], 1 for the slots that hold an object.
        objects: Number of objects of the step if the batch is a part of it; by default its own.

    Returns:
        Scalar mean.
    """
    mask = mask.to(values.dtype).unsqueeze(2)
    objects = mask.sum() if objects is None else objects
    number = (objects * values.shape[2]).clamp(min=1)
    return (values * mask).sum() / number


class DetectionLoss(nn.Module):
    """Losses of a batch by name: `hm`, `wh`, `off`, `cls_theta`. Training minimizes their sum.

    Args:
        mean_objects: Mean number of objects in a batch of the training set (below 1 counts as 1).
            The heat map loss is divided by the number of objects in the batch; a batch without
            objects is divided by this instead, otherwise it would weigh as much as all the objects
            of a normal batch together.

    Raises:
        ValueError: `mean_objects` is not finite.
    """

    def __init__(self, mean_objects: float = 1.0) -> None:
        super().__init__()
        if not math.isfinite(mean_objects):
            raise ValueError(f"mean_objects must be finite, got {mean_objects}")
        self.mean_objects = max(float(mean_objects), 1.0)

    def assign(self, targets: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the targets by cell: an object is learned by the cell of its center alone."""
        return targets

    def forward(
        self,
        maps: dict[str, Tensor],
        targets: dict[str, Tensor],
        logits: bool = False,
        counts: ObjectCounts | None = None,
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Args:
            maps: The model's output for a batch, of any floating type: `hm` [B, C, H, W],
                `wh` [B, 10, H, W], `reg` [B, 2, H, W], `cls_theta` [B, 1, H, W]. All but `hm` may
                also be [B, K, channels], the values at the objects' cells.
            targets: `hm` [B, C, H, W] in 0 to 1; for up to K objects per image `wh` [B, K, 10],
                `reg` [B, K, 2], `cls_theta` [B, K, 1], `ind` [B, K] int64 (their cells,
                `y * W + x`) and `reg_mask` [B, K] (1 where there is an object). The optional
                `hm_weight` [B, C, H, W] multiplies each cell's term of the heat map loss.
            logits: `hm` and `cls_theta` are before the sigmoid, from `model(x, logits=True)`, as
                recommended for training. Both ways give the same losses to float32 precision.
            counts: Of all batches of a step that is accumulated, so that the sums of their losses
                and gradients are those of one large batch; by default of this batch.

        Returns:
            Scalar float32 tensors by name.
        """
        bernoulli = bernoulli_from_logits if logits else bernoulli_from_probabilities
        hm_weight = targets.get("hm_weight")
        centers, objects = counts or (None, None)
        mask, cells = targets["reg_mask"], targets["ind"]

        def at_objects(name: str) -> Tensor:
            values = maps[name]
            return values if values.ndim == 3 else gather_cells(values, cells)

        def regression(name: str) -> Tensor:
            predicted = at_objects(name).float()
            error = F.smooth_l1_loss(predicted, targets[name].float(), reduction="none")
            return masked_mean(error, mask, objects)

        with torch.autocast(maps["hm"].device.type, enabled=False):
            rotated = bernoulli(at_objects("cls_theta"))
            is_rotated = targets["cls_theta"].float()
            return {
                "hm": focal_loss(
                    bernoulli(maps["hm"]), targets["hm"], hm_weight, self.mean_objects, centers
                ),
                "wh": regression("wh"),
                "off": regression("reg"),
                "cls_theta": masked_mean(cross_entropy(rotated, is_rotated), mask, objects),
            }


def gather_cells(feature_map: Tensor, cells: Tensor) -> Tensor:
    """Gather the values of a map at some cells of each image.

    Args:
        feature_map: [B, C, H, W].
        cells: [B, K] int64, `y * W + x`.

    Returns:
        [B, K, C].
    """
    batch, channels = feature_map.shape[:2]
    index = cells.unsqueeze(1).expand(batch, channels, cells.shape[1])
    return feature_map.flatten(2).gather(2, index).transpose(1, 2)

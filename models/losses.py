"""The four losses of the detector, in float32 whatever the precision of the model.

Each is a sum over cells or objects divided by their number, at least 1: a batch without objects
takes the same way as any other and gives box losses of 0 that are part of the graph.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PROBABILITY_EPS = 1e-6  # 1e-4 would already change gradients of well-found centres


class Bernoulli(NamedTuple):
    """A probability with all that a cross-entropy needs, each finite."""

    p: Tensor
    not_p: Tensor
    log_p: Tensor
    log_not_p: Tensor


def bernoulli_from_logits(logits: Tensor) -> Bernoulli:
    """Exact for every finite logit; the gradient does not die where the sigmoid saturates."""
    logits = logits.float()
    return Bernoulli(
        torch.sigmoid(logits), torch.sigmoid(-logits), F.logsigmoid(logits), F.logsigmoid(-logits)
    )


def bernoulli_from_probabilities(probabilities: Tensor) -> Bernoulli:
    """Clamped away from 0 and 1, where a logarithm is infinite. The one place where that is done.

    A half precision sigmoid is 1 from a logit of 6.2 (bfloat16) or 8.3 (float16) on, and what is
    clamped has no gradient: under mixed precision use the logits.
    """
    p = probabilities.float().clamp(PROBABILITY_EPS, 1 - PROBABILITY_EPS)
    return Bernoulli(p, 1 - p, p.log(), (1 - p).log())


def focal_loss(
    heatmap: Bernoulli, target: Tensor, weight: Tensor | None = None, mean_objects: float = 1.0
) -> Tensor:
    """The penalty-reduced focal loss of CornerNet (Law and Deng 2018, eq. 1), powers 2 and 4.

    Args:
        heatmap: predicted, [B, C, H, W] each.
        target: [B, C, H, W] Gaussians, exactly 1 at the centres of objects.
        weight: [B, C, H, W] of each cell's term, or None for 1 everywhere.
        mean_objects: the divisor of a batch without centres, in place of their number.
    """
    is_centre = target.eq(1).float()
    background = (1 - target.float()).pow(4)  # 0 at centres
    if weight is not None:
        weight = weight.float()
        is_centre = is_centre * weight
        background = background * weight
    loss = is_centre * heatmap.not_p.square() * heatmap.log_p
    loss = loss + background * heatmap.p.square() * heatmap.log_not_p
    centres = is_centre.sum()
    return -loss.sum() / torch.where(centres > 0, centres, mean_objects)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over objects and channels; 0, with a gradient of 0, where there are no objects.

    Args:
        values: [B, K, C].
        mask: [B, K], 1 for the slots that hold an object.
    """
    mask = mask.to(values.dtype).unsqueeze(2)
    number = (mask.sum() * values.shape[2]).clamp(min=1)
    return (values * mask).sum() / number


class DetectionLoss(nn.Module):
    """The losses of a batch by name: `hm`, `wh`, `off`, `cls_theta`. What to minimise is their sum.

    Args:
        mean_objects: objects in a mean batch of the training list (below 1 counts as 1). The heat
            map's loss is divided by the number of objects in the batch; a batch without any is
            divided by this, or it would weigh as much as all the objects of a normal one together.
    """

    def __init__(self, mean_objects: float = 1.0) -> None:
        super().__init__()
        if not math.isfinite(mean_objects):
            raise ValueError(f"mean_objects must be finite, not {mean_objects}")
        self.mean_objects = max(float(mean_objects), 1.0)

    def forward(
        self, maps: dict[str, Tensor], targets: dict[str, Tensor], logits: bool = False
    ) -> dict[str, Tensor]:
        """The losses, scalar float32 tensors.

        Args:
            maps: the model's output for a batch, of any floating type: `hm` [B, C, H, W],
                `wh` [B, 10, H, W], `reg` [B, 2, H, W], `cls_theta` [B, 1, H, W].
            targets: `hm` [B, C, H, W] in 0 to 1; for up to K objects an image `wh` [B, K, 10],
                `reg` [B, K, 2], `cls_theta` [B, K, 1], `ind` [B, K] int64 (their cells,
                `y * W + x`) and `reg_mask` [B, K] (1 where there is an object). With `hm_weight`
                [B, C, H, W] each cell's term of the heat map is multiplied by it.
            logits: `hm` and `cls_theta` are before the sigmoid, from `model(x, logits=True)`.
                Training should do so; both ways give the same losses wherever float32 can tell.
        """
        bernoulli = bernoulli_from_logits if logits else bernoulli_from_probabilities
        hm_weight = targets.get("hm_weight")
        mask, cells = targets["reg_mask"], targets["ind"]

        def regression(name: str) -> Tensor:
            predicted = gather_cells(maps[name], cells).float()
            error = F.smooth_l1_loss(predicted, targets[name].float(), reduction="none")
            return masked_mean(error, mask)

        with torch.autocast(maps["hm"].device.type, enabled=False):
            turned = bernoulli(gather_cells(maps["cls_theta"], cells))
            is_turned = targets["cls_theta"].float()
            cross_entropy = -is_turned * turned.log_p - (1 - is_turned) * turned.log_not_p
            return {
                "hm": focal_loss(
                    bernoulli(maps["hm"]), targets["hm"], hm_weight, self.mean_objects
                ),
                "wh": regression("wh"),
                "off": regression("reg"),
                "cls_theta": masked_mean(cross_entropy, mask),
            }


def gather_cells(feature_map: Tensor, cells: Tensor) -> Tensor:
    """The values of a map at some cells of each image.

    Args:
        feature_map: [B, C, H, W].
        cells: [B, K] int64, `y * W + x`.

    Returns:
        [B, K, C].
    """
    batch, channels = feature_map.shape[:2]
    index = cells.unsqueeze(1).expand(batch, channels, cells.shape[1])
    return feature_map.flatten(2).gather(2, index).transpose(1, 2)

"""The losses of a detector whose boxes are coded as rectangles, see `models.box_coding`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from models.assignment import spread_over_neighbors
from models.box_coding import fourfold_angle, symmetric_matrix
from models.losses import DetectionLoss, ObjectCounts, bernoulli_from_logits, focal_loss
from structures.boxes import WH

SIDE_WEIGHT = 3.0
"""Weight of the errors of size and angle, and of those of the center."""
OVERLAP_WEIGHT = 2.0
"""Weight of the Hellinger distance of the boxes' Gaussians."""
FAR_WEIGHT = 4.0
"""Weight of their Bhattacharyya distance, which grows faster with large errors."""
BETA = 0.1
"""Errors below it, in half sides, are squared."""

_LEAST_HALF_SIDE = 0.25
"""In cells: the errors of thinner objects are relative to it, as a label is no finer than that."""


class BoxErrors(NamedTuple):
    """The errors of predicted boxes, in the frame and the units of the true ones.

    In that frame the axes are those of the true box and its half sides are 1, so that an error of
    0.1 costs as much of the overlap for a ship of 100 pixels as for a car of 10, and along the box
    as across it.

    Attributes:
        sides: [M, 2, 2] error of the symmetric matrix.
        center: [M, 2].
        covariance: [M, 2, 2] of the predicted box; that of the true one is the unit matrix.
        angle: [M, 2] error of cos 4a and sin 4a.
        squareness: [M] shorter side of the true box by its longer one.
    """

    sides: Tensor
    center: Tensor
    covariance: Tensor
    angle: Tensor
    squareness: Tensor


def box_errors(wh: Tensor, reg: Tensor, true_wh: Tensor, true_reg: Tensor) -> BoxErrors:
    """Compute the errors of boxes.

    Args:
        wh: [M, 10] output of the head, coded as rectangles.
        reg: [M, 2] predicted offset of the center.
        true_wh: [M, 10] target, whose first eight channels are the boundary vectors.
        true_reg: [M, 2] target.
    """
    halves = torch.stack([true_wh[:, WH["r"]], true_wh[:, WH["b"]]], dim=1)
    lengths = halves.norm(dim=2, keepdim=True)
    axes = halves / lengths.clamp(min=1e-6)
    lengths = lengths.clamp(min=_LEAST_HALF_SIDE)
    to_frame = axes / lengths
    xx, xy, yy = symmetric_matrix(wh)
    found = torch.stack([xx, xy, xy, yy], dim=1).reshape(-1, 2, 2)
    in_frame = to_frame @ found
    center = (to_frame @ (reg - true_reg)[:, :, None])[:, :, 0]
    # The true matrix is axesT lengths axes, which the frame turns into the axes alone.
    return BoxErrors(
        in_frame - axes,
        center,
        in_frame @ in_frame.mT,
        wh[:, WH["size"]] - fourfold_angle(axes[:, 0]),
        lengths.amin(dim=(1, 2)) / lengths.amax(dim=(1, 2)),
    )


def bhattacharyya_distance(errors: BoxErrors) -> Tensor:
    """Compute the Bhattacharyya distance of the Gaussians of boxes, 0 or more, [M].

    A box stands for the Gaussian with its center and the covariance of its area, whose standard
    deviations are half sides / sqrt(3) (ProbIoU, Llerena et al. 2021, eq. 3 to 8). It needs no
    angle, and falls with any error of center, sides and direction together.
    """
    covariance, offset = errors.covariance, errors.center
    (p, q), (_, r) = (row.unbind(1) for row in covariance.unbind(1))
    determinant = (p * r - q * q).clamp(min=1e-4)
    p, q, r = (p + 1) / 2, q / 2, (r + 1) / 2
    mean_determinant = p * r - q * q
    x, y = offset.unbind(1)
    squared = (r * x * x - 2 * q * x * y + p * y * y) / mean_determinant
    distance = 3 / 8 * squared + torch.log(mean_determinant / determinant.sqrt()) / 2
    return distance.clamp(1e-6, 50)


def hellinger_distance(bhattacharyya: Tensor) -> Tensor:
    """Convert a `bhattacharyya_distance` to the Hellinger distance, in 0 to 1."""
    return torch.sqrt(-torch.expm1(-bhattacharyya))


def estimated_overlap(hellinger: Tensor) -> Tensor:
    """Estimate the IoU of two boxes from the `hellinger_distance` of their Gaussians.

    Over boxes with sides in ratios of 1 to 5 and errors of all kinds that leave an IoU of 0.2 to 1
    it is off by 0.02 on average. The exact IoU of rotated boxes would take the time of a polygon
    clipping on the CPU.
    """
    return torch.exp(-2 * hellinger)


def box_losses(
    wh: Tensor, reg: Tensor, true_wh: Tensor, true_reg: Tensor, share: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Compute the losses of boxes against true ones.

    Most of them grow linearly with an error, which makes outliers less important. But a network
    first learns the usual length of a class, and then long objects are outliers. The Bhattacharyya
    distance, whose slope is larger for larger errors, lets it learn their length as well.

    Args:
        wh: [M, 10], see `box_errors`.
        reg: [M, 2].
        true_wh: [M, 10].
        true_reg: [M, 2].
        share: [M] weight of each box.

    Returns:
        `wh`, `off`, `angle` and `overlap`, scalars, and the `hellinger_distance` [M] of the boxes.
    """
    errors = box_errors(wh, reg, true_wh, true_reg)
    far = bhattacharyya_distance(errors)
    distance = hellinger_distance(far)

    def relative(error: Tensor) -> Tensor:
        zeros = torch.zeros_like(error)
        return F.smooth_l1_loss(error, zeros, beta=BETA, reduction="none").mean(dim=1)

    losses = {
        "wh": SIDE_WEIGHT * (relative(errors.sides.flatten(1)) * share).sum(),
        "off": SIDE_WEIGHT * (relative(errors.center) * share).sum(),
        # Only boxes that are nearly square need it. Squares of errors: where the network does not
        # know the angle, it learns 0.
        "angle": (errors.angle.square().mean(dim=1) * errors.squareness * share).sum(),
        "overlap": ((OVERLAP_WEIGHT * distance + FAR_WEIGHT * far) * share).sum(),
    }
    return losses, distance


class RectangleLoss(DetectionLoss):
    """Losses of a batch by name: `hm`, `wh`, `off`, `angle`, `overlap` and `fit`.

    Training minimizes their sum.

    The argument and its errors are those of `DetectionLoss`.
    """

    def assign(self, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the targets by cell: an object is learned by the 3x3 cells around its center."""
        return spread_over_neighbors(targets)

    def forward(
        self,
        maps: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        logits: bool = True,
        counts: ObjectCounts | None = None,
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch, in float32.

        Args:
            maps: From `model(x, logits=True, cells=object_cells(targets))`.
            targets: As `assign` returns them.
            logits: Must be True: the other outputs of the model are no longer coded.
            counts: Of all batches of a step that is accumulated; by default of this batch.

        Returns:
            Scalar float32 tensors by name.

        Raises:
            ValueError: `logits` is False.
        """
        if not logits:
            raise ValueError("the losses of rectangles need the heads with logits=True")
        counts = counts or ObjectCounts.of(targets)
        used = targets["reg_mask"] != 0
        with torch.autocast(maps["hm"].device.type, enabled=False):
            wh, reg = (maps[name][used].float() for name in ("wh", "reg"))
            true_wh, true_reg = (targets[name][used].float() for name in ("wh", "reg"))
            share = targets["cell_weight"][used] / counts.objects.clamp(min=1)
            boxes, distance = box_losses(wh, reg, true_wh, true_reg, share)
            fit = F.binary_cross_entropy_with_logits(
                maps["cls_theta"][used].float()[:, 0],
                estimated_overlap(distance.detach()),
                reduction="none",
            )
            return {
                "hm": focal_loss(
                    bernoulli_from_logits(maps["hm"]), targets["hm"], targets.get("hm_weight"),
                    self.mean_objects, counts.centers,
                ),
                **boxes,
                # How well its own box fits: `cls_theta` learns to predict this.
                "fit": (fit * share).sum(),
            }  # fmt: skip

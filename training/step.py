"""One step: forward, named losses and backward of its batches, a finite check, the optimizer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import reduce
from operator import add

import torch
from torch import nn

from datasets.batching import to_device
from models.assignment import object_cells
from models.losses import ObjectCounts
from processes.group import add_up, add_up_gradients, process_count
from training.guards import NormStatistics, Outcome
from training.precision import Precision
from training.teacher import Teacher

logger = logging.getLogger(__name__)


# Over 60 lines because its arguments are documented; the body is the algorithm of one step.
def train_step(
    model: nn.Module,
    batches: Sequence[dict[str, torch.Tensor]],
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    clip_norm: float,
    statistics: NormStatistics,
    device: torch.device,
    precision: Precision,
    teacher: Teacher | None = None,
) -> tuple[dict[str, torch.Tensor], Outcome]:
    """Forward, named losses and backward of each batch, finite check, step.

    Args:
        model: the network in training mode.
        batches: one, or those whose gradients are added up: `input` [B, 3, H, W] and the training
            targets of each. Of several processes, each has a part of the images, maybe none.
        criterion: head maps and targets -> losses by name.
        optimizer: of the model's parameters.
        clip_norm: largest norm of the gradient.
        statistics: of the model's BatchNorms.
        device: where the model is.
        precision: of the network, and the scale of its losses.
        teacher: what the network learns from beside the targets.

    Returns:
        The losses by name, of all processes together, and the outcome of the step: if they or the
        gradient were not finite, it has changed nothing.
    """
    parts = {}
    if len(batches) > 1 or process_count() > 1:  # losses are means over the objects of all of them
        counts = reduce(add, map(ObjectCounts.of, batches))
        parts["counts"] = ObjectCounts(*add_up(torch.stack(counts)).to(device))
    statistics.save()
    optimizer.zero_grad(set_to_none=True)
    totals: dict[str, torch.Tensor] = {}
    for batch in batches:
        images = to_device(batch.pop("input"), device)
        targets = {k: v.to(device, non_blocking=True) for k, v in batch.items()}
        targets = criterion.assign(targets)
        cells = object_cells(targets)
        maps = precision.forward(model, images, logits=True, cells=cells)
        losses = criterion(maps, targets, logits=True, **parts)
        if teacher is not None:
            losses |= teacher.losses(images, cells, maps, targets, parts.get("counts"), precision)
        precision.scaler.scale(sum(losses.values())).backward()
        for name, value in losses.items():
            totals[name] = totals[name] + value.detach() if name in totals else value.detach()

    add_up_gradients(model.parameters())
    precision.scaler.unscale_(optimizer)  # all processes find the same overflow in the sum
    norm = nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    totals, norm = add_up_losses(totals, norm)
    finite = torch.isfinite(sum(totals.values()))
    outcome = Outcome.DONE if finite and torch.isfinite(norm) else Outcome.BAD
    if outcome is Outcome.DONE:
        precision.scaler.step(optimizer)
    else:
        statistics.restore()
        if finite and precision.can_lower_scale():
            outcome = Outcome.OVERFLOW
            logger.info(
                "the gradient is too large for float16 at a loss scale of %g: the step is skipped, "
                "and the scale is halved", precision.scaler.get_scale(),
            )  # fmt: skip
    precision.scaler.update()
    return totals, outcome


def add_up_losses(
    losses: dict[str, torch.Tensor], norm: torch.Tensor
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Add up the losses of all processes, and the norms, so that they find the same one finite."""
    if process_count() == 1:
        return losses, norm
    *values, norm = add_up(torch.stack([*losses.values(), norm])).unbind()
    return dict(zip(losses, values, strict=True)), norm

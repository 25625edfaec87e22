"""The learning rate over a run."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from training.settings import TrainSettings


def learning_rate(settings: TrainSettings, steps_per_epoch: int) -> Callable[[float], float]:
    """Return the learning rate as a function of the finished epochs, fractions included.

    Args:
        settings: schedule, highest rate and warm-up.
        steps_per_epoch: batches of an epoch.
    """
    warmup = min(settings.warmup_steps / steps_per_epoch, 1.0)

    def rate(done: float) -> float:
        if settings.schedule == "cosine":
            share = min(done / settings.epochs, 1.0)
            factor = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))
        else:
            factor = settings.lr_gamma ** math.floor(done)
        rise = min((done + 1 / steps_per_epoch) / warmup, 1.0) if warmup else 1.0
        return settings.lr * factor * rise

    return rate


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate

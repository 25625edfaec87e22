"""The optimizer of a run."""

from __future__ import annotations

import torch
from torch import nn

from training.settings import TrainSettings


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Make the optimizer that the settings ask for.

    Weight decay shrinks the weights of convolutions. Biases, and the scales of BatchNorm, which
    set how strong a channel is, are left alone. Parameters that need no gradient are left out.
    """
    parameters = [one for one in model.parameters() if one.requires_grad]
    betas = (0.9, settings.beta2)
    # Fused: on a CPU the unfused step takes as long as a small network's backward pass.
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, settings.lr, betas, fused=True)
    kernels = [one for one in parameters if one.ndim > 1]
    others = [one for one in parameters if one.ndim <= 1]
    groups = [
        {"params": kernels, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, settings.lr, betas, fused=True)

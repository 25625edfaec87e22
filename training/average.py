"""The exponential moving average of a network's weights, which is what a run is scored with."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class WeightAverage:
    """A copy of a network whose weights follow those of the network.

    After each step `average += (1 - decay) * (weights - average)`, for the weights and for the
    statistics of BatchNorm. The decay rises with the number of steps, `(1 + n) / (10 + n)` up to
    its limit: with the limit from the start, 46 % of the random first weights would be left after
    400 steps.

    Args:
        model: The network; it is not changed.
        decay: The limit.
        steps: Steps that the average has seen.

    Attributes:
        model: The copy, in eval mode.
        steps: See above.
    """

    def __init__(self, model: nn.Module, decay: float, steps: int = 0) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.steps = steps
        pairs = list(zip(_tensors(self.model), _tensors(model), strict=True))
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Follow the network after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        own, new = zip(*self._averaged, strict=True)
        torch._foreach_lerp_(own, new, 1 - decay)
        for own_count, count in self._copied:
            own_count.copy_(count)


def _tensors(model: nn.Module) -> list[Tensor]:
    """Return all weights and buffers, which keep their memory while a network is trained."""
    return [*model.parameters(), *model.buffers()]

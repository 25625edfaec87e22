"""A 3x3 convolution of a map that is upsampled to twice its size, with a quarter of the products.

Both steps are linear, and a 3x3 convolution is the sum of nine 1x1 convolutions of maps that are
shifted by a cell. So the nine are applied to the coarse map, which has a quarter of the cells, and
their outputs are upsampled, shifted and added, along one axis after the other.
`deploy.export.graph.upsample` does the same in ONNX.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

from models.convolution import needs_gradient, runs_in_channels_last_on_cpu

_LEAST_CHANNELS = 256
"""Channels of the coarse map from which on this pays; with fewer the sums take as long as the
products that they save. Measured on CPUs with AVX2."""
_LEAST_CHANNELS_IN_TRAINING = 128
"""The same in training, where the gradients of the products take twice as long, and those of the
sums as long as the sums."""


def pays(coarse: Tensor, weight: Tensor, size: tuple[int, int]) -> bool:
    """Say whether `convolve_upsampled` is faster than upsampling first.

    Args:
        coarse: [B, C, h, w].
        weight: [M, C, 3, 3].
        size: Height and width of the result.
    """
    least = _LEAST_CHANNELS_IN_TRAINING if needs_gradient(weight) else _LEAST_CHANNELS
    height, width = coarse.shape[2:]
    return (
        weight.shape[1] >= least
        and tuple(size) == (2 * height, 2 * width)
        and runs_in_channels_last_on_cpu(coarse, weight)
        and not torch.compiler.is_compiling()  # which cannot trace sums into parts of a tensor
    )


def convolve_upsampled(coarse: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Upsample a map to twice its size (bilinear), and convolve it.

    Args:
        coarse: [B, C, h, w].
        weight: [M, C, 3, 3], of a convolution padded with zeros.
        bias: [M].

    Returns:
        [B, M, 2 h, 2 w].
    """
    # Upsampling along both axes divides by 16.
    kernels = (weight / 16).permute(2, 3, 0, 1).reshape(-1, weight.shape[1], 1, 1)
    return _SumOfTaps.apply(F.conv2d(coarse, kernels)) + bias[:, None, None]


class _SumOfTaps(torch.autograd.Function):
    """Upsample the nine maps [B, 9 M, h, w] of a convolution and sum them, [B, M, 2 h, 2 w]."""

    @staticmethod
    def forward(ctx: FunctionCtx, taps: Tensor) -> Tensor:
        return _upsampled_sum(_upsampled_sum(taps, 2), 3)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        return _gradient_of_taps(_gradient_of_taps(gradient, 3), 2)


class _Axis:
    """Parts of maps along an axis."""

    def __init__(self, axis: int, cells: int) -> None:
        self.axis = axis
        self.cells = cells

    def first(self, maps: Tensor) -> Tensor:
        return maps.narrow(self.axis, 0, 1)

    def last(self, maps: Tensor) -> Tensor:
        return maps.narrow(self.axis, self.cells - 1, 1)

    def not_first(self, maps: Tensor) -> Tensor:
        return maps.narrow(self.axis, 1, self.cells - 1)

    def not_last(self, maps: Tensor) -> Tensor:
        return maps.narrow(self.axis, 0, self.cells - 1)

    def even_and_odd(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        return maps.unflatten(self.axis, (self.cells, 2)).unbind(self.axis + 1)


def _empty(shape: list[int], like: Tensor) -> Tensor:
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


def _upsampled_sum(taps: Tensor, axis: int) -> Tensor:
    """Upsample the maps of three taps along an axis and sum them as a convolution does.

    Upsampling is bilinear with the border repeated, but for a factor of 4; the convolution sees 0
    beyond the border.

    An upsampled map y has y[i - 1] + 3 y[i] at 2i and 3 y[i] + y[i + 1] at 2i + 1. The first tap is
    read one cell earlier, the last one cell later. What that makes of the cells i - 1, i and i + 1
    is written out here, then the cells at the border.

    Args:
        taps: [B, 3 N, h, w], the maps of the first tap, of the middle one and of the last.
        axis: 2 or 3.

    Returns:
        [B, N, 2 h, w] or [B, N, h, 2 w].
    """
    at = _Axis(axis, taps.shape[axis])
    before, here, behind = taps.chunk(3, dim=1)
    shape = [*before.shape]
    shape[axis] *= 2
    result = _empty(shape, taps)
    even, odd = at.even_and_odd(result)

    torch.add(before, here, alpha=3, out=even).add_(behind, alpha=3)
    at.not_first(even).add_(at.not_last(before), alpha=3).add_(at.not_last(here))
    at.not_last(even).add_(at.not_first(behind))
    at.first(even).add_(at.first(here)).sub_(at.first(before))
    at.last(even).add_(at.last(behind))

    torch.add(behind, here, alpha=3, out=odd).add_(before, alpha=3)
    at.not_first(odd).add_(at.not_last(before))
    at.not_last(odd).add_(at.not_first(here)).add_(at.not_first(behind), alpha=3)
    at.first(odd).add_(at.first(before))
    at.last(odd).add_(at.last(here)).sub_(at.last(behind))
    return result


def _gradient_of_taps(gradient: Tensor, axis: int) -> Tensor:
    """Return the gradient of `_upsampled_sum` with respect to its taps, which is its transpose."""
    at = _Axis(axis, gradient.shape[axis] // 2)
    even, odd = at.even_and_odd(gradient)
    shape = [*even.shape]
    shape[1] *= 3
    result = _empty(shape, gradient)
    before, here, behind = result.chunk(3, dim=1)

    torch.add(even, odd, alpha=3, out=before)
    at.not_last(before).add_(at.not_first(even), alpha=3).add_(at.not_first(odd))
    at.first(before).add_(at.first(odd)).sub_(at.first(even))

    torch.add(even, odd, out=here).mul_(3)
    at.not_last(here).add_(at.not_first(even))
    at.not_first(here).add_(at.not_last(odd))
    at.first(here).add_(at.first(even))
    at.last(here).add_(at.last(odd))

    torch.add(odd, even, alpha=3, out=behind)
    at.not_first(behind).add_(at.not_last(even)).add_(at.not_last(odd), alpha=3)
    at.last(behind).add_(at.last(even)).sub_(at.last(odd))
    return result

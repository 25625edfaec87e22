"""Convolutions whose gradients are computed in the memory layout in which PyTorch is fast.

Networks run in channels_last. On CPUs with AVX2 but without AVX-512, PyTorch then takes 1.2 to 1.9
times as long for the gradient of the weights of a dense convolution as it does for contiguous
tensors, and up to five times beside another process. That gradient takes most of a training step.
So for it alone the two maps are copied.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

_AVX2 = torch.backends.cpu.get_cpu_capability() == "AVX2"

_LEAST_CHANNELS = 16
"""Input channels from which on a copy pays; not with those of an image."""


class Conv2d(nn.Conv2d):
    """A convolution that trains faster, see above; all else is PyTorch's.

    It has one group and no dilation, and zeros beyond the border, as `convolve` does.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(c_in, c_out, kernel_size, stride, padding, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve a map [B, C, H, W]."""
        return convolve(x, self.weight, self.bias, self.stride, self.padding)


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
) -> Tensor:
    """Compute `torch.nn.functional.conv2d`, and its gradients as described above."""
    if (
        _AVX2
        and needs_gradient(weight)
        and weight.shape[1] >= _LEAST_CHANNELS
        and weight.shape[2:].numel() > 1
        and runs_in_channels_last_on_cpu(x, weight)
    ):
        return _Convolution.apply(x, weight, bias, stride, padding)
    return F.conv2d(x, weight, bias, stride, padding)


def runs_in_channels_last_on_cpu(x: Tensor, weight: Tensor) -> bool:
    """Say whether PyTorch convolves on a CPU: in float32, in channels_last."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()
        and not torch.is_autocast_enabled("cpu")
    )


def needs_gradient(weight: Tensor) -> bool:
    """Say whether a gradient of the weights will be computed."""
    return torch.is_grad_enabled() and weight.requires_grad


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, *of_parameters = ctx.needs_input_grad[:3]

        def gradients(mask: list[bool], *tensors: Tensor) -> tuple[Tensor | None, ...]:
            return torch.ops.aten.convolution_backward(
                *tensors, [len(weight)], ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1, mask
            )

        found = [None, None, None]
        if of_x:
            found[0], _, _ = gradients([True, False, False], gradient, x, weight)
        if any(of_parameters):
            contiguous = (one.contiguous() for one in (gradient, x, weight))
            _, *found[1:] = gradients([False, *of_parameters], *contiguous)
        return *found, None, None

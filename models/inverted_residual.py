"""The block of MobileNetV3 and EfficientNet, with torchvision's parameter names.

It is an inverted residual: a 1x1 convolution to many hidden channels, a depthwise convolution, a
squeeze-and-excitation, and a 1x1 convolution to the output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Activation = Callable[[], nn.Module]
Norm = Callable[[int], nn.Module]


@dataclass(frozen=True)
class BlockShape:
    """The sizes of an inverted residual.

    Attributes:
        c_in: Channels of the input.
        hidden: Channels of the depthwise convolution; if there are as many as in the input, there
            is no first 1x1 convolution.
        c_out: Channels of the output.
        kernel_size: Kernel size of the depthwise convolution.
        stride: Stride of the depthwise convolution.
        squeezed: Channels inside the squeeze-and-excitation, 0 for a block without it.
    """

    c_in: int
    hidden: int
    c_out: int
    kernel_size: int
    stride: int
    squeezed: int


class InvertedResidual(nn.Module):
    """An inverted residual, which adds its input if that has the shape of the output.

    Args:
        shape: Its sizes.
        norm: Channels -> the norm behind each convolution.
        activation: The activation behind the first two convolutions.
        squeeze_activation: The activation inside the squeeze-and-excitation.
        gate: The activation that makes the factors of the squeeze-and-excitation.
        drop: Probability of stochastic depth, in training.
    """

    def __init__(
        self,
        shape: BlockShape,
        *,
        norm: Norm,
        activation: Activation,
        squeeze_activation: Activation,
        gate: Activation,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        hidden = shape.hidden
        layers: list[nn.Module] = []
        if hidden != shape.c_in:
            layers.append(conv_unit(shape.c_in, hidden, 1, 1, norm, activation))
        layers.append(
            conv_unit(
                hidden, hidden, shape.kernel_size, shape.stride, norm, activation, groups=hidden
            )
        )
        if shape.squeezed:
            layers.append(SqueezeExcitation(hidden, shape.squeezed, squeeze_activation, gate))
        layers.append(conv_unit(hidden, shape.c_out, 1, 1, norm, None))
        self.block = nn.Sequential(*layers)
        self.adds_input = shape.stride == 1 and shape.c_in == shape.c_out
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """Compute [B, c_out, ceil(H / stride), ceil(W / stride)]."""
        result = self.block(x)
        if not self.adds_input:
            return result
        if self.training and self.drop:
            result = drop_samples(result, self.drop)
        return result + x


class SqueezeExcitation(nn.Module):
    """Multiplies each channel by a factor that is computed from the means of all channels.

    Args:
        channels: Channels of the map.
        squeezed: Channels between the two 1x1 convolutions that compute the factors.
        activation: The activation between them.
        gate: The activation that makes the factors.
    """

    def __init__(
        self, channels: int, squeezed: int, activation: Activation, gate: Activation
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = activation()
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of [B, C, H, W]."""
        factors = self.fc2(self.activation(self.fc1(self.avgpool(x))))
        return self.gate(factors) * x


def conv_unit(
    c_in: int,
    c_out: int,
    kernel_size: int,
    stride: int,
    norm: Norm,
    activation: Activation | None,
    groups: int = 1,
) -> nn.Sequential:
    """Make a convolution with its norm and activation (None for none)."""
    padding = kernel_size // 2
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel_size, stride, padding, groups=groups, bias=False),
        norm(c_out),
        *(() if activation is None else (activation(),)),
    )


def drop_samples(x: Tensor, probability: float) -> Tensor:
    """Set whole samples of [B, C, H, W] to 0 at random, and scale the others to keep the mean."""
    kept = torch.empty((len(x), 1, 1, 1), dtype=x.dtype, device=x.device)
    return x * kept.bernoulli_(1 - probability).div_(1 - probability)

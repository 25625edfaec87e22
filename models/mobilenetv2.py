"""The MobileNetV2 of the backbone table, with torchvision's random weights.

It is defined here because importing anything of torchvision takes longer than PyTorch itself and
loads its compiler. The tests compare it with torchvision's.
"""

from __future__ import annotations

from torch import Tensor, nn

from models.model_parts import StagedFeatures, initialize

_STEM = 32
_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Factor of the hidden channels, output channels, number of blocks, and stride of the first one
(table 2 of https://arxiv.org/abs/1801.04381)."""

_LAST, _CLASSES = 1280, 1000
"""Output channels of the layers that only the classifier of ImageNet has."""


class InvertedResidual(nn.Module):
    """A depthwise 3x3 convolution between two 1x1 convolutions, the last one without activation.

    Its layers are numbered in one flat sequence (`conv.3.weight`, in torchvision
    `conv.1.0.weight`), which is the classic layout that detector checkpoints use.

    Args:
        c_in: Channels of the input [B, c_in, H, W].
        c_out: Channels of the output.
        stride: Stride of the block.
        factor: Hidden channels per input channel; with 1 there is no first 1x1 convolution.
    """

    def __init__(self, c_in: int, c_out: int, stride: int, factor: int) -> None:
        super().__init__()
        hidden = c_in * factor
        self.adds_input = stride == 1 and c_in == c_out
        self.conv = nn.Sequential(
            *(_unit(c_in, hidden, 1, 1) if factor != 1 else ()),
            *_unit(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, c_out, 1, bias=False),
            nn.BatchNorm2d(c_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Compute [B, c_out, ceil(H / stride), ceil(W / stride)]."""
        return x + self.conv(x) if self.adds_input else self.conv(x)


class MobileNetV2Features(StagedFeatures):
    """MobileNetV2 without the last 1x1 convolution and the classifier."""

    LAST_OF_STRIDE = (3, 6, 13, 17)  # index of the last block at strides 4, 8, 16 and 32

    def __init__(self) -> None:
        super().__init__()
        channels = _STEM
        features: list[nn.Module] = [nn.Sequential(*_unit(3, channels, 3, 2))]
        for factor, c_out, count, stride in _BLOCKS:
            for index in range(count):
                first = stride if index == 0 else 1
                features.append(InvertedResidual(channels, c_out, first, factor))
                channels = c_out
        self.features = nn.Sequential(*features)
        # Unused: they draw as many random numbers as the other layers of torchvision's network, so
        # that a seed gives the weights that it always gave.
        rest = nn.Sequential(nn.Conv2d(channels, _LAST, 1, bias=False), nn.Linear(_LAST, _CLASSES))
        initialize(self)
        initialize(rest)


def _unit(
    c_in: int, c_out: int, kernel_size: int, stride: int, groups: int = 1
) -> tuple[nn.Module, ...]:
    """Make a convolution with its norm and activation."""
    padding = kernel_size // 2
    return (
        nn.Conv2d(c_in, c_out, kernel_size, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU6(inplace=True),
    )

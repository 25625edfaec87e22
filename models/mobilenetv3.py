"""The MobileNetV3-Large of the backbone table, with torchvision's names and random weights.

It is defined here because importing anything of torchvision takes longer than PyTorch itself and
loads its compiler. The tests compare it with torchvision's.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from models.inverted_residual import BlockShape, InvertedResidual, conv_unit
from models.model_parts import StagedFeatures, initialize

_STEM = 16
_BLOCKS = (
    (3, 16, 16, 0, False, 1),
    (3, 64, 24, 0, False, 2),
    (3, 72, 24, 0, False, 1),
    (5, 72, 40, 24, False, 2),
    (5, 120, 40, 32, False, 1),
    (5, 120, 40, 32, False, 1),
    (3, 240, 80, 0, True, 2),
    (3, 200, 80, 0, True, 1),
    (3, 184, 80, 0, True, 1),
    (3, 184, 80, 0, True, 1),
    (3, 480, 112, 120, True, 1),
    (3, 672, 112, 168, True, 1),
    (5, 672, 160, 168, True, 2),
    (5, 960, 160, 240, True, 1),
    (5, 960, 160, 240, True, 1),
)
"""Kernel size, hidden channels, output channels, channels of the squeeze-and-excitation, whether
the activation is hardswish instead of ReLU, and stride (table 1 of
https://arxiv.org/abs/1905.02244)."""

_LAST, _HIDDEN, _CLASSES = 960, 1280, 1000
"""Output channels of the layers that only the classifier of ImageNet has."""

_norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
_relu = partial(nn.ReLU, inplace=True)
_hardswish = partial(nn.Hardswish, inplace=True)


class MobileNetV3LargeFeatures(StagedFeatures):
    """MobileNetV3-Large without the last 1x1 convolution and the classifier."""

    LAST_OF_STRIDE = (3, 6, 12, 15)  # index of the last block at strides 4, 8, 16 and 32

    def __init__(self) -> None:
        super().__init__()
        channels = _STEM
        features: list[nn.Module] = [conv_unit(3, channels, 3, 2, _norm, _hardswish)]
        for kernel_size, hidden, c_out, squeezed, has_hardswish, stride in _BLOCKS:
            features.append(
                InvertedResidual(
                    BlockShape(channels, hidden, c_out, kernel_size, stride, squeezed),
                    norm=_norm,
                    activation=_hardswish if has_hardswish else _relu,
                    squeeze_activation=nn.ReLU,
                    gate=nn.Hardsigmoid,
                )
            )
            channels = c_out
        self.features = nn.Sequential(*features)
        # Unused: they draw as many random numbers as the other layers of torchvision's network, so
        # that a seed gives the weights that it gives there.
        rest = nn.Sequential(
            nn.Conv2d(channels, _LAST, 1, bias=False),
            nn.Linear(_LAST, _HIDDEN),
            nn.Linear(_HIDDEN, _CLASSES),
        )
        initialize(self)
        initialize(rest)

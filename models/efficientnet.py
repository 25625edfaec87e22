"""The EfficientNet-B0 of the backbone table, with torchvision's names and random weights.

It is defined here because importing anything of torchvision takes longer than PyTorch itself and
loads its compiler. The tests compare it with torchvision's.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from models.inverted_residual import BlockShape, InvertedResidual, conv_unit
from models.model_parts import StagedFeatures, initialize

_STEM = 32
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
"""Factor of the hidden channels, kernel size, stride of the first block, output channels, and
number of blocks (table 1 of https://arxiv.org/abs/1905.11946)."""

_SQUEEZE = 4  # input channels of a block for each channel inside its squeeze-and-excitation
_DROP = 0.2  # stochastic depth behind the last block; it rises evenly from 0 at the first one

_LAST, _CLASSES = 1280, 1000
"""Output channels of the layers that only the classifier of ImageNet has."""

_silu = partial(nn.SiLU, inplace=True)


class EfficientNetB0Features(StagedFeatures):
    """EfficientNet-B0 without the last 1x1 convolution and the classifier."""

    LAST_OF_STRIDE = (2, 3, 5, 7)  # index of the last stage at strides 4, 8, 16 and 32

    def __init__(self) -> None:
        super().__init__()
        channels = _STEM
        features: list[nn.Module] = [conv_unit(3, channels, 3, 2, nn.BatchNorm2d, _silu)]
        number, total = 0, sum(count for *_, count in _STAGES)
        for factor, kernel_size, stride, c_out, count in _STAGES:
            stage = []
            for index in range(count):
                hidden, squeezed = channels * factor, channels // _SQUEEZE
                first = stride if index == 0 else 1
                stage.append(
                    InvertedResidual(
                        BlockShape(channels, hidden, c_out, kernel_size, first, squeezed),
                        norm=nn.BatchNorm2d,
                        activation=_silu,
                        squeeze_activation=_silu,
                        gate=nn.Sigmoid,
                        drop=_DROP * number / total,
                    )
                )
                channels, number = c_out, number + 1
            features.append(nn.Sequential(*stage))
        self.features = nn.Sequential(*features)
        # Unused: they draw as many random numbers as the other layers of torchvision's network, so
        # that a seed gives the weights that it gives there.
        last, classifier = nn.Conv2d(channels, _LAST, 1, bias=False), nn.Linear(_LAST, _CLASSES)
        initialize(self)
        initialize(last)
        if not classifier.weight.is_meta:
            nn.init.uniform_(classifier.weight)

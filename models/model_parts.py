"""What backbones share, and the modules behind them: the merge of two feature maps, and a head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.convolution import Conv2d
from models.upsampling import convolve_upsampled, pays

Features = tuple[Tensor, Tensor, Tensor, Tensor]
"""Feature maps C2, C3, C4 and C5 of a backbone."""


def initialize(network: nn.Module) -> None:
    """Give the layers of a backbone or classifier new weights, as torchvision does.

    Convolutions get Kaiming's (fan out) and biases of 0, linear layers small weights. On the meta
    device, where tensors have no values, nothing is done: PyTorch would load its compiler for it.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear) and not module.weight.is_meta:
            nn.init.normal_(module.weight, 0, 0.01)


class StagedFeatures(nn.Module):
    """A backbone that is a row of stages, some of whose outputs are its feature maps.

    Attributes:
        features: The stages.
        LAST_OF_STRIDE: Index of the last stage at strides 4, 8, 16 and 32.
    """

    LAST_OF_STRIDE: tuple[int, int, int, int]
    features: nn.Sequential

    def forward(self, x: Tensor) -> Features:
        """Compute the feature maps C2 to C5 of a batch [B, 3, H, W]."""
        maps = []
        for number, stage in enumerate(self.features):
            x = stage(x)
            if number in self.LAST_OF_STRIDE:
                maps.append(x)
        return tuple(maps)


class CombinationModule(nn.Module):
    """Merges a coarse feature map into the next finer one.

    The coarse map is resized to the size of the fine one and convolved to the width of the output;
    the two are concatenated, fine map first, and mixed by a 1x1 convolution.

    The convolutions keep PyTorch's initial weights: each is followed by a BatchNorm, which undoes
    any other scale (and the bias).

    Args:
        c_low: Channels of the coarse map.
        c_up: Channels of the fine map.
        c_out: Channels of the output; None for as many as the fine map has.
    """

    def __init__(self, c_low: int, c_up: int, c_out: int | None = None) -> None:
        super().__init__()
        c_out = c_up if c_out is None else c_out
        self.c_low = c_low
        self.c_up = c_up
        self.c_out = c_out
        self.up = nn.Sequential(
            Conv2d(c_low, c_out, kernel_size=3, padding=1),
            nn.BatchNorm2d(c_out),
            nn.ReLU(inplace=True),
        )
        self.cat_conv = nn.Sequential(
            nn.Conv2d(c_up + c_out, c_out, kernel_size=1),
            nn.BatchNorm2d(c_out),
            nn.ReLU(inplace=True),
        )

    def forward(self, x_low: Tensor, x_up: Tensor) -> Tensor:
        """Resize the coarse map to the fine one and merge the two.

        Args:
            x_low: [B, c_low, h, w] coarse map.
            x_up: [B, c_up, H, W] fine map.

        Returns:
            [B, c_out, H, W].
        """
        convolution, *rest = self.up
        if pays(x_low, convolution.weight, x_up.shape[2:]):
            low = convolve_upsampled(x_low, convolution.weight, convolution.bias)
            for layer in rest:
                low = layer(low)
            return self._mix(x_up, low)
        resized = F.interpolate(x_low, x_up.shape[2:], mode="bilinear", align_corners=False)
        return self.merge(resized, x_up)

    def merge(self, x_low: Tensor, x_up: Tensor) -> Tensor:
        """Merge two maps of the same size, [B, c_low, H, W] and [B, c_up, H, W]."""
        return self._mix(x_up, self.up(x_low))

    def _mix(self, x_up: Tensor, low: Tensor) -> Tensor:
        return self.cat_conv(torch.cat((x_up, low), dim=1))


def make_head(
    c_in: int, c_hidden: int, c_out: int, kernel_size: int, batch_norm: bool, bias: float
) -> nn.Sequential:
    """Build a head: 3x3 convolution, optional BatchNorm, ReLU, output convolution.

    The weights keep PyTorch's initialization. CenterNet's initialization of the output convolution
    near zero passes almost no gradient to the layers below at first: on the sample set the losses
    of the first 80 steps are 6 to 15 % higher. Kaiming weights in the hidden convolution gain
    nothing.

    Args:
        c_in: Input channels.
        c_hidden: Channels between the two convolutions.
        c_out: Output channels.
        kernel_size: Kernel size of the output convolution.
        batch_norm: Put a BatchNorm behind the hidden convolution.
        bias: Initial bias of the output convolution. Its weights are small in comparison, so this
            is roughly the initial value of every cell (before a sigmoid).
    """
    hidden = Conv2d(c_in, c_hidden, kernel_size=3, padding=1)
    output = Conv2d(c_hidden, c_out, kernel_size=kernel_size, padding=kernel_size // 2)
    nn.init.constant_(output.bias, bias)
    norm = [nn.BatchNorm2d(c_hidden)] if batch_norm else []
    return nn.Sequential(hidden, *norm, nn.ReLU(inplace=True), output)

"""The ResNets of the backbone table, with torchvision's parameter names and random weights.

They are defined here because importing anything of torchvision takes longer than PyTorch itself and
loads its compiler. The tests compare them with torchvision's.
"""

from __future__ import annotations

from torch import Tensor, nn

from models.convolution import Conv2d
from models.model_parts import Features, initialize

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Width and stride of the stages that output C2, C3, C4 and C5."""

_CLASSES = 1000  # of ImageNet


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut, as in ResNet-18 and ResNet-34.

    Args:
        c_in: Channels of the input [B, c_in, H, W].
        width: Channels inside the block.
        stride: Stride of the block.
    """

    expansion = 1

    def __init__(self, c_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Conv2d(c_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(c_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Compute [B, width, ceil(H / stride), ceil(W / stride)]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += shortcut
        return self.relu(x)


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 convolutions, as in ResNet-50 and ResNet-101.

    The 3x3 convolution has the stride, as in torchvision, whose weights these networks take.

    Args:
        c_in: Channels of the input [B, c_in, H, W].
        width: Channels of the 3x3 convolution; the block outputs four times as many.
        stride: Stride of the block.
    """

    expansion = 4

    def __init__(self, c_in: int, width: int, stride: int) -> None:
        super().__init__()
        c_out = width * self.expansion
        self.conv1 = nn.Conv2d(c_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, c_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(c_in, c_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Compute [B, 4 * width, ceil(H / stride), ceil(W / stride)]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        x += shortcut
        return self.relu(x)


class ResNetFeatures(nn.Module):
    """A ResNet without the classifier.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        layers: Number of blocks in each of the four stages.
    """

    def __init__(self, block: type[BasicBlock | Bottleneck], layers: list[int]) -> None:
        super().__init__()
        channels = STAGES[0][0]
        self.conv1 = nn.Conv2d(3, channels, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        for number, ((width, stride), count) in enumerate(zip(STAGES, layers, strict=True), 1):
            blocks = []
            for index in range(count):
                blocks.append(block(channels, width, stride if index == 0 else 1))
                channels = width * block.expansion
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        # Unused: it draws as many random numbers as torchvision's classifier, so that a seed gives
        # the weights that it always gave.
        nn.Linear(channels, _CLASSES)
        initialize(self)

    def forward(self, x: Tensor) -> Features:
        """Compute the feature maps C2 to C5 of a batch [B, 3, H, W]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        c2 = self.layer1(x)
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        c5 = self.layer4(c4)
        return c2, c3, c4, c5


def _shortcut(c_in: int, c_out: int, stride: int) -> nn.Module | None:
    """Make what brings a block's input to the shape of its output; None if it has it already."""
    if stride == 1 and c_in == c_out:
        return None
    return nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

"""The backbone table: a new backbone is one row of `BACKBONES`.

A row says how the network is built, how many channels its feature maps have at strides 4, 8, 16
and 32, and where its ImageNet weights come from. The merges and heads take their widths from the
table, the command line its choices and the tests their cases.

`build` returns a module that maps an image batch [B, 3, H, W] to the four feature maps
(C2, C3, C4, C5) of shape [B, channels[i], ceil(H / stride), ceil(W / stride)]. The names of its
parameters are checkpoint keys, so they must not change once weights are published.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torchvision.models import (
    MobileNet_V2_Weights,
    ResNet18_Weights,
    ResNet34_Weights,
    ResNet50_Weights,
    ResNet101_Weights,
    WeightsEnum,
)
from torchvision.models.mobilenetv2 import InvertedResidual, MobileNetV2
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from DOTA_devkit.errors import InputError

FEATURE_STRIDES = (4, 8, 16, 32)
Features = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Backbone:
    """One row of the table.

    Attributes:
        build: Builds the network with random weights.
        channels: Channels of the feature maps at strides 4, 8, 16 and 32.
        imagenet: torchvision's weights, or None if it has none.
    """

    build: Callable[[], nn.Module]
    channels: tuple[int, int, int, int]
    imagenet: WeightsEnum | None = None


class ResNetFeatures(ResNet):
    """torchvision's ResNet without the classifier, with torchvision's parameter names."""

    def __init__(self, block: type[BasicBlock | Bottleneck], layers: list[int]) -> None:
        super().__init__(block, layers)
        del self.avgpool, self.fc

    def forward(self, x: Tensor) -> Features:
        """Compute the feature maps C2 to C5 of a batch [B, 3, H, W]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        c2 = self.layer1(x)
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        c5 = self.layer4(c4)
        return c2, c3, c4, c5


class MobileNetV2Features(nn.Module):
    """MobileNetV2 without the last 1x1 convolution and the classifier.

    The blocks are torchvision's, but their layers are numbered in one flat sequence
    (`conv.3.weight`, not `conv.1.0.weight`), which is the classic layout that detector checkpoints
    use.
    """

    LAST_OF_STRIDE = (3, 6, 13, 17)  # index of the last block at strides 4, 8, 16 and 32

    def __init__(self) -> None:
        super().__init__()
        self.features = MobileNetV2().features[: self.LAST_OF_STRIDE[-1] + 1]
        for block in self.features:
            if isinstance(block, InvertedResidual):
                block.conv = nn.Sequential(*_flat_layers(block.conv))

    def forward(self, x: Tensor) -> Features:
        """Compute the feature maps C2 to C5 of a batch [B, 3, H, W]."""
        maps = []
        for number, block in enumerate(self.features):
            x = block(x)
            if number in self.LAST_OF_STRIDE:
                maps.append(x)
        return tuple(maps)


def _flat_layers(module: nn.Module) -> list[nn.Module]:
    if not isinstance(module, nn.Sequential):
        return [module]
    return [layer for child in module for layer in _flat_layers(child)]


BACKBONES: dict[str, Backbone] = {
    "resnet18": Backbone(
        lambda: ResNetFeatures(BasicBlock, [2, 2, 2, 2]),
        (64, 128, 256, 512),
        ResNet18_Weights.IMAGENET1K_V1,
    ),
    "resnet34": Backbone(
        lambda: ResNetFeatures(BasicBlock, [3, 4, 6, 3]),
        (64, 128, 256, 512),
        ResNet34_Weights.IMAGENET1K_V1,
    ),
    "resnet50": Backbone(
        lambda: ResNetFeatures(Bottleneck, [3, 4, 6, 3]),
        (256, 512, 1024, 2048),
        ResNet50_Weights.IMAGENET1K_V1,
    ),
    "resnet101": Backbone(
        lambda: ResNetFeatures(Bottleneck, [3, 4, 23, 3]),
        (256, 512, 1024, 2048),
        ResNet101_Weights.IMAGENET1K_V1,
    ),
    "mobilenetv2": Backbone(
        MobileNetV2Features,
        (24, 32, 96, 320),
        MobileNet_V2_Weights.IMAGENET1K_V1,
    ),
}


def get_backbone(name: str) -> Backbone:
    """Look up a row of `BACKBONES`.

    Raises:
        InputError: The name is unknown; the message lists the known ones.
    """
    if name not in BACKBONES:
        known = ", ".join(BACKBONES)
        raise InputError(f"backbone {name!r} is unknown: choose one of {known}")
    return BACKBONES[name]

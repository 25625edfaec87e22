"""The backbone table: a new backbone is one row of `BACKBONES`.

A row says how the network is built, how many channels its feature maps have at strides 4, 8, 16
and 32, and where its ImageNet weights come from. The decoder and the heads take their widths from
the table, the command line its choices and the tests their cases.

Whatever `build` returns is a module that maps an image batch [B, 3, H, W] to the four feature maps
(C2, C3, C4, C5) of [B, channels[i], ceil(H / stride), ceil(W / stride)]. The names of its
parameters are checkpoint keys: once weights are published, they stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import torch
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
BACKBONE_PREFIX = "base_network."  # of its keys in a detector
Features = tuple[Tensor, Tensor, Tensor, Tensor]
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Backbone:
    """One row of the table.

    Attributes:
        build: makes the network with random weights.
        channels: of the feature maps at strides 4, 8, 16, 32.
        imagenet: torchvision's weights for it, or None where there are none.
    """

    build: Callable[[], nn.Module]
    channels: tuple[int, int, int, int]
    imagenet: WeightsEnum | None = None


class ResNetFeatures(ResNet):
    """torchvision's ResNet without its classifier, with torchvision's parameter names."""

    def __init__(self, block: type[BasicBlock | Bottleneck], layers: list[int]) -> None:
        super().__init__(block, layers)
        del self.avgpool, self.fc

    def forward(self, x: Tensor) -> Features:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        c2 = self.layer1(x)
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        c5 = self.layer4(c4)
        return c2, c3, c4, c5


class MobileNetV2Features(nn.Module):
    """MobileNetV2 without its last 1x1 convolution and classifier.

    The blocks are torchvision's, their layers numbered in one flat sequence (`conv.3.weight`, not
    `conv.1.0.weight`) as in the classic layout, which is the one that detector checkpoints have.
    """

    LAST_OF_STRIDE = (3, 6, 13, 17)  # the last block of strides 4, 8, 16, 32

    def __init__(self) -> None:
        super().__init__()
        self.features = MobileNetV2().features[: self.LAST_OF_STRIDE[-1] + 1]
        for block in self.features:
            if isinstance(block, InvertedResidual):
                block.conv = nn.Sequential(*_flat_layers(block.conv))

    def forward(self, x: Tensor) -> Features:
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
    """The row of that name; InputError with the known names where there is none."""
    if name not in BACKBONES:
        known = ", ".join(BACKBONES)
        raise InputError(f"unknown backbone {name!r} (--backbone): choose one of {known}")
    return BACKBONES[name]


def canonical_keys(state: dict[str, _Value]) -> dict[str, _Value]:
    """The same backbone state under the names of this table, without the layers it leaves out.

    torchvision nests the layers of a MobileNetV2 block, `features.4.conv.<unit>.<layer>` for the
    units of convolution, norm and activation, then convolution and norm on their own; flat, the
    units take three numbers each. Classifiers and MobileNetV2's last 1x1 convolution are dropped.

    Args:
        state: keys relative to the backbone (no `base_network.`), in any known layout.
    """
    units = {}  # block -> number of nested units in it
    for key in state:
        if match := _NESTED.fullmatch(key):
            block, unit = match["block"], int(match["unit"])
            units[block] = max(units.get(block, 0), unit + 1)
    renamed = {}
    for key, value in state.items():
        if _UNUSED.match(key):
            continue
        if match := _NESTED.fullmatch(key):
            number = 3 * int(match["unit"]) + int(match["layer"])
            key = f"{match['block']}.{number}.{match['name']}"
        elif (match := _FLAT.fullmatch(key)) and match["block"] in units:
            after = int(match["layer"]) - units[match["block"]]
            key = f"{match['block']}.{3 * units[match['block']] + after}.{match['name']}"
        renamed[key] = value
    return renamed


_UNUSED = re.compile(r"(fc|classifier|features\.18)\.")
_NESTED = re.compile(
    r"(?P<block>features\.\d+\.conv)\.(?P<unit>\d+)\.(?P<layer>\d+)\.(?P<name>\w+)"
)
_FLAT = re.compile(r"(?P<block>features\.\d+\.conv)\.(?P<layer>\d+)\.(?P<name>\w+)")


def add_batch_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with the counters of BatchNorm, which files from before PyTorch 0.4.1 lack."""
    counters = {
        key.removesuffix("running_var") + "num_batches_tracked": torch.zeros((), dtype=torch.int64)
        for key in state
        if key.endswith(".running_var")
    }
    return state | {key: value for key, value in counters.items() if key not in state}


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


@cache
def _backbone_shapes(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return shapes_of(BACKBONES[name].build().state_dict())


def match_backbone(
    shapes: Mapping[str, tuple[int, ...]], preferred: str | None = None
) -> str | None:
    """The backbone of the table with exactly these keys (no `base_network.`) and shapes."""
    names = [name for name in BACKBONES if _backbone_shapes(name) == shapes]
    return preferred if preferred in names else next(iter(names), None)


def nearest_backbone(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, str]:
    """The backbone that shares most keys and shapes, and what differs from it in words."""

    def unlike(name: str) -> int:
        return len(_backbone_shapes(name).items() ^ shapes.items())

    nearest = min(BACKBONES, key=unlike)
    return nearest, difference_text(_backbone_shapes(nearest), shapes)


def difference_text(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> str:
    """`missing a, b and 5 more; not known c; of another shape d (...)`."""
    missing = [key for key in expected if key not in found]
    unknown = [key for key in found if key not in expected]
    reshaped = [
        f"{key} ({list(expected[key])} expected, {list(found[key])} found)"
        for key in expected
        if key in found and expected[key] != found[key]
    ]
    parts = {"missing": missing, "not known": unknown, "of another shape": reshaped}
    return "; ".join(f"{name}: {listing(keys)}" for name, keys in parts.items() if keys)


def listing(keys: Iterable[str], shown: int = 3) -> str:
    """`a, b, c and 5 more`."""
    keys = list(keys)
    more = f" and {len(keys) - shown} more" if len(keys) > shown else ""
    return ", ".join(keys[:shown]) + more

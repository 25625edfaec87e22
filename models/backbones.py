"""The backbone table: a new backbone is one row of `BACKBONES`.

Models of timm are used by name, `timm/NAME`, and have no row (`models.timm_features`).

A row says how the network is built, how many channels its feature maps have at strides 4, 8, 16
and 32, and where its ImageNet weights come from. The merges and heads take their widths from the
table, the command line its choices and the tests their cases.

`build` returns a module that maps an image batch [B, 3, H, W] to the four feature maps
(C2, C3, C4, C5) of shape [B, channels[i], ceil(H / stride), ceil(W / stride)]. The names of its
parameters are checkpoint keys, so they must not change once weights are published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from DOTA_devkit.errors import InputError
from models.backbone_row import FEATURE_STRIDES, TIMM, Backbone

if TYPE_CHECKING:
    from torch import nn

__all__ = ["BACKBONES", "FEATURE_STRIDES", "TIMM", "Backbone", "get_backbone", "is_timm",
           "known_backbones"]  # fmt: skip


def _resnet(bottleneck: bool, layers: list[int]) -> nn.Module:
    from models.resnet import BasicBlock, Bottleneck, ResNetFeatures

    return ResNetFeatures(Bottleneck if bottleneck else BasicBlock, layers)


def _mobilenetv2() -> nn.Module:
    from models.mobilenetv2 import MobileNetV2Features

    return MobileNetV2Features()


def _mobilenet_v3_large() -> nn.Module:
    from models.mobilenetv3 import MobileNetV3LargeFeatures

    return MobileNetV3LargeFeatures()


def _efficientnet_b0() -> nn.Module:
    from models.efficientnet import EfficientNetB0Features

    return EfficientNetB0Features()


BACKBONES: dict[str, Backbone] = {
    "resnet18": Backbone(
        lambda: _resnet(False, [2, 2, 2, 2]),
        (64, 128, 256, 512),
        "ResNet18_Weights.IMAGENET1K_V1",
    ),
    "resnet34": Backbone(
        lambda: _resnet(False, [3, 4, 6, 3]),
        (64, 128, 256, 512),
        "ResNet34_Weights.IMAGENET1K_V1",
    ),
    "resnet50": Backbone(
        lambda: _resnet(True, [3, 4, 6, 3]),
        (256, 512, 1024, 2048),
        "ResNet50_Weights.IMAGENET1K_V1",
    ),
    "resnet101": Backbone(
        lambda: _resnet(True, [3, 4, 23, 3]),
        (256, 512, 1024, 2048),
        "ResNet101_Weights.IMAGENET1K_V1",
    ),
    "mobilenetv2": Backbone(
        _mobilenetv2,
        (24, 32, 96, 320),
        "MobileNet_V2_Weights.IMAGENET1K_V1",
    ),
    "mobilenet_v3_large": Backbone(
        _mobilenet_v3_large,
        (24, 40, 112, 160),
        "MobileNet_V3_Large_Weights.IMAGENET1K_V1",
    ),
    "efficientnet_b0": Backbone(
        _efficientnet_b0,
        (24, 40, 112, 320),
        "EfficientNet_B0_Weights.IMAGENET1K_V1",
    ),
}


def get_backbone(name: str) -> Backbone:
    """Look up a row of `BACKBONES`, or make that of a model of timm.

    Raises:
        InputError: The name is unknown, and the message lists the known ones; or the model of timm
            cannot be used.
    """
    if is_timm(name):
        from models.timm_features import timm_backbone

        return timm_backbone(name)
    if name not in BACKBONES:
        raise InputError(f"backbone {name!r} is unknown: choose one of {known_backbones()}")
    return BACKBONES[name]


def is_timm(name: str | None) -> bool:
    """Whether a name is that of a model of timm."""
    return name is not None and name.startswith(TIMM)


def known_backbones() -> str:
    """Return the known names as text, for messages and help."""
    return f"{', '.join(BACKBONES)}, or {TIMM}NAME for a model of timm"

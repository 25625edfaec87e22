"""The type of the rows of the backbone table, into which models of timm are converted as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

FEATURE_STRIDES = (4, 8, 16, 32)

TIMM = "timm/"
"""Prefix of the names of timm's models."""


@dataclass(frozen=True)
class Backbone:
    """One row of the table.

    Attributes:
        build: Builds the network with random weights. It imports the network's module, so that
            reading the table (for the command line, for example) does not import PyTorch.
        channels: Channels of the feature maps at strides 4, 8, 16 and 32.
        imagenet: Name of torchvision's weights, as `torchvision.models.get_weight` takes it, or
            None if it has none.
        convolutional: Whether a graph of it that is traced at one input size holds for all sizes,
            as that of convolutions does. If that is not known, the export tests it.
    """

    build: Callable[[], nn.Module]
    channels: tuple[int, int, int, int]
    imagenet: str | None = None
    convolutional: bool = True

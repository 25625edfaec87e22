"""Summary of a detector: feature maps, merges, heads, parameters and MACs, measured by hooks.

The network runs once on PyTorch's meta device, which propagates shapes without computing anything,
so even the largest input needs no memory and takes a second at most.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.backbones import FEATURE_STRIDES
from models.ctrbox_net import CTRBOX
from models.model_parts import CombinationModule


class FeatureMap(NamedTuple):
    """A feature map of the backbone; `shape` is [1, C, H, W]."""

    name: str
    stride: int
    shape: tuple[int, ...]


class Merge(NamedTuple):
    """A merge of a coarse map (`c_low`) into the next finer one (`c_up`).

    `shape` is that of its output.
    """

    name: str
    c_low: int
    c_up: int
    shape: tuple[int, ...]


class Head(NamedTuple):
    """A head; `kernel_size` is that of its last convolution, `shape` that of its output."""

    name: str
    c_in: int
    c_hidden: int
    batch_norm: bool
    kernel_size: int
    shape: tuple[int, ...]


class ModuleCost(NamedTuple):
    """Parameters and multiply-accumulates of a top-level module of the network."""

    name: str
    parameters: int
    macs: int


@dataclass(frozen=True)
class ModelInfo:
    """Summary of a detector at one input size; `str()` gives a page of text.

    Attributes:
        backbone: Name of the backbone.
        input_hw: (height, width) of the image.
        features: Feature maps of the backbone, finest first.
        merges: Merges in the order they run, coarsest first.
        heads: Output heads.
        costs: Parameters and multiply-accumulates of each top-level module.
    """

    backbone: str
    input_hw: tuple[int, int]
    features: tuple[FeatureMap, ...]
    merges: tuple[Merge, ...]
    heads: tuple[Head, ...]
    costs: tuple[ModuleCost, ...]

    @property
    def parameters(self) -> int:
        """Number of parameters of the whole network."""
        return sum(cost.parameters for cost in self.costs)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all convolutions and linear layers for one image."""
        return sum(cost.macs for cost in self.costs)

    def __str__(self) -> str:
        height, width = self.input_hw
        lines = [f"{self.backbone} at an input of [1, 3, {height}, {width}] (B, C, H, W)"]
        lines += ["", "feature maps of the backbone"]
        for name, stride, shape in self.features:
            lines.append(f"  {name:<10} stride {stride:<3} {list(shape)}")
        lines += ["", "merges (c_low, c_up): the coarse map joins the next finer one"]
        for name, c_low, c_up, shape in self.merges:
            channels = f"({c_low}, {c_up})"
            lines.append(f"  {name:<10} {channels:<14} -> {list(shape)}")
        lines += ["", "heads: input -> hidden (3x3 convolution, ReLU) -> output (last convolution)"]
        for name, c_in, c_hidden, batch_norm, kernel, shape in self.heads:
            norm = " with BatchNorm" if batch_norm else ""
            layers = f"{c_in} -> {c_hidden}{norm} -> {shape[1]} ({kernel}x{kernel})"
            lines.append(f"  {name:<10} {layers:<32} -> {list(shape)}")
        lines += ["", f"  {'':<12}{'parameters':>12}{'GMAC':>10}"]
        total = ModuleCost("all", self.parameters, self.macs)
        for name, parameters, macs in (*self.costs, total):
            lines.append(f"  {name:<12}{parameters:>12,}{macs / 1e9:>10.2f}")
        return "\n".join(lines)


def describe(model: CTRBOX, input_hw: tuple[int, int]) -> ModelInfo:
    """Summarize a detector by running it once on shapes alone.

    Args:
        model: The detector, on any device; it is not changed.
        input_hw: (height, width) of the image.
    """
    model = copy.deepcopy(model).to("meta").eval()
    outputs, macs = _run(model, torch.empty(1, 3, *input_hw, device="meta"))
    merges = {
        name: part for name, part in model.named_children() if isinstance(part, CombinationModule)
    }
    return ModelInfo(
        backbone=model.backbone,
        input_hw=tuple(input_hw),
        features=tuple(
            FeatureMap(f"C{number}", stride, tuple(feature.shape))
            for number, (stride, feature) in enumerate(
                zip(FEATURE_STRIDES, outputs["base_network"], strict=True), start=2
            )
        ),
        merges=tuple(
            Merge(name, merges[name].c_low, merges[name].c_up, tuple(outputs[name].shape))
            for name in outputs  # in the order of the run: from coarse to fine
            if name in merges
        ),
        heads=tuple(
            _head(name, model.get_submodule(name), tuple(outputs[name].shape))
            for name in model.heads
        ),
        costs=tuple(
            ModuleCost(
                name,
                parameters=sum(parameter.numel() for parameter in part.parameters()),
                macs=sum(macs[layer] for layer in macs if layer.partition(".")[0] == name),
            )
            for name, part in model.named_children()
        ),
    )


def _head(name: str, head: nn.Sequential, shape: tuple[int, ...]) -> Head:
    hidden, last = head[0], head[-1]
    batch_norm = any(isinstance(layer, nn.BatchNorm2d) for layer in head)
    return Head(
        name, hidden.in_channels, hidden.out_channels, batch_norm, last.kernel_size[0], shape
    )


def _run(model: nn.Module, image: Tensor) -> tuple[dict[str, Any], dict[str, int]]:
    """Record the output of every module, in the order they run, and the MACs of each layer."""
    outputs: dict[str, Any] = {}
    macs: dict[str, int] = {}

    def record(name: str, module: nn.Module, inputs: object, output: Any) -> None:
        outputs[name] = output
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            # the first axis of a weight is the outputs; each of them sums over the other axes
            macs[name] = macs.get(name, 0) + output.numel() * math.prod(module.weight.shape[1:])

    hooks = [
        module.register_forward_hook(partial(record, name))
        for name, module in model.named_modules()
    ]
    try:
        with torch.no_grad():
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs, macs

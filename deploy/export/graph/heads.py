"""The heads of the boxes at the cells where peaks are, in place of their maps.

Of `wh`, `reg` and `cls_theta` a decoder reads K cells, 500 of 23,104 with an input of 608x608. What
a head puts out at a cell depends on a patch of the feature map alone: so the patches of the K cells
are gathered, and the two convolutions of a head become two matrix products over them. The numbers
are those of the maps, but for the order of the sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deploy.export.graph.builder import Graph, Value
from models.ctrbox_net import SIGMOID_HEADS
from structures.boxes import HEAD_CHANNELS

BOX_HEADS = tuple(HEAD_CHANNELS)
"""`wh`, `reg`, `cls_theta`: the order of the channels that come out."""

_SIGMOID = [name in SIGMOID_HEADS for name in BOX_HEADS for _ in range(HEAD_CHANNELS[name])]


@dataclass(frozen=True)
class Products:
    """Heads that stand side by side and whose last convolutions are equally large.

    reach: of the last convolution, in cells to each side. first: [9 C, M], rows by (y, x, channel)
    of a patch of 3x3 cells. last: [(2 reach + 1)^2 M, channels], rows by (y, x, hidden channel).
    """

    reach: int
    first: Tensor
    first_bias: Tensor
    last: Tensor
    last_bias: Tensor

    @classmethod
    def of(cls, heads: Sequence[nn.Sequential]) -> Products:
        """heads: hidden convolution of 3x3, perhaps other layers, output convolution."""
        first, last = ([head[place] for head in heads] for place in (0, -1))
        side = last[0].kernel_size[0]
        parts = [torch.block_diag(*taps) for taps in zip(*map(_taps, last), strict=True)]
        return cls(
            side // 2,
            torch.cat([torch.cat(_taps(one)) for one in first], dim=1),
            torch.cat([one.bias for one in first]),
            torch.cat(parts),
            torch.cat([one.bias for one in last]),
        )


def _taps(convolution: nn.Conv2d) -> list[Tensor]:
    """The matrix [in, out] of each tap, row by row."""
    return list(convolution.weight.flatten(2).permute(2, 1, 0))


def products_of(heads: Sequence[nn.Sequential]) -> list[Products]:
    """heads: those of `BOX_HEADS`, in that order."""
    groups: list[list[nn.Sequential]] = []
    for head in heads:
        if groups and groups[-1][0][-1].kernel_size == head[-1].kernel_size:
            groups[-1].append(head)
        else:
            groups.append([head])
    return [Products.of(group) for group in groups]


def offsets(reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Y and x of the cells around one, row by row, [(2 reach + 1)^2] each."""
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return y.ravel(), x.ravel()


class HeadsAtPeaks(nn.Module):
    """The heads in PyTorch, with copies of their weights."""

    def __init__(self, heads: Sequence[nn.Sequential]) -> None:
        super().__init__()
        products = products_of(heads)
        self.reaches = [one.reach for one in products]
        for name in ("first", "first_bias", "last", "last_bias"):
            values = [nn.Parameter(getattr(one, name).detach().clone(), False) for one in products]
            self.register_module(name, nn.ParameterList(values))
        for reach in self.reaches:
            for axis, values in zip("yx", offsets(reach), strict=True):
                self.register_buffer(f"{axis}{reach}", torch.from_numpy(values), persistent=False)
        self.register_buffer("sigmoid", torch.tensor(_SIGMOID), persistent=False)

    def forward(self, features: Tensor, cells: Tensor) -> Tensor:
        """features: [B, C, H, W]. cells: [B, K], `y * W + x`. Returns [B, K, 13]."""
        batch, channels, height, width = features.shape
        margin = max(self.reaches) + 1
        padded_width = width + 2 * margin
        rows = F.pad(features, [margin] * 4).flatten(2).transpose(1, 2)
        found = []
        for number, reach in enumerate(self.reaches):
            y = (cells // width)[..., None] + self.get_buffer(f"y{reach}")
            x = (cells % width)[..., None] + self.get_buffer(f"x{reach}")
            taps = (self.y1 + margin) * padded_width + self.x1 + margin
            index = (y * padded_width + x)[..., None] + taps
            index = index.flatten(1)[..., None].expand(-1, -1, channels)
            patches = rows.gather(1, index).reshape(batch, y[0].numel(), 9 * channels)
            hidden = F.relu(patches @ self.first[number] + self.first_bias[number])
            # what the output convolution sees beyond the map's border is 0
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            hidden = torch.where(inside.flatten(1)[..., None], hidden, 0.0)
            hidden = hidden.reshape(batch, cells.shape[1], len(self.last[number]))
            found.append(hidden @ self.last[number] + self.last_bias[number])
        values = torch.cat(found, dim=2)
        return torch.where(self.sigmoid, torch.sigmoid(values), values)


def values_at(graph: Graph, products: Sequence[Products], features: Value, cells: Value) -> Value:
    """The heads in ONNX: [B, 13, K] float32.

    features: [B, C, H, W], in whose precision it computes. cells: [B, K] int64.
    """
    margin = max(one.reach for one in products) + 1
    channels = len(products[0].first) // 9
    _, _, height, width = features.sides(4)
    padded_width = width + 2 * margin
    pads = np.array([0, 0, margin, margin] * 2)
    padded = graph.op("Pad", features, pads)
    rows = padded.reshape(0, channels, -1).transpose(0, 2, 1)
    found = []
    for one in products:
        around_y, around_x = offsets(one.reach)
        y = (cells // width).unsqueeze(2) + around_y
        x = (cells % width).unsqueeze(2) + around_x
        tap_y, tap_x = offsets(1)
        taps = padded_width * (tap_y + margin) + (tap_x + margin)
        index = (y * padded_width + x).unsqueeze(3) + taps
        # one row of the map for each index: [B, K, cells around, 9, C]
        patches = graph.op("GatherND", rows, index.unsqueeze(4), batch_dims=1)
        patches = patches.reshape(0, 0, len(around_y), 9 * channels)
        hidden = _product(graph, patches, one.first, one.first_bias)
        hidden = graph.op("Relu", hidden)
        if one.reach:
            inside = (y > -1) & (y < height) & (x > -1) & (x < width)
            hidden = inside.unsqueeze(3).where(hidden, 0)
        hidden = hidden.reshape(0, 0, len(one.last))
        found.append(_product(graph, hidden, one.last, one.last_bias))
    values = graph.concat(found, axis=2).cast(np.float32)
    values = values.transpose(0, 2, 1)
    vectors, theta = values.split([_SIGMOID.index(True), sum(_SIGMOID)], axis=1)
    return graph.concat([vectors, graph.op("Sigmoid", theta)], axis=1)


def _product(graph: Graph, values: Value, weight: Tensor, bias: Tensor) -> Value:
    with np.errstate(over="ignore"):  # beyond float16: the comparison that follows tells
        weight, bias = (one.detach().float().numpy().astype(values.dtype) for one in (weight, bias))
    return graph.op("MatMul", values, weight) + bias

"""The heads of the boxes, computed at the cells of the peaks instead of as whole maps.

Of `wh`, `reg` and `cls_theta` a decoder reads K cells, 500 of 23,104 with an input of 608x608. A
head's output at a cell depends only on a patch of the feature map: so the patches of the K cells
are cut out, and the two convolutions of a head run over these small images. The results are those
of the maps, except for the order of the sums.

A rectangle is the mean of the boxes of 3x3 cells (`models.box_coding.agreeing_mean`), so its
patches are larger by one cell on each side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deploy.export.graph.rectangles import decode_rectangles
from models.box_coding import agreeing_mean, box_parts, neighbor_steps, vectors_of_parts
from models.ctrbox_net import SIGMOID_HEADS
from structures.boxes import HEAD_CHANNELS, RECTANGLE, VECTORS

if TYPE_CHECKING:
    from deploy.export.graph.builder import Graph, Value  # it imports onnx

BOX_HEADS = tuple(HEAD_CHANNELS)
"""`wh`, `reg`, `cls_theta`: the order of the output channels."""

_SIGMOID = [name in SIGMOID_HEADS for name in BOX_HEADS for _ in range(HEAD_CHANNELS[name])]


@dataclass(frozen=True)
class FusedHeads:
    """The weights of consecutive heads whose last convolutions have the same size.

    Attributes:
        first: [M, C, 3, 3], of the hidden convolution.
        first_bias: [M].
        last: [channels, M, size, size], of the last one.
        last_bias: [channels].
    """

    first: Tensor
    first_bias: Tensor
    last: Tensor
    last_bias: Tensor

    @property
    def radius(self) -> int:
        """Radius of the last convolution's kernel, in cells."""
        return self.last.shape[2] // 2

    @classmethod
    def of(cls, heads: Sequence[nn.Sequential]) -> FusedHeads:
        """Fuse heads, each a hidden 3x3 convolution, maybe other layers, and a last convolution."""
        first, last = ([head[index] for head in heads] for index in (0, -1))
        size = last[0].kernel_size[0]
        taps = (one.weight.flatten(2).permute(2, 0, 1) for one in last)
        blocks = torch.stack([torch.block_diag(*tap) for tap in zip(*taps, strict=True)], dim=2)
        return cls(
            torch.cat([one.weight for one in first]),
            torch.cat([one.bias for one in first]),
            blocks.unflatten(2, (size, size)),
            torch.cat([one.bias for one in last]),
        )


def fuse_heads(heads: Sequence[nn.Sequential], box_coding: str = VECTORS) -> list[FusedHeads]:
    """Fuse the heads of `BOX_HEADS`, given in that order, where their kernels allow it.

    Args:
        heads: The heads.
        box_coding: How they are coded, one of `structures.boxes.BOX_CODINGS`. Of rectangles there
            are two, with the five numbers of `models.box_coding.box_parts`, and with the center.
    """
    if box_coding == RECTANGLE:
        wh, reg = (FusedHeads.of([head]) for head in heads[:2])
        parts = box_parts(torch.eye(HEAD_CHANNELS["wh"]))
        last = torch.einsum("wp,wmyx->pmyx", parts, wh.last)
        return [replace(wh, last=last, last_bias=wh.last_bias @ parts), reg]
    groups: list[list[nn.Sequential]] = []
    for head in heads:
        if groups and groups[-1][0][-1].kernel_size == head[-1].kernel_size:
            groups[-1].append(head)
        else:
            groups.append([head])
    return [FusedHeads.of(group) for group in groups]


def offsets(radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Return y and x of the cells around a cell, row by row, [(2 radius + 1)^2] each."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return y.ravel(), x.ravel()


def reach_of(box_coding: str) -> int:
    """Return how far from a peak the cells are whose boxes are needed."""
    return 1 if box_coding == RECTANGLE else 0


class HeadsAtPeaks(nn.Module):
    """The heads in PyTorch, with copies of their weights.

    Args:
        heads: Those of `BOX_HEADS`, in that order.
        box_coding: How they are coded, one of `structures.boxes.BOX_CODINGS`.
    """

    def __init__(self, heads: Sequence[nn.Sequential], box_coding: str = VECTORS) -> None:
        super().__init__()
        self.box_coding = box_coding
        self.reach = reach_of(box_coding)
        fused = fuse_heads(heads, box_coding)
        self.radii = [one.radius for one in fused]
        for name in ("first", "first_bias", "last", "last_bias"):
            values = [nn.Parameter(getattr(one, name).detach().clone(), False) for one in fused]
            self.register_module(name, nn.ParameterList(values))
        for radius in range(max(self.radii) + self.reach + 2):
            for axis, values in zip("yx", offsets(radius), strict=True):
                self.register_buffer(f"{axis}{radius}", torch.from_numpy(values), persistent=False)
        self.register_buffer("sigmoid", torch.tensor(_SIGMOID), persistent=False)

    def forward(self, features: Tensor, cells: Tensor) -> Tensor:
        """Compute the heads at cells.

        Args:
            features: [B, C, H, W].
            cells: [B, K], `y * W + x`.

        Returns:
            [B, K, 13].
        """
        batch, channels, height, width = features.shape
        count = cells.shape[1]
        margin = max(self.radii) + self.reach + 1
        padded_width = width + 2 * margin
        rows = F.pad(features, [margin] * 4).flatten(2).transpose(1, 2)

        def inside(radius: int) -> Tensor:
            y = (cells // width)[..., None] + self.get_buffer(f"y{radius}")
            x = (cells % width)[..., None] + self.get_buffer(f"x{radius}")
            return (y >= 0) & (y < height) & (x >= 0) & (x < width)

        corner = (cells // width + margin) * padded_width + cells % width + margin
        cells_around = (2 * self.reach + 1) ** 2
        found = []
        for number, radius in enumerate(self.radii):
            radius = radius + self.reach
            size = 2 * radius + 1
            steps = [self.get_buffer(f"{axis}{radius + 1}") for axis in "yx"]
            index = corner[..., None] + steps[0] * padded_width + steps[1]
            index = index.flatten(1)[..., None].expand(-1, -1, channels)
            patches = rows.gather(1, index).reshape(-1, size + 2, size + 2, channels)
            hidden = F.conv2d(
                patches.permute(0, 3, 1, 2), self.first[number], self.first_bias[number]
            )
            # The last convolution sees zeros beyond the border of the map.
            seen = inside(radius).reshape(-1, 1, size, size)
            hidden = torch.where(seen, F.relu(hidden), 0.0)
            values = F.conv2d(hidden, self.last[number], self.last_bias[number])
            found.append(values.reshape(batch, count, len(self.last[number]), cells_around))
        values = torch.cat(found, dim=2)
        if self.box_coding == RECTANGLE:
            return self._rectangles(torch.where(inside(1)[:, :, None], values, 0.0))
        values = values[..., 0]
        return torch.where(self.sigmoid, torch.sigmoid(values), values)

    @staticmethod
    def _rectangles(parts: Tensor) -> Tensor:
        """Decode the boxes of 3x3 cells, [B, K, 7, 9], to [B, K, 13]."""
        parts = parts.permute(3, 0, 2, 1)
        steps = neighbor_steps(parts[0])
        box = agreeing_mean([one + step for one, step in zip(parts, steps, strict=True)])
        vectors, offset = vectors_of_parts(box), box[:, -2:]
        return torch.cat([vectors, offset, torch.ones_like(box[:, :1])], dim=1).transpose(1, 2)


def heads_at_cells(
    graph: Graph,
    fused_heads: Sequence[FusedHeads],
    features: Value,
    cells: Value,
    box_coding: str = VECTORS,
) -> Value:
    """Compute the heads at cells in ONNX.

    Args:
        graph: The graph to add to.
        fused_heads: The weights, from `fuse_heads` with the same coding.
        features: [B, C, H, W], in whose precision the convolutions are computed.
        cells: [B, K] int64, `y * W + x`.
        box_coding: How the boxes are coded, one of `structures.boxes.BOX_CODINGS`.

    Returns:
        [B, 13, K] float32.
    """
    reach = reach_of(box_coding)
    margin = max(one.radius for one in fused_heads) + reach + 1
    channels = fused_heads[0].first.shape[1]
    batch, _, height, width = features.dims(4)
    _, count = cells.dims(2)
    padded_width = width + 2 * margin
    pads = np.array([0, 0, margin, margin] * 2)
    padded = graph.op("Pad", features, pads)
    rows = padded.reshape(0, channels, -1).transpose(0, 2, 1)

    def inside(radius: int) -> Value:
        around_y, around_x = offsets(radius)
        y = (cells // width).unsqueeze(2) + around_y
        x = (cells % width).unsqueeze(2) + around_x
        return (y > -1) & (y < height) & (x > -1) & (x < width)

    corner = ((cells // width + margin) * padded_width + cells % width + margin).unsqueeze(2)
    found = []
    for one in fused_heads:
        radius = one.radius + reach
        size = 2 * radius + 1
        step_y, step_x = offsets(radius + 1)
        index = corner + padded_width * step_y + step_x
        # One row of the map for each index: [B, K, cells of the patch, C].
        patches = graph.op("GatherND", rows, index.unsqueeze(3), batch_dims=1)
        patches = patches.reshape(-1, size + 2, size + 2, channels).transpose(0, 3, 1, 2)
        hidden = graph.op("Relu", _convolve(graph, patches, one.first, one.first_bias))
        if radius:
            hidden = inside(radius).reshape(-1, 1, size, size).where(hidden, 0)
        values = _convolve(graph, hidden, one.last, one.last_bias)
        found.append(values.reshape(batch, count, len(one.last), (2 * reach + 1) ** 2))
    values = graph.concat(found, axis=2).cast(np.float32)
    if box_coding == RECTANGLE:
        return decode_rectangles(graph, inside(1).unsqueeze(2).where(values, 0))
    values = values.reshape(0, 0, -1).transpose(0, 2, 1)
    vectors, theta = values.split([_SIGMOID.index(True), sum(_SIGMOID)], axis=1)
    return graph.concat([vectors, graph.op("Sigmoid", theta)], axis=1)


def _convolve(graph: Graph, values: Value, weight: Tensor, bias: Tensor) -> Value:
    # Weights beyond the range of float16 become infinite, which the parity check finds.
    with np.errstate(over="ignore"):
        weight, bias = (one.detach().float().numpy().astype(values.dtype) for one in (weight, bias))
    return graph.op("Conv", values, weight, bias)

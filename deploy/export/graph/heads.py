"""The heads of the boxes, computed at the cells of the peaks instead of as whole maps.

Of `wh`, `reg` and `cls_theta` a decoder reads K cells, 500 of 23,104 with an input of 608x608. A
head's output at a cell depends only on a patch of the feature map: so the patches of the K cells
are gathered, and the two convolutions of a head become two matrix products over them. The results
are those of the maps, except for the order of the sums.

A rectangle is the mean of the boxes of 3x3 cells (`models.box_coding.agreeing_mean`). Their patches
overlap, so the hidden layer is computed once in 5x5 cells, and the second product gives the outputs
of all nine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deploy.export.graph.rectangles import decode_rectangles
from models.box_coding import agreeing_mean, box_parts, vectors_of_parts
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
        radius: Of the hidden cells that are needed around a cell.
        first: [9 C, M], rows by (y, x, channel) of a patch of 3x3 cells.
        first_bias: [M].
        last: [(2 radius + 1)^2 M, channels], rows by (y, x, hidden channel).
        last_bias: [channels].
    """

    radius: int
    first: Tensor
    first_bias: Tensor
    last: Tensor
    last_bias: Tensor

    @classmethod
    def of(cls, heads: Sequence[nn.Sequential]) -> FusedHeads:
        """Fuse heads, each a hidden 3x3 convolution, maybe other layers, and a last convolution."""
        first, last = ([head[index] for head in heads] for index in (0, -1))
        kernel_size = last[0].kernel_size[0]
        parts = [torch.block_diag(*taps) for taps in zip(*map(_tap_matrices, last), strict=True)]
        return cls(
            kernel_size // 2,
            torch.cat([torch.cat(_tap_matrices(one)) for one in first], dim=1),
            torch.cat([one.bias for one in first]),
            torch.cat(parts),
            torch.cat([one.bias for one in last]),
        )

    def in_neighbors(self, combine: Tensor) -> FusedHeads:
        """Return the heads with the outputs of the 3x3 cells around a cell, row by row.

        Args:
            combine: [channels, combined], a linear map of the outputs of a cell.

        Returns:
            Heads with 9 x combined channels.
        """
        combined = combine.shape[1]
        size, outer = 2 * self.radius + 1, 2 * self.radius + 3
        taps = (self.last @ combine).reshape(size, size, -1, combined)
        last = taps.new_zeros(outer, outer, taps.shape[2], 3, 3, combined)
        for y in range(3):
            for x in range(3):
                last[y : y + size, x : x + size, :, y, x] = taps
        return replace(
            self,
            radius=self.radius + 1,
            last=last.flatten(3).flatten(0, 2),
            last_bias=(self.last_bias @ combine).repeat(9),
        )


def _tap_matrices(convolution: nn.Conv2d) -> list[Tensor]:
    """Return the matrix [in, out] of each kernel tap, row by row."""
    return list(convolution.weight.flatten(2).permute(2, 1, 0))


def fuse_heads(heads: Sequence[nn.Sequential], box_coding: str = VECTORS) -> list[FusedHeads]:
    """Fuse the heads of `BOX_HEADS`, given in that order, where their kernels allow it.

    Args:
        heads: The heads.
        box_coding: How they are coded, one of `structures.boxes.BOX_CODINGS`. Of rectangles, these
            are the numbers of the boxes in 3x3 cells instead, cell by cell: five of the shape and
            two of the center, from one group of heads or from a group for each.
    """
    if box_coding == RECTANGLE:
        heads = heads[:2]  # `cls_theta` is in the score
    groups = [list(group) for _, group in groupby(heads, key=lambda head: head[-1].kernel_size)]
    if box_coding == RECTANGLE:
        wh, reg = (torch.eye(HEAD_CHANNELS[name]) for name in BOX_HEADS[:2])
        numbers = iter([box_parts(wh), reg])
        return [
            FusedHeads.of(group).in_neighbors(torch.block_diag(*islice(numbers, len(group))))
            for group in groups
        ]
    return [FusedHeads.of(group) for group in groups]


def kernel_offsets(radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Return y and x of the cells of a kernel around its center, row by row.

    Each is [(2 radius + 1)^2].
    """
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return y.ravel(), x.ravel()


class HeadsAtPeaks(nn.Module):
    """The heads in PyTorch, with copies of their weights.

    Args:
        heads: Those of `BOX_HEADS`, in that order.
        box_coding: How they are coded, one of `structures.boxes.BOX_CODINGS`.
    """

    def __init__(self, heads: Sequence[nn.Sequential], box_coding: str = VECTORS) -> None:
        super().__init__()
        self.box_coding = box_coding
        fused = fuse_heads(heads, box_coding)
        self.radii = [one.radius for one in fused]
        for name in ("first", "first_bias", "last", "last_bias"):
            values = [nn.Parameter(getattr(one, name).detach().clone(), False) for one in fused]
            self.register_module(name, nn.ParameterList(values))
        for radius in {1, *self.radii}:
            for axis, values in zip("yx", kernel_offsets(radius), strict=True):
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
        margin = max(self.radii) + 1
        padded_width = width + 2 * margin
        rows = F.pad(features, [margin] * 4).flatten(2).transpose(1, 2)

        def around(radius: int) -> tuple[Tensor, Tensor]:
            offset_y, offset_x = (self.get_buffer(f"{axis}{radius}") for axis in "yx")
            return (cells // width)[..., None] + offset_y, (cells % width)[..., None] + offset_x

        def inside(y: Tensor, x: Tensor) -> Tensor:
            return (y >= 0) & (y < height) & (x >= 0) & (x < width)

        found = []
        for number, radius in enumerate(self.radii):
            y, x = around(radius)
            taps = (self.y1 + margin) * padded_width + self.x1 + margin
            index = (y * padded_width + x)[..., None] + taps
            index = index.flatten(1)[..., None].expand(-1, -1, channels)
            patches = rows.gather(1, index).reshape(batch, y[0].numel(), 9 * channels)
            hidden = F.relu(patches @ self.first[number] + self.first_bias[number])
            # The last convolution sees zeros beyond the border of the map.
            hidden = torch.where(inside(y, x).flatten(1)[..., None], hidden, 0.0)
            hidden = hidden.reshape(batch, cells.shape[1], len(self.last[number]))
            found.append(hidden @ self.last[number] + self.last_bias[number])
        if self.box_coding == RECTANGLE:
            return self._rectangles(found, inside(*around(1)))
        values = torch.cat(found, dim=2)
        return torch.where(self.sigmoid, torch.sigmoid(values), values)

    @staticmethod
    def _rectangles(found: Sequence[Tensor], inside: Tensor) -> Tensor:
        """Decode the boxes [B, K, 9 x numbers] of 3x3 cells, [B, K, 13]."""
        parts = torch.cat([numbers.unflatten(2, (9, -1)) for numbers in found], dim=3)
        parts = torch.where(inside[..., None], parts, 0.0).permute(2, 0, 3, 1)
        box = agreeing_mean(parts.unbind())
        vectors, offset = vectors_of_parts(box), box[:, -2:]
        return torch.cat([vectors, offset, torch.ones_like(box[:, :1])], dim=1).transpose(1, 2)


# Over 60 lines because its arguments are documented, and its local functions share the indices.
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
        features: [B, C, H, W], in whose precision the products are computed.
        cells: [B, K] int64, `y * W + x`.
        box_coding: How the boxes are coded, one of `structures.boxes.BOX_CODINGS`.

    Returns:
        [B, 13, K] float32.
    """
    margin = max(one.radius for one in fused_heads) + 1
    channels = len(fused_heads[0].first) // 9
    _, _, height, width = features.dims(4)
    padded_width = width + 2 * margin
    pads = np.array([0, 0, margin, margin] * 2)
    padded = graph.op("Pad", features, pads)
    rows = padded.reshape(0, channels, -1).transpose(0, 2, 1)

    def around(radius: int) -> tuple[Value, Value]:
        offset_y, offset_x = kernel_offsets(radius)
        y = (cells // width).unsqueeze(2) + offset_y
        return y, (cells % width).unsqueeze(2) + offset_x

    def inside(y: Value, x: Value) -> Value:
        return (y > -1) & (y < height) & (x > -1) & (x < width)

    found = []
    for one in fused_heads:
        y, x = around(one.radius)
        tap_y, tap_x = kernel_offsets(1)
        taps = padded_width * (tap_y + margin) + (tap_x + margin)
        index = (y * padded_width + x).unsqueeze(3) + taps
        # One row of the map for each index: [B, K, cells around, 9, C].
        patches = graph.op("GatherND", rows, index.unsqueeze(4), batch_dims=1)
        patches = patches.reshape(0, 0, (2 * one.radius + 1) ** 2, 9 * channels)
        hidden = _linear(graph, patches, one.first, one.first_bias)
        hidden = graph.op("Relu", hidden)
        if one.radius:
            hidden = inside(y, x).unsqueeze(3).where(hidden, 0)
        hidden = hidden.reshape(0, 0, len(one.last))
        found.append(_linear(graph, hidden, one.last, one.last_bias))
    if box_coding == RECTANGLE:
        parts = [
            numbers.cast(np.float32).reshape(0, 0, 9, len(one.last_bias) // 9)
            for numbers, one in zip(found, fused_heads, strict=True)
        ]
        parts = graph.concat(parts, axis=3).transpose(0, 2, 3, 1)
        seen = inside(*around(1)).transpose(0, 2, 1).unsqueeze(2)
        return decode_rectangles(graph, seen.where(parts, 0))
    values = graph.concat(found, axis=2).cast(np.float32)
    values = values.transpose(0, 2, 1)
    vectors, theta = values.split([_SIGMOID.index(True), sum(_SIGMOID)], axis=1)
    return graph.concat([vectors, graph.op("Sigmoid", theta)], axis=1)


def _linear(graph: Graph, values: Value, weight: Tensor, bias: Tensor) -> Value:
    # Weights beyond the range of float16 become infinite, which the parity check finds.
    with np.errstate(over="ignore"):
        weight, bias = (one.detach().float().numpy().astype(values.dtype) for one in (weight, bias))
    return graph.op("MatMul", values, weight) + bias

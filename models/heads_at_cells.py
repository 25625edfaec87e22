"""The heads of the boxes at some cells alone, for training.

The losses read `wh`, `reg` and `cls_theta` at the cells of the objects, some hundred of a batch's
86,528 (8 images of 416x416). A head's output at a cell depends on a patch of the feature map, so it
is computed from the patches of these cells, with the outputs and gradients that the whole maps
would have there. A BatchNorm in a head sees the cells that the head is trained and read at.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.convolution import convolve
from models.global_batch_norm import GlobalStatistics

EMPTY = -1
"""In place of a cell: an empty slot."""


def head_at_cells(head: nn.Sequential, features: Tensor, cells: Tensor) -> Tensor:
    """Compute a head at some cells of each image.

    Args:
        head: A hidden 3x3 convolution, layers that work on each cell for itself, and an output
            convolution, as `models.model_parts.make_head` builds it.
        features: [B, C, H, W], the input of the head.
        cells: [B, K] int64, `y * W + x`, or `EMPTY`.

    Returns:
        [B, K, channels], 0 in empty slots.
    """
    height, width = features.shape[2:]
    image, slot = (cells != EMPTY).nonzero(as_tuple=True)
    found = cells[image, slot]
    y, x = torch.div(found, width, rounding_mode="floor"), found % width
    output = head[-1]
    radius = output.kernel_size[0] // 2
    hidden = _convolve(head[0], _patches(features, image, y, x, radius + 1))
    for layer in head[1:-1]:
        hidden = _normalize(layer, hidden) if isinstance(layer, nn.BatchNorm2d) else layer(hidden)
    if radius:  # the output convolution sees zeros beyond the border of the map
        around = torch.arange(-radius, radius + 1, device=features.device)
        rows, columns = y[:, None] + around, x[:, None] + around
        rows, columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
        hidden = hidden * (rows[:, None, :, None] & columns[:, None, None])
    values = _convolve(output, hidden).flatten(1)
    return values.new_zeros(*cells.shape, values.shape[1]).index_put((image, slot), values)


def _patches(features: Tensor, image: Tensor, y: Tensor, x: Tensor, radius: int) -> Tensor:
    """Cut out the patches [N, C, 2 radius + 1, 2 radius + 1] around cells, with zeros beyond."""
    channels, height, width = features.shape[1:]
    size, around = 2 * radius + 1, torch.arange(2 * radius + 1, device=features.device)
    padded = F.pad(features, [radius] * 4).permute(0, 2, 3, 1).flatten(0, 2)
    rows = image[:, None] * (height + 2 * radius) + y[:, None] + around
    index = rows[:, :, None] * (width + 2 * radius) + (x[:, None] + around)[:, None]
    patches = padded.index_select(0, index.flatten())
    return patches.reshape(-1, size, size, channels).permute(0, 3, 1, 2)


def _convolve(convolution: nn.Conv2d, patches: Tensor) -> Tensor:
    """Convolve patches without padding: their border is there already."""
    return convolve(patches, convolution.weight, convolution.bias)


def _normalize(norm: nn.BatchNorm2d, values: Tensor) -> Tensor:
    """Apply BatchNorm; one value a channel has no variance, so it gets the running statistics.

    Where several processes share a batch, the values of all of them count.
    """
    several = isinstance(norm, GlobalStatistics)
    if norm.training and (several or values.numel() > values.shape[1]):
        return norm(values)
    return F.batch_norm(
        values, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
    )

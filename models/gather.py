"""Reading feature maps at the cells of objects; used by the losses and by the decoder."""

from __future__ import annotations

from torch import Tensor


def gather_cells(feature_map: Tensor, cells: Tensor) -> Tensor:
    """The values of a map at some cells of each image.

    Args:
        feature_map: [B, C, H, W].
        cells: [B, K] int64, `y * W + x`.

    Returns:
        [B, K, C].
    """
    batch, channels = feature_map.shape[:2]
    index = cells.unsqueeze(1).expand(batch, channels, cells.shape[1])
    return feature_map.flatten(2).gather(2, index).transpose(1, 2)

"""Decoding of the head maps into detections: heat map peaks, top K, corners, source coordinates.

The threshold is applied first and only the remaining peaks are sorted and gathered, so the time
depends on the number of objects rather than on the size of the map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from structures.boxes import (
    ROW_CENTER,
    ROW_LABEL,
    ROW_MIDPOINTS,
    ROW_SCORE,
    STRIDE,
    UPRIGHT_MIDPOINTS,
    WH,
    vectors_to_corners,
)
from structures.detections import Detections
from structures.letterbox import Letterbox

_UPRIGHT_MIDPOINTS = torch.tensor(UPRIGHT_MIDPOINTS)


class DecDecoder:
    """Decoder of the dict of head maps.

    Args:
        K: Maximum number of detections per image.
        conf_thresh: Only peaks with a score above it are kept; a sequence has the one of each
            class.
        num_classes: Number of channels that `hm` must have.
        theta_thresh: If `cls_theta` is above it, the box is rotated and its four boundary vectors
            are used, else its axis-aligned rectangle.

    Raises:
        ValueError: K is below 1, or there is not one threshold for each class.
    """

    def __init__(
        self,
        K: int,
        conf_thresh: float | Sequence[float],
        num_classes: int,
        theta_thresh: float = 0.8,
    ):
        if K < 1:
            raise ValueError(f"K must be at least 1, got {K}")
        if np.shape(conf_thresh) not in ((), (num_classes,)):
            raise ValueError(
                f"conf_thresh has {np.size(conf_thresh)} values, but num_classes is {num_classes}"
            )
        self.K = K
        self.conf_thresh = conf_thresh
        self.num_classes = num_classes
        self.theta_thresh = theta_thresh

    def ctdet_decode(self, maps: Mapping[str, torch.Tensor]) -> np.ndarray | list[np.ndarray]:
        """Decode the head maps to rows, as the original and the light fork do.

        Args:
            maps: `hm` [B, C, H, W] and `cls_theta` [B, 1, H, W] after the sigmoid,
                `wh` [B, 10, H, W], `reg` [B, 2, H, W].

        Returns:
            float32 [1, M, 12] for one image, else a list of B arrays [M, 12], with the columns
            `ROW_CENTER` to `ROW_LABEL` of `structures.boxes`. Rows are in descending order of
            score; equal scores are in the order of their flat (class, y, x) index.

        Raises:
            ValueError: `hm` does not have `num_classes` channels.
        """
        rows = self._decode(maps)
        return rows[0][None] if len(rows) == 1 else rows

    def decode(self, maps: Mapping[str, torch.Tensor]) -> list[Detections]:
        """Decode the head maps to detections in pixels of the network's input.

        Args:
            maps: As for `ctdet_decode`.

        Returns:
            The detections of each image.

        Raises:
            ValueError: `hm` does not have `num_classes` channels.
        """
        return [
            replace(rows_to_detections(rows), complete=len(rows) < self.K)
            for rows in self._decode(maps)
        ]

    @torch.no_grad()
    def _decode(self, maps: Mapping[str, torch.Tensor]) -> list[np.ndarray]:
        return [self._decode_one(maps, image) for image in range(len(maps["hm"]))]

    def _decode_one(self, maps: Mapping[str, torch.Tensor], image: int) -> np.ndarray:
        heatmap = maps["hm"][image].float()
        channels, _, width = heatmap.shape
        if channels != self.num_classes:
            raise ValueError(f"hm has {channels} channels, but num_classes is {self.num_classes}")
        scores, labels, cells = self.find_peaks(heatmap)

        def gather(head: str) -> torch.Tensor:
            return maps[head][image].flatten(1)[:, cells].float().T

        wh, reg, theta = gather("wh"), gather("reg"), gather("cls_theta")
        grid = torch.stack([cells % width, torch.div(cells, width, rounding_mode="floor")], dim=1)
        center = grid + reg
        rotated = wh[:, : WH["size"].start].reshape(-1, 4, 2)
        upright = _UPRIGHT_MIDPOINTS.to(wh.device) * wh[:, None, WH["size"]]
        vectors = torch.where(theta[:, :, None] > self.theta_thresh, rotated, upright)
        midpoints = (center[:, None] + vectors).flatten(1)
        rows = torch.cat([center, midpoints, scores[:, None], labels[:, None].float()], dim=1)
        # drops boxes of a broken model (NaN, infinity)
        return rows[torch.isfinite(rows).all(dim=1)].cpu().numpy()

    def find_peaks(self, heatmap: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Find the K best local maxima of one heat map.

        A subclass may override this to decode other cells.

        Args:
            heatmap: [C, H, W] float32 scores.

        Returns:
            Scores [M] above the threshold in descending order, class indices [M] and flat cell
            indices `y * W + x` [M], with M at most K.
        """
        local_max = max_pool_3x3(heatmap)
        threshold = self.conf_thresh
        if np.ndim(threshold):
            threshold = heatmap.new_tensor(threshold)[:, None, None]
        peak = (heatmap > threshold) & (heatmap == local_max)
        flat = heatmap.flatten()
        # nonzero lists indices in rising order, and the stable sort keeps that order among ties
        index = torch.nonzero(peak.flatten())[:, 0]
        scores, order = torch.sort(flat[index], descending=True, stable=True)
        index = index[order[: self.K]]
        area = heatmap.shape[1] * heatmap.shape[2]
        return scores[: self.K], torch.div(index, area, rounding_mode="floor"), index % area


def max_pool_3x3(heatmap: torch.Tensor) -> torch.Tensor:
    """Max pooling of [..., H, W] with kernel size 3, stride 1 and padding 1.

    It runs along one axis after the other, which on a CPU is five times as fast as PyTorch's.
    """
    rows = heatmap.clone()
    torch.maximum(rows[..., 1:], heatmap[..., :-1], out=rows[..., 1:])
    torch.maximum(rows[..., :-1], heatmap[..., 1:], out=rows[..., :-1])
    highest = rows.clone()
    torch.maximum(highest[..., 1:, :], rows[..., :-1, :], out=highest[..., 1:, :])
    torch.maximum(highest[..., :-1, :], rows[..., 1:, :], out=highest[..., :-1, :])
    return highest


def rows_to_detections(rows: np.ndarray) -> Detections:
    """Convert decoded rows [M, 12] in cells to detections in pixels of the network's input."""
    center = rows[:, ROW_CENTER]
    vectors = rows[:, ROW_MIDPOINTS] - np.tile(center, 4)
    return Detections(
        corners=(vectors_to_corners(center, vectors) * STRIDE).astype(np.float32, copy=False),
        scores=rows[:, ROW_SCORE],
        labels=rows[:, ROW_LABEL].astype(np.int64),
    )


def to_source(detections: Detections, letterbox: Letterbox) -> Detections:
    """Map detections from pixels of the network's input to pixels of the source image."""
    return detections.with_corners(letterbox.to_source(detections.corners))

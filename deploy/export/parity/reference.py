"""What the checkpoint finds, and on which of it rounding decides."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from decoder import DecDecoder
from deploy.export.parity.rows import MAX_SCORE_ERROR
from structures.detections import Detections


@dataclass(frozen=True)
class Reference:
    """What the checkpoint finds in one image."""

    detections: Detections
    tied: np.ndarray
    """[N] bool, whether rounding decides on it: see `unsure_cells`."""
    maps: Mapping[str, torch.Tensor]
    """What the detections were decoded from, of one image: [1, C, H, W] each."""

    @classmethod
    def of(
        cls, detections: Detections, maps: Mapping[str, torch.Tensor], decoder: DecDecoder
    ) -> Reference:
        """detections: what the decoder makes of the maps."""
        _, labels, cells = decoder.find_peaks(maps["hm"][0].float())
        tied = unsure_cells(maps, decoder.theta_thresh).flatten(1)[labels, cells].numpy()
        if len(tied) != len(detections):  # boxes that are not finite are none: which, is not known
            tied = np.zeros(len(detections), bool)
        return cls(detections, tied, maps)


def unsure_cells(maps: Mapping[str, torch.Tensor], theta_thresh: float) -> torch.Tensor:
    """[C, H, W] bool: the peaks but for rounding of which rounding decides whether they are any, as
    a cell around has the same score, or whether their box is turned, as `cls_theta` is at its
    threshold.
    """
    heatmap = maps["hm"][0].float()
    height, width = heatmap.shape[1:]
    padded = nn.functional.pad(heatmap, (1, 1, 1, 1), value=-1.0)
    around = functools.reduce(
        torch.maximum,
        (
            padded[:, y : y + height, x : x + width]
            for y in range(3)
            for x in range(3)
            if (y, x) != (1, 1)
        ),
    )
    peak = around <= heatmap + MAX_SCORE_ERROR
    tied = around >= heatmap - MAX_SCORE_ERROR
    either = (maps["cls_theta"][0].float() - theta_thresh).abs() <= MAX_SCORE_ERROR
    return peak & (tied | either)


class UnsurePeaks(DecDecoder):
    """Decodes those of the `unsure` cells [C, H, W] whose scores lie in a range."""

    def __init__(
        self, unsure: torch.Tensor, scores: tuple[float, float], theta_thresh: float
    ) -> None:
        super().__init__(unsure.numel(), scores[0], len(unsure), theta_thresh)
        self.unsure, self.highest = unsure, scores[1]

    def find_peaks(self, heatmap: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        inside = (heatmap >= self.conf_thresh) & (heatmap <= self.highest)
        labels, y, x = torch.nonzero(self.unsure & inside, as_tuple=True)
        return heatmap[labels, y, x], labels, y * heatmap.shape[2] + x

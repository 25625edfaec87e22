"""The detections of the checkpoint in an image, and which of them depend on rounding."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from decoder import DecDecoder
from deploy.export.parity.tolerance import FLOAT32, Tolerance
from structures.detections import Detections


@dataclass(frozen=True)
class Reference:
    """What the checkpoint finds in one image.

    Attributes:
        detections: The N detections, in pixels of the network's input.
        ambiguous: [N] bool, whether rounding decides on a detection; see `ambiguous_cells`.
        maps: The head maps that they were decoded from, [1, C, H, W] each.
        theta_thresh: The threshold of `cls_theta` that they were decoded with.
    """

    detections: Detections
    ambiguous: np.ndarray
    maps: Mapping[str, torch.Tensor]
    theta_thresh: float

    @classmethod
    def of(
        cls, detections: Detections, maps: Mapping[str, torch.Tensor], decoder: DecDecoder
    ) -> Reference:
        """Return the reference of what `decoder` makes of the maps of one image."""
        _, labels, cells = decoder.find_peaks(maps["hm"][0].float())
        unstable = ambiguous_cells(maps, decoder.theta_thresh)
        ambiguous = unstable.flatten(1)[labels, cells].numpy()
        # The decoder drops boxes that are not finite, and which ones is not known here.
        if len(ambiguous) != len(detections):
            ambiguous = np.zeros(len(detections), bool)
        return cls(detections, ambiguous, maps, decoder.theta_thresh)

    def has_ambiguous_box(self, found: Detections, tolerance: Tolerance) -> np.ndarray:
        """Return whether the checkpoint has each box at a cell for which rounding decides.

        Args:
            found: N detections of the file, in pixels of the network's input.
            tolerance: How far the boxes may be apart.

        Returns:
            [N] bool.
        """
        if not len(found):
            return np.zeros(0, bool)
        margin, theta = tolerance.score_error, self.theta_thresh
        scores = float(found.scores.min()) - margin, float(found.scores.max()) + margin
        unstable = ambiguous_cells(self.maps, theta)
        near = np.zeros(len(found), bool)
        for theta_thresh in (theta - FLOAT32.score_error, theta + FLOAT32.score_error):
            peaks = AmbiguousPeakDecoder(unstable, scores, theta_thresh).decode(self.maps)[0]
            for index in range(len(found)):
                distance = np.abs(peaks.corners - found.corners[index]).max(axis=(1, 2))
                same = (distance <= tolerance.corner_error_px) & (
                    peaks.labels == found.labels[index]
                )
                same &= np.abs(peaks.scores - found.scores[index]) <= margin
                near[index] |= same.any()
        return near


def ambiguous_cells(maps: Mapping[str, torch.Tensor], theta_thresh: float) -> torch.Tensor:
    """Return the peaks, up to rounding, that another rounding would decode differently.

    Rounding decides whether a cell is a peak if one of its neighbors has the same score, and
    whether its box is turned if `cls_theta` is at its threshold.

    Args:
        maps: The head maps of one image, [1, C, H, W] each.
        theta_thresh: The threshold of `cls_theta`.

    Returns:
        [C, H, W] bool.
    """
    heatmap = maps["hm"][0].float()
    height, width = heatmap.shape[1:]
    padded = nn.functional.pad(heatmap, (1, 1, 1, 1), value=-1.0)
    highest_neighbor = functools.reduce(
        torch.maximum,
        (
            padded[:, y : y + height, x : x + width]
            for y in range(3)
            for x in range(3)
            if (y, x) != (1, 1)
        ),
    )
    margin = FLOAT32.score_error
    peak = highest_neighbor <= heatmap + margin
    tied = highest_neighbor >= heatmap - margin
    at_theta_thresh = (maps["cls_theta"][0].float() - theta_thresh).abs() <= margin
    return peak & (tied | at_theta_thresh)


class AmbiguousPeakDecoder(DecDecoder):
    """A decoder whose peaks are the given cells with a score in the given range.

    Args:
        cells: [C, H, W] bool.
        scores: The lowest and the highest score.
        theta_thresh: As in `DecDecoder`.
    """

    def __init__(
        self, cells: torch.Tensor, scores: tuple[float, float], theta_thresh: float
    ) -> None:
        super().__init__(cells.numel(), scores[0], len(cells), theta_thresh)
        self.cells, self.highest = cells, scores[1]

    def find_peaks(self, heatmap: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return scores, labels and cells (y * W + x) of the chosen cells of [C, H, W]."""
        inside = (heatmap >= self.conf_thresh) & (heatmap <= self.highest)
        labels, y, x = torch.nonzero(self.cells & inside, as_tuple=True)
        return heatmap[labels, y, x], labels, y * heatmap.shape[2] + x

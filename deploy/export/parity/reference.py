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
    """The detections of the checkpoint in one image.

    Attributes:
        detections: The N detections, in pixels of the network's input.
        ambiguous: [N] bool, whether a detection depends on rounding; see `ambiguous_cells`.
        maps: The head maps from which they were decoded, [1, C, H, W] each.
        theta_thresh: The threshold of `cls_theta` with which they were decoded.
    """

    detections: Detections
    ambiguous: np.ndarray
    maps: Mapping[str, torch.Tensor]
    theta_thresh: float

    @classmethod
    def of(
        cls, detections: Detections, maps: Mapping[str, torch.Tensor], decoder: DecDecoder
    ) -> Reference:
        """Return the reference for the detections that `decoder` decodes from one image's maps."""
        _, labels, cells = decoder.find_peaks(maps["hm"][0].float())
        unstable = ambiguous_cells(maps, decoder.theta_thresh)
        ambiguous = unstable.flatten(1)[labels, cells].numpy()
        # The decoder has dropped boxes that are not finite, and it is unknown which ones.
        if len(ambiguous) != len(detections):
            ambiguous = np.zeros(len(detections), bool)
        return cls(detections, ambiguous, maps, decoder.theta_thresh)

    def has_ambiguous_box(self, found: Detections, tolerance: Tolerance) -> np.ndarray:
        """Return whether the checkpoint has the same box at an ambiguous cell.

        Args:
            found: N detections of the file, in pixels of the network's input.
            tolerance: How much boxes and scores may differ.

        Returns:
            [N] bool, for each detection.
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
    """Return the cells that may be peaks and that may be decoded differently because of rounding.

    Rounding decides whether a cell is a peak if one of its neighbors has the same score, and
    whether its box is rotated or axis-aligned if `cls_theta` is at its threshold.

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
    """A decoder whose peaks are all given cells with a score in a given range.

    Args:
        cells: [C, H, W] bool.
        scores: Lowest and highest score.
        theta_thresh: As in `DecDecoder`.
    """

    def __init__(
        self, cells: torch.Tensor, scores: tuple[float, float], theta_thresh: float
    ) -> None:
        super().__init__(cells.numel(), scores[0], len(cells), theta_thresh)
        self.cells, self.highest = cells, scores[1]

    def find_peaks(self, heatmap: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the scores, labels and cells (y * W + x) of the peaks in a heat map [C, H, W]."""
        inside = (heatmap >= self.conf_thresh) & (heatmap <= self.highest)
        labels, y, x = torch.nonzero(self.cells & inside, as_tuple=True)
        return heatmap[labels, y, x], labels, y * heatmap.shape[2] + x

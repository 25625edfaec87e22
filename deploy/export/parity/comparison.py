"""An exported file against the checkpoint, on images: the report after every export."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from decoder import DecDecoder, to_source
from deploy.export.graph.assemble import BEFORE_NMS
from deploy.export.parity.reference import Reference, UnsurePeaks, unsure_cells
from deploy.export.parity.report import Report
from deploy.export.parity.rows import (
    MAX_CORNER_ERROR,
    MAX_SCORE_ERROR,
    check_greedy,
    match,
    outputs_to_detections,
    row_faults,
)
from deploy.export.types import CheckImage, ModelRunner
from deploy.metadata import OUTPUTS, ModelMetadata
from structures.detections import Detections
from structures.letterbox import Letterbox, normalize

logger = logging.getLogger(__name__)


class Comparison:
    """Runs both over the same pictures and keeps the report.

    model: the checkpoint's, as it is. run: the file. show_rows: the same file with the rows before
    NMS as further outputs, where it has NMS. input_hw: of the network.
    """

    ties_in_order = True
    """Whether rows of equal scores are to be in order as well."""
    judges_made_up = True
    """Whether what is found in made-up pictures counts, or their rows alone are looked at."""

    def __init__(
        self,
        model: nn.Module,
        metadata: ModelMetadata,
        input_hw: tuple[int, int],
        run: ModelRunner,
        show_rows: ModelRunner | None = None,
        conf_thresh: float | None = None,
    ) -> None:
        self.model = model.eval()
        self.metadata = metadata
        self.input_hw = input_hw
        self.run = run
        self.show_rows = show_rows
        self.conf_thresh = metadata.conf_thresh if conf_thresh is None else conf_thresh
        lowered = self.lowered(self.conf_thresh)
        self.file_above = self.conf_thresh if conf_thresh is None else lowered
        """The threshold of the file, which may be lower than that of what is reported."""
        self.fed = {} if conf_thresh is None else {"conf_thresh": np.array(lowered, np.float32)}
        self.decoder = DecDecoder(metadata.K, lowered, metadata.num_classes, metadata.theta_thresh)
        self.report = Report()
        self.errors: list[tuple[float, float, float]] = []
        """Of each matched detection its score, the largest difference of its corners in pixels of
        the network's input, and that of its score."""
        self.corner_margin = MAX_CORNER_ERROR
        self.score_margin = MAX_SCORE_ERROR

    def lowered(self, conf_thresh: float) -> float:
        """The threshold at which both are run to find what is above `conf_thresh` in one."""
        return conf_thresh

    def surely_found(self, lowest: float) -> float:
        """The score above which one finds what the other does, if it shows those above `lowest`."""
        return lowest + self.score_margin

    def compare(self, pictures: Sequence[CheckImage]) -> list[tuple[Detections, Detections]]:
        """Pictures as one batch; for bytes they must be of one size.

        Returns:
            For each what the checkpoint and what the file finds above the threshold, before NMS,
            in source pixels.
        """
        boxes = [self.letterbox(picture.pixels) for picture in pictures]
        batch, fed = self.inputs(pictures, boxes)
        references = self.reference(batch)
        outputs = self.run({**fed, **self.fed})
        rows = [outputs[name] for name in OUTPUTS]
        self.check_rows(pictures, rows)
        if self.show_rows is not None:
            shown = self.show_rows({**fed, **self.fed})
            before = [shown[name] for name in BEFORE_NMS]
            for picture, *both in zip(pictures, *rows, *before, strict=True):
                self.check_nms(picture.name, both[:3], both[3:])
            rows = before
        found = [outputs_to_detections(*image) for image in zip(*rows, strict=True)]
        self.report.batches += len(pictures) > 1
        pairs = []
        for picture, reference, exported, box in zip(
            pictures, references, found, boxes, strict=True
        ):
            if self.metadata.input_type == "uint8":  # compared in the network's pixels
                in_input = exported.with_corners(box.to_input(exported.corners))
            else:
                in_input = exported
                exported = to_source(exported, box)
            self.add(picture, reference, in_input)
            both = (to_source(reference.detections, box), exported)
            pairs.append(tuple(one[self.shown(one)] for one in both))
        return pairs

    def inputs(
        self, pictures: Sequence[CheckImage], boxes: Sequence[Letterbox]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """What the network takes [B, 3, H, W], and what the file is fed with for the same."""
        pixels = [picture.pixels for picture in pictures]
        scaled = [box.apply(image) for box, image in zip(boxes, pixels, strict=True)]
        batch = np.stack([normalize(image) for image in scaled])
        if self.metadata.input_type != "uint8":
            return batch, {"input": batch}
        order = slice(None, None, -1) if self.metadata.color == "RGB" else slice(None)
        return batch, {"input": np.stack(pixels)[..., order].copy()}

    def check_empty(self, pictures: Sequence[CheckImage]) -> None:
        """The file without any detection: where its threshold is an input and set to 1.

        pictures: as `compare` takes them.
        """
        _, fed = self.inputs(pictures, [self.letterbox(picture.pixels) for picture in pictures])
        outputs = self.run({**fed, "conf_thresh": np.array(1, np.float32)})
        rows = [outputs[name] for name in OUTPUTS]
        self.check_rows(pictures, rows)
        for picture, labels in zip(pictures, rows[2], strict=True):
            if (labels >= 0).any():
                fault = f"{picture.name}: detections although conf_thresh is 1"
                self.report.row_faults.append(fault)
            else:
                self.report.emptied += 1

    def check_rows(self, pictures: Sequence[CheckImage], rows: Sequence[np.ndarray]) -> None:
        """Note what is wrong with the rows [B, K, ...] of `OUTPUTS`."""
        for picture, *image in zip(pictures, *rows, strict=True):
            faults = row_faults(*image, self.ties_in_order)
            self.report.row_faults += [f"{picture.name}: {fault}" for fault in faults]

    def shown(self, found: Detections) -> np.ndarray:
        """[N] bool, those above the threshold; NaN is no reason to hide one."""
        return ~(found.scores <= self.conf_thresh)

    def letterbox(self, picture: np.ndarray) -> Letterbox:
        height, width = self.input_hw
        return Letterbox.fit(picture.shape[1::-1], (width, height))

    @torch.no_grad()
    def reference(self, batch: np.ndarray) -> list[Reference]:
        """The eager path on a batch [B, 3, H, W]."""
        maps = self.model(torch.from_numpy(batch))
        detections = self.decoder.decode(maps)
        alone = [
            {head: values[image : image + 1] for head, values in maps.items()}
            for image in range(len(batch))
        ]
        return [
            Reference.of(one, own_maps, self.decoder)
            for one, own_maps in zip(detections, alone, strict=True)
        ]

    def add(
        self, picture: CheckImage, reference: Reference, exported: Detections
    ) -> tuple[np.ndarray, np.ndarray]:
        """Count one image, both in pixels of the network's input.

        Returns:
            Indices of the detections that are compared, in the one and the other.
        """
        report, ours, name = self.report, reference.detections, picture.name
        shown, shown_there = self.shown(ours), self.shown(exported)
        report.images += 1
        report.empty_images += not shown.any() and not shown_there.any()
        if picture.made_up and not self.judges_made_up:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        report.detections += int(shown.sum())
        mine, other = match(ours, exported)
        difference = np.abs(ours.scores[mine] - exported.scores[other])
        both = shown[mine] & shown_there[other]
        one = (shown[mine] | shown_there[other]) & (difference <= self.score_margin)
        mine, other, difference = (values[both | one] for values in (mine, other, difference))
        away = np.abs(ours.corners[mine] - exported.corners[other]).max(axis=(1, 2))
        alike = (away <= self.corner_margin) & (difference <= self.score_margin)
        tied = reference.tied[mine] & ~alike
        report.ties += int(tied.sum())
        report.matched += int((~tied).sum())
        mine_sure, other_sure = mine[~tied], other[~tied]
        if len(mine_sure):
            away, difference = away[~tied], difference[~tied]
            report.corner_error = float(np.maximum(report.corner_error, away.max()))
            report.score_error = float(np.maximum(report.score_error, difference.max()))
            own_scores = ours.scores[mine_sure].tolist()
            self.errors += zip(own_scores, away.tolist(), difference.tolist(), strict=True)
        alone = np.setdiff1d(np.flatnonzero(shown), mine)
        rest = exported[np.setdiff1d(np.flatnonzero(shown_there), other)]
        near_peaks = self.are_near_peaks(rest, reference)
        lowest_there = self.lowest(exported, self.file_above)
        lowest_here = self.lowest(ours, self.decoder.conf_thresh)
        self.excuse(name, "the checkpoint", ours[alone], reference.tied[alone], lowest_there)
        self.excuse(name, "the file", rest, near_peaks, lowest_here)
        return mine_sure, other_sure

    def lowest(self, found: Detections, threshold: float) -> float:
        """The score down to which one has shown all."""
        full = len(found) == self.metadata.K
        return max(threshold, float(found.scores[-1])) if full else threshold

    def excuse(
        self, name: str, finder: str, alone: Detections, tied: np.ndarray, lowest: float
    ) -> None:
        """Sort out those that only one has found.

        tied: [N] bool, those that a tie excuses. lowest: the score down to which the other one has
        shown all.
        """
        for index in range(len(alone)):
            score, label = float(alone.scores[index]), int(alone.labels[index])
            if tied[index]:
                self.report.ties += 1
            elif score <= self.surely_found(lowest):
                self.report.at_cutoff += 1
            else:
                self.report.lost.append(f"{name}: {finder}, class {label}, score {score:.4f}")

    def are_near_peaks(self, found: Detections, reference: Reference) -> np.ndarray:
        """[N] bool, whether the checkpoint has such a box at a cell on which rounding decides."""
        if not len(found):
            return np.zeros(0, bool)
        margin, theta = self.score_margin, self.metadata.theta_thresh
        scores = float(found.scores.min()) - margin, float(found.scores.max()) + margin
        unsure = unsure_cells(reference.maps, theta)
        near = np.zeros(len(found), bool)
        for theta_thresh in (theta - MAX_SCORE_ERROR, theta + MAX_SCORE_ERROR):
            peaks = UnsurePeaks(unsure, scores, theta_thresh).decode(reference.maps)[0]
            for index in range(len(found)):
                away = np.abs(peaks.corners - found.corners[index]).max(axis=(1, 2))
                same = (away <= self.corner_margin) & (peaks.labels == found.labels[index])
                same &= np.abs(peaks.scores - found.scores[index]) <= margin
                near[index] |= same.any()
        return near

    def check_nms(
        self, name: str, kept: Sequence[np.ndarray], before: Sequence[np.ndarray]
    ) -> None:
        """Whether the rows that the graph keeps are those of greedy suppression."""
        near, faults = check_greedy(
            outputs_to_detections(*before), outputs_to_detections(*kept), self.metadata.nms_thresh
        )
        self.report.borderline += [f"{name}: rows {i} and {j}, IoU {iou:.7f}" for i, j, iou in near]
        self.report.nms_faults += [f"{name}: {fault}" for fault in faults]

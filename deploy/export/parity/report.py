"""The report of a parity check."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from deploy.export.parity.matching import ImageMatch, PairDifference
from deploy.export.parity.rows import IOU_MARGIN


@dataclass
class Report:
    """The result of a comparison, to which images are added.

    Attributes:
        images: Number of images.
        empty_images: Number of images in which neither model finds a detection.
        emptied_images: Number of images in which the file finds nothing at a threshold of 1, as
            expected: see `ParityComparison.check_empty`. They do not count as `images`.
        batches: Number of batches of several images.
        detections: Number of the checkpoint's detections.
        matched: Number of detections that are matched with one of the file.
        ambiguous: Number of detections that differ because of rounding: either only one model finds
            the detection, and its peak has a neighbor with the same score up to rounding, so that
            any such cell may be the peak; or the models find different boxes, as `cls_theta` is at
            its threshold up to rounding.
        at_cutoff: Number of detections that only one model finds, and whose score is that of the
            other model's threshold or last row up to rounding.
        unmatched: Descriptions of the other detections that only one model finds.
        corner_error: Largest difference of corners, in pixels of the network's input.
        score_error: Largest difference of scores.
        differences: The difference of each matched pair.
        borderline: Pairs of rows whose IoU is at the NMS threshold up to rounding.
        nms_faults: Faults of the file's NMS.
        row_faults: Faults in the order of the rows or in empty rows.
        ap: AP of the checkpoint and of the file.
    """

    images: int = 0
    empty_images: int = 0
    emptied_images: int = 0
    batches: int = 0
    detections: int = 0
    matched: int = 0
    ambiguous: int = 0
    at_cutoff: int = 0
    unmatched: list[str] = field(default_factory=list)
    corner_error: float = 0.0
    score_error: float = 0.0
    differences: list[PairDifference] = field(default_factory=list, repr=False)
    borderline: list[str] = field(default_factory=list)
    nms_faults: list[str] = field(default_factory=list)
    row_faults: list[str] = field(default_factory=list)
    ap: tuple[float, float] | None = None

    def add(self, name: str, matched: ImageMatch) -> None:
        """Add the matched detections of the image `name`."""
        self.detections += matched.detections
        self.matched += len(matched.differences)
        self.ambiguous += matched.ambiguous
        self.at_cutoff += matched.at_cutoff
        self.unmatched += [f"{name}: {text}" for text in matched.unmatched]
        self.differences += matched.differences
        for one in matched.differences:
            self.add_errors(one.corner_px, one.score_error)

    def add_errors(self, corner_px: float, score_error: float) -> None:
        """Update the largest differences; NaN stays NaN."""
        self.corner_error = float(np.maximum(self.corner_error, corner_px))
        self.score_error = float(np.maximum(self.score_error, score_error))

    def __str__(self) -> str:
        """Return the report as it is logged: a summary line, and one for each special case."""
        lines = [
            f"parity on {self.images} images ({self.empty_images} without detections, "
            f"{self.batches} batches of several): {self.matched} of {self.detections} detections "
            f"matched, largest difference {self.corner_error:.2g} px and {self.score_error:.2g} "
            "in score",
        ]
        if self.ambiguous or self.at_cutoff:
            lines.append(
                f"  allowed differences: {self.ambiguous} at neighboring cells of equal score or "
                f"at the threshold of cls_theta, {self.at_cutoff} at the score threshold or in the "
                "last row"
            )
        if self.emptied_images:
            lines.append(
                f"  with conf_thresh at 1 all rows of {self.emptied_images} images are empty"
            )
        if self.unmatched:
            lines.append(
                f"  found by only one of the two: {len(self.unmatched)}, for example "
                f"{self.unmatched[0]}"
            )
        lines += [f"  IoU within {IOU_MARGIN} of the NMS threshold: {p}" for p in self.borderline]
        lines += [f"  NMS: {fault}" for fault in self.nms_faults]
        lines += [f"  rows: {fault}" for fault in self.row_faults]
        if self.ap is not None:
            lines.append(f"  AP of the checkpoint {self.ap[0]:.4f}, of the file {self.ap[1]:.4f}")
        return "\n".join(lines)

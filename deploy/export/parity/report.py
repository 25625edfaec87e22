"""The report of a comparison."""

from __future__ import annotations

from dataclasses import dataclass, field

from deploy.export.parity.rows import (
    IOU_MARGIN,
    MAX_CORNER_ERROR,
    MAX_SCORE_ERROR,
)


@dataclass
class Report:
    """What came out of a comparison; add one image after the other."""

    images: int = 0
    empty_images: int = 0
    """Of them without any detection, in both."""
    emptied: int = 0
    """Further ones in which the file was to find nothing, and does not: see `check_empty`."""
    batches: int = 0
    """Of several images with different contents."""
    detections: int = 0
    matched: int = 0
    ties: int = 0
    """Found by one alone, whose peak has a neighbour of the same score but for rounding: either may
    be found, and on a plateau of such cells any of them. Or found otherwise by the other, whose
    `cls_theta` is the threshold but for rounding."""
    at_cutoff: int = 0
    """Whose score is the threshold's, or that of the last row, but for rounding."""
    lost: list[str] = field(default_factory=list)
    """Found by one alone, without such an excuse."""
    corner_error: float = 0.0
    score_error: float = 0.0
    borderline: list[str] = field(default_factory=list)
    """Pairs of rows whose IoU is that of the NMS threshold but for rounding."""
    nms_faults: list[str] = field(default_factory=list)
    row_faults: list[str] = field(default_factory=list)
    """Rows that are not in the order, or not as empty, as they are to be."""
    ap: tuple[float, float] | None = None
    """Of the checkpoint and of the file."""

    def faults(self) -> list[str]:
        """What must not be so for a float32 file."""
        found = []
        # the other way round NaN would pass
        if not self.corner_error <= MAX_CORNER_ERROR:
            found.append(f"corners differ by {self.corner_error:.3g} px (> {MAX_CORNER_ERROR})")
        if not self.score_error <= MAX_SCORE_ERROR:
            found.append(f"scores differ by {self.score_error:.2g} (> {MAX_SCORE_ERROR})")
        if self.lost:
            found.append(f"{len(self.lost)} detections of one alone, {self.lost[0]} for example")
        return found + self.nms_faults[:1] + self.row_faults[:1]

    def __str__(self) -> str:
        lines = [
            f"parity on {self.images} images ({self.empty_images} without detections, "
            f"{self.batches} batches of several): {self.matched} of {self.detections} detections "
            f"matched, largest difference {self.corner_error:.2g} px and {self.score_error:.2g} "
            "in score",
        ]
        if self.ties or self.at_cutoff:
            lines.append(
                f"  not alike, as they may: {self.ties} on neighbouring cells of one score or at "
                f"the threshold of cls_theta, {self.at_cutoff} at the threshold or the last row"
            )
        if self.emptied:
            lines.append(f"  with conf_thresh at 1 all rows of {self.emptied} images are empty")
        if self.lost:
            lines.append(f"  found by one alone: {len(self.lost)}, {self.lost[0]} for example")
        lines += [f"  IoU within {IOU_MARGIN} of the NMS threshold: {p}" for p in self.borderline]
        lines += [f"  NMS: {fault}" for fault in self.nms_faults]
        lines += [f"  rows: {fault}" for fault in self.row_faults]
        if self.ap is not None:
            lines.append(f"  AP of the checkpoint {self.ap[0]:.4f}, of the file {self.ap[1]:.4f}")
        return "\n".join(lines)

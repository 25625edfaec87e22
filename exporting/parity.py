"""An exported file against the checkpoint, on images: the report after every export."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from decoder import DecDecoder, to_source
from deploy_metadata import OUTPUTS, ModelMetadata
from DOTA_devkit.polygon import grouped_iou, paired_iou
from exporting import Picture
from exporting.onnx_model import BEFORE_NMS
from exporting.onnx_runtime import rows_to_detections
from structures.detections import Detections
from structures.letterbox import Letterbox, normalize

log = logging.getLogger(__name__)

MAX_CORNER_ERROR = 0.05
"""Pixels of the network's input."""
MAX_SCORE_ERROR = 1e-4
IOU_MARGIN = 1e-5
"""Nearer to the threshold than this, an overlap's rounding decides whether it suppresses."""

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""Inputs by name -> outputs by name."""


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
        _, labels, cells = decoder._peaks(maps["hm"][0].float())
        tied = unsure_cells(maps, decoder.theta_thresh).flatten(1)[labels, cells].numpy()
        if len(tied) != len(detections):  # boxes that are not finite are none: which, is not known
            tied = np.zeros(len(detections), bool)
        return cls(detections, tied, maps)


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
        run: Run,
        show_rows: Run | None = None,
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

    def compare(self, pictures: Sequence[Picture]) -> list[tuple[Detections, Detections]]:
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
        found = [rows_to_detections(*image) for image in zip(*rows, strict=True)]
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
        self, pictures: Sequence[Picture], boxes: Sequence[Letterbox]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """What the network takes [B, 3, H, W], and what the file is fed with for the same."""
        pixels = [picture.pixels for picture in pictures]
        scaled = [box.apply(image) for box, image in zip(boxes, pixels, strict=True)]
        batch = np.stack([normalize(image) for image in scaled])
        if self.metadata.input_type != "uint8":
            return batch, {"input": batch}
        order = slice(None, None, -1) if self.metadata.color == "RGB" else slice(None)
        return batch, {"input": np.stack(pixels)[..., order].copy()}

    def check_empty(self, pictures: Sequence[Picture]) -> None:
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

    def check_rows(self, pictures: Sequence[Picture], rows: Sequence[np.ndarray]) -> None:
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
        self, picture: Picture, reference: Reference, exported: Detections
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
            rows_to_detections(*before), rows_to_detections(*kept), self.metadata.nms_thresh
        )
        self.report.borderline += [f"{name}: rows {i} and {j}, IoU {iou:.7f}" for i, j, iou in near]
        self.report.nms_faults += [f"{name}: {fault}" for fault in faults]


def unsure_cells(maps: Mapping[str, torch.Tensor], theta_thresh: float) -> torch.Tensor:
    """[C, H, W] bool: the peaks but for rounding of which rounding decides whether they are any, as
    a cell around has the same score, or whether their box is turned, as `cls_theta` is at its
    threshold."""
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

    def _peaks(self, heatmap: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        inside = (heatmap >= self.conf_thresh) & (heatmap <= self.highest)
        labels, y, x = torch.nonzero(self.unsure & inside, as_tuple=True)
        return heatmap[labels, y, x], labels, y * heatmap.shape[2] + x


def row_faults(
    corners: np.ndarray, scores: np.ndarray, labels: np.ndarray, ties_in_order: bool = True
) -> list[str]:
    """What is wrong with the rows of an image: corners [K, 4, 2], scores and labels [K]."""
    count = int((labels >= 0).sum())
    faults = []
    if (labels[:count] < 0).any():
        faults.append("empty rows stand among the others")
    elif (labels[count:] != -1).any() or scores[count:].any() or corners[count:].any():
        faults.append("empty rows hold other values than label -1, score 0 and corners 0")
    steps = np.diff(scores[:count])
    if not (steps <= 0).all():
        faults.append("the scores do not fall")
    elif ties_in_order and (np.diff(labels[:count])[steps == 0] < 0).any():
        faults.append("of equal scores the higher class comes first")
    return faults


def match(a: Detections, b: Detections) -> tuple[np.ndarray, np.ndarray]:
    """Indices of detections of one class that are each other's nearest and overlap by half."""
    if not len(a) or not len(b):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    distance = np.abs(
        a.corners.reshape(-1, 1, 8).astype(np.float64) - b.corners.reshape(1, -1, 8)
    ).max(axis=2)
    distance[a.labels[:, None] != b.labels[None]] = np.inf
    there, back = distance.argmin(axis=1), distance.argmin(axis=0)
    mine = np.flatnonzero(back[there] == np.arange(len(a)))
    mine = mine[np.isfinite(distance[mine, there[mine]])]
    # boxes without area overlap nothing: for them being in the same place is enough
    close = distance[mine, there[mine]] <= MAX_CORNER_ERROR
    overlap = paired_iou(a.corners[mine], b.corners[there[mine]]) >= 0.5
    mine = mine[close | overlap]
    return mine, there[mine]


def check_greedy(
    rows: Detections, kept: Detections, threshold: float
) -> tuple[list[tuple[int, int, float]], list[str]]:
    """Whether `kept` is what greedy suppression leaves of `rows`, row by row.

    A row must go where a better one of its class that stays overlaps it by more than the threshold,
    and must stay where none does. Only of pairs within `IOU_MARGIN` of the threshold both are
    right, and each such pair excuses its own two rows alone.

    rows: by falling score.

    Returns:
        The pairs at the threshold as (better row, worse row, IoU), and what is wrong.
    """
    stays, matched = np.zeros(len(rows), bool), 0
    for index in range(len(rows)):
        if matched < len(kept) and _same_row(rows, index, kept, matched):
            stays[index] = True
            matched += 1
    if matched < len(kept):
        return [], [f"row {matched} of the {len(kept)} kept is none of the {len(rows)}, in order"]
    i, j, iou = grouped_iou(rows.corners, rows.corners, rows.labels, rows.labels)
    i, j, iou = (part[i < j] for part in (i, j, iou))
    near = np.abs(iou - threshold) <= IOU_MARGIN
    by_kept = stays[i]
    must_go, may_go = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    must_go[j[by_kept & (iou > threshold) & ~near]] = True
    may_go[j[by_kept & ((iou > threshold) | near)]] = True
    faults = [f"row {row} stays, but a better one suppresses it" for row in _rows(stays & must_go)]
    faults += [f"row {row} is gone, but nothing suppresses it" for row in _rows(~stays & ~may_go)]
    pairs = zip(i[near].tolist(), j[near].tolist(), iou[near].tolist(), strict=True)
    return list(pairs), faults


def _same_row(a: Detections, i: int, b: Detections, j: int) -> bool:
    return bool(
        a.scores[i] == b.scores[j]
        and a.labels[i] == b.labels[j]
        and np.array_equal(a.corners[i], b.corners[j])
    )


def _rows(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(mask).tolist()

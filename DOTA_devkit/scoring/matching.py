"""Which detection matches which object, by the rules of VOC and of COCO.

VOC (and DOTA): each detection is assigned to the object with the highest IoU, whether that is
matched already or not. If that IoU is above the threshold and the detection is the first one of the
object (by descending score), it is a true positive, else a false positive. COCO: each detection is
assigned to the best object that is not matched yet. An object marked difficult counts neither as
found nor as missed, and detections that match it are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat

import numpy as np

from DOTA_devkit.formats import Task1
from DOTA_devkit.polygon import Quads, grouped_iou, grouped_rectangle_iou
from DOTA_devkit.scoring.truth import Truth


@dataclass(frozen=True)
class ClassDetections:
    """Detections of one class on the images that are scored, by descending score.

    Attributes:
        images: ``[N]`` int64, index into ``Truth.image_ids``.
        scores: ``[N]`` float64.
        corners: ``[N, 4, 2]`` float64.
    """

    images: np.ndarray
    scores: np.ndarray
    corners: np.ndarray


def fits(iou: np.ndarray, metric: str, threshold: float) -> np.ndarray:
    """Whether IoUs are large enough for a match: above the threshold, for COCO also equal to it."""
    return iou >= min(threshold, 1 - 1e-10) if metric == "coco" else iou > threshold


def detections_by_class(
    detections: Mapping[str, Task1], truth: Truth
) -> tuple[list[ClassDetections], int]:
    """Sort out the detections of each class.

    Args:
        detections: class name -> detections; a missing class has none.
        truth: classes and images that are scored.

    Returns:
        One value per class of ``truth``, and the number of detections on other images.
    """
    index = {image_id: k for k, image_id in enumerate(truth.image_ids)}
    per_class, unlisted = [], 0
    for name in truth.classes:
        table = detections.get(name)
        if table is None or not len(table):
            none = ClassDetections(np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 4, 2)))
            per_class.append(none)
            continue
        images = np.fromiter(map(index.get, table.image_ids, repeat(-1)), np.int64, len(table))
        order = np.argsort(-np.asarray(table.scores, np.float64), kind="stable")
        order = order[images[order] >= 0]
        unlisted += len(images) - len(order)
        per_class.append(
            ClassDetections(
                images[order],
                np.asarray(table.scores, np.float64)[order],
                np.asarray(table.corners, np.float64).reshape(-1, 4, 2)[order],
            )
        )
    return per_class, unlisted


@dataclass(frozen=True)
class OverlapPairs:
    """Pairs of a detection and an object with an IoU above 0, sorted by detection, then object.

    Detections are numbered by descending score.

    Attributes:
        detections: ``[P]``, number of the detection.
        objects: ``[P]``, number of the object.
        iou: ``[P]``.
        n_detections: number of all detections.
        n_objects: number of all objects.
    """

    detections: np.ndarray
    objects: np.ndarray
    iou: np.ndarray
    n_detections: int
    n_objects: int

    @staticmethod
    def between(
        detections: Quads | np.ndarray,
        detection_images: np.ndarray,
        objects: Quads | np.ndarray,
        object_images: np.ndarray,
        rectangles: bool,
    ) -> OverlapPairs:
        """Compute the IoUs within each image.

        Args:
            detections: ``[N, 4, 2]``, by descending score.
            detection_images: ``[N]``, number of the image.
            objects: ``[M, 4, 2]``.
            object_images: ``[M]``, number of the image.
            rectangles: compare axis-aligned bounding rectangles, including the far border.

        Returns:
            The pairs.
        """
        overlaps = grouped_rectangle_iou if rectangles else grouped_iou
        pairs = overlaps(detections, objects, detection_images, object_images)
        return OverlapPairs(*pairs, len(detection_images), len(object_images))

    def match(
        self, metric: str, threshold: float, ignored: np.ndarray, difficult: np.ndarray
    ) -> np.ndarray:
        """Match detections to objects.

        Args:
            metric: "voc07", "voc12" or "coco": whose rules apply.
            threshold: of the IoU.
            ignored: ``[n_objects]`` bool, objects that count neither as found nor as missed.
            difficult: ``[n_objects]`` bool, those of them that any number of detections may
                match.

        Returns:
            ``[n_detections]``, the object each detection matches, -1 for none.
        """
        if metric == "coco":
            return self._match_coco(threshold, ignored, difficult)
        return self._match_voc(threshold, ignored)

    def _match_voc(self, threshold: float, ignored: np.ndarray) -> np.ndarray:
        best, best_iou = self.best
        claims = np.flatnonzero(fits(best_iou, "voc07", threshold))
        objects = best[claims]
        first = np.full(self.n_objects, -1)
        # In reverse, so that the detection with the highest score is written last.
        first[objects[::-1]] = claims[::-1]
        is_match = ignored[objects] | (first[objects] == claims)
        matched = np.full(self.n_detections, -1)
        matched[claims[is_match]] = objects[is_match]
        return matched

    def select(self, rows: np.ndarray) -> OverlapPairs:
        """Keep the pairs in the mask ``rows`` ``[P]``; the numbers of all stay."""
        return replace(
            self, detections=self.detections[rows], objects=self.objects[rows], iou=self.iou[rows]
        )

    @cached_property
    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """The object each detection overlaps most (the first of equals, or -1) and the IoU."""
        best, best_iou = np.full(self.n_detections, -1), np.zeros(self.n_detections)
        if len(self.detections):
            starts = np.flatnonzero(np.diff(self.detections, prepend=-1))
            highest = np.maximum.reduceat(self.iou, starts)
            lengths = np.diff(starts, append=len(self.detections))
            equal = np.flatnonzero(self.iou == np.repeat(highest, lengths))[::-1]
            best[self.detections[equal]] = self.objects[equal]
            best_iou[self.detections[starts]] = highest
        return best, best_iou

    def _match_coco(
        self, threshold: float, ignored: np.ndarray, difficult: np.ndarray
    ) -> np.ndarray:
        """Give each detection, by descending score, the best object that is not matched yet.

        All detections are matched at once by deferred acceptance (Gale and Shapley, 1962): each
        one proposes to the best object that has not refused it, and an object keeps the proposal
        with the highest score. As all objects rank the detections alike, this ends in the same
        pairs as matching them one after the other.
        """
        usable = np.flatnonzero(fits(self.iou, "coco", threshold))
        detections, objects = self.detections[usable], self.objects[usable]
        # Objects that count come first; of equal IoUs COCO's code takes the last.
        order = np.lexsort((-objects, -self.iou[usable], ignored[objects], detections))
        detections, objects = detections[order], objects[order]
        # Each detection's candidates are objects[candidate:end], in order of preference.
        candidate = np.searchsorted(detections, np.arange(self.n_detections))
        end = np.searchsorted(detections, np.arange(self.n_detections), "right")
        matched = np.full(self.n_detections, -1)
        owner = np.full(self.n_objects, self.n_detections)
        proposing = np.flatnonzero(candidate < end)
        while len(proposing):
            wanted = objects[candidate[proposing]]
            shareable = difficult[wanted]
            matched[proposing[shareable]] = wanted[shareable]
            proposing, wanted = proposing[~shareable], wanted[~shareable]
            previous = owner[wanted]
            np.minimum.at(owner, wanted, proposing)
            displaced = previous[(previous < self.n_detections) & (owner[wanted] != previous)]
            refused = np.unique(np.concatenate([proposing[owner[wanted] != proposing], displaced]))
            candidate[refused] += 1
            proposing = refused[candidate[refused] < end[refused]]
        taken = np.flatnonzero(owner < self.n_detections)
        matched[owner[taken]] = taken
        return matched


def best_pairs(i: np.ndarray, j: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Select pairs greedily by descending value, so that each i and each j occurs once.

    Pairs that are the best ones of both their members are taken together, in rounds.

    Args:
        i: ``[P]`` int64, first member of each pair.
        j: ``[P]`` int64, second member.
        value: ``[P]``.

    Returns:
        The first and the second members of the selected pairs.
    """
    order = np.argsort(-value, kind="stable")
    i, j = i[order], j[order]
    selected: list[tuple[np.ndarray, np.ndarray]] = [(i[:0], j[:0])]
    while len(i):
        rank = np.arange(len(i))
        best_of_i, best_of_j = np.full(i.max() + 1, len(i)), np.full(j.max() + 1, len(i))
        best_of_i[i[::-1]] = rank[::-1]
        best_of_j[j[::-1]] = rank[::-1]
        mutual = (best_of_i[i] == rank) & (best_of_j[j] == rank)
        selected.append((i[mutual], j[mutual]))
        remaining = ~(np.isin(i, i[mutual]) | np.isin(j, j[mutual]))
        i, j = i[remaining], j[remaining]
    return tuple(np.concatenate(parts) for parts in zip(*selected, strict=True))

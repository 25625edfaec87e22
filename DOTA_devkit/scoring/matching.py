"""Which detection hits which object, by the rules of VOC and of COCO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat

import numpy as np

from DOTA_devkit.formats import Task1
from DOTA_devkit.polygon import Shapes, grouped_iou, grouped_rectangle_iou
from DOTA_devkit.scoring.truth import Truth


@dataclass(frozen=True)
class ClassDetections:
    """Detections of one class on listed images, by falling score."""

    images: np.ndarray
    scores: np.ndarray
    corners: np.ndarray


def listed_detections(
    detections: Mapping[str, Task1], truth: Truth
) -> tuple[list[ClassDetections], int]:
    """Detections of each class on images of the truth, and how many there are on others."""
    number = {image_id: k for k, image_id in enumerate(truth.image_ids)}
    listed, unlisted = [], 0
    for name in truth.classes:
        found = detections.get(name)
        if found is None or not len(found):
            listed.append(ClassDetections(np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 4, 2))))
            continue
        images = np.fromiter(map(number.get, found.image_ids, repeat(-1)), np.int64, len(found))
        order = np.argsort(-np.asarray(found.scores, np.float64), kind="stable")
        order = order[images[order] >= 0]
        unlisted += len(images) - len(order)
        listed.append(
            ClassDetections(
                images[order],
                np.asarray(found.scores, np.float64)[order],
                np.asarray(found.corners, np.float64).reshape(-1, 4, 2)[order],
            )
        )
    return listed, unlisted


@dataclass(frozen=True)
class OverlapPairs:
    """Overlaps above 0 of detections (by falling score) with objects, by detection, object."""

    found: np.ndarray
    objects: np.ndarray
    iou: np.ndarray
    n_found: int
    n_objects: int

    @staticmethod
    def between(
        found: Shapes | np.ndarray,
        found_images: np.ndarray,
        objects: Shapes | np.ndarray,
        object_images: np.ndarray,
        rectangles: bool,
    ) -> OverlapPairs:
        overlaps = grouped_rectangle_iou if rectangles else grouped_iou
        pairs = overlaps(found, objects, found_images, object_images)
        return OverlapPairs(*pairs, len(found_images), len(object_images))

    def match(
        self, metric: str, threshold: float, ignored: np.ndarray, difficult: np.ndarray
    ) -> np.ndarray:
        """The object that each detection hits, ``[n_found]``, -1 for those that miss.

        Args:
            metric: whose rules.
            threshold: of the IoU.
            ignored: ``[n_objects]``, objects that count neither way.
            difficult: ``[n_objects]``, those of them that any number of detections may hit.
        """
        if metric == "coco":
            return self._match_coco(threshold, ignored, difficult)
        return self._match_voc(threshold, ignored)

    def _match_voc(self, threshold: float, ignored: np.ndarray) -> np.ndarray:
        best, best_iou = self._best
        claims = np.flatnonzero(best_iou > threshold)
        objects = best[claims]
        first = np.full(self.n_objects, -1)
        # Backwards, so that the best score writes last.
        first[objects[::-1]] = claims[::-1]
        hit = ignored[objects] | (first[objects] == claims)
        matched = np.full(self.n_found, -1)
        matched[claims[hit]] = objects[hit]
        return matched

    @cached_property
    def _best(self) -> tuple[np.ndarray, np.ndarray]:
        """The object that each detection overlaps most, of equals the first, and the IoU."""
        best, best_iou = np.full(self.n_found, -1), np.zeros(self.n_found)
        if len(self.found):
            starts = np.flatnonzero(np.diff(self.found, prepend=-1))
            highest = np.maximum.reduceat(self.iou, starts)
            lengths = np.diff(starts, append=len(self.found))
            equal = np.flatnonzero(self.iou == np.repeat(highest, lengths))[::-1]
            best[self.found[equal]] = self.objects[equal]
            best_iou[self.found[starts]] = highest
        return best, best_iou

    def _match_coco(
        self, threshold: float, ignored: np.ndarray, difficult: np.ndarray
    ) -> np.ndarray:
        """Each detection, by falling score, takes the best object that is still free.

        Done for all at once: each asks for the best that has not refused it, and an object keeps
        the best score that asked. As all objects prefer the same order, this ends in the same
        pairs as one after the other.
        """
        usable = np.flatnonzero(self.iou >= min(threshold, 1 - 1e-10))
        found, objects, iou = self.found[usable], self.objects[usable], self.iou[usable]
        # Objects that count come first; of equal overlaps COCO's code takes the last.
        order = np.lexsort((-objects, -iou, ignored[objects], found))
        found, objects = found[order], objects[order]
        wish = np.searchsorted(found, np.arange(self.n_found))
        end = np.searchsorted(found, np.arange(self.n_found), "right")
        matched = np.full(self.n_found, -1)
        owner = np.full(self.n_objects, self.n_found)
        asking = np.flatnonzero(wish < end)
        while len(asking):
            wanted = objects[wish[asking]]
            free = difficult[wanted]
            matched[asking[free]] = wanted[free]
            asking, wanted = asking[~free], wanted[~free]
            before = owner[wanted]
            np.minimum.at(owner, wanted, asking)
            displaced = before[(before < self.n_found) & (owner[wanted] != before)]
            refused = np.unique(np.concatenate([asking[owner[wanted] != asking], displaced]))
            wish[refused] += 1
            asking = refused[wish[refused] < end[refused]]
        taken = np.flatnonzero(owner < self.n_found)
        matched[owner[taken]] = taken
        return matched


def best_pairs(i: np.ndarray, j: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs by falling value, each i and each j once: those best for both are taken in rounds."""
    order = np.argsort(-value, kind="stable")
    i, j = i[order], j[order]
    taken: list[tuple[np.ndarray, np.ndarray]] = [(i[:0], j[:0])]
    while len(i):
        rank = np.arange(len(i))
        best_of_i, best_of_j = np.full(i.max() + 1, len(i)), np.full(j.max() + 1, len(i))
        best_of_i[i[::-1]] = rank[::-1]
        best_of_j[j[::-1]] = rank[::-1]
        mutual = (best_of_i[i] == rank) & (best_of_j[j] == rank)
        taken.append((i[mutual], j[mutual]))
        left = ~(np.isin(i, i[mutual]) | np.isin(j, j[mutual]))
        i, j = i[left], j[left]
    return tuple(np.concatenate(parts) for parts in zip(*taken, strict=True))

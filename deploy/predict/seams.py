"""One set of detections per image, out of those of its windows.

What is cut ranks behind what is whole. Of what is cut the larger ranks first, because it shows more
of its object, and the smallest scale shows most. So, one after the other:

1. A cut box is dropped in favor of a whole one that contains most of it.
2. What is left of the cut boxes are pieces of objects that no window saw whole. The largest piece
   takes up the pieces in line with it, which lie end to end and share the overlap of the windows,
   and the rectangle around them replaces them. A piece that is not in line, such as the corner of a
   thick object, is not taken up, but dropped if most of it lies in that rectangle. Then the largest
   of the remaining pieces is next.
3. NMS by overlap, within each class, and between classes if that is asked for.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from shapely import get_coordinates
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from deploy.predict.journal import CORNERS, CUT, LABEL, POSITION, SCORE, BatchResult
from deploy.predict.plan import WindowJob
from deploy.predict.windows import WindowDetections
from DOTA_devkit.polygon import grouped_iou, iou_matrix, polygon_area, polygon_nms
from structures.boxes import min_area_rectangles
from structures.detections import Detections


@dataclass(frozen=True)
class SeamRule:
    """When a cut box is dropped or joined with another.

    Attributes:
        contained_share: Share of a cut box's area that must lie in another box for it to be
            dropped. What a window shows of an object fills at least half of the box around it, a
            corner of one just half. So this is a half, less the error of the corners.
        min_relative_score: A box is not dropped in favor of one whose score is less than this part
            of its own.
        shared_share: Two pieces of one object share at least this part of the smaller one's area,
            because their windows overlap.
        max_area_ratio: The rectangle around pieces of one object is at most this many times as
            large as the pieces: they lie in line, which neighboring objects and the boxes around
            corners need not.
    """

    contained_share: float = 0.4
    min_relative_score: float = 0.5
    shared_share: float = 0.15
    max_area_ratio: float = 1.15


RULE = SeamRule()


@dataclass(frozen=True)
class CollectedWindows:
    """The detections of all windows, by image.

    Attributes:
        by_source: Source number -> detections of its windows, in the order of the windows.
        faults: Source number -> why its image could not be read; such a source is not in
            `by_source`.
        without_data: Number of windows that hold no data.
    """

    by_source: dict[int, list[WindowDetections]]
    faults: dict[int, str]
    without_data: int


def collect_windows(
    results: Mapping[int, BatchResult],
    batches: Sequence[Sequence[WindowJob]],
    names: tuple[str, ...],
) -> CollectedWindows:
    """Sort the results of all batches by image and window.

    Args:
        results: Number of the batch -> its result.
        batches: All batches of the plan.
        names: Class names in the order of the labels.
    """
    by_source: dict[int, list[WindowDetections]] = defaultdict(list)
    faults: dict[int, str] = {}
    for number in sorted(results):
        result = results[number]
        faults |= result.faults
        for position, job in enumerate(batches[number]):
            rows = result.rows[result.rows[:, POSITION] == position]
            found = Detections(
                rows[:, CORNERS].reshape(-1, 4, 2),
                rows[:, SCORE],
                rows[:, LABEL].astype(np.int64),
                names,
                position not in result.incomplete,
            )
            by_source[job.source].append(WindowDetections(found, rows[:, CUT] > 0))
    for source in faults:
        by_source.pop(source, None)
    return CollectedWindows(
        by_source, faults, sum(result.without_data for result in results.values())
    )


def merge_windows(
    windows: Sequence[tuple[Detections, np.ndarray]],
    nms_thresh: float,
    agnostic_nms_thresh: float | None = None,
) -> Detections:
    """Merge the detections of an image's windows so that each object comes out once.

    Args:
        windows: Detections in source pixels and [N] bool, which of them are cut, in the order of
            the windows (see `WindowDetections`). The result depends on nothing else.
        nms_thresh: IoU above which NMS suppresses, within each class.
        agnostic_nms_thresh: IoU above which it then suppresses boxes of other classes as well, None
            for none.

    Returns:
        Detections in source pixels, by descending score.
    """
    if not windows:
        return Detections()
    found = Detections(
        np.concatenate([detections.corners for detections, _ in windows]),
        np.concatenate([detections.scores for detections, _ in windows]),
        np.concatenate([detections.labels for detections, _ in windows]),
        windows[0][0].names,
        all(detections.complete for detections, _ in windows),
    )
    cut = np.concatenate([window_cut for _, window_cut in windows])
    stays = ~_contained_in_whole(found, cut)
    found, cut = _join_pieces(found[stays], cut[stays])
    # Cut boxes rank below 0, behind all that are whole, and among themselves by area and score.
    extent = polygon_area(found.corners) * found.scores
    rank = np.where(cut, extent - extent.max(initial=0) - 1, found.scores)
    index = polygon_nms(found.corners, rank, nms_thresh, labels=found.labels)
    if agnostic_nms_thresh is not None:
        # A whole box of another class replaces a cut one, but not if its score is much lower.
        weighed = np.where(cut, RULE.min_relative_score, 1) * found.scores
        index = index[polygon_nms(found.corners[index], weighed[index], agnostic_nms_thresh)]
    kept = found[index]
    return kept[np.argsort(-kept.scores, kind="stable")]


def _contained_in_whole(found: Detections, cut: np.ndarray) -> np.ndarray:
    """Return [N] bool: cut boxes that a whole one of their class replaces."""
    part, whole = np.flatnonzero(cut), np.flatnonzero(~cut)
    contained = np.zeros(len(found), bool)
    if len(part) and len(whole):
        i, j, iou = grouped_iou(
            found.corners[part], found.corners[whole], found.labels[part], found.labels[whole]
        )
        i, j = part[i], whole[j]
        areas, scores = polygon_area(found.corners), found.scores
        contained[i[_is_replaced(iou, areas[i], areas[j], scores[i], scores[j])]] = True
    return contained


def _join_pieces(found: Detections, cut: np.ndarray) -> tuple[Detections, np.ndarray]:
    """Replace the cut boxes of each object by the rectangle around them, with the highest score."""
    part = np.flatnonzero(cut)
    pieces, areas = found[part], polygon_area(found.corners[part])
    near = _overlapping_pieces(pieces, areas)
    stays, corners, scores = np.ones(len(found), bool), found.corners.copy(), found.scores.copy()
    free = np.ones(len(part), bool)
    for first in np.argsort(-areas, kind="stable").tolist():
        if not free[first] or len(near[first]) < 2:
            continue
        group, others, around = _pieces_in_line(first, pieces.corners, areas, near, free)
        head = part[first]
        if len(group) > 1:
            corners[head] = around
            scores[head] = pieces.scores[group].max()
        iou = iou_matrix(corners[head][None], pieces.corners[others])[0]
        area = polygon_area(corners[head][None])
        replaced = _is_replaced(iou, areas[others], area, pieces.scores[others], scores[head])
        taken = [*group, *np.array(others, int)[replaced]]
        free[taken] = False
        stays[part[taken]] = False
        stays[head] = True
    return replace(found, corners=corners, scores=scores)[stays], cut[stays]


def _overlapping_pieces(pieces: Detections, areas: np.ndarray) -> list[list[int]]:
    """Return for each piece those, itself included, that overlap it as pieces of one object do."""
    i, j, iou = grouped_iou(pieces.corners, pieces.corners, pieces.labels, pieces.labels)
    shared = _shared_area(iou, areas[i], areas[j])
    pairs = shared > RULE.shared_share * np.minimum(areas[i], areas[j])
    i, j = i[pairs], j[pairs]
    ends = np.searchsorted(i, np.arange(1, len(pieces)))
    return [some.tolist() for some in np.split(j, ends)]


def _pieces_in_line(
    first: int, corners: np.ndarray, areas: np.ndarray, near: list[list[int]], free: np.ndarray
) -> tuple[list[int], list[int], np.ndarray]:
    """Return the pieces in line with `first`, those beside them, and the rectangle of the former.

    Free pieces are tried from neighbor to neighbor, the largest first.
    """
    group, others, seen, waiting = [], [], {first}, [(0.0, first)]
    covered = Polygon()
    while waiting:
        _, piece = heapq.heappop(waiting)
        together = covered.union(Polygon(corners[piece].astype(np.float64)).convex_hull)
        rectangle = _min_rectangle(together)
        if group and polygon_area(rectangle[None])[0] > RULE.max_area_ratio * together.area:
            others.append(piece)
            continue
        covered, around = together, rectangle
        group.append(piece)
        for neighbor in near[piece]:
            if free[neighbor] and neighbor not in seen:
                seen.add(neighbor)
                heapq.heappush(waiting, (-areas[neighbor], neighbor))
    return group, others, around


def _min_rectangle(shape: BaseGeometry) -> np.ndarray:
    """Return the corners [4, 2] of the smallest rectangle around a shape."""
    return min_area_rectangles(get_coordinates(shape.convex_hull)[None])[0]


def _is_replaced(
    iou: np.ndarray,
    area: np.ndarray,
    other_area: np.ndarray,
    score: np.ndarray,
    other_score: np.ndarray,
) -> np.ndarray:
    """Return whether most of a box lies in another one whose score is not much lower."""
    contained = _shared_area(iou, area, other_area) > RULE.contained_share * area
    return contained & (other_score >= RULE.min_relative_score * score)


def _shared_area(iou: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the area of the intersection of two shapes of the areas a and b."""
    return iou / (1 + iou) * (a + b)

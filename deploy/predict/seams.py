"""One set of detections of an image out of those of its windows."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from shapely import get_coordinates
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from DOTA_devkit.polygon import grouped_iou, iou_matrix, polygon_area, polygon_nms
from structures.boxes import min_area_rectangles
from structures.detections import Detections

MOSTLY = 0.4
"""The share of a cut box that must lie in another for it to give way. What a window shows of an
object fills half of the box around it or more, a corner just half: so this is half less the error
of the corners."""


AS_SURE = 0.5
"""It does not give way to one whose score is less than this part of its own."""


SHARED = 0.15
"""Two pieces of one object share at least this part of the smaller: they overlap as windows do."""


STRAIGHT = 1.15
"""The rectangle around the pieces of one object is at most so many times as large as they are:
pieces lie in line, neighbours and the boxes around corners need not."""


def merge(parts: Sequence[tuple[Detections, np.ndarray]], nms_thresh: float) -> Detections:
    """The detections of all windows of an image -> each object once, by falling score.

    parts: detections in source pixels and which of them are cut, in the order of the windows;
        the result depends on nothing else.
    """
    if not parts:
        return Detections()
    found = Detections(
        np.concatenate([detections.corners for detections, _ in parts]),
        np.concatenate([detections.scores for detections, _ in parts]),
        np.concatenate([detections.labels for detections, _ in parts]),
        parts[0][0].names,
        all(detections.complete for detections, _ in parts),
    )
    cut = np.concatenate([part_cut for _, part_cut in parts])
    stays = ~_contained_in_whole(found, cut)
    found, cut = _joined_pieces(found[stays], cut[stays])
    # below 0 for all that is cut: behind all that is whole, and what is large and sure first
    extent = polygon_area(found.corners) * found.scores
    rank = np.where(cut, extent - extent.max(initial=0) - 1, found.scores)
    kept = found[polygon_nms(found.corners, rank, nms_thresh, labels=found.labels)]
    return kept[np.argsort(-kept.scores, kind="stable")]


def _contained_in_whole(found: Detections, cut: np.ndarray) -> np.ndarray:
    """[N] bool: cut boxes of which most lies in a whole one of their class, as sure or nearly."""
    part, whole = np.flatnonzero(cut), np.flatnonzero(~cut)
    contained = np.zeros(len(found), bool)
    if len(part) and len(whole):
        i, j, iou = grouped_iou(
            found.corners[part], found.corners[whole], found.labels[part], found.labels[whole]
        )
        i, j = part[i], whole[j]
        areas, scores = polygon_area(found.corners), found.scores
        contained[i[_gives_way(iou, areas[i], areas[j], scores[i], scores[j])]] = True
    return contained


def _joined_pieces(found: Detections, cut: np.ndarray) -> tuple[Detections, np.ndarray]:
    """Cut boxes of one object replaced by the rectangle around them, as sure as the surest."""
    part = np.flatnonzero(cut)
    pieces, areas = found[part], polygon_area(found.corners[part])
    near = _sharing(pieces, areas)
    stays, corners, scores = np.ones(len(found), bool), found.corners.copy(), found.scores.copy()
    free = np.ones(len(part), bool)
    for first in np.argsort(-areas, kind="stable").tolist():
        if not free[first] or len(near[first]) < 2:
            continue
        group, others, around = _in_line(first, pieces.corners, areas, near, free)
        head = part[first]
        if len(group) > 1:
            corners[head] = around
            scores[head] = pieces.scores[group].max()
        iou = iou_matrix(corners[head][None], pieces.corners[others])[0]
        area = polygon_area(corners[head][None])
        gone = _gives_way(iou, areas[others], area, pieces.scores[others], scores[head])
        taken = [*group, *np.array(others, int)[gone]]
        free[taken] = False
        stays[part[taken]] = False
        stays[head] = True
    return replace(found, corners=corners, scores=scores)[stays], cut[stays]


def _sharing(pieces: Detections, areas: np.ndarray) -> list[list[int]]:
    """Of each piece those, itself included, that overlap it as pieces of one object do."""
    i, j, iou = grouped_iou(pieces.corners, pieces.corners, pieces.labels, pieces.labels)
    pairs = _shared_area(iou, areas[i], areas[j]) > SHARED * np.minimum(areas[i], areas[j])
    i, j = i[pairs], j[pairs]
    ends = np.searchsorted(i, np.arange(1, len(pieces)))
    return [some.tolist() for some in np.split(j, ends)]


def _in_line(
    first: int, corners: np.ndarray, areas: np.ndarray, near: list[list[int]], free: np.ndarray
) -> tuple[list[int], list[int], np.ndarray]:
    """The pieces in line with `first`, those beside them, and the rectangle around the former.

    Free ones are tried from neighbour to neighbour, the largest first.
    """
    group, others, seen, waiting = [], [], {first}, [(0.0, first)]
    covered = Polygon()
    while waiting:
        _, piece = heapq.heappop(waiting)
        together = covered.union(Polygon(corners[piece].astype(np.float64)).convex_hull)
        rectangle = _around(together)
        if group and polygon_area(rectangle[None])[0] > STRAIGHT * together.area:
            others.append(piece)
            continue
        covered, around = together, rectangle
        group.append(piece)
        for neighbour in near[piece]:
            if free[neighbour] and neighbour not in seen:
                seen.add(neighbour)
                heapq.heappush(waiting, (-areas[neighbour], neighbour))
    return group, others, around


def _around(shape: BaseGeometry) -> np.ndarray:
    """Corners [4, 2] of the smallest rectangle around a shape."""
    return min_area_rectangles(get_coordinates(shape.convex_hull)[None])[0]


def _gives_way(
    iou: np.ndarray,
    area: np.ndarray,
    other_area: np.ndarray,
    score: np.ndarray,
    other_score: np.ndarray,
) -> np.ndarray:
    """Whether most of a box lies in another that is as sure or nearly."""
    most = _shared_area(iou, area, other_area) > MOSTLY * area
    return most & (other_score >= AS_SURE * score)


def _shared_area(iou: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The area that two shapes of the areas a and b share."""
    return iou / (1 + iou) * (a + b)

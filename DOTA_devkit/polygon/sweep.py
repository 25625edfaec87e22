"""Pairs of rectangles that meet, found by a sweep instead of by comparing each with each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Boxes worked on at once where they fall into groups or pairs that have nothing in common.
BATCH = 1 << 16


# The sweep cuts the plane into strips where it would look at more neighbours than this a box.
MANY_CANDIDATES = 24


def meeting_pairs(
    a: np.ndarray,
    b: np.ndarray | None = None,
    groups_a: np.ndarray | None = None,
    groups_b: np.ndarray | None = None,
    at_once: int = 1 << 17,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of axis-aligned rectangles that share area, found by a sweep along x.

    Args:
        a, b: ``[N, 4]`` and ``[M, 4]`` (xmin, ymin, xmax, ymax). Without ``b``: the pairs within
            ``a``, each once.
        groups_a, groups_b: ``[N]`` and ``[M]`` whole numbers; only those of one group meet.
        at_once: about how many candidates are looked at, and held in memory, together.

    Yields:
        ``(i, j)``: indices into ``a`` and into ``b``, a chunk of pairs at a time, in no order.
    """
    alone = b is None
    a, b = np.asarray(a, np.float64), a if alone else np.asarray(b, np.float64)
    groups_a = np.zeros(len(a), np.int64) if groups_a is None else np.asarray(groups_a, np.int64)
    if alone:
        groups_b = groups_a
    elif groups_b is None:
        groups_b = np.zeros(len(b), np.int64)
    for rows_a, rows_b in group_batches(groups_a, None if alone else groups_b):
        part_a, lane_a = a[rows_a], groups_a[rows_a]
        part_b, lane_b = (part_a, lane_a) if alone else (b[rows_b], groups_b[rows_b])
        for i, j in _sweep_pairs(part_a, part_b, lane_a, lane_b, at_once):
            yield rows_a[i], rows_b[j]


def group_batches(
    a: np.ndarray, b: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut rows into batches of whole groups, so that the work on one fits the cache.

    Args:
        a, b: ``[N]`` and ``[M]`` group numbers. Without ``b`` the rows of ``a`` come twice.

    Yields:
        Rows of ``a`` and of ``b``, about `BATCH` together, each by group and then as they were.
    """
    alone = b is None
    b = a if alone else b
    if len(a) + len(b) <= BATCH:
        yield np.arange(len(a)), np.arange(len(b))
        return
    order_a = np.argsort(a, kind="stable")
    order_b = order_a if alone else np.argsort(b, kind="stable")
    sorted_a, sorted_b = a[order_a], b[order_b]
    groups = np.unique(sorted_a if alone else np.concatenate([sorted_a, sorted_b]))
    ends_a = np.searchsorted(sorted_a, groups, "right")
    ends_b = np.searchsorted(sorted_b, groups, "right")
    ends = ends_a + ends_b
    first_a = first_b = group = 0
    while group < len(groups):
        done = first_a + first_b
        # At least one group, however large.
        group = max(int(np.searchsorted(ends, done + BATCH, "right")), group + 1)
        last_a, last_b = ends_a[group - 1], ends_b[group - 1]
        yield order_a[first_a:last_a], order_b[first_b:last_b]
        first_a, first_b = last_a, last_b


def _sweep_pairs(
    a: np.ndarray, b: np.ndarray, groups_a: np.ndarray, groups_b: np.ndarray, at_once: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`meeting_pairs` of one batch; ``b`` is ``a`` where the pairs within it are asked for."""
    if len(a) == 0 or len(b) == 0:
        return
    frame = _Frame.around(a, b)
    lanes_a = frame.lanes(a, groups_a)
    lanes_b = lanes_a if b is a else frame.lanes(b, groups_b)
    sweeps = list(_sweeps(lanes_a, lanes_b))
    candidates = sum(int(np.sum(last - first)) for _, _, first, last in sweeps)
    if candidates > MANY_CANDIDATES * max(len(a) + len(b), 512):
        lanes_a = frame.lanes(a, groups_a, cut=True)
        lanes_b = lanes_a if b is a else frame.lanes(b, groups_b, cut=True)
        sweeps = _sweeps(lanes_a, lanes_b)
    for near, far, first, last in sweeps:
        for i, j in _expand(first, last, at_once):
            i, j = near.meeting(i, far, j)
            i, j = near.index[i], far.index[j]
            yield (i, j) if near is lanes_a else (j, i)


class _Frame:
    """The extent of everything that takes part in a sweep: the common scale of its sort keys."""

    def __init__(self, left: float, top: float, width: float, strip: float) -> None:
        self.left, self.top, self.width, self.strip = left, top, width, strip

    @staticmethod
    def around(a: np.ndarray, b: np.ndarray) -> _Frame:
        left, top = np.minimum(a[:, :2].min(axis=0), b[:, :2].min(axis=0))
        right, bottom = np.maximum(a[:, 2:].max(axis=0), b[:, 2:].max(axis=0))
        # As high as the mean, so that a rectangle lies in two strips on average.
        strip = max((a[:, 3] - a[:, 1]).mean(), (b[:, 3] - b[:, 1]).mean(), (bottom - top) / 1e6)
        return _Frame(left, top, right - left + 1.0, strip or 1.0)

    def lanes(self, rectangles: np.ndarray, groups: np.ndarray, cut: bool = False) -> _Lanes:
        """Sort by lane and left side; a lane is a group or, where cut, one strip of a group."""
        index = np.arange(len(rectangles))
        lane = first_lane = groups
        if cut:
            first, last = ((rectangles[:, [1, 3]] - self.top) // self.strip).T.astype(np.int64)
            count = last - first + 1
            index = np.repeat(index, count)
            within = np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count)
            first_lane = (groups * 2_000_000 + first)[index]
            lane = first_lane + within
        left, top, right, bottom = rectangles.T[:, index]
        # Rounding of the keys can only add candidates: it keeps their order.
        start = lane * self.width
        key = start + (left - self.left)
        order = np.argsort(key, kind="stable")
        return _Lanes(
            index=index[order],
            key=key[order],
            end=(start + (right - self.left))[order],
            lane=lane[order],
            first_lane=first_lane[order],
            left=left[order],
            top=top[order],
            right=right[order],
            bottom=bottom[order],
        )


@dataclass(frozen=True)
class _Lanes:
    """Rectangles sorted by lane and left side, each in every lane that it lies in."""

    index: np.ndarray
    key: np.ndarray
    end: np.ndarray
    lane: np.ndarray
    first_lane: np.ndarray
    left: np.ndarray
    top: np.ndarray
    right: np.ndarray
    bottom: np.ndarray

    def meeting(self, i: np.ndarray, other: _Lanes, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of the pairs that share area, in the first of the lanes that they share."""
        height = np.minimum(self.bottom[i], other.bottom[j])
        meet = np.flatnonzero(height > np.maximum(self.top[i], other.top[j]))
        i, j = i[meet], j[meet]
        lane = self.lane[i]
        meet = (
            (np.minimum(self.right[i], other.right[j]) > np.maximum(self.left[i], other.left[j]))
            & (lane == other.lane[j])
            & (lane == np.maximum(self.first_lane[i], other.first_lane[j]))
        )
        return i[meet], j[meet]


def _sweeps(a: _Lanes, b: _Lanes) -> Iterator[tuple[_Lanes, _Lanes, np.ndarray, np.ndarray]]:
    """For each of ``near`` the range [first, last) of ``far`` that begins while it lasts."""
    if a is b:
        yield a, a, np.arange(1, len(a.key) + 1), np.searchsorted(a.key, a.end, "right")
        return
    yield a, b, np.searchsorted(b.key, a.key, "left"), np.searchsorted(b.key, a.end, "right")
    # What begins at the same place was found above.
    yield b, a, np.searchsorted(a.key, b.key, "right"), np.searchsorted(a.key, b.end, "right")


def _expand(
    first: np.ndarray, last: np.ndarray, at_once: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Write the ranges [first, last) out as pairs (row, member), about ``at_once`` together."""
    count = np.maximum(last - first, 0)
    ends = np.cumsum(count)
    start = 0
    while start < len(count):
        done = ends[start] - count[start]
        stop = max(int(np.searchsorted(ends, done + at_once, "right")), start + 1)
        n = count[start:stop]
        i = np.repeat(np.arange(start, stop), n)
        j = np.arange(done, done + len(i)) + np.repeat(first[start:stop] - ends[start:stop] + n, n)
        start = stop
        if len(i):
            yield i, j

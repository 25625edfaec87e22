"""Pairs of overlapping rectangles, found by a sweep line instead of comparing all pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Rows per batch where boxes fall into independent groups or pairs.
ROWS_PER_BATCH = 1 << 16

# The sweep divides the plane into strips if it would otherwise check more candidates than this
# per box.
MAX_CANDIDATES_PER_BOX = 24

# Larger than the number of strips, which `_SweepFrame` limits to about a million.
_LANES_PER_GROUP = 2_000_000


def overlapping_pairs(
    a: np.ndarray,
    b: np.ndarray | None = None,
    groups_a: np.ndarray | None = None,
    groups_b: np.ndarray | None = None,
    max_candidates: int = 1 << 17,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Find the pairs of axis-aligned rectangles that share area, by a sweep along x.

    Args:
        a: ``[N, 4]`` (xmin, ymin, xmax, ymax).
        b: ``[M, 4]``. None: the pairs within ``a``, each once.
        groups_a: ``[N]`` integers; only rectangles of the same group are paired. None: one group.
        groups_b: ``[M]`` integers.
        max_candidates: about how many candidate pairs are checked, and held in memory, at a time.

    Yields:
        ``(i, j)``: indices into ``a`` and into ``b``, a chunk of pairs at a time, in no
        particular order.
    """
    within_a = b is None
    a, b = np.asarray(a, np.float64), a if within_a else np.asarray(b, np.float64)
    groups_a = np.zeros(len(a), np.int64) if groups_a is None else np.asarray(groups_a, np.int64)
    if within_a:
        groups_b = groups_a
    elif groups_b is None:
        groups_b = np.zeros(len(b), np.int64)
    for rows_a, rows_b in group_batches(groups_a, None if within_a else groups_b):
        part_a, group_a = a[rows_a], groups_a[rows_a]
        part_b, group_b = (part_a, group_a) if within_a else (b[rows_b], groups_b[rows_b])
        for i, j in _sweep_pairs(part_a, part_b, group_a, group_b, max_candidates):
            yield rows_a[i], rows_b[j]


def group_batches(
    a: np.ndarray, b: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Divide rows into batches of whole groups, so that the work on one batch fits the cache.

    Args:
        a: ``[N]`` group numbers.
        b: ``[M]`` group numbers. None: the rows of ``a`` are returned twice.

    Yields:
        Rows of ``a`` and of ``b``, about `ROWS_PER_BATCH` together, sorted by group and
        otherwise in their original order.
    """
    within_a = b is None
    b = a if within_a else b
    if len(a) + len(b) <= ROWS_PER_BATCH:
        yield np.arange(len(a)), np.arange(len(b))
        return
    order_a = np.argsort(a, kind="stable")
    order_b = order_a if within_a else np.argsort(b, kind="stable")
    sorted_a, sorted_b = a[order_a], b[order_b]
    groups = np.unique(sorted_a if within_a else np.concatenate([sorted_a, sorted_b]))
    ends_a = np.searchsorted(sorted_a, groups, "right")
    ends_b = np.searchsorted(sorted_b, groups, "right")
    ends = ends_a + ends_b
    first_a = first_b = group = 0
    while group < len(groups):
        done = first_a + first_b
        # At least one group, however large.
        group = max(int(np.searchsorted(ends, done + ROWS_PER_BATCH, "right")), group + 1)
        last_a, last_b = ends_a[group - 1], ends_b[group - 1]
        yield order_a[first_a:last_a], order_b[first_b:last_b]
        first_a, first_b = last_a, last_b


def _sweep_pairs(
    a: np.ndarray, b: np.ndarray, groups_a: np.ndarray, groups_b: np.ndarray, max_candidates: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`overlapping_pairs` of one batch; ``b is a`` asks for the pairs within ``a``."""
    if len(a) == 0 or len(b) == 0:
        return
    frame = _SweepFrame.around(a, b)
    lanes_a = frame.lanes(a, groups_a)
    lanes_b = lanes_a if b is a else frame.lanes(b, groups_b)
    sweeps = list(_sweeps(lanes_a, lanes_b))
    candidates = sum(int(np.sum(last - first)) for _, _, first, last in sweeps)
    if candidates > MAX_CANDIDATES_PER_BOX * max(len(a) + len(b), 512):
        lanes_a = frame.lanes(a, groups_a, use_strips=True)
        lanes_b = lanes_a if b is a else frame.lanes(b, groups_b, use_strips=True)
        sweeps = _sweeps(lanes_a, lanes_b)
    for current, other, first, last in sweeps:
        for i, j in _expand(first, last, max_candidates):
            i, j = current.overlapping(i, other, j)
            i, j = current.index[i], other.index[j]
            yield (i, j) if current is lanes_a else (j, i)


class _SweepFrame:
    """The common scale of the sort keys of a sweep.

    Attributes:
        left: smallest x of all rectangles.
        top: smallest y.
        width: length of a lane along x, larger than the extent of all rectangles.
        strip: height of a strip.
    """

    def __init__(self, left: float, top: float, width: float, strip: float) -> None:
        self.left, self.top, self.width, self.strip = left, top, width, strip

    @staticmethod
    def around(a: np.ndarray, b: np.ndarray) -> _SweepFrame:
        """Fit the frame to two sets of rectangles."""
        left, top = np.minimum(a[:, :2].min(axis=0), b[:, :2].min(axis=0))
        right, bottom = np.maximum(a[:, 2:].max(axis=0), b[:, 2:].max(axis=0))
        # The mean height, so that a rectangle lies in two strips on average.
        strip = max((a[:, 3] - a[:, 1]).mean(), (b[:, 3] - b[:, 1]).mean(), (bottom - top) / 1e6)
        return _SweepFrame(left, top, right - left + 1.0, strip or 1.0)

    def lanes(self, rectangles: np.ndarray, groups: np.ndarray, use_strips: bool = False) -> _Lanes:
        """Sort by lane and left side; a lane is a group, or one strip of a group."""
        index = np.arange(len(rectangles))
        lane = first_lane = groups
        if use_strips:
            first, last = ((rectangles[:, [1, 3]] - self.top) // self.strip).T.astype(np.int64)
            count = last - first + 1
            index = np.repeat(index, count)
            within = np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count)
            first_lane = (groups * _LANES_PER_GROUP + first)[index]
            lane = first_lane + within
        left, top, right, bottom = rectangles.T[:, index]
        # Rounding of the keys preserves their order, so it can only add candidates.
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
    """Rectangles sorted by lane and left side, each repeated in every lane it lies in.

    Attributes:
        index: ``[L]``, original row number.
        key: ``[L]``, sort key: lane and left side.
        end: ``[L]``, the key at the right side.
        lane: ``[L]``.
        first_lane: ``[L]``, the first lane of the same rectangle.
        left: ``[L]``, xmin.
        top: ``[L]``, ymin.
        right: ``[L]``, xmax.
        bottom: ``[L]``, ymax.
    """

    index: np.ndarray
    key: np.ndarray
    end: np.ndarray
    lane: np.ndarray
    first_lane: np.ndarray
    left: np.ndarray
    top: np.ndarray
    right: np.ndarray
    bottom: np.ndarray

    def overlapping(
        self, i: np.ndarray, other: _Lanes, j: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Keep the pairs that share area, each only in the first lane they have in common."""
        bottom = np.minimum(self.bottom[i], other.bottom[j])
        kept = np.flatnonzero(bottom > np.maximum(self.top[i], other.top[j]))
        i, j = i[kept], j[kept]
        lane = self.lane[i]
        kept = (
            (np.minimum(self.right[i], other.right[j]) > np.maximum(self.left[i], other.left[j]))
            & (lane == other.lane[j])
            & (lane == np.maximum(self.first_lane[i], other.first_lane[j]))
        )
        return i[kept], j[kept]


def _sweeps(a: _Lanes, b: _Lanes) -> Iterator[tuple[_Lanes, _Lanes, np.ndarray, np.ndarray]]:
    """Yield (current, other, first, last).

    For each row of ``current``, [first, last) is the range of rows of ``other`` whose left side
    lies between its left and right side.
    """
    if a is b:
        yield a, a, np.arange(1, len(a.key) + 1), np.searchsorted(a.key, a.end, "right")
        return
    yield a, b, np.searchsorted(b.key, a.key, "left"), np.searchsorted(b.key, a.end, "right")
    # Pairs with the same left side were found above.
    yield b, a, np.searchsorted(a.key, b.key, "right"), np.searchsorted(a.key, b.end, "right")


def _expand(
    first: np.ndarray, last: np.ndarray, max_candidates: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Expand the ranges [first, last) to pairs (row, member), a chunk at a time."""
    count = np.maximum(last - first, 0)
    ends = np.cumsum(count)
    start = 0
    while start < len(count):
        done = ends[start] - count[start]
        stop = max(int(np.searchsorted(ends, done + max_candidates, "right")), start + 1)
        n = count[start:stop]
        i = np.repeat(np.arange(start, stop), n)
        j = np.arange(done, done + len(i)) + np.repeat(first[start:stop] - ends[start:stop] + n, n)
        start = stop
        if len(i):
            yield i, j

"""Exact overlap of quadrilaterals, and the non-maximum suppression that stands on it.

Every function works on whole arrays: corners ``[N, 4, 2]`` (x, y) in either turning direction.
A quadrilateral may be convex, concave or self-crossing (then the points inside by the even-odd
rule count: both wings of a bow-tie). Everything is computed in float64 about a local origin, so
that coordinates of a million are as good as small ones.

The intersection of two convex polygons has the boundary (edges of A inside B) + (edges of B
inside A). By Green's theorem its area is the sum over those pieces of half the cross product of
their ends, and a piece that covers the share t of the edge p -> q contributes
t * cross(p, q) / 2. The shares need no sorting of corners and no branches, only minima and
maxima, which is what makes a million pairs in about a second possible in numpy. The formula
fails where an edge of A lies on an edge of B, as both would count: those few pairs are clipped
corner by corner instead (Sutherland and Hodgman, 1974).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

# Pairs worked on at once, so that the temporaries (some six arrays of 20 x CHUNK floats) stay
# in the second-level cache.
CHUNK = 512

# Boxes worked on at once where they fall into groups or pairs that have nothing in common.
BATCH = 1 << 16

# An edge whose two ends are nearer to a line than this, in units of the pair's extent, counts as
# lying on it. The shares of all other edges are good to some 1e-16 / ON_LINE.
ON_LINE = 1e-7

# A polygon with less area than this, in units of its squared extent, has none.
FLAT = 1e-14

# Rounds of parallel suppression before the pairs that are left are walked through one by one.
MAX_ROUNDS = 16

# The sweep cuts the plane into strips where it would look at more neighbours than this a box.
MANY_CANDIDATES = 24

_NEXT, _BEFORE = [1, 2, 3, 0], [3, 0, 1, 2]
_TINY = np.finfo(np.float64).tiny


def polygon_area(corners: np.ndarray | Shapes) -> np.ndarray:
    """Area of each quadrilateral.

    Args:
        corners: ``[N, 4, 2]``, of any shape and turning direction.

    Returns:
        ``[N]`` float64, never negative. Of a self-crossing one both wings count.
    """
    return _as_shapes(corners).area


def paired_iou(a: np.ndarray | Shapes, b: np.ndarray | Shapes) -> np.ndarray:
    """IoU of a[0] with b[0], of a[1] with b[1] and so on.

    Args:
        a, b: ``[N, 4, 2]``.

    Returns:
        ``[N]`` float64 in [0, 1]; 0 where one of the two has no area.
    """
    if len(a) != len(b):
        raise ValueError(f"rows are paired one to one, but {len(a)} came with {len(b)}")
    if len(a) > BATCH and not isinstance(a, Shapes) and not isinstance(b, Shapes):
        slices = [slice(start, start + BATCH) for start in range(0, len(a), BATCH)]
        return np.concatenate([paired_iou(a[rows], b[rows]) for rows in slices])
    a, b = _as_shapes(a), _as_shapes(b)
    iou = np.zeros(len(a))
    meet = np.flatnonzero(_shared_area(a.rectangles, b.rectangles) > 0)
    iou[meet] = a.iou(meet, meet, b)
    return iou


def iou_matrix(a: np.ndarray | Shapes, b: np.ndarray | Shapes) -> np.ndarray:
    """IoU of each of ``a`` with each of ``b``; only those whose rectangles meet are computed.

    Args:
        a: ``[N, 4, 2]``.
        b: ``[M, 4, 2]``.

    Returns:
        ``[N, M]`` float64.
    """
    a, b = _as_shapes(a), _as_shapes(b)
    iou = np.zeros((len(a), len(b)))
    for i, j in meeting_pairs(a.rectangles, b.rectangles):
        iou[i, j] = a.iou(i, j, b)
    return iou


def grouped_iou(
    a: np.ndarray | Shapes,
    b: np.ndarray | Shapes,
    groups_a: np.ndarray,
    groups_b: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The overlaps within groups (images, say), as a sparse matrix.

    Args:
        a: ``[N, 4, 2]``; b: ``[M, 4, 2]``.
        groups_a: ``[N]`` whole numbers; groups_b: ``[M]``.

    Returns:
        ``(i, j, iou)``, each ``[P]``: the pairs of one group with an IoU above 0, by i, then j.
    """
    a, b = _as_shapes(a), _as_shapes(b)

    def overlap(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return a.iou(i, j, b)

    return _grouped(a.rectangles, b.rectangles, groups_a, groups_b, overlap)


def grouped_rectangle_iou(
    a: np.ndarray | Shapes,
    b: np.ndarray | Shapes,
    groups_a: np.ndarray,
    groups_b: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`grouped_iou` of the axis-aligned rectangles around the corners, far border included.

    So a rectangle from 1 to 3 is three pixels wide, as DOTA's Task2 counts.
    """
    a, b = bounding_rectangles(a).copy(), bounding_rectangles(b).copy()
    a[:, 2:] += 1
    b[:, 2:] += 1
    area_a, area_b = ((one[:, 2:] - one[:, :2]).prod(axis=1) for one in (a, b))

    def overlap(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        shared = _shared_area(a[i], b[j])
        return shared / (area_a[i] + area_b[j] - shared)

    return _grouped(a, b, groups_a, groups_b, overlap)


def _grouped(
    a: np.ndarray,
    b: np.ndarray,
    groups_a: np.ndarray,
    groups_b: np.ndarray,
    overlap: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The overlaps of those whose rectangles ``a`` and ``b`` meet, sorted."""
    found = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for i, j in meeting_pairs(a, b, groups_a, groups_b):
        iou = overlap(i, j)
        some = iou > 0
        found.append((i[some], j[some], iou[some]))
    i, j, iou = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(i * len(b) + j)
    return i[order], j[order], iou[order]


def polygon_nms(
    corners: np.ndarray | Shapes,
    scores: np.ndarray,
    iou_threshold: float,
    labels: np.ndarray | None = None,
) -> np.ndarray:
    """Greedy non-maximum suppression of quadrilaterals by their exact overlap.

    Args:
        corners: ``[N, 4, 2]``.
        scores: ``[N]``; of two equal scores the one that comes first is preferred.
        iou_threshold: an IoU above it suppresses, one equal to it does not.
        labels: ``[N]``; only those of one label suppress one another. None: all do.

    Returns:
        ``[M]`` int64, the indices that stay, by falling score.
    """
    shapes = _as_shapes(corners)

    def suppresses(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        # No overlap is larger than the one that the rectangles and areas would allow.
        most = np.minimum(shapes.area[i], shapes.area[j])
        most = np.minimum(most, _shared_area(shapes.rectangles[i], shapes.rectangles[j]))
        found = most > iou_threshold * (shapes.area[i] + shapes.area[j] - most)
        possible = np.flatnonzero(found)
        found[possible] = shapes.iou(i[possible], j[possible], shapes) > iou_threshold
        return found

    return _greedy_nms(shapes.rectangles, scores, labels, suppresses)


def rectangle_nms(
    rectangles: np.ndarray,
    scores: np.ndarray,
    iou_threshold: float,
    labels: np.ndarray | None = None,
    inclusive: bool = False,
) -> np.ndarray:
    """Greedy non-maximum suppression of axis-aligned rectangles; see `polygon_nms`.

    Args:
        rectangles: ``[N, 4]`` as (xmin, ymin, xmax, ymax).
        inclusive: the far border belongs to the rectangle, so that each side is one longer than
            the difference of its coordinates. The DOTA devkit counts so.
    """
    rectangles = np.array(rectangles, dtype=np.float64).reshape(-1, 4)
    if inclusive:
        rectangles[:, 2:] += 1
    area = np.maximum(rectangles[:, 2:] - rectangles[:, :2], 0).prod(axis=1)

    def suppresses(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        shared = _shared_area(rectangles[i], rectangles[j])
        return shared / (area[i] + area[j] - shared) > iou_threshold

    return _greedy_nms(rectangles, scores, labels, suppresses)


def bounding_rectangles(corners: np.ndarray | Shapes) -> np.ndarray:
    """Axis-aligned rectangles ``[N, 4]`` (xmin, ymin, xmax, ymax) around corners ``[N, 4, 2]``."""
    if isinstance(corners, Shapes):
        return corners.rectangles
    x, y = _planes(_as_corners(corners))
    return np.stack([x.min(axis=0), y.min(axis=0), x.max(axis=0), y.max(axis=0)], axis=1)


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
    for rows_a, rows_b in _group_batches(groups_a, None if alone else groups_b):
        part_a, lane_a = a[rows_a], groups_a[rows_a]
        part_b, lane_b = (part_a, lane_a) if alone else (b[rows_b], groups_b[rows_b])
        for i, j in _sweep_pairs(part_a, part_b, lane_a, lane_b, at_once):
            yield rows_a[i], rows_b[j]


def _group_batches(
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


def _greedy_nms(
    rectangles: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray | None,
    suppresses: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Indices that stay, by falling score; ``suppresses(i, j)`` answers for pairs of indices."""
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    labels = np.zeros(len(order), np.int64) if labels is None else np.asarray(labels, np.int64)
    suppressed = np.zeros(len(order), bool)
    for ranks, _ in _group_batches(labels[order]):
        rows = order[ranks]
        suppressed[rows] = _suppressed(rectangles[rows], labels[rows], rows, suppresses)
    return order[~suppressed[order]]


def _suppressed(
    rectangles: np.ndarray,
    labels: np.ndarray,
    rows: np.ndarray,
    suppresses: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Which of the rows (by falling score within a label) are suppressed.

    It goes in rounds, so that few overlaps are computed and many at a time: in each, those that
    no better one still in play could suppress are settled, and only their overlaps are needed.
    """
    pairs = [np.empty((2, 0), np.int64)]
    pairs += [
        np.stack([np.minimum(i, j), np.maximum(i, j)])
        for i, j in meeting_pairs(rectangles, groups_a=labels)
    ]
    better, worse = np.concatenate(pairs, axis=1)
    suppressed = np.zeros(len(rows), bool)
    for _ in range(MAX_ROUNDS):
        if not len(better):
            return suppressed
        waiting = np.zeros(len(rows), bool)
        waiting[worse] = True
        settled = ~waiting[better]
        i, j = better[settled], worse[settled]
        suppressed[j[suppresses(rows[i], rows[j])]] = True
        left = ~(settled | suppressed[better] | suppressed[worse])
        better, worse = better[left], worse[left]
    found = suppresses(rows[better], rows[worse])
    _walk(better[found], worse[found], suppressed)
    return suppressed


def _walk(better: np.ndarray, worse: np.ndarray, suppressed: np.ndarray) -> None:
    """Suppress along the pairs one by one, for chains that take too many rounds."""
    order = np.argsort(better, kind="stable")
    better, worse = better[order], worse[order]
    heads, starts = np.unique(better, return_index=True)
    ends = np.append(starts, len(better))[1:]
    for head, start, end in zip(heads.tolist(), starts.tolist(), ends.tolist(), strict=True):
        if not suppressed[head]:
            suppressed[worse[start:end]] = True


class Shapes:
    """Quadrilaterals made ready for overlaps: turned one way, odd ones cut into triangles.

    Functions of this module take one wherever they take corners, which saves doing it twice.

    Attributes:
        area: ``[N]``, see `polygon_area`.
        rectangles: ``[N, 4]``, see `bounding_rectangles`.
    """

    def __init__(self, corners: np.ndarray) -> None:
        corners = _as_corners(corners)
        count = len(corners)
        self.x, self.y = np.empty((2, 4, count))
        self.rectangles = np.empty((count, 4))
        self.extent, self.area = np.empty((2, count))
        convex = np.empty(count, bool)
        for start in range(0, count, 1 << 14):
            rows = slice(start, start + (1 << 14))
            convex[rows] = self._prepare(rows, corners[rows])
        odd = np.flatnonzero(~convex)
        self._any_odd = len(odd) > 0
        # For each row the number of its pair of triangles, -1 for a convex one.
        self._odd = np.full(count, -1)
        self._odd[odd] = np.arange(len(odd))
        if self._any_odd:
            self._cut(odd, corners[odd])

    def _prepare(self, rows: slice, corners: np.ndarray) -> np.ndarray:
        """Fill in some rows; which of them are convex."""
        x, y = _planes(corners)
        bounds = x.min(axis=0), y.min(axis=0), x.max(axis=0), y.max(axis=0)
        self.rectangles[rows] = np.stack(bounds, axis=1)
        extent = np.maximum(bounds[2] - bounds[0], bounds[3] - bounds[1])
        local_x, local_y = x - x[0], y - y[0]
        turns = _turns(local_x, local_y)
        # Half the cross product of the diagonals.
        signed = (
            (local_x[2] - local_x[0]) * (local_y[3] - local_y[1])
            - (local_y[2] - local_y[0]) * (local_x[3] - local_x[1])
        ) / 2
        # Counter-clockwise in the sense that the formulas take, y up: all areas positive.
        self.x[:, rows], self.y[:, rows] = _turned(x, y, signed < 0)
        slack = FLAT * extent**2
        area = np.abs(signed)
        self.extent[rows], self.area[rows] = extent, np.where(area > slack, area, 0)
        return (turns >= -slack).all(axis=0) | (turns <= slack).all(axis=0)

    def _cut(self, odd: np.ndarray, corners: np.ndarray) -> None:
        """Triangles of the rows that are not convex, whose areas are those of the triangles."""
        x, y = _planes(corners)
        local_x, local_y = x - x[0], y - y[0]
        self._parts_x, self._parts_y = _triangles(x, y, _turns(local_x, local_y))
        parts = _signed_area(self._parts_x - x[0], self._parts_y - y[0])
        area = np.abs(parts).sum(axis=0)
        self.area[odd] = np.where(area > FLAT * self.extent[odd] ** 2, area, 0)

    def __len__(self) -> int:
        return len(self.area)

    def iou(self, i: np.ndarray, j: np.ndarray, other: Shapes) -> np.ndarray:
        """IoU of the rows i with the rows j of the other, ``[P]``."""
        shared, touch = np.empty(len(i)), np.empty(len(i), bool)
        for start in range(0, len(i), CHUNK):
            rows = slice(start, start + CHUNK)
            shared[rows], touch[rows] = _convex_overlap(*self._frame(i[rows], j[rows], other))
        for rows in _chunks(np.flatnonzero(touch)):
            shared[rows] = _clipped_area(*self._frame(i[rows], j[rows], other)[:4])
        if self._any_odd or other._any_odd:
            for rows in _chunks(np.flatnonzero((self._odd[i] >= 0) | (other._odd[j] >= 0))):
                shared[rows] = self._odd_overlap(i[rows], j[rows], other)
        ours, theirs = self.area[i], other.area[j]
        shared = np.minimum(np.maximum(shared, 0), np.minimum(ours, theirs))
        union = ours + theirs - shared
        return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)

    def _frame(
        self, i: np.ndarray, j: np.ndarray, other: Shapes
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Both polygons ``[4, P]`` about the first's first corner, and the pair's extent."""
        ax, ay = self.x.take(i, axis=1), self.y.take(i, axis=1)
        bx, by = other.x.take(j, axis=1), other.y.take(j, axis=1)
        origin_x, origin_y = ax[0].copy(), ay[0].copy()
        for plane, origin in ((ax, origin_x), (bx, origin_x), (ay, origin_y), (by, origin_y)):
            plane -= origin
        return ax, ay, bx, by, np.maximum(self.extent[i], other.extent[j])

    def _odd_overlap(self, i: np.ndarray, j: np.ndarray, other: Shapes) -> np.ndarray:
        """Shared area where one of the two is not convex: the sum over their parts."""
        origin_x, origin_y = self.x[0, i], self.y[0, i]
        return sum(
            _clipped_area(ax - origin_x, ay - origin_y, bx - origin_x, by - origin_y)
            for ax, ay in self._parts(i)
            for bx, by in other._parts(j)
        )

    def _parts(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Two convex parts of each row: its triangles or, of a convex one, itself and a point."""
        odd = self._odd[rows]
        for part in range(2):
            x, y = self.x[:, rows], self.y[:, rows]
            if part == 1:
                x, y = np.repeat(x[:1], 4, axis=0), np.repeat(y[:1], 4, axis=0)
            cut = odd >= 0
            if self._any_odd:
                x[:, cut] = self._parts_x[:, part, odd[cut]]
                y[:, cut] = self._parts_y[:, part, odd[cut]]
            yield x, y


def _chunks(rows: np.ndarray, size: int = 1 << 14) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _convex_overlap(
    ax: np.ndarray, ay: np.ndarray, bx: np.ndarray, by: np.ndarray, extent: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shared area of counter-clockwise convex quadrilaterals ``[4, n]`` near the origin.

    Args:
        ax, ay, bx, by: the two polygons of each pair.
        extent: ``[n]``, the longest side of the rectangles around the two.

    Returns:
        The area ``[n]``, and ``[n]`` where it is not to be trusted, as two edges lie on each
        other: `_clipped_area` has the answer.
    """
    ax, ay, bx, by = _closed(ax), _closed(ay), _closed(bx), _closed(by)
    near = ON_LINE * extent**2
    area, touch = _green(ax, ay, bx, by, near)
    other_area, other_touch = _green(bx, by, ax, ay, near)
    area += other_area
    return area, touch | other_touch


def _green(
    px: np.ndarray, py: np.ndarray, qx: np.ndarray, qy: np.ndarray, near: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the edges of P inside Q add to the shared area, by Green's theorem.

    Args:
        px, py, qx, qy: ``[5, n]``, closed: the first corner comes again at the end.
        near: ``[n]``, the cross product below which a corner counts as lying on a line.

    Returns:
        The areas ``[n]``, and ``[n]`` whether an edge of P lies on a line of Q.
    """
    ex, ey = qx[1:] - qx[:4], qy[1:] - qy[:4]
    # [line of Q, corner of P, n]: positive inside, by the length of the line's edge.
    side = ex[:, None] * py
    side -= ey[:, None] * px
    side -= (ex * qy[:4] - ey * qx[:4])[:, None]
    outside = np.minimum(side, 0)
    inside = np.maximum(side, _TINY, out=side)
    # The share of each edge that each line cuts off at its start, and at its end.
    start_cut = outside[:, :4] - inside[:, 1:]
    end_cut = outside[:, 1:] - inside[:, :4]
    # Together the two are minus the distances of both ends.
    touch = _highest(_highest(start_cut + end_cut)) > -near
    share = _highest(np.divide(outside[:, :4], start_cut, out=start_cut))
    share += _highest(np.divide(outside[:, 1:], end_cut, out=end_cut))
    np.subtract(1, share, out=share)
    np.maximum(share, 0, out=share)
    share *= px[:4] * py[1:] - px[1:] * py[:4]
    return (share[0] + share[1] + share[2] + share[3]) / 2, touch


def _clipped_area(ax: np.ndarray, ay: np.ndarray, bx: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Shared area ``[n]`` by clipping A at each line of B, corner by corner; inputs ``[4, n]``.

    Slower than `_green`, but a small error in a side moves the result by as little.
    """
    x, y = ax.T.copy(), ay.T.copy()
    for k in range(4):
        ex, ey = (bx[k - 3] - bx[k])[:, None], (by[k - 3] - by[k])[:, None]
        side = ex * (y - by[k][:, None]) - ey * (x - bx[k][:, None])
        x, y = _clip(x, y, side)
    area = np.abs(_signed_area(x.T - x[:, 0], y.T - y[:, 0]))
    # Of a point all lines are empty: nothing would be cut off.
    return np.where((np.ptp(bx, axis=0) > 0) | (np.ptp(by, axis=0) > 0), area, 0)


def _clip(x: np.ndarray, y: np.ndarray, side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep the part of each polygon ``[n, V]`` where ``side`` is not negative.

    Rows with fewer corners than the longest repeat their last one.
    """
    inside = side >= 0
    following = np.roll(side, -1, axis=1)
    crosses = inside != np.roll(inside, -1, axis=1)
    share = np.divide(side, side - following, out=np.zeros_like(side), where=crosses)
    cross_x = x + share * (np.roll(x, -1, axis=1) - x)
    cross_y = y + share * (np.roll(y, -1, axis=1) - y)
    shape = len(x), -1
    new_x = np.stack([x, cross_x], axis=2).reshape(shape)
    new_y = np.stack([y, cross_y], axis=2).reshape(shape)
    stays = np.stack([inside, crosses], axis=2).reshape(shape)
    count = stays.sum(axis=1)
    order = np.argsort(~stays, axis=1, kind="stable")[:, : max(count.max(initial=0), 1)]
    # Behind the last corner that stays: that corner again. A row without any becomes a point.
    column = np.minimum(np.arange(order.shape[1]), np.maximum(count - 1, 0)[:, None])
    order = np.take_along_axis(order, column, axis=1)
    return np.take_along_axis(new_x, order, axis=1), np.take_along_axis(new_y, order, axis=1)


def _triangles(x: np.ndarray, y: np.ndarray, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut quadrilaterals ``[4, n]`` that are not convex into two triangles each.

    A concave one has one corner that turns the other way: it is cut from there to the opposite
    corner. A self-crossing one turns twice each way; its crossing edges are those whose ends
    turn differently, and its wings stand on the two others.

    Returns:
        x and y, ``[4, 2, n]``: counter-clockwise triangles whose last corner comes twice.
    """
    left = turns > 0
    crossed = left.sum(axis=0) == 2
    # Turn each row so that a concave one begins at its odd corner, and a self-crossing one
    # with a crossing edge.
    odd_corner = np.where(left.sum(axis=0) == 1, left.argmax(axis=0), (~left).argmax(axis=0))
    first = np.where(crossed, (left != np.roll(left, -1, axis=0)).argmax(axis=0), odd_corner)
    order = (first + np.arange(4)[:, None]) % 4
    x, y = np.take_along_axis(x, order, axis=0), np.take_along_axis(y, order, axis=0)
    # Where edge 0-1 crosses edge 2-3.
    ex, ey = x[1] - x[0], y[1] - y[0]
    fx, fy = x[3] - x[2], y[3] - y[2]
    across = ex * fy - ey * fx
    share = (x[2] - x[0]) * fy - (y[2] - y[0]) * fx
    share = np.divide(share, across, out=np.zeros_like(share), where=crossed & (across != 0))
    middle_x = np.where(crossed, x[0] + share * ex, x[0])
    middle_y = np.where(crossed, y[0] + share * ey, y[0])
    # Concave: 0 1 2 and 0 2 3. Crossed: middle 1 2 and middle 3 0.
    parts_x = np.stack(
        [
            np.stack([middle_x, middle_x]),
            np.stack([x[1], np.where(crossed, x[3], x[2])]),
            np.stack([x[2], np.where(crossed, x[0], x[3])]),
        ]
    )
    parts_y = np.stack(
        [
            np.stack([middle_y, middle_y]),
            np.stack([y[1], np.where(crossed, y[3], y[2])]),
            np.stack([y[2], np.where(crossed, y[0], y[3])]),
        ]
    )
    parts_x, parts_y = parts_x[[0, 1, 2, 2]], parts_y[[0, 1, 2, 2]]
    clockwise = _signed_area(parts_x - parts_x[0], parts_y - parts_y[0]) < 0
    return _turned(parts_x, parts_y, clockwise)


def _turned(x: np.ndarray, y: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reverse the order of corners (axis 0, four of them) of those marked."""
    return np.where(which, x[::-1], x), np.where(which, y[::-1], y)


def _turns(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cross product of the two edges that meet at each corner, ``[4, n]``: the turn there."""
    ex, ey = x - x[_BEFORE], y - y[_BEFORE]
    return ex * ey[_NEXT] - ey * ex[_NEXT]


def _signed_area(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Shoelace formula over axis 0."""
    return (x * np.roll(y, -1, axis=0) - np.roll(x, -1, axis=0) * y).sum(axis=0) / 2


def _highest(x: np.ndarray) -> np.ndarray:
    """Maximum over axis 0, of length 4; several times faster than ``x.max(axis=0)``."""
    return np.maximum(np.maximum(x[0], x[1]), np.maximum(x[2], x[3]))


def _closed(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, x[:1]])


def _shared_area(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Shared area of axis-aligned rectangles ``[N, 4]``, paired row by row."""
    width = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
    height = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
    return np.maximum(width, 0) * np.maximum(height, 0)


def _planes(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y of each corner, ``[4, N]`` each, contiguous: the layout of all the formulas."""
    return np.ascontiguousarray(corners[:, :, 0].T), np.ascontiguousarray(corners[:, :, 1].T)


def _as_shapes(corners: np.ndarray | Shapes) -> Shapes:
    return corners if isinstance(corners, Shapes) else Shapes(corners)


def _as_corners(corners: np.ndarray) -> np.ndarray:
    corners = np.asarray(corners, dtype=np.float64)
    if corners.size == 0:
        return corners.reshape(0, 4, 2)
    if corners.ndim != 3 or corners.shape[1:] != (4, 2):
        raise ValueError(f"corners must have the shape [N, 4, 2], came as {list(corners.shape)}")
    return corners

"""The labels of an image, cut by windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np

from DOTA_devkit.formats import Labels
from DOTA_devkit.polygon import bounding_rectangles
from DOTA_devkit.splitting.options import SplitOptions
from DOTA_devkit.text_table import float_texts

# Left part of an object that counts as cut off, as difficulty.
CUT_OFF = 2


# Objects x windows looked at together when labels are cut.
PAIRS_AT_ONCE = 1 << 20


class LabelCutter:
    """The labels of one image, resized, ready to be cut by windows.

    Attributes:
        lost: cut objects dropped so far, as their part inside has no four corners.
    """

    def __init__(
        self, labels: Labels, rate: float, size_wh: tuple[int, int], options: SplitOptions
    ) -> None:
        self._options = options
        self._size_wh = size_wh
        self.lost = 0
        # The original reads whole pixels. No -0.0, which would be written so.
        self._corners = np.trunc(labels.corners) * rate + 0.0
        names, difficult = labels.names, labels.difficult.tolist()
        self._tails = _objects(f" {name} {d}" for name, d in zip(names, difficult, strict=True))
        self._cut_tails = _objects(f" {name} {CUT_OFF}" for name in names)
        self._rectangles = bounding_rectangles(self._corners)
        self._flat = self._areas <= 0

    @cached_property
    def _polygons(self) -> np.ndarray:
        import shapely

        polygons = shapely.polygons(self._corners)
        valid = shapely.is_valid(polygons)
        polygons[~valid] = shapely.make_valid(polygons[~valid])
        return polygons

    @cached_property
    def _areas(self) -> np.ndarray:
        import shapely

        return shapely.area(self._polygons)

    def lines(self, windows: Sequence[tuple[int, int]]) -> list[list[str]]:
        """Label lines of each window (x, y), in the order of the labels."""
        together = max(PAIRS_AT_ONCE // max(len(self._flat), 1), 1)
        return [
            lines
            for start in range(0, len(windows), together)
            for lines in self._lines(np.array(windows[start : start + together]))
        ]

    def _lines(self, windows: np.ndarray) -> list[list[str]]:
        size = self._options.size
        # The far border of the devkit: one short of the image's.
        ends = np.minimum(windows + size, np.array(self._size_wh) - 1)
        low, high = self._rectangles[:, :2], self._rectangles[:, 2:]
        meets = ((high > windows[:, None]) & (low < ends[:, None])).all(axis=2) & ~self._flat
        window, row = np.nonzero(meets)
        start, end = windows[window], ends[window]
        inside = ((low[row] >= start) & (high[row] <= end)).all(axis=1)
        texts = np.full(len(row), None, object)
        whole = np.flatnonzero(inside)
        values = np.trunc(self._corners[row[whole]] - start[whole, None])
        texts[whole] = _texts(values, self._tails[row[whole]])
        cut, corners, share = self._cut(np.flatnonzero(~inside), row, start, end)
        values = np.trunc(corners - start[cut, None]).clip(1, size)
        enough = share > self._options.min_share
        tails = np.where(enough, self._tails[row[cut]], self._cut_tails[row[cut]])
        texts[cut] = _texts(values, tails)
        bounds = np.searchsorted(window, np.arange(len(windows) + 1)).tolist()
        return [
            [text for text in texts[first:last] if text is not None]
            for first, last in pairwise(bounds)
        ]

    def _cut(
        self, which: np.ndarray, row: np.ndarray, start: np.ndarray, end: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cut objects by windows.

        Args:
            which: the pairs of object and window to look at.
            row, start, end: object, first and last corner of the window, of every pair.

        Returns:
            Those of the pairs that stay, corners ``[N, 4, 2]`` and share left of each.
        """
        import shapely

        windows = shapely.box(*start[which].T, *end[which].T)
        parts = shapely.intersection(self._polygons[row[which]], windows)
        share = shapely.area(parts) / self._areas[row[which]]
        some = share > 0
        which, parts, share = which[some], parts[some], share[some]
        count = shapely.get_num_coordinates(parts) - 1
        single = (shapely.get_type_id(parts) == 3) & (shapely.get_num_interior_rings(parts) == 0)
        usable = single & ((count == 4) | (count == 5))
        self.lost += int(np.sum(~usable))
        which, parts, share, count = which[usable], parts[usable], share[usable], count[usable]
        corners = np.empty((len(which), 4, 2))
        for sides in (4, 5):
            these = np.flatnonzero(count == sides)
            rings = shapely.get_coordinates(parts[these]).reshape(-1, sides + 1, 2)
            rings = _counter_clockwise(rings)[:, :-1]
            corners[these] = rings if sides == 4 else _five_to_four(rings)
        if self._options.fit_order:
            corners = _fit_order(corners, self._corners[row[which]])
        return which, corners, share


def _objects(items: Iterable[str]) -> np.ndarray:
    items = list(items)
    array = np.empty(len(items), object)
    array[:] = items
    return array


def _texts(corners: np.ndarray, tails: np.ndarray) -> list[str]:
    rows = float_texts(corners.reshape(-1, 8)).tolist()
    return [" ".join(row) + tail for row, tail in zip(rows, tails.tolist(), strict=True)]


def _counter_clockwise(rings: np.ndarray) -> np.ndarray:
    """Turn closed rings ``[N, V, 2]`` so that their area is positive with y up."""
    x, y = (rings - rings[:, :1]).transpose(2, 0, 1)
    area = (x[:, :-1] * y[:, 1:] - x[:, 1:] * y[:, :-1]).sum(axis=1)
    return np.where((area < 0)[:, None, None], rings[:, ::-1], rings)


def _five_to_four(corners: np.ndarray) -> np.ndarray:
    """Replace the shortest edge of pentagons ``[N, 5, 2]`` by its midpoint."""
    following = np.roll(corners, -1, axis=1)
    shortest = np.hypot(*(following - corners).transpose(2, 0, 1)).argmin(axis=1)
    merged = corners.copy()
    row = np.arange(len(corners))
    merged[row, shortest] = (corners[row, shortest] + following[row, shortest]) / 2
    stays = np.ones(corners.shape[:2], bool)
    stays[row, (shortest + 1) % 5] = False
    return merged[stays].reshape(-1, 4, 2)


def _fit_order(corners: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Begin each polygon ``[N, 4, 2]`` so that its corners lie nearest to the target's."""
    turned = np.stack([np.roll(corners, -k, axis=1) for k in range(4)])
    distance = ((turned - target) ** 2).sum(axis=(2, 3))
    return turned[distance.argmin(axis=0), np.arange(len(corners))]

"""Cut the labels of an image by windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np

from DOTA_devkit.formats import Labels
from DOTA_devkit.polygon import bounding_rectangles
from DOTA_devkit.splitting.options import SplitOptions
from DOTA_devkit.text_table import float_texts

TRUNCATED_DIFFICULTY = 2
"""Difficulty of an object that a border truncates by too much."""

WRITTEN_DECIMALS = 2
"""Of the coordinates of a label, in pixels."""

MIN_WIDTH = 1.0
"""What is left of a cut object and thinner, in pixels, is dropped."""

# Pairs of an object and a window that are checked at a time.
PAIRS_PER_STEP = 1 << 20

_SHAPELY_POLYGON = 3


class LabelCutter:
    """Cuts the labels of one image, resized, by windows.

    Attributes:
        dropped: number of objects dropped so far because the part in the window cannot be
            written as four corners, or is thinner than a pixel.
    """

    def __init__(
        self, labels: Labels, rate: float, size_wh: tuple[int, int], options: SplitOptions
    ) -> None:
        self._options = options
        self._size_wh = size_wh
        self.dropped = 0
        corners = np.trunc(labels.corners) if options.whole_pixels else labels.corners
        self._corners = corners * rate
        names, difficult = labels.names, labels.difficult.tolist()
        # The end of each label line: class and difficulty.
        self._line_ends = _object_array(
            f" {name} {d}" for name, d in zip(names, difficult, strict=True)
        )
        self._truncated_line_ends = _object_array(
            f" {name} {TRUNCATED_DIFFICULTY}" for name in names
        )
        self._rectangles = bounding_rectangles(self._corners)
        self._has_no_area = self._areas <= 0

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
        """Write the label lines of some windows.

        Args:
            windows: top left corners (x, y).

        Returns:
            The lines of each window, in the order of the labels.
        """
        step = max(PAIRS_PER_STEP // max(len(self._corners), 1), 1)
        return [
            lines
            for start in range(0, len(windows), step)
            for lines in self._lines(np.array(windows[start : start + step]))
        ]

    def _lines(self, windows: np.ndarray) -> list[list[str]]:
        # In the original the far border is one less than that of the image.
        border = np.array(self._size_wh) - self._options.whole_pixels
        ends = np.minimum(windows + self._options.size, border)
        low, high = self._rectangles[:, :2], self._rectangles[:, 2:]
        overlaps = ((high > windows[:, None]) & (low < ends[:, None])).all(axis=2)
        window, row = np.nonzero(overlaps & ~self._has_no_area)
        start, end = windows[window], ends[window]
        inside = ((low[row] >= start) & (high[row] <= end)).all(axis=1)
        texts = np.full(len(row), None, object)
        whole = np.flatnonzero(inside)
        values = self._coordinates(self._corners[row[whole]] - start[whole, None])
        texts[whole] = _label_lines(values, self._line_ends[row[whole]])
        cut, corners, share = self._cut(np.flatnonzero(~inside), row, start, end)
        values = self._coordinates(corners - start[cut, None])
        if self._options.whole_pixels:
            values = values.clip(1, self._options.size)
        line_ends = np.where(
            share > self._options.min_share,
            self._line_ends[row[cut]],
            self._truncated_line_ends[row[cut]],
        )
        texts[cut] = _label_lines(values, line_ends)
        bounds = np.searchsorted(window, np.arange(len(windows) + 1)).tolist()
        return [
            [text for text in texts[first:last] if text is not None]
            for first, last in pairwise(bounds)
        ]

    def _coordinates(self, corners: np.ndarray) -> np.ndarray:
        """Round coordinates as they are written. Adding 0.0 turns -0.0 into 0.0."""
        whole = self._options.whole_pixels
        return (np.trunc(corners) if whole else corners.round(WRITTEN_DECIMALS)) + 0.0

    def _cut(
        self, pairs: np.ndarray, row: np.ndarray, start: np.ndarray, end: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cut objects by windows.

        Args:
            pairs: ``[P]``, the pairs of an object and a window to cut.
            row: object of every pair.
            start: ``[..., 2]``, top left corner of the window of every pair.
            end: ``[..., 2]``, bottom right corner of the window of every pair.

        Returns:
            The pairs that are kept ``[N]``, their corners ``[N, 4, 2]`` and the share of each
            object's area that is left ``[N]``.
        """
        import shapely

        windows = shapely.box(*start[pairs].T, *end[pairs].T)
        parts = shapely.intersection(self._polygons[row[pairs]], windows)
        share = shapely.area(parts) / self._areas[row[pairs]]
        visible = share > 0
        pairs, parts, share = pairs[visible], parts[visible], share[visible]
        count = shapely.get_num_coordinates(parts) - 1
        is_polygon = shapely.get_type_id(parts) == _SHAPELY_POLYGON
        usable = is_polygon & (shapely.get_num_interior_rings(parts) == 0)
        if self._options.whole_pixels:
            usable &= (count == 4) | (count == 5)
        else:
            around = shapely.oriented_envelope(parts)
            usable &= _shorter_sides(around) >= MIN_WIDTH
            others = (count != 4) & (count != 5)
            parts[others], count[others] = around[others], 4
        self.dropped += int(np.sum(~usable))
        pairs, parts, share, count = pairs[usable], parts[usable], share[usable], count[usable]
        corners = np.empty((len(pairs), 4, 2))
        for sides in (4, 5):
            these = np.flatnonzero(count == sides)
            rings = shapely.get_coordinates(parts[these]).reshape(-1, sides + 1, 2)
            rings = _counter_clockwise(rings)[:, :-1]
            corners[these] = rings if sides == 4 else _pentagons_to_quads(rings)
        if self._options.fit_order:
            corners = _fit_order(corners, self._corners[row[pairs]])
        return pairs, corners, share


def _object_array(items: Iterable[str]) -> np.ndarray:
    items = list(items)
    array = np.empty(len(items), object)
    array[:] = items
    return array


def _label_lines(corners: np.ndarray, line_ends: np.ndarray) -> list[str]:
    rows = float_texts(corners.reshape(-1, 8)).tolist()
    return [" ".join(row) + end for row, end in zip(rows, line_ends.tolist(), strict=True)]


def _shorter_sides(rectangles: np.ndarray) -> np.ndarray:
    """Return the shorter side ``[N]`` of rectangles; 0 of flat ones, which are lines or points."""
    import shapely

    length = shapely.length(rectangles) / 2  # of both sides together
    area = shapely.area(rectangles)
    # The roots of side * (length - side) = area.
    return (length - np.sqrt(np.maximum(length**2 - 4 * area, 0))) / 2 * (area > 0)


def _counter_clockwise(rings: np.ndarray) -> np.ndarray:
    """Orient closed rings ``[N, V, 2]`` so that their area is positive with y pointing up."""
    x, y = (rings - rings[:, :1]).transpose(2, 0, 1)
    area = (x[:, :-1] * y[:, 1:] - x[:, 1:] * y[:, :-1]).sum(axis=1)
    return np.where((area < 0)[:, None, None], rings[:, ::-1], rings)


def _pentagons_to_quads(corners: np.ndarray) -> np.ndarray:
    """Replace the shortest edge of pentagons ``[N, 5, 2]`` by its midpoint."""
    following = np.roll(corners, -1, axis=1)
    shortest = np.hypot(*(following - corners).transpose(2, 0, 1)).argmin(axis=1)
    merged = corners.copy()
    row = np.arange(len(corners))
    merged[row, shortest] = (corners[row, shortest] + following[row, shortest]) / 2
    kept = np.ones(corners.shape[:2], bool)
    kept[row, (shortest + 1) % 5] = False
    return merged[kept].reshape(-1, 4, 2)


def _fit_order(corners: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rotate the corner order of polygons ``[N, 4, 2]`` to be closest to the target's corners."""
    rotated = np.stack([np.roll(corners, -k, axis=1) for k in range(4)])
    distance = ((rotated - target) ** 2).sum(axis=(2, 3))
    return rotated[distance.argmin(axis=0), np.arange(len(corners))]

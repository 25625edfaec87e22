"""Windows over images of any size, and which detections count in which window.

Neighboring windows overlap. The middle line of each overlap divides the image into cores, one for
each window: of all windows, the one whose core a point lies in shows most of its surroundings. A
detection counts in a window if its center lies in the window's core, or a little beyond, because
two windows do not find a center at exactly the same place. So an object that is no longer than the
overlap is seen whole by the window that it counts in. A longer one may extend beyond the border of
its window: it is marked as cut, and `deploy.predict.seams` puts the pieces together.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, TypeVar

import numpy as np

from DOTA_devkit.errors import InputError
from structures.detections import Detections
from structures.letterbox import Letterbox


@dataclass(frozen=True)
class WindowRule:
    """Where windows begin and what counts in them.

    Attributes:
        core_slack_share: How far beyond the core a center may lie, as a share of the overlap.
        min_core_slack_px: The same in input pixels at least, for windows that hardly overlap.
        cut_margin_px: A box that comes closer to the border of its window than this many input
            pixels may be cut.
        cut_margin_share: Added to that margin, as a share of the box's longer side: the larger a
            box, the less exact its corners.
        stride_px: The coarsest stride of the network in input pixels.
    """

    core_slack_share: float = 0.25
    min_core_slack_px: float = 4.0
    cut_margin_px: float = 2.0
    cut_margin_share: float = 0.02
    stride_px: int = 32


RULE = WindowRule()


@dataclass(frozen=True)
class Tiling:
    """How images are cut into windows.

    Attributes:
        tile_wh: Width and height of a window in input pixels, None for one window over the image.
        overlap: Overlap of neighboring windows in input pixels.
        scales: Input pixels per source pixel, one pass over the image for each.
    """

    tile_wh: tuple[int, int] | None
    overlap: int = 100
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale < np.inf for scale in self.scales):
            raise InputError(f"scales must be numbers above 0, got {list(self.scales)}")
        if self.tile_wh is not None and not 0 <= self.overlap < min(self.tile_wh):
            raise InputError(
                "overlap must be at least 0 and smaller than the window, got "
                f"{self.overlap} for a window of {self.tile_wh[0]}x{self.tile_wh[1]}"
            )


@dataclass(frozen=True)
class Window:
    """A part of an image that goes through the network at once.

    Attributes:
        left: First column of the window in the source image.
        top: First row of the window in the source image.
        letterbox: How the window's source pixels are placed in the network's input.
        core: Left, top, right and bottom of the area in source pixels in which the center of a
            detection must lie. Infinite at the border of the image.
        inside: The same for its corners: a box that extends beyond may be cut.
    """

    left: int
    top: int
    letterbox: Letterbox
    core: tuple[float, float, float, float]
    inside: tuple[float, float, float, float]

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in source pixels."""
        return self.letterbox.source_wh

    @property
    def input_wh(self) -> tuple[int, int]:
        """Width and height of the network's input."""
        return self.letterbox.input_wh


class WindowDetections(NamedTuple):
    """The detections that count in one window.

    Attributes:
        detections: In pixels of the source image.
        cut: [N] bool, whether each may be cut by the border of the window.
    """

    detections: Detections
    cut: np.ndarray


def whole_window(letterbox: Letterbox) -> Window:
    """Return the window that covers the whole image."""
    everywhere = (-np.inf, -np.inf, np.inf, np.inf)
    return Window(0, 0, letterbox, everywhere, everywhere)


def plan_windows(
    size_wh: tuple[int, int],
    tiling: Tiling,
    input_wh: tuple[int, int] | None = None,
    base_scale: tuple[float, float] = (1.0, 1.0),
) -> Chain[Window]:
    """Cut an image into windows, which are made when they are asked for: there may be millions.

    Args:
        size_wh: Width and height of the image.
        tiling: How it is cut.
        input_wh: Width and height of the network's input, None for the smallest multiple of the
            network's stride that holds a window.
        base_scale: Factor of every scale in x and y, for images whose pixels have another size on
            the ground than those of the training.

    Returns:
        The windows, scale by scale and row by row.

    Raises:
        InputError: A window does not fit into the network's input.
    """
    grids = []
    for scale in tiling.scales:
        axes = []
        for axis in (0, 1):
            factor = scale * base_scale[axis]
            tile = tiling.tile_wh[axis] if tiling.tile_wh else None
            axes.append(_Axis.of(size_wh[axis], factor, tile, tiling.overlap))
        grids.append(_Grid(*axes, input_wh))
    return Chain(grids)


Item = TypeVar("Item")


class Chain(Sequence[Item]):
    """Several sequences as one.

    Attributes:
        parts: The sequences, none of them empty.
    """

    def __init__(self, parts: Sequence[Sequence[Item]]):
        self.parts = [part for part in parts if part]
        self._ends = list(accumulate(map(len, self.parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Item:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        number = bisect_right(self._ends, index)
        part = self.parts[number]
        return part[index - self._ends[number] + len(part)]


class _Grid(Sequence[Window]):
    """The windows of one scale, row by row."""

    def __init__(self, columns: _Axis, rows: _Axis, input_wh: tuple[int, int] | None):
        self._columns, self._rows, self._input_wh = columns, rows, input_wh
        self[0]  # raises if a window does not fit, as all of them have the same room

    def __len__(self) -> int:
        return len(self._columns) * len(self._rows)

    def __getitem__(self, index: int) -> Window:
        if not 0 <= index < len(self):
            raise IndexError(index)
        row, column = divmod(index, len(self._columns))
        return _window(self._columns[column], self._rows[row], self._input_wh)


@dataclass(frozen=True)
class _Span:
    """A window along one axis.

    Attributes:
        start: First source pixel.
        length: Number of source pixels.
        inner: Number of input pixels that they are scaled to.
        room: Number of input pixels of a full window.
        core: Bounds of the core in source pixels.
        inside: Bounds in source pixels beyond which a box may be cut.
    """

    start: int
    length: int
    inner: int
    room: int
    core: tuple[float, float]
    inside: tuple[float, float]


@dataclass(frozen=True)
class _Axis:
    """Windows along an axis, spread so that neighbors overlap by at least the overlap.

    The last one may extend beyond the end of the image. Windows start at multiples of the network's
    stride wherever the step between them allows it. Then the network sees a pixel in the same phase
    of its strides in every window that holds it, and so finds nearly the same objects.

    Attributes:
        length: Source pixels of the axis.
        scale: Input pixels per source pixel.
        tile: Input pixels of a window.
        overlap: Overlap of neighbors in input pixels.
        phase: Windows start at multiples of this many input pixels.
        end: Start of the last window in input pixels.
        count: Number of windows.
    """

    length: int
    scale: float
    tile: int
    overlap: int
    phase: int
    end: int
    count: int

    @classmethod
    def of(cls, length: int, scale: float, tile: int | None, overlap: int) -> _Axis:
        """Spread windows along an axis; one over all of it if `tile` is None."""
        if tile is None:
            tile = scaled = max(1, round(length * scale))
            overlap = 0  # there is only one window
        else:
            scaled = math.ceil(length * scale - 1e-6)
        phase = RULE.stride_px if tile - overlap >= RULE.stride_px else 1
        step = (tile - overlap) // phase * phase
        end = -(-max(0, scaled - tile) // phase) * phase
        return cls(length, scale, tile, overlap, phase, end, 1 + -(-end // step))

    def __len__(self) -> int:
        return self.count

    def _start(self, index: int) -> int:
        """Return the first pixel of a window in the scaled image."""
        return index * self.end // max(1, self.count - 1) // self.phase * self.phase

    def __getitem__(self, index: int) -> _Span:
        tile, scale, start = self.tile, self.scale, self._start(index)
        slack = max(RULE.core_slack_share * self.overlap, RULE.min_core_slack_px)
        low, high, inside_low, inside_high = -np.inf, np.inf, -np.inf, np.inf
        if index > 0:
            low = (self._start(index - 1) + tile + start) / 2 - slack
            inside_low = start + RULE.cut_margin_px
        if index < self.count - 1:
            high = (start + tile + self._start(index + 1)) / 2 + slack
            inside_high = start + tile - RULE.cut_margin_px
        first = min(round(start / scale), self.length - 1)
        span = max(1, min(round((start + tile) / scale), self.length) - first)
        return _Span(
            first,
            span,
            min(tile, max(1, round(span * scale))),
            tile,
            (low / scale, high / scale),
            (inside_low / scale, inside_high / scale),
        )


def _window(column: _Span, row: _Span, input_wh: tuple[int, int] | None) -> Window:
    stride = RULE.stride_px
    input_wh = input_wh or (-(-column.room // stride) * stride, -(-row.room // stride) * stride)
    if column.inner > input_wh[0] or row.inner > input_wh[1]:
        raise InputError(
            f"a window of {column.inner}x{row.inner} pixels does not fit into the model's input, "
            f"which is {input_wh[0]}x{input_wh[1]} (width x height) and fixed: choose a tile that "
            "fits, or export the model with a dynamic size"
        )
    size_wh = (column.length, row.length)
    letterbox = Letterbox(size_wh, input_wh, (column.inner, row.inner), (0, 0))
    core, inside = (
        (x[0], y[0], x[1], y[1]) for x, y in ((column.core, row.core), (column.inside, row.inside))
    )
    return Window(column.start, row.start, letterbox, core, inside)


def own_detections(found: Detections, window: Window) -> WindowDetections:
    """Select the detections that count in a window and map them to the source image.

    Args:
        found: Everything that was detected in the window, in input pixels.
        window: The window.
    """
    corners = window.letterbox.to_source(found.corners.astype(np.float64))
    corners += (window.left, window.top)
    x, y = corners.mean(axis=1).T
    left, top, right, bottom = window.core
    own = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    corners = corners[own]
    low, high = corners.min(axis=1), corners.max(axis=1)
    left, top, right, bottom = window.inside
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    margin = RULE.cut_margin_share * sides.max(axis=1, keepdims=True)
    cut = (low - margin < (left, top)).any(axis=1) | (high + margin > (right, bottom)).any(axis=1)
    return WindowDetections(found[own].with_corners(corners), cut)

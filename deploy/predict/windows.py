"""Windows over images of any size, and one set of detections out of those of all windows.

The seam rule. Neighbouring windows overlap, and the middle line of each overlap parts the image
into cores, one a window: of what lies around a point the window of its core shows most. A
detection counts where its centre lies in the core of its window, or a little beyond, as two
windows do not find a centre at quite the same place. So an object that is no longer than the
overlap is seen whole by the window that it counts in. What is longer may reach over the border of
its window: it is marked as cut.

What is cut comes behind what is whole, and of what is cut the larger first, as it shows more of its
object, and a smaller scale shows most. So, one after the other:

1. A cut box gives way to a whole one that contains most of it.
2. What is left are objects that no window saw whole. The largest piece takes up the pieces that lie
   in line with it, end to end with the overlap in common, and the rectangle around them replaces
   them. A piece that does not lie in line, such as the corner of a thick object, is left out, and
   gives way where most of it lies in that rectangle. Then comes the largest of the pieces that
   remain.
3. The suppression by overlap, within each class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from DOTA_devkit.errors import InputError
from structures.detections import Detections
from structures.letterbox import Letterbox

SLACK = 0.25
"""How far beyond its core a centre may lie, in overlaps."""

MIN_SLACK = 4.0
"""The same in pixels of the input, where windows hardly overlap."""

TOUCHES = 2.0
"""A box that comes nearer to the border of its window than this, in input pixels, may be cut."""

LOOSE = 0.02
"""So much nearer to it in its longer sides, too: the larger a box, the less exact its corners."""

PHASE = 32
"""The coarsest stride of the network, in input pixels."""


@dataclass(frozen=True)
class Tiling:
    """How images are cut.

    tile_wh: window in input pixels, None for one window over the whole image. overlap: of two
    neighbours, in input pixels. scales: input pixels a source pixel, at each of which the image
    is gone over.
    """

    tile_wh: tuple[int, int] | None
    overlap: int = 100
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale < np.inf for scale in self.scales):
            raise InputError(f"scales must be numbers above 0, got {list(self.scales)}")
        if self.tile_wh is not None and not 0 <= self.overlap < min(self.tile_wh):
            raise InputError(
                f"--overlap {self.overlap}: from 0 to less than the window, which is "
                f"{self.tile_wh[0]}x{self.tile_wh[1]}"
            )


@dataclass(frozen=True)
class Window:
    """A part of an image that goes through the network at once."""

    left: int
    top: int
    letterbox: Letterbox
    """From the window's source pixels to the input."""
    core: tuple[float, float, float, float]
    """Left, top, right, bottom in source pixels: where the centre of a detection must lie."""
    inside: tuple[float, float, float, float]
    """The same for its corners: outside of it a box may be cut. Infinite at the image's border."""

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in source pixels."""
        return self.letterbox.source_wh

    @property
    def input_wh(self) -> tuple[int, int]:
        return self.letterbox.input_wh


def whole_window(letterbox: Letterbox) -> Window:
    """The window that is the image."""
    everywhere = (-np.inf, -np.inf, np.inf, np.inf)
    return Window(0, 0, letterbox, everywhere, everywhere)


def plan_windows(
    size_wh: tuple[int, int],
    tiling: Tiling,
    input_wh: tuple[int, int] | None = None,
    base_scale: tuple[float, float] = (1.0, 1.0),
) -> list[Window]:
    """The windows of an image, scale by scale and row by row.

    input_wh: of the network, None for the smallest multiple of 32 that holds a window.
    base_scale: by which each scale is multiplied in x and y, for images whose pixels are of
        another size on the ground than those of the training.
    """
    windows = []
    for scale in tiling.scales:
        axes = []
        for axis in (0, 1):
            factor = scale * base_scale[axis]
            tile = tiling.tile_wh[axis] if tiling.tile_wh else None
            axes.append(_cut_axis(size_wh[axis], factor, tile, tiling.overlap))
        columns, rows = axes
        windows += [_window(column, row, input_wh) for row in rows for column in columns]
    return windows


@dataclass(frozen=True)
class _Span:
    """A window along one axis, in source pixels but for `inner`, which is in input pixels."""

    start: int
    length: int
    inner: int
    room: int
    core: tuple[float, float]
    inside: tuple[float, float]


def _cut_axis(length: int, scale: float, tile: int | None, overlap: int) -> list[_Span]:
    """Windows along an axis, spread so that they overlap by at least `overlap`.

    They begin at multiples of `PHASE` of the scaled image, so that the network sees the same
    pixels in the same phase of its strides in each window that they are in, and so much the same
    objects. The last one may reach over the image's end.
    """
    if tile is None:
        tile = scaled = max(1, round(length * scale))
        overlap = 0  # there is one window alone
    else:
        scaled = math.ceil(length * scale - 1e-6)
    phase = PHASE if tile - overlap >= PHASE else 1
    step = (tile - overlap) // phase * phase
    end = -(-max(0, scaled - tile) // phase) * phase
    count = 1 + -(-end // step)
    starts = [index * end // max(1, count - 1) // phase * phase for index in range(count)]
    slack = max(SLACK * overlap, MIN_SLACK)
    spans = []
    for index, start in enumerate(starts):
        low, high, inside_low, inside_high = -np.inf, np.inf, -np.inf, np.inf
        if index > 0:
            low = (starts[index - 1] + tile + start) / 2 - slack
            inside_low = start + TOUCHES
        if index < count - 1:
            high = (start + tile + starts[index + 1]) / 2 + slack
            inside_high = start + tile - TOUCHES
        first = min(round(start / scale), length - 1)
        span = max(1, min(round((start + tile) / scale), length) - first)
        spans.append(
            _Span(
                first,
                span,
                min(tile, max(1, round(span * scale))),
                tile,
                (low / scale, high / scale),
                (inside_low / scale, inside_high / scale),
            )
        )
    return spans


def _window(column: _Span, row: _Span, input_wh: tuple[int, int] | None) -> Window:
    input_wh = input_wh or (-(-column.room // 32) * 32, -(-row.room // 32) * 32)
    if column.inner > input_wh[0] or row.inner > input_wh[1]:
        raise InputError(
            f"a window of {column.inner}x{row.inner} pixels does not fit into the model's input, "
            f"which is {input_wh[0]}x{input_wh[1]} (width x height) and fixed: give a --tile that "
            "fits, or export with a dynamic size"
        )
    size_wh = (column.length, row.length)
    letterbox = Letterbox(size_wh, input_wh, (column.inner, row.inner), (0, 0))
    core, inside = (
        (x[0], y[0], x[1], y[1]) for x, y in ((column.core, row.core), (column.inside, row.inside))
    )
    return Window(column.start, row.start, letterbox, core, inside)


def in_source(found: Detections, window: Window) -> tuple[Detections, np.ndarray]:
    """Detections in input pixels of a window -> those that count in it, in pixels of the source.

    Returns them and [N] bool, whether each may be cut by the window's border.
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
    loose = LOOSE * sides.max(axis=1, keepdims=True)
    cut = (low - loose < (left, top)).any(axis=1) | (high + loose > (right, bottom)).any(axis=1)
    return found[own].with_corners(corners), cut

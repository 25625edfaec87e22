"""16 bits a channel made 8, so that a picture looks as those that networks are trained on.

Satellites measure 11 or 12 bits and deliver them in 16: the upper 8 of those are almost black.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from datasets.images import read_deep_image

SIDE = 256
"""Of the windows from which the range of values is taken, in pixels."""

GRIDS = (8, 64)
"""Windows in each direction. The second is for images that are without data nearly everywhere."""

_VALUES = 1 << 16
_FULL_RANGE = 1 << 15
_PER_MILLE = 1  # of the pixels that may end up black, and as many white

Sample = Callable[[int, int, int, int], tuple[np.ndarray, np.ndarray]]
"""(left, top, width, height) -> values [C, h, w] uint16, and which hold data [h, w] bool."""


@dataclass(frozen=True)
class Stretch:
    """How 16 bits become 8.

    Channel by channel, the values between the ends of its histogram go linearly to 0..255, as in
    QGIS or the baselines of SpaceNet. One range for all channels would keep the haze, which lifts
    the blue of what a satellite measures by as much as the ground reflects: the picture would be
    pale and bluish, where those of training are balanced. (With haze added to two images of DOTA,
    a network found 99 % of what it finds in the originals, and 86 to 96 % by one range.) The price
    is a tint where one colour fills the image; cutting off no more than a thousandth at either end
    keeps it small, as a white roof and a shadow are in nearly every scene.

    limits: the two ends of each channel; None where the upper 8 bits are taken, as of images
        that use the full range.
    """

    limits: tuple[tuple[int, int], ...] | None
    tables: np.ndarray

    @classmethod
    def of(cls, size_wh: tuple[int, int], channels: int, sample: Sample) -> Stretch:
        """From windows spread over the image, so that its size does not matter.

        Pixels that are 0 in all channels do not count: a border mostly, also where no mask
        says so.
        """
        for grid in GRIDS:
            counts = np.zeros((channels, _VALUES), np.int64)
            for window in _windows(size_wh, grid):
                values, valid = sample(*window)
                valid = valid & values.any(axis=0)
                for own, channel in zip(counts, values, strict=True):
                    own += np.bincount(channel[valid], minlength=_VALUES)
            if counts[0].sum() >= SIDE**2 or max(size_wh) <= grid * SIDE:
                break
        return cls._of_counts(counts)

    @classmethod
    def of_image(cls, image: np.ndarray) -> Stretch:
        """image: [H, W, C] uint16."""
        planes = image.transpose(2, 0, 1)

        def sample(left: int, top: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
            part = planes[:, top : top + height, left : left + width]
            return part, np.ones((height, width), bool)

        return cls.of(image.shape[1::-1], image.shape[2], sample)

    @classmethod
    def _of_counts(cls, counts: np.ndarray) -> Stretch:
        below = counts.cumsum(axis=1) * 1000
        total = counts.sum(axis=1, keepdims=True)
        low = (below >= total * _PER_MILLE).argmax(axis=1)
        high = (below >= total * (1000 - _PER_MILLE)).argmax(axis=1)
        values = np.arange(_VALUES)
        if not total.any() or high.max() >= _FULL_RANGE:
            return cls(None, np.tile((values >> 8).astype(np.uint8), (len(counts), 1)))
        high = np.maximum(high, low + 255)  # finer steps than the image has would be noise
        scaled = (values - low[:, None]) * (255 / (high - low))[:, None]
        tables = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        return cls(tuple(zip(low.tolist(), high.tolist(), strict=True)), tables)

    def __call__(self, planes: np.ndarray) -> np.ndarray:
        """Channels [C, ...] uint16 -> uint8."""
        return np.stack([table[own] for table, own in zip(self.tables, planes, strict=True)])

    def __str__(self) -> str:
        if self.limits is None:
            return "of 16 bits the upper 8 are taken"
        names = ("red", "green", "blue") if len(self.limits) == 3 else ("grey",)
        ranges = [f"{name} {a}-{b}" for name, (a, b) in zip(names, self.limits, strict=True)]
        return f"16 bits are stretched to 8: {', '.join(ranges)}"


def unsigned(values: np.ndarray) -> np.ndarray:
    """int16 as uint16; a measurement below 0 is a mark for no data, or as good as 0."""
    return np.maximum(values, 0).astype(np.uint16) if values.dtype == np.int16 else values


def read_stretched(path: Path | str) -> tuple[np.ndarray, Stretch | None]:
    """An image [H, W, 3] uint8 in BGR as `read_image` gives it, but with 16 bits stretched, and
    how they were; None for an image of 8."""
    return stretched(unsigned(read_deep_image(path)))


def stretched(image: np.ndarray) -> tuple[np.ndarray, Stretch | None]:
    """The same of an image [H, W, 3] in BGR, uint8 or uint16."""
    if image.dtype != np.uint16:
        return image, None
    rgb = image[:, :, ::-1]
    stretch = Stretch.of_image(rgb)
    return np.ascontiguousarray(stretch(rgb.transpose(2, 0, 1))[::-1].transpose(1, 2, 0)), stretch


def _windows(size_wh: tuple[int, int], grid: int) -> Iterator[tuple[int, int, int, int]]:
    """left, top, width and height of a window in each of grid x grid cells; of a small image they
    are the cells, and so all of it."""
    across, down = (list(_spread(side, grid)) for side in size_wh)
    for top, height in down:
        for left, width in across:
            yield left, top, width, height


def _spread(side: int, grid: int) -> Iterator[tuple[int, int]]:
    edges = [side * k // grid for k in range(grid + 1)]
    for start, end in pairwise(edges):
        length = min(SIDE, end - start)
        if length:
            yield start + (end - start - length) // 2, length

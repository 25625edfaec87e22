"""Contrast stretch from 16 to 8 bits per channel, for images like those of the training sets.

Satellites measure 11 or 12 bits and deliver them in 16, whose upper 8 bits are almost black.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

WINDOW_SIDE_PX = 256
"""Side of the windows from which the range of values is sampled."""

WINDOWS_PER_SIDE = (8, 64)
"""Windows in each direction; the second is for images with hardly any data."""

_NUM_VALUES = 1 << 16
_FULL_RANGE = 1 << 15  # images with brighter pixels than this use all 16 bits
_CLIPPED_PER_MILLE = 1  # share of pixels that may become black, and as many white

Sample = Callable[[int, int, int, int], tuple[np.ndarray, np.ndarray]]
"""(left, top, width, height) -> values [C, h, w] uint16, and which are valid [h, w] bool."""


@dataclass(frozen=True)
class Stretch:
    """Mapping of 16 bits to 8.

    In each channel, the values between two percentiles are mapped linearly to 0..255, as in QGIS or
    the baselines of SpaceNet. A common range for all channels would keep the haze, which raises the
    blue that a satellite measures by as much as the ground reflects: the image would be pale and
    bluish, while those of the training set are balanced. (With haze added to two images of DOTA, a
    network found 99 % of what it finds in the originals, but 86 to 96 % with a common range.) The
    price is a tint if one color fills the image; clipping no more than a thousandth at either end
    keeps it small, since nearly every scene has a white roof and a shadow.

    Attributes:
        limits: Lower and upper limit of each channel; None if the upper 8 bits are used, as for
            images that use the full range.
        tables: [C, 65536] uint8 lookup table of each channel.
    """

    limits: tuple[tuple[int, int], ...] | None
    tables: np.ndarray

    @classmethod
    def of(cls, size_wh: tuple[int, int], channels: int, sample: Sample) -> Stretch:
        """Compute the stretch from windows spread over an image of any size.

        Pixels that are 0 in all channels are excluded: they are usually a border, even if no mask
        says so.

        Args:
            size_wh: Size of the image.
            channels: Number of channels C.
            sample: Reads a window.
        """
        for grid in WINDOWS_PER_SIDE:
            counts = np.zeros((channels, _NUM_VALUES), np.int64)
            for window in _windows(size_wh, grid):
                values, valid = sample(*window)
                valid = valid & values.any(axis=0)
                for own, channel in zip(counts, values, strict=True):
                    own += np.bincount(channel[valid], minlength=_NUM_VALUES)
            if counts[0].sum() >= WINDOW_SIDE_PX**2 or max(size_wh) <= grid * WINDOW_SIDE_PX:
                break
        return cls._of_counts(counts)

    @classmethod
    def upper_bits(cls, channels: int) -> Stretch:
        """Return the mapping to the upper 8 bits."""
        return cls(None, np.tile((np.arange(_NUM_VALUES) >> 8).astype(np.uint8), (channels, 1)))

    @classmethod
    def of_image(cls, image: np.ndarray) -> Stretch:
        """Compute the stretch of an image [H, W, C] uint16."""
        planes = image.transpose(2, 0, 1)

        def sample(left: int, top: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
            part = planes[:, top : top + height, left : left + width]
            return part, np.ones((height, width), bool)

        return cls.of(image.shape[1::-1], image.shape[2], sample)

    @classmethod
    def _of_counts(cls, counts: np.ndarray) -> Stretch:
        below = counts.cumsum(axis=1) * 1000
        total = counts.sum(axis=1, keepdims=True)
        low = (below >= total * _CLIPPED_PER_MILLE).argmax(axis=1)
        high = (below >= total * (1000 - _CLIPPED_PER_MILLE)).argmax(axis=1)
        values = np.arange(_NUM_VALUES)
        if not total.any() or high.max() >= _FULL_RANGE:
            return cls.upper_bits(len(counts))
        high = np.maximum(high, low + 255)  # steps finer than those of the image would be noise
        scaled = (values - low[:, None]) * (255 / (high - low))[:, None]
        tables = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        return cls(tuple(zip(low.tolist(), high.tolist(), strict=True)), tables)

    def __call__(self, planes: np.ndarray) -> np.ndarray:
        """Map channels [C, ...] uint16 to uint8."""
        return np.stack([table[own] for table, own in zip(self.tables, planes, strict=True)])

    def __str__(self) -> str:
        if self.limits is None:
            return "the upper 8 of 16 bits are used"
        names = ("red", "green", "blue") if len(self.limits) == 3 else ("gray",)
        ranges = [f"{name} {a}-{b}" for name, (a, b) in zip(names, self.limits, strict=True)]
        return f"16 bits are stretched to 8: {', '.join(ranges)}"


def unsigned(values: np.ndarray) -> np.ndarray:
    """Convert int16 to uint16; a negative value marks missing data or is as good as 0."""
    return np.maximum(values, 0).astype(np.uint16) if values.dtype == np.int16 else values


def _windows(size_wh: tuple[int, int], grid: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield left, top, width and height of a window in each of grid x grid cells.

    A small image gets as few cells as cover it with windows: counting the values of one takes
    longer than reading it.
    """
    across, down = (list(_spread(side, grid)) for side in size_wh)
    for top, height in down:
        for left, width in across:
            yield left, top, width, height


def _spread(side: int, grid: int) -> Iterator[tuple[int, int]]:
    grid = min(grid, -(-side // WINDOW_SIDE_PX))
    edges = [side * k // grid for k in range(grid + 1)]
    for start, end in pairwise(edges):
        length = min(WINDOW_SIDE_PX, end - start)
        if length:
            yield start + (end - start - length) // 2, length

"""Images that patches are read from: decoded as a whole, or window by window."""

from __future__ import annotations

import logging
import math
import threading
import warnings
from collections.abc import Callable
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import numpy as np

from DOTA_devkit.images import image_size_wh, read_image
from DOTA_devkit.splitting.grid import resized_wh

logger = logging.getLogger(__name__)


# TIFFs of more pixels than this are read window by window, where rasterio is installed.
LARGE_PIXELS = 50_000_000


class PatchSource(Protocol):
    """An image that patches are read from.

    Attributes:
        size_wh: width and height, pixels.
        read_late: patches are read from the file, which must stay open until they are.
    """

    size_wh: tuple[int, int]
    read_late: bool

    def reader(self, rate: float) -> PatchReader:
        """What reads patches of the image resized by the rate, from any thread."""

    def close(self) -> None:
        """Let go of the file."""


PatchReader = Callable[[int, int, int], np.ndarray]
"""(x, y, size) -> patch ``[h, w, 3]``, BGR, 8 bits; smaller than ``size`` at the border."""


def open_source(path: Path | str) -> PatchSource:
    """An image to be cut; a large TIFF is read by windows where rasterio is installed."""
    path = Path(path)
    if path.suffix.lower() in (".tif", ".tiff"):
        try:
            return WindowedTiff(path)
        except ImportError:
            logger.debug("rasterio is not installed: %s is read as a whole", path)
        except _NotWindowed as reason:
            logger.debug("%s is read as a whole: %s", path, reason)
    return WholeImage(path)


class WholeImage:
    """An image that is decoded as a whole when a patch is first needed."""

    read_late = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size_wh = image_size_wh(path)

    @cached_property
    def _image(self) -> np.ndarray:
        return read_image(self._path)

    def reader(self, rate: float) -> PatchReader:
        image = _resized(self._image, rate)

        def read(x: int, y: int, size: int) -> np.ndarray:
            return image[y : y + size, x : x + size]

        return read

    def close(self) -> None:
        self.__dict__.pop("_image", None)


class _NotWindowed(Exception):
    """A TIFF that is small, or of a kind that is left to OpenCV."""


class WindowedTiff:
    """A large TIFF of which each patch reads its own window only."""

    read_late = True

    # Source pixels that bicubic interpolation looks at beyond a window.
    MARGIN = 4

    def __init__(self, path: Path, large_pixels: int | None = None) -> None:
        import rasterio

        self._open = rasterio.open
        self._path = path
        # A dataset must not be shared by threads: each opens its own.
        self._local = threading.local()
        self._opened: list = []
        try:
            tiff = self._dataset()
        except rasterio.errors.RasterioIOError as error:
            raise _NotWindowed(str(error)) from None
        self.size_wh = (tiff.width, tiff.height)
        try:
            self._check(tiff, LARGE_PIXELS if large_pixels is None else large_pixels)
        except _NotWindowed:
            self.close()
            raise

    @staticmethod
    def _check(tiff, large_pixels: int) -> None:
        kinds = set(tiff.dtypes)
        if tiff.width * tiff.height < large_pixels:
            raise _NotWindowed("it is small")
        if tiff.count not in (1, 3, 4) or not kinds <= {"uint8", "uint16"}:
            raise _NotWindowed(f"it has {tiff.count} bands of {', '.join(kinds)}")
        if tiff.colorinterp[0].name == "palette":
            raise _NotWindowed("it has a palette")

    def _dataset(self):
        tiff = getattr(self._local, "tiff", None)
        if tiff is None:
            with warnings.catch_warnings():
                # That an image has no georeference is no news.
                warnings.simplefilter("ignore")
                tiff = self._local.tiff = self._open(self._path)
            self._opened.append(tiff)
        return tiff

    def reader(self, rate: float) -> PatchReader:
        return partial(self._read, rate)

    def _read(self, rate: float, x: int, y: int, size: int) -> np.ndarray:
        width, height = resized_wh(self.size_wh, rate)
        right, bottom = min(x + size, width), min(y + size, height)
        if rate == 1:
            return self._pixels(x, y, right, bottom)
        left, right_source, before_x = self._span(x, right, rate, self.size_wh[0])
        top, bottom_source, before_y = self._span(y, bottom, rate, self.size_wh[1])
        block = _resized(self._pixels(left, top, right_source, bottom_source), rate)
        before_x, before_y = x - before_x, y - before_y
        return block[before_y : before_y + bottom - y, before_x : before_x + right - x]

    def _span(self, start: int, stop: int, rate: float, length: int) -> tuple[int, int, int]:
        """Source pixels [first, last) that [start, stop) is made of, and where they begin in it.

        They begin at a multiple of the rate's denominator, which falls on a whole pixel of the
        resized image, so that the block is sampled where the whole image would be; on an even
        one, as sizes that end in a half are rounded to even ones.
        """
        step = 2 * Fraction(rate).limit_denominator(1000).denominator
        first = max(math.floor(start / rate) - self.MARGIN, 0) // step * step
        last = min(math.ceil(stop / rate) + self.MARGIN, length)
        return first, last, round(first * rate)

    def _pixels(self, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        tiff = self._dataset()
        bands = (1, 1, 1) if tiff.count == 1 else (3, 2, 1)
        pixels = tiff.read(bands, window=((top, bottom), (left, right)))
        if pixels.dtype == np.uint16:
            pixels = (pixels >> 8).astype(np.uint8)
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))

    def close(self) -> None:
        for tiff in self._opened:
            tiff.close()
        self._opened.clear()
        self._local = threading.local()


def _resized(image: np.ndarray, rate: float) -> np.ndarray:
    if rate == 1:
        return image
    import cv2

    # By the factor and not by the size: the two sample at slightly different places.
    if min(image.shape[:2]) * rate > 0.5:
        return cv2.resize(image, None, fx=rate, fy=rate, interpolation=cv2.INTER_CUBIC)
    size_wh = resized_wh((image.shape[1], image.shape[0]), rate)
    return cv2.resize(image, size_wh, interpolation=cv2.INTER_CUBIC)

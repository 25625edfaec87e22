"""Images that patches are read from: decoded as a whole, or window by window."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import ReadOptions, image_size_wh, read_image
from DOTA_devkit.imaging.limits import check_size
from DOTA_devkit.imaging.raster import RASTER_SUFFIXES, RasterReader, has_rasterio, open_dataset
from DOTA_devkit.splitting.grid import resized_wh

logger = logging.getLogger(__name__)

# Rasters with at least this many pixels are read window by window if rasterio is installed.
MIN_WINDOWED_PIXELS = 50_000_000

# Source pixels that bicubic interpolation uses beyond the border of a window.
INTERPOLATION_MARGIN_PX = 4


class PatchSource(Protocol):
    """An image that patches are read from.

    Attributes:
        size_wh: width and height, pixels.
        reads_lazily: a reader reads from the file, which must stay open as long as it is used.
    """

    size_wh: tuple[int, int]
    reads_lazily: bool

    def reader(self, rate: float) -> PatchReader:
        """Return a function that reads patches of the resized image and may run in any thread."""

    def close(self) -> None:
        """Close the file and free the pixels."""


PatchReader = Callable[[int, int, int], np.ndarray]
"""(x, y, size) -> patch ``[h, w, 3]`` uint8 in BGR; smaller than ``size`` at the border."""


def open_source(path: Path | str, options: ReadOptions | None = None) -> PatchSource:
    """Open an image to split.

    Args:
        path: image file; a large TIFF is read window by window if rasterio is installed.
        options: how its pixels are read.

    Returns:
        The open image; the caller closes it.

    Raises:
        InputError: the image cannot be read.
    """
    path, options = Path(path), options or ReadOptions()
    if path.suffix.lower() in RASTER_SUFFIXES and has_rasterio():
        try:
            return WindowedTiff(path, options)
        except _NotSuitableError as reason:
            logger.debug("%s is read as a whole: %s", path, reason)
    return WholeImage(path, options)


class WholeImage:
    """An image that is decoded as a whole when its first patch is needed.

    See `PatchSource`.
    """

    reads_lazily = False

    def __init__(self, path: Path, options: ReadOptions | None = None) -> None:
        self._path, self._options = path, options or ReadOptions()
        self.size_wh = image_size_wh(path)
        check_size(path, self.size_wh, self._options, whole=True)

    @cached_property
    def _image(self) -> np.ndarray:
        return read_image(self._path, self._options)

    def reader(self, rate: float) -> PatchReader:
        """Resize the image and return a function that cuts patches from it."""
        image = _resized(self._image, rate)

        def read(x: int, y: int, size: int) -> np.ndarray:
            return image[y : y + size, x : x + size]

        return read

    def close(self) -> None:
        """Free the decoded pixels."""
        self.__dict__.pop("_image", None)


class _NotSuitableError(Exception):
    """The raster is small, or rasterio cannot read it."""


class WindowedTiff:
    """A large raster of which each patch reads only its own window.

    See `PatchSource`.
    """

    reads_lazily = True

    def __init__(
        self, path: Path, options: ReadOptions | None = None, min_pixels: int | None = None
    ) -> None:
        self._path, self._options = path, options or ReadOptions()
        # A dataset must not be shared between threads: each thread opens its own.
        self._local = threading.local()
        self._opened: list = []
        try:
            dataset = open_dataset(path, self._options)
        except InputError as error:  # OpenCV may read it
            raise _NotSuitableError(str(error)) from None
        self._opened.append(dataset)
        if dataset.width * dataset.height < (
            MIN_WINDOWED_PIXELS if min_pixels is None else min_pixels
        ):
            self.close()
            raise _NotSuitableError("it is small")
        check_size(path, (dataset.width, dataset.height), self._options, whole=False)
        self._first = self._local.reader = RasterReader(path, dataset, self._options)
        self.size_wh = self._first.size_wh
        for note in self._first.notes():
            logger.info("%s: %s", path, note)

    def _reader(self) -> RasterReader:
        reader = getattr(self._local, "reader", None)
        if reader is None:
            dataset = open_dataset(self._path, self._options)
            self._opened.append(dataset)
            reader = RasterReader(self._path, dataset, self._options, self._first.stretch)
            self._local.reader = reader
        return reader

    def reader(self, rate: float) -> PatchReader:
        """Return a function that reads and resizes the source window of each patch."""
        return partial(self._read, rate)

    def _read(self, rate: float, x: int, y: int, size: int) -> np.ndarray:
        width, height = resized_wh(self.size_wh, rate)
        right, bottom = min(x + size, width), min(y + size, height)
        if rate == 1:
            return self._pixels(x, y, right, bottom)
        source_left, source_right, block_x = self._source_span(x, right, rate, self.size_wh[0])
        source_top, source_bottom, block_y = self._source_span(y, bottom, rate, self.size_wh[1])
        source = self._pixels(source_left, source_top, source_right, source_bottom)
        block = _resized(source, rate)
        return block[y - block_y : bottom - block_y, x - block_x : right - block_x]

    @staticmethod
    def _source_span(start: int, stop: int, rate: float, length: int) -> tuple[int, int, int]:
        """Find the source pixels that the resized pixels [start, stop) are computed from.

        They start at a multiple of the rate's denominator, which maps to a whole pixel of the
        resized image, so that the block is sampled at the same places as the whole image. The
        multiple is even because sizes that end in a half are rounded to the even number.

        Returns:
            The source pixels [first, last), and the resized pixel where they start.
        """
        step = 2 * Fraction(rate).limit_denominator(1000).denominator
        first = max(math.floor(start / rate) - INTERPOLATION_MARGIN_PX, 0) // step * step
        last = min(math.ceil(stop / rate) + INTERPOLATION_MARGIN_PX, length)
        return first, last, round(first * rate)

    def _pixels(self, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        return self._reader().part(left, top, (right - left, bottom - top))

    def close(self) -> None:
        """Close the file in all threads."""
        for dataset in self._opened:
            dataset.close()
        self._opened.clear()
        self._local = threading.local()


def _resized(image: np.ndarray, rate: float) -> np.ndarray:
    if rate == 1:
        return image
    import cv2

    # By factor and not by size, as the two sample at slightly different places.
    if min(image.shape[:2]) * rate > 0.5:
        return cv2.resize(image, None, fx=rate, fy=rate, interpolation=cv2.INTER_CUBIC)
    size_wh = resized_wh((image.shape[1], image.shape[0]), rate)
    return cv2.resize(image, size_wh, interpolation=cv2.INTER_CUBIC)

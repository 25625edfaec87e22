"""Image files of any kind -> pixels, by the rule of `ReadOptions`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging.bands import color_bands
from DOTA_devkit.imaging.decode import decode, import_cv2
from DOTA_devkit.imaging.headers import header_size_wh
from DOTA_devkit.imaging.limits import check_size
from DOTA_devkit.imaging.options import HIGH_BYTE, ReadOptions
from DOTA_devkit.imaging.raster import (
    RASTER_SUFFIXES,
    RasterReader,
    fitted_wh,
    has_rasterio,
    import_rasterio,
    is_flat,
    is_plain,
    open_raster,
    shrunk_wh,
    turn_of,
)
from DOTA_devkit.imaging.stretch import Stretch, unsigned

logger = logging.getLogger(__name__)

_logged: set[str] = set()
"""What this process has logged about how images are read."""


class Reader(Protocol):
    """The pixels of an open image, BGR uint8.

    Attributes:
        size_wh: Width and height of the image.
        stretch: How the pixels are computed from 16 bits; None for an image of 8 bits.
    """

    size_wh: tuple[int, int]
    stretch: Stretch | None

    def window(
        self, left: int, top: int, size_wh: tuple[int, int], shrink: int = 1
    ) -> np.ndarray | None:
        """Return a part of the image [H, W, 3]; None if it holds no data.

        Args:
            left: First column.
            top: First row.
            size_wh: Width and height of the part in pixels of the image.
            shrink: Each returned pixel is the mean of this many in both directions.
        """

    def overview(self, max_side: int) -> np.ndarray:
        """Return the image, scaled down so that its longer side is at most `max_side`."""

    def notes(self) -> list[str]:
        """Return what is unusual in how the image is read, in words."""


class PixelReader:
    """An image that is read as a whole, see `Reader`."""

    def __init__(self, path: Path, options: ReadOptions | None = None):
        """Read an image file; an InputError says why it cannot be read."""
        self._image, self.stretch = read_stretched(path, options)
        self.size_wh = self._image.shape[1::-1]

    def window(
        self, left: int, top: int, size_wh: tuple[int, int], shrink: int = 1
    ) -> np.ndarray | None:
        """Return a part of the image, see `Reader.window`."""
        part = self._image[top : top + size_wh[1], left : left + size_wh[0]]
        if is_flat(part):
            return None
        if shrink > 1:
            part = _scaled_down(part, shrunk_wh(size_wh, shrink))
        return part

    def overview(self, max_side: int) -> np.ndarray:
        """Return the image scaled down, see `Reader.overview`."""
        height, width = self._image.shape[:2]
        if max(height, width) <= max_side:
            return self._image
        return _scaled_down(self._image, fitted_wh((width, height), max_side))

    def notes(self) -> list[str]:
        """Return what is unusual, see `Reader.notes`."""
        return [] if self.stretch is None else [str(self.stretch)]


def _scaled_down(image: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    cv2 = import_cv2()
    return cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)


def read_image(path: Path | str, options: ReadOptions | None = None) -> np.ndarray:
    """Read an image as [H, W, 3] uint8 in BGR, turned as its EXIF or TIFF orientation says.

    Gray images become BGR, 16 bits per channel become 8 by `ReadOptions.depth`, and what a mask or
    an alpha band of a TIFF hides is black; alpha channels of other formats are dropped.

    Args:
        path: The image file. TIFFs that are not plain (`raster.is_plain`) need rasterio.
        options: How it is read.

    Raises:
        InputError: The file is missing, truncated or not an image.
    """
    image, stretch = read_stretched(path, options)
    if stretch is not None:
        kind = (
            str(stretch)
            if stretch.limits is None
            else "16 bits are stretched to 8, each image by its own percentiles"
        )
        _log_once(kind, path)
    return image


def read_stretched(
    path: Path | str, options: ReadOptions | None = None
) -> tuple[np.ndarray, Stretch | None]:
    """Read an image as `read_image` does.

    Returns:
        The image [H, W, 3] uint8 in BGR, and how it was computed from 16 bits; None for 8 bits.
    """
    path, options = Path(path), options or ReadOptions()
    if path.suffix.lower() not in RASTER_SUFFIXES or not path.is_file():
        return _decoded(path, options)
    if not has_rasterio():
        if options.bands is not None:
            import_rasterio()  # raises
        return _decoded(path, options)
    with open_raster(path, options) as dataset:
        check_size(path, (dataset.width, dataset.height), options, whole=True)
        bands = color_bands(path, dataset, options.bands)
        if is_plain(dataset, bands):
            try:
                return _decoded(path, options)
            except InputError:
                pass  # of a compression that OpenCV does not know
        reader = RasterReader(path, dataset, options)
        if note := bands.note(dataset.count):
            _log_once(note, path)
        return reader.part(0, 0, reader.size_wh), reader.stretch


def _decoded(path: Path, options: ReadOptions) -> tuple[np.ndarray, Stretch | None]:
    size_wh = header_size_wh(path) if path.is_file() else None
    if size_wh is not None:
        check_size(path, size_wh, options, whole=True)
    image = unsigned(decode(path, deep=True))
    if image.dtype == np.uint16 and options.depth == HIGH_BYTE:
        return decode(path, deep=False), Stretch.upper_bits(3)  # some formats round
    return _stretched(image, options)


def bgr_of_array(image: np.ndarray, options: ReadOptions | None = None) -> np.ndarray:
    """Return an image in memory as `read_image` returns that of a file: [H, W, 3] uint8 in BGR.

    Args:
        image: [H, W, 3] in BGR, or [H, W, 1] or [H, W] in gray, uint8 or uint16.
        options: How 16 bits per channel become 8.

    Raises:
        InputError: It is anything else.
    """
    if not isinstance(image, np.ndarray):
        found = type(image).__name__
    else:
        found = f"{image.dtype} {list(image.shape)}"
        if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
            image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
        known_dtype = image.dtype in (np.uint8, np.uint16)
        if known_dtype and image.ndim == 3 and image.shape[2] == 3 and image.size:
            return np.ascontiguousarray(_stretched(image, options)[0])
    raise InputError(
        f"image must be uint8 (or uint16) [H, W, 3] in BGR or [H, W] in gray, got {found}"
    )


def _stretched(
    image: np.ndarray, options: ReadOptions | None = None
) -> tuple[np.ndarray, Stretch | None]:
    """Turn an image [H, W, 3] in BGR, uint8 or uint16, into 8 bits, as `read_stretched` does."""
    if image.dtype != np.uint16:
        return image, None
    rgb = image[:, :, ::-1]
    upper = options is not None and options.depth == HIGH_BYTE
    stretch = Stretch.upper_bits(3) if upper else Stretch.of_image(rgb)
    return np.ascontiguousarray(stretch(rgb.transpose(2, 0, 1))[::-1].transpose(1, 2, 0)), stretch


def image_size_wh(path: Path | str) -> tuple[int, int]:
    """Return the size that `read_image` would give, read from the header if possible.

    A dataset such as DOTA has images of 100 megapixels: decoding them all takes minutes, reading
    the headers milliseconds.

    Args:
        path: The image file.

    Returns:
        Width and height in pixels.

    Raises:
        InputError: The image cannot be read, or OpenCV is needed and not installed.
        OSError: The file cannot be opened.
    """
    size_wh = header_size_wh(path)
    path = Path(path)
    if size_wh is None and path.suffix.lower() in RASTER_SUFFIXES and has_rasterio():
        with open_raster(path) as dataset:
            size_wh = turn_of(path, dataset).shown_wh
    return size_wh or read_image(path).shape[1::-1]


def _log_once(text: str, path: Path | str) -> None:
    """Log how an image is read, for the first of a kind: a data set has thousands of them."""
    if text not in _logged:
        _logged.add(text)
        logger.info("%s: %s (logged for the first such image only)", path, text)

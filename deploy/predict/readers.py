"""The pixels of an open image, window by window."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from datasets.stretch import Stretch, read_stretched, unsigned
from deploy.predict.georeference import import_rasterio
from DOTA_devkit.errors import InputError

if TYPE_CHECKING:
    from rasterio.io import DatasetReader


_CACHE_BYTES = 128 << 20
"""Size of GDAL's cache of decoded blocks, whose default is 5 % of the machine's memory. rasterio
passes the number on as bytes, where GDAL's environment variable would mean megabytes."""


class Reader(Protocol):
    """The pixels of an open image, BGR uint8.

    Attributes:
        stretch: How they are computed from 16 bits; None for an image of 8 bits.
    """

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


class PixelReader:
    """An image that OpenCV reads as a whole."""

    def __init__(self, path: Path):
        """Read an image file; an InputError says why it cannot be read."""
        self._image, self.stretch = read_stretched(path)
        self.size_wh = self._image.shape[1::-1]

    def window(
        self, left: int, top: int, size_wh: tuple[int, int], shrink: int = 1
    ) -> np.ndarray | None:
        """Return a part of the image, see `Reader.window`."""
        part = self._image[top : top + size_wh[1], left : left + size_wh[0]]
        if is_flat(part):
            return None
        if shrink > 1:
            part = cv2.resize(part, _shrunk(size_wh, shrink), interpolation=cv2.INTER_AREA)
        return part

    def overview(self, max_side: int) -> np.ndarray:
        """Return the image scaled down, see `Reader.overview`."""
        height, width = self._image.shape[:2]
        if max(height, width) <= max_side:
            return self._image
        size_wh = _fitted((width, height), max_side)
        return cv2.resize(self._image, size_wh, interpolation=cv2.INTER_AREA)


class RasterReader:
    """An open GeoTIFF, of which only what is asked for is read."""

    def __init__(self, path: Path, dataset: DatasetReader):
        """Prepare to read an open dataset; an InputError says why its bands cannot be used."""
        self._path, self._dataset = path, dataset
        self._bands = color_bands(path, dataset)
        self._palette = _palette(dataset) if len(self._bands) == 1 else None
        kinds = {flag.name for flags in dataset.mask_flag_enums for flag in flags}
        self._masked = kinds != {"all_valid"}
        # Anything may lie below a mask. A value that stands for "no data" is also a color that
        # single pixels of a roof may have, so it hides nothing.
        self._hides = not kinds <= {"all_valid", "nodata"}
        is_16_bit = self._palette is None and dataset.dtypes[self._bands[0] - 1] != "uint8"
        size_wh = (dataset.width, dataset.height)
        self.stretch = Stretch.of(size_wh, len(self._bands), self._sample) if is_16_bit else None

    def window(
        self, left: int, top: int, size_wh: tuple[int, int], shrink: int = 1
    ) -> np.ndarray | None:
        """Return a part of the image, see `Reader.window`."""
        from rasterio.windows import Window

        window = Window(left, top, *size_wh)
        out_wh = _shrunk(size_wh, shrink)
        valid = self._valid(window, out_wh)
        if not valid.any():
            return None
        image = self._read(window, out_wh)
        if self._hides:
            image[~valid] = 0
        return None if is_flat(image) else image

    def overview(self, max_side: int) -> np.ndarray:
        """Return the image scaled down, see `Reader.overview`."""
        from rasterio.windows import Window

        size_wh = (self._dataset.width, self._dataset.height)
        out_wh = _fitted(size_wh, max_side) if max(size_wh) > max_side else size_wh
        return self._read(Window(0, 0, *size_wh), out_wh)

    def _valid(self, window: object, out_wh: tuple[int, int]) -> np.ndarray:
        """Return [H, W] bool, which pixels hold data."""
        from rasterio.errors import RasterioError

        if not self._masked:
            return np.ones(out_wh[::-1], bool)
        try:
            return self._dataset.dataset_mask(window=window, out_shape=out_wh[::-1]) > 0
        except RasterioError as error:
            raise _unreadable(self._path, error) from None

    def _sample(self, *window: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the raw bands at (left, top, width, height), and which pixels hold data."""
        from rasterio.windows import Window

        size_wh = window[2:]
        window = Window(*window)
        return self._read_bands(window, size_wh), self._valid(window, size_wh)

    def _read(self, window: object, out_wh: tuple[int, int]) -> np.ndarray:
        bands = self._read_bands(window, out_wh)
        if self._palette is not None:
            return self._palette[bands[0]]
        if self.stretch is not None:
            bands = self.stretch(bands)
        if len(bands) == 1:
            bands = np.repeat(bands, 3, axis=0)
        return np.ascontiguousarray(bands[::-1].transpose(1, 2, 0))

    def _read_bands(self, window: object, out_wh: tuple[int, int]) -> np.ndarray:
        """Return the bands [C, H, W] of a window, uint8 or uint16."""
        from rasterio.enums import Resampling
        from rasterio.errors import RasterioError

        # indices of a palette cannot be averaged
        averaging = self._palette is None and out_wh != (window.width, window.height)
        try:
            bands = self._dataset.read(
                self._bands,
                window=window,
                out_shape=(len(self._bands), out_wh[1], out_wh[0]),
                resampling=Resampling.average if averaging else Resampling.nearest,
            )
        except RasterioError as error:
            raise _unreadable(self._path, error) from None
        return unsigned(bands)


def is_flat(image: np.ndarray) -> bool:
    """Tell whether all pixels have one color, as in a border without data or a masked area.

    Nothing can be found there.
    """
    first = image[:1, :1]
    # for most images the first row decides, and the others need not be compared
    return bool((image[0] == first).all()) and bool((image == first).all())


@contextmanager
def open_raster(path: Path) -> Iterator[DatasetReader]:
    """Open a file with rasterio.

    Raises:
        InputError: rasterio is not installed, or cannot read the file.
    """
    rasterio = import_rasterio()
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

    with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                dataset = rasterio.open(path)
        except RasterioIOError as error:
            raise _unreadable(path, error) from None
        with dataset:
            yield dataset


def _unreadable(path: Path, error: Exception) -> InputError:
    cause = error.__cause__ or error
    return InputError(f"{path}: cannot be read ({cause})")


def color_bands(path: Path, dataset: DatasetReader) -> list[int]:
    """Return the numbers (from 1) of the red, green and blue bands, or of the one gray band.

    Raises:
        InputError: The bands are not all of 8 or all of 16 bits.
    """
    from rasterio.enums import ColorInterp

    roles = list(dataset.colorinterp)
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if all(role in roles for role in wanted):
        bands = [roles.index(role) + 1 for role in wanted]
    else:
        bands = [1, 2, 3] if dataset.count >= 3 else [1]
    kinds = {dataset.dtypes[band - 1] for band in bands}
    if len(kinds) > 1 or not kinds <= {"uint8", "uint16", "int16"}:
        raise InputError(
            f"{path}: bands of {', '.join(sorted(kinds))}; expected all 8-bit or all 16-bit "
            f"(gdal_translate -ot Byte -scale {path.name} 8bit.tif converts them)"
        )
    return bands


def _palette(dataset: DatasetReader) -> np.ndarray | None:
    """Return the colors [2^bits, 3] BGR of the band's palette; None if it has none."""
    try:
        colors = dataset.colormap(1)
    except ValueError:
        return None
    size = 256 if dataset.dtypes[0] == "uint8" else 65536
    palette = np.zeros((size, 3), np.uint8)
    for index, (red, green, blue, _) in colors.items():
        palette[index % size] = blue, green, red
    return palette


def _shrunk(size_wh: tuple[int, int], shrink: int) -> tuple[int, int]:
    return -(-size_wh[0] // shrink), -(-size_wh[1] // shrink)


def _fitted(size_wh: tuple[int, int], max_side: int) -> tuple[int, int]:
    scale = max_side / max(size_wh)
    return max(1, round(size_wh[0] * scale)), max(1, round(size_wh[1] * scale))

"""Images that rasterio reads, window by window: GeoTIFF and JPEG 2000."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging.bands import ColorBands, color_bands, palette_of
from DOTA_devkit.imaging.headers import orientation_of
from DOTA_devkit.imaging.options import HIGH_BYTE, ReadOptions
from DOTA_devkit.imaging.stretch import Stretch, unsigned
from DOTA_devkit.imaging.turn import Turn

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2")
"""Read through rasterio where it is installed, unless OpenCV reads the same (`is_plain`)."""

_SIGNATURES = (
    (b"II*\0", "GTiff"),
    (b"MM\0*", "GTiff"),
    (b"II+\0", "GTiff"),
    (b"MM\0+", "GTiff"),
    (b"\0\0\0\x0cjP  ", "JP2OpenJPEG"),
    (b"\xff\x4f\xff\x51", "JP2OpenJPEG"),
    # images of another format than their suffix says
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"GIF8", "GIF"),
    (b"RIFF", "WEBP"),
)
"""First bytes of a file -> the only driver of GDAL that opens it; its files hold their pixels."""

_RARE_COMPRESSIONS = ("ZSTD", "LERC", "LERC_DEFLATE", "LERC_ZSTD", "WEBP", "LZMA", "JXL")
"""Compressions of TIFFs that OpenCV usually does not know, and complains about."""

_CACHE_BYTES = 128 << 20
"""Size of GDAL's cache of decoded blocks, whose default is 5 % of the machine's memory. rasterio
passes the number on as bytes, where GDAL's environment variable would mean megabytes."""


class RasterReader:
    """An open raster, of which only what is asked for is read.

    Attributes:
        size_wh: Width and height of the image, turned as its orientation tag says.
        bands: The bands that are read.
        stretch: How they are computed from 16 bits; None for an image of 8 bits.
    """

    def __init__(
        self,
        path: Path,
        dataset: DatasetReader,
        options: ReadOptions,
        stretch: Stretch | None = None,
    ):
        """Prepare to read an open dataset; an InputError says why its bands cannot be used.

        Args:
            path: The file.
            dataset: The same, open.
            options: How it is read.
            stretch: That of another reader of the same file, as computing it takes time.
        """
        self._path, self._dataset = path, dataset
        self.bands = color_bands(path, dataset, options.bands)
        numbers = self.bands.numbers
        self._palette = palette_of(dataset, numbers[0]) if len(numbers) == 1 else None
        self._masked = _mask_kinds(dataset) != {"all_valid"}
        self._hides = hides_pixels(dataset)
        self._turn = turn_of(path, dataset)
        self.size_wh = self._turn.shown_wh
        self.stretch = stretch
        if stretch is None and self._palette is None and dataset.dtypes[numbers[0] - 1] != "uint8":
            if options.depth == HIGH_BYTE:
                self.stretch = Stretch.upper_bits(len(numbers))
            else:
                stored_wh = (dataset.width, dataset.height)
                self.stretch = Stretch.of(stored_wh, len(numbers), self._sample)

    def window(
        self, left: int, top: int, size_wh: tuple[int, int], shrink: int = 1
    ) -> np.ndarray | None:
        """Return a part of the image, see `Reader.window`."""
        image, any_valid = self._pixels(left, top, size_wh, shrink)
        return None if not any_valid or is_flat(image) else image

    def part(self, left: int, top: int, size_wh: tuple[int, int]) -> np.ndarray:
        """Return a part of the image [H, W, 3], black where a mask hides it."""
        return self._pixels(left, top, size_wh, 1)[0]

    def overview(self, max_side: int) -> np.ndarray:
        """Return the image scaled down, see `Reader.overview`."""
        from rasterio.windows import Window

        stored_wh = self._turn.stored_wh
        out_wh = fitted_wh(stored_wh, max_side) if max(stored_wh) > max_side else stored_wh
        return self._turn.apply(self._read(Window(0, 0, *stored_wh), out_wh))

    def notes(self) -> list[str]:
        """Return what is unusual, see `Reader.notes`."""
        found = (self.bands.note(self._dataset.count), self.stretch and str(self.stretch))
        return [note for note in found if note]

    def _pixels(
        self, left: int, top: int, size_wh: tuple[int, int], shrink: int
    ) -> tuple[np.ndarray, bool]:
        """Return a part of the image [H, W, 3], and whether any of it holds data."""
        from rasterio.windows import Window

        window = Window(*self._turn.stored_window(left, top, size_wh))
        out_wh = shrunk_wh((window.width, window.height), shrink)
        valid = self._valid(window, out_wh)
        if not valid.any():
            return np.zeros((*shrunk_wh(size_wh, shrink)[::-1], 3), np.uint8), False
        image = self._read(window, out_wh)
        if self._hides:
            image[~valid] = 0
        return self._turn.apply(image), True

    def _valid(self, window: object, out_wh: tuple[int, int]) -> np.ndarray:
        """Return [H, W] bool, which pixels hold data."""
        from rasterio.errors import RasterioError

        if not self._masked:
            return np.ones(out_wh[::-1], bool)
        try:
            return self._dataset.dataset_mask(window=window, out_shape=out_wh[::-1]) > 0
        except RasterioError as error:
            raise unreadable(self._path, error) from None

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
                self.bands.numbers,
                window=window,
                out_shape=(len(self.bands.numbers), out_wh[1], out_wh[0]),
                resampling=Resampling.average if averaging else Resampling.nearest,
            )
        except RasterioError as error:
            raise unreadable(self._path, error) from None
        return unsigned(bands)


def is_flat(image: np.ndarray) -> bool:
    """Return whether all pixels have one color, as in a border without data or a masked area.

    Nothing can be found there.
    """
    first = image[:1, :1]
    # for most images the first row decides, and the others need not be compared
    return bool((image[0] == first).all()) and bool((image == first).all())


def is_plain(dataset: DatasetReader, bands: ColorBands) -> bool:
    """Whether OpenCV reads a raster as `RasterReader` does: 8 bits, gray or red, green, blue.

    OpenCV only sees the first of several bands that have no colors, multiplies colors by an alpha
    band, and knows no masks.
    """
    roles = [role.name for role in dataset.colorinterp]
    return (
        set(dataset.dtypes) == {"uint8"}
        and (dataset.count == 1 or roles == ["red", "green", "blue"])
        and bands.numbers in ([1], [1, 2, 3])
        and len(bands.numbers) == dataset.count
        and dataset.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION") not in _RARE_COMPRESSIONS
        and not hides_pixels(dataset)
    )


def hides_pixels(dataset: DatasetReader) -> bool:
    """Return whether a mask or an alpha band hides pixels.

    Anything may lie below a mask. A value that stands for "no data" is also a color that single
    pixels of a roof may have, so it hides nothing.
    """
    return not _mask_kinds(dataset) <= {"all_valid", "nodata"}


def _mask_kinds(dataset: DatasetReader) -> set[str]:
    return {flag.name for flags in dataset.mask_flag_enums for flag in flags}


def turn_of(path: Path, dataset: DatasetReader) -> Turn:
    """Return how an open raster is turned to be shown; GDAL gives the stored pixels."""
    is_tiff = dataset.driver == "GTiff" and path.is_file()
    return Turn.of(orientation_of(path) if is_tiff else 1, (dataset.width, dataset.height))


def import_rasterio() -> ModuleType:
    """Import rasterio.

    Raises:
        InputError: It is not installed.
    """
    try:
        import rasterio
    except ImportError:
        raise InputError(
            "windows, coordinates and odd kinds of GeoTIFFs need rasterio: pip install rasterio"
        ) from None
    return rasterio


def has_rasterio() -> bool:
    """Return whether rasterio is installed."""
    try:
        import_rasterio()
    except InputError:
        return False
    return True


def open_dataset(path: Path, options: ReadOptions) -> DatasetReader:
    """Open a file with rasterio; the caller closes it.

    Raises:
        InputError: rasterio is not installed, cannot read the file, or would read others for it.
    """
    rasterio = import_rasterio()
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

    driver = None if options.allow_remote else _local_driver(path)
    try:
        with warnings.catch_warnings(), rasterio.Env(**_settings(options)):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(path, driver=driver)
    except RasterioIOError as error:
        raise unreadable(path, error) from None


@contextmanager
def open_raster(path: Path, options: ReadOptions | None = None) -> Iterator[DatasetReader]:
    """Open a file as `open_dataset` does, with a cache of moderate size, and close it."""
    options = options or ReadOptions()
    env = import_rasterio().Env(GDAL_CACHEMAX=_CACHE_BYTES, **_settings(options))
    with env, open_dataset(path, options) as dataset:
        yield dataset


def _local_driver(path: Path) -> str:
    """Return the driver of a file by its content.

    Raises:
        InputError: Its name or content leads to other files or servers, or is of another kind.
    """
    if not path.is_file():
        if str(path).startswith("/vsi") or ":" in str(path):
            raise InputError(f"{path}: no such file; remote images are read with `allow_remote`")
        raise InputError(f"{path}: no such image")
    with open(path, "rb") as file:
        start = file.read(64)
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise InputError(
            f"{path}: a virtual image, which names other files or servers to be read: set "
            "`allow_remote` if you trust it"
        )
    for signature, driver in _SIGNATURES:
        if start.startswith(signature):
            return driver
    raise InputError(f"{path}: cannot be read (it is not a TIFF or JPEG 2000 file)")


def _settings(options: ReadOptions) -> dict[str, str]:
    """Return settings of GDAL: a file beside an image must not lead it to the network either."""
    return {} if options.allow_remote else {"CPL_VSIL_CURL_ALLOWED_FILENAME": "none"}


def unreadable(path: Path, error: Exception) -> InputError:
    """Return the error of a file that rasterio cannot read."""
    cause = error.__cause__ or error
    return InputError(f"{path}: cannot be read ({cause})")


def shrunk_wh(size_wh: tuple[int, int], shrink: int) -> tuple[int, int]:
    """Return the size of an image of which every `shrink` x `shrink` pixels become one."""
    return -(-size_wh[0] // shrink), -(-size_wh[1] // shrink)


def fitted_wh(size_wh: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Return the size of an image that is scaled so that its longer side is `max_side`."""
    scale = max_side / max(size_wh)
    return max(1, round(size_wh[0] * scale)), max(1, round(size_wh[1] * scale))

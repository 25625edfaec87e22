"""The images that a prediction is made for: finding them, and reading them window by window."""

from __future__ import annotations

import glob
import hashlib
import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from datasets.images import IMAGE_SUFFIXES
from datasets.stretch import Stretch, read_stretched, unsigned
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import read_ids
from DOTA_devkit.images import image_size_wh
from georeference import Georeference, import_rasterio

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

log = logging.getLogger(__name__)

RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2")
"""Read through rasterio where that is installed: by windows, with their place on the map."""

SUFFIXES = (*IMAGE_SUFFIXES, ".vrt")
LIST_SUFFIXES = (".txt", ".lst")

_CACHE_BYTES = 128 << 20
"""Of decoded blocks in GDAL, whose own default is 5 % of the machine's memory. rasterio hands the
number on as bytes, where GDAL's environment variable would mean megabytes."""


@dataclass(frozen=True)
class Source:
    """An image that can be opened.

    image_id: unique among those of a run. georeference: None where the file carries none.
    """

    image_id: str
    path: Path
    size_wh: tuple[int, int]
    raster: bool = False
    georeference: Georeference | None = None

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Its pixels; InputError where they cannot be read, or are not as many any more."""
        if not self.raster:
            reader = PixelReader(self.path)
            self._require_size(reader.size_wh)
            yield reader
            return
        with _open_raster(self.path) as dataset:
            self._require_size((dataset.width, dataset.height))
            yield RasterReader(self.path, dataset)

    def _require_size(self, size_wh: tuple[int, int]) -> None:
        if size_wh != self.size_wh:
            width, height = self.size_wh
            raise InputError(
                f"{self.path}: {size_wh[0]}x{size_wh[1]} pixels where {width}x{height} were before "
                "(width x height): is another program writing it?"
            )


class Reader(Protocol):
    """Pixels of an open image, BGR uint8.

    stretch: how they were made of 16 bits; None for an image of 8.
    """

    stretch: Stretch | None

    def window(
        self, left: int, top: int, size_wh: tuple[int, int], shrink: int = 1
    ) -> np.ndarray | None:
        """A part of the image [H, W, 3]; None where it holds no data.

        shrink: each pixel that comes is the mean of so many in both directions.
        """

    def overview(self, max_side: int) -> np.ndarray:
        """The image, its longer side at most so long."""


class PixelReader:
    """An image that OpenCV reads, as a whole."""

    def __init__(self, path: Path):
        self._image, self.stretch = read_stretched(path)
        self.size_wh = self._image.shape[1::-1]

    def window(
        self, left: int, top: int, size_wh: tuple[int, int], shrink: int = 1
    ) -> np.ndarray | None:
        part = self._image[top : top + size_wh[1], left : left + size_wh[0]]
        if is_flat(part):
            return None
        if shrink > 1:
            part = cv2.resize(part, _shrunk(size_wh, shrink), interpolation=cv2.INTER_AREA)
        return part

    def overview(self, max_side: int) -> np.ndarray:
        height, width = self._image.shape[:2]
        if max(height, width) <= max_side:
            return self._image
        size_wh = _fitted((width, height), max_side)
        return cv2.resize(self._image, size_wh, interpolation=cv2.INTER_AREA)


class RasterReader:
    """An open GeoTIFF, of which only what is asked for is read."""

    def __init__(self, path: Path, dataset: DatasetReader):
        self._path, self._dataset = path, dataset
        self._bands = _color_bands(path, dataset)
        self._palette = _palette(dataset) if len(self._bands) == 1 else None
        kinds = {flag.name for flags in dataset.mask_flag_enums for flag in flags}
        self._masked = kinds != {"all_valid"}
        # Below a mask anything may lie. A value that says "no data" is a colour, too, which single
        # pixels of a roof may have.
        self._hides = not kinds <= {"all_valid", "nodata"}
        deep = self._palette is None and dataset.dtypes[self._bands[0] - 1] != "uint8"
        size_wh = (dataset.width, dataset.height)
        self.stretch = Stretch.of(size_wh, len(self._bands), self._sample) if deep else None

    def window(
        self, left: int, top: int, size_wh: tuple[int, int], shrink: int = 1
    ) -> np.ndarray | None:
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
        from rasterio.windows import Window

        size_wh = (self._dataset.width, self._dataset.height)
        out_wh = _fitted(size_wh, max_side) if max(size_wh) > max_side else size_wh
        return self._read(Window(0, 0, *size_wh), out_wh)

    def _valid(self, window: object, out_wh: tuple[int, int]) -> np.ndarray:
        """Which pixels hold data [H, W] bool."""
        from rasterio.errors import RasterioError

        if not self._masked:
            return np.ones(out_wh[::-1], bool)
        try:
            return self._dataset.dataset_mask(window=window, out_shape=out_wh[::-1]) > 0
        except RasterioError as error:
            raise _unreadable(self._path, error) from None

    def _sample(self, *window: int) -> tuple[np.ndarray, np.ndarray]:
        """Bands as they are in left, top, width and height, and which pixels hold data."""
        from rasterio.windows import Window

        size_wh = window[2:]
        window = Window(*window)
        return self._bands_of(window, size_wh), self._valid(window, size_wh)

    def _read(self, window: object, out_wh: tuple[int, int]) -> np.ndarray:
        bands = self._bands_of(window, out_wh)
        if self._palette is not None:
            return self._palette[bands[0]]
        if self.stretch is not None:
            bands = self.stretch(bands)
        if len(bands) == 1:
            bands = np.repeat(bands, 3, axis=0)
        return np.ascontiguousarray(bands[::-1].transpose(1, 2, 0))

    def _bands_of(self, window: object, out_wh: tuple[int, int]) -> np.ndarray:
        """The bands [C, H, W] of a window, uint8 or uint16."""
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
    """Whether all pixels are one colour, so that nothing can be found there: a border without
    data, a masked area."""
    first = image[:1, :1]
    # most images are told by their first row, without a look at the others
    return bool((image[0] == first).all()) and bool((image == first).all())


def find_sources(spec: Sequence[str | Path], flag: str = "--source") -> list[Path]:
    """Image files of what the user named: files, folders, globs, and lists (.txt) of files.

    A path in a list is taken from the list's folder, or else from the current one. What a list
    or the user names is returned whether it is there or not: opening it tells.

    flag: by which they are named, for errors.

    Raises:
        InputError: nothing is there at all, or no image is in it.
    """
    paths: list[Path] = []
    for item in map(str, spec):
        path = Path(item)
        if path.is_dir():
            found = [p for p in sorted(path.iterdir()) if _is_image(p)]
            if not found:
                raise InputError(
                    f"{path}: no image in this folder (looked for {', '.join(SUFFIXES[:8])} "
                    "and other suffixes that OpenCV reads; folders in it are not searched: give "
                    f"'{path}/**' for those)"
                )
        elif path.is_file() and path.suffix.lower() in LIST_SUFFIXES:
            found = _of_list(path)
        elif path.is_file() or not glob.has_magic(item):
            if not path.exists():
                raise InputError(f"{flag} {item}: no such file or folder")
            found = [path]
        else:
            matches = sorted(map(Path, glob.glob(item, recursive=True)))
            found = [match for match in matches if _is_image(match)]
            if not found:
                others = f", but {len(matches)} other files do" if matches else ""
                raise InputError(f"{flag} {item}: no image matches{others}")
        paths += found
    if not paths:
        raise InputError(f"{flag} names no image")
    named: dict[str, Path] = {}  # one image may be, in two ways
    for path in paths:
        named.setdefault(os.path.abspath(path), path)
    return list(named.values())


def _is_image(path: Path) -> bool:
    """By its name; a link that leads nowhere counts, so that it is told of when it is opened."""
    there = path.is_file() or (path.is_symlink() and not path.exists())
    return path.suffix.lower() in SUFFIXES and there and not path.name.startswith(".")


def _of_list(path: Path) -> list[Path]:
    entries = [Path(entry) for entry in read_ids(path)]
    if not entries:
        raise InputError(f"{path}: the list names no image")
    beside = [path.parent / entry for entry in entries]
    if not any(there.suffix or there.exists() for there in beside):
        raise InputError(
            f"{path}: a list of ids, such as {entries[0]}, where paths of images are expected, one "
            "a line: give the folder of the images"
        )
    return [
        there if there.exists() or not entry.exists() else entry
        for there, entry in zip(beside, entries, strict=True)
    ]


def image_ids(paths: Sequence[Path]) -> list[str]:
    """An id for each: the file name without suffix, or as much more of the path as it takes to
    tell it from the others'."""
    absolute = [Path(os.path.abspath(path)) for path in paths]
    root = os.path.commonpath([path.parent for path in absolute])
    names = [
        (path.stem, path.with_suffix("").as_posix(), path.as_posix())
        for path in (path.relative_to(root) for path in absolute)
    ]
    longer = [0] * len(names)
    while True:
        ids = [own[length] for own, length in zip(names, longer, strict=True)]
        count = Counter(ids)
        clashes = [k for k, own in enumerate(ids) if count[own] > 1 and longer[k] < 2]
        if not clashes:
            return ids
        for k in clashes:
            longer[k] += 1


def survey(paths: Sequence[Path]) -> tuple[list[Source], dict[str, str]]:
    """What can be opened, and for the others the path and why not.

    Only headers are read where the format allows.
    """
    raster_there = any(path.suffix.lower() in RASTER_SUFFIXES for path in paths) and _has_rasterio()
    sources, faults = [], {}
    for image_id, path in zip(image_ids(paths), paths, strict=True):
        try:
            _refuse_odd_name(path)
            if raster_there and path.suffix.lower() in RASTER_SUFFIXES:
                sources.append(_survey_raster(image_id, path))
            else:
                sources.append(Source(image_id, path, _pixel_size(path)))
        except InputError as error:
            faults[printable(path)] = str(error)
    return sources, faults


def _refuse_odd_name(path: Path) -> None:
    """InputError for a name that no text file can hold, as old archives bring them."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(f"{printable(path)}: the name is not UTF-8: rename the file") from None


def printable(path: Path) -> str:
    """A path as text that can be shown and written."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def content_digest(path: Path, blocks: int = 16, block: int = 4096) -> str:
    """What tells a file's content from another's: its size and blocks spread over it, as images
    may be too large to be read for that."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for number in range(blocks):
            file.seek(max(0, size - block) * number // (blocks - 1))
            digest.update(file.read(block))
    return digest.hexdigest()[:16]


def _survey_raster(image_id: str, path: Path) -> Source:
    with _open_raster(path) as dataset:
        _color_bands(path, dataset)
        return Source(
            image_id,
            path,
            (dataset.width, dataset.height),
            raster=True,
            georeference=Georeference.of(dataset),
        )


def _pixel_size(path: Path) -> tuple[int, int]:
    try:
        return image_size_wh(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such image") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def _has_rasterio() -> bool:
    try:
        import_rasterio()
    except InputError as error:
        log.warning("%s; without it they are read as a whole, as plain images", error)
        return False
    return True


@contextmanager
def _open_raster(path: Path) -> Iterator[DatasetReader]:
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


def _color_bands(path: Path, dataset: DatasetReader) -> list[int]:
    """Band numbers (from 1) of red, green, blue, or of grey; InputError where they will not do."""
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
            f"{path}: bands of {', '.join(sorted(kinds))}; all of 8 or all of 16 bits are expected "
            f"(gdal_translate -ot Byte -scale {path.name} 8bit.tif makes them)"
        )
    return bands


def _palette(dataset: DatasetReader) -> np.ndarray | None:
    """Colours [2^bits, 3] BGR of the band's palette; None where it has none."""
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

"""The image files of a prediction: how they are found, inspected and opened."""

from __future__ import annotations

import glob
import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.predict.georeference import Georeference
from deploy.predict.sidecars import locate_image, locate_raster
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import image_hint, kind_of
from DOTA_devkit.file_names import is_odd
from DOTA_devkit.formats import read_ids
from DOTA_devkit.images import IMAGE_SUFFIXES
from DOTA_devkit.imaging import PixelReader, Reader, ReadOptions, image_size_wh
from DOTA_devkit.imaging.bands import color_bands
from DOTA_devkit.imaging.limits import check_size
from DOTA_devkit.imaging.raster import (
    RASTER_SUFFIXES,
    RasterReader,
    import_rasterio,
    open_raster,
    turn_of,
)
from DOTA_devkit.terminal import visible

if TYPE_CHECKING:
    from rasterio.crs import CRS

logger = logging.getLogger(__name__)

SUFFIXES = (*IMAGE_SUFFIXES, ".vrt")
COORDINATES_FROM = (
    "a GeoTIFF that is read through rasterio has them, or a world file beside the image, such as "
    ".jgw, together with a .prj or `crs`"
)
"""What an image needs to lie on the map, for messages."""
LIST_SUFFIXES = (".txt", ".lst")


@dataclass(frozen=True)
class ImageSource:
    """An image that can be opened.

    Attributes:
        image_id: Unique among those of a run.
        path: The file.
        size_wh: Width and height in pixels.
        raster: Whether it is read through rasterio.
        georeference: Where it lies on the map; None if it is unknown.
        unlocated: Why that is unknown, for an image with a hint of it, such as a world file.
        reading: How its pixels are read.
    """

    image_id: str
    path: Path
    size_wh: tuple[int, int]
    raster: bool = False
    georeference: Georeference | None = None
    unlocated: str = ""
    reading: ReadOptions = field(default_factory=ReadOptions)

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Open the image.

        Raises:
            InputError: It cannot be read, or has another size than when it was inspected.
        """
        if not self.raster:
            reader = PixelReader(self.path, self.reading)
            self._require_size(reader.size_wh)
            yield reader
            return
        with open_raster(self.path, self.reading) as dataset:
            self._require_size(turn_of(self.path, dataset).shown_wh)
            yield RasterReader(self.path, dataset, self.reading)

    def _require_size(self, size_wh: tuple[int, int]) -> None:
        if size_wh != self.size_wh:
            width, height = self.size_wh
            raise InputError(
                f"{self.path}: {size_wh[0]}x{size_wh[1]} pixels, but {width}x{height} before "
                "(width x height): is another program writing it?"
            )


def find_sources(source: Sequence[str | Path], name: str = "source") -> list[Path]:
    """Find the image files that the user named.

    Args:
        source: Files, folders, globs, and lists (.txt) of files. A path in a list is taken from
            the list's folder, or else from the current one.
        name: Name of the parameter in errors.

    Returns:
        The files, each of them once. Those that a list or the user names are returned whether they
        exist or not: an error comes when they are opened.

    Raises:
        InputError: Nothing exists at all, or there is no image in it.
    """
    paths = [path for item in source for path in _find_item(str(item), name)]
    if not paths:
        raise InputError(f"{name} names no image")
    unique: dict[str, Path] = {}  # one image may be named in several ways
    for path in paths:
        unique.setdefault(os.path.abspath(path), path)
    return list(unique.values())


def _find_item(item: str, name: str) -> list[Path]:
    """Find the images of one file, folder, glob or list."""
    path = Path(item)
    if path.is_dir():
        images = [entry for entry in sorted(path.iterdir()) if _is_image(entry)]
        if not images:
            raise InputError(
                f"{path}: no image in this folder (looked for {', '.join(SUFFIXES[:8])} "
                "and other suffixes that OpenCV reads; its subfolders are not searched: give "
                f"'{path}/**' for those){_hint_of_folder(path)}"
            )
        return images
    if path.is_file() and path.suffix.lower() in LIST_SUFFIXES:
        return _read_list(path)
    if path.is_file() or not glob.has_magic(item):
        if not path.exists():
            raise InputError(f"{name} {item}: no such file or folder{image_hint(item)}")
        return [path]
    matches = sorted(map(Path, glob.glob(item, recursive=True)))
    images = [match for match in matches if _is_image(match)]
    if not images:
        others = f", but {len(matches)} other files do" if matches else ""
        others += _hint_of_any(matches)
        raise InputError(f"{name} {item}: no image matches{others}")
    return images


def _hint_of_folder(path: Path) -> str:
    """Return what there is in a folder without images: a subfolder with some, or other files."""
    entries = sorted(path.iterdir())
    for entry in entries:
        if entry.is_dir() and os.access(entry, os.R_OK) and any(map(_is_image, entry.iterdir())):
            return f"; there are images in {entry}"
    return _hint_of_any(entries)


def _hint_of_any(paths: Sequence[Path]) -> str:
    """Say what the first of some files that are not images is, if it can be recognized."""
    known = next((path for path in paths if kind_of(path) and path.is_file()), None)
    return "" if known is None else f"; {known} is{image_hint(known).removeprefix('; it is')}"


def _is_image(path: Path) -> bool:
    """Judge by the name. A broken link counts, so that an error comes when it is opened."""
    exists = path.is_file() or (path.is_symlink() and not path.exists())
    return path.suffix.lower() in SUFFIXES and exists and not path.name.startswith(".")


def _read_list(path: Path) -> list[Path]:
    entries = [Path(entry) for entry in read_ids(path)]
    if not entries:
        raise InputError(f"{path}: the list names no image")
    beside = [path.parent / entry for entry in entries]
    if not any(candidate.suffix or candidate.exists() for candidate in beside):
        raise InputError(
            f"{path}: a list of ids, such as {entries[0]}, but paths of images are expected, one "
            "per line: give the folder of the images"
        )
    return [
        candidate if candidate.exists() or not entry.exists() else entry
        for candidate, entry in zip(beside, entries, strict=True)
    ]


def image_ids(paths: Sequence[Path]) -> list[str]:
    """Return a unique id for each image.

    It is the file name without suffix. Images that share it get their path below the common
    folder of all images instead, with the suffix if need be.
    """
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


def inspect_images(
    paths: Sequence[Path], reading: ReadOptions | None = None, crs: CRS | None = None
) -> tuple[list[ImageSource], dict[str, str]]:
    """Find out which image files can be opened, and what they are.

    Only headers are read where the format allows.

    Args:
        paths: The files.
        reading: How their pixels are read.
        crs: Coordinate reference system of images that do not name theirs.

    Returns:
        The images that can be opened, and for the others path -> why not.
    """
    has_rasters = any(path.suffix.lower() in RASTER_SUFFIXES for path in paths)
    use_rasterio = has_rasters and _has_rasterio()
    reading = reading or ReadOptions()
    sources, faults = [], {}
    for image_id, path in zip(image_ids(paths), paths, strict=True):
        try:
            _refuse_odd_name(path)
            if use_rasterio and path.suffix.lower() in RASTER_SUFFIXES:
                sources.append(_inspect_raster(image_id, path, reading, crs))
            else:
                size_wh = _pixel_size(path, reading)
                place, reason = locate_image(path, size_wh, crs, reading)
                sources.append(
                    ImageSource(image_id, path, size_wh, False, place, reason, reading=reading)
                )
        except InputError as error:
            faults[printable(path)] = str(error)
    return sources, faults


def _refuse_odd_name(path: Path) -> None:
    """Raise an InputError for a name that no text file can hold, as old archives have them."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(f"{printable(path)}: the name is not UTF-8: rename the file") from None
    if is_odd(str(path)):
        raise InputError(
            f"{printable(path)}: the name has line breaks or control characters: rename the file"
        )


def printable(path: Path) -> str:
    """Return a path as text that can be shown and written."""
    return visible(os.fsencode(path).decode("utf-8", "backslashreplace"), one_line=True)


def content_digest(path: Path, blocks: int = 16, block: int = 4096) -> str:
    """Return a digest of a file's size and of samples of its content, as 16 hex digits.

    Images may be too large to be read as a whole for that.

    Args:
        path: The file.
        blocks: Number of samples, spread evenly over the file.
        block: Bytes of each sample.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for number in range(blocks):
            file.seek(max(0, size - block) * number // (blocks - 1))
            digest.update(file.read(block))
    return digest.hexdigest()[:16]


def _inspect_raster(
    image_id: str, path: Path, reading: ReadOptions, crs: CRS | None
) -> ImageSource:
    with open_raster(path, reading) as dataset:
        color_bands(path, dataset, reading.bands)
        turn = turn_of(path, dataset)
        check_size(path, turn.shown_wh, reading, whole=False)
        place, reason = locate_raster(path, dataset, turn, crs)
        return ImageSource(image_id, path, turn.shown_wh, True, place, reason, reading)


def _pixel_size(path: Path, reading: ReadOptions) -> tuple[int, int]:
    try:
        size_wh = image_size_wh(path)
        check_size(path, size_wh, reading, whole=True)
        return size_wh
    except FileNotFoundError:
        raise InputError(f"{path}: no such image") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def _has_rasterio() -> bool:
    try:
        import_rasterio()
    except InputError as error:
        logger.warning("%s; without it they are read as a whole, as plain images", error)
        return False
    return True

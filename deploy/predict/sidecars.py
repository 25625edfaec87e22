"""Where images lie on a map by the files beside them: world files, .prj and .aux.xml."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deploy.predict.georeference import Georeference
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats.text import read_lines
from DOTA_devkit.imaging import ReadOptions
from DOTA_devkit.imaging.headers import orientation_of
from DOTA_devkit.imaging.raster import has_rasterio, import_rasterio, open_raster
from DOTA_devkit.imaging.turn import Turn

if TYPE_CHECKING:
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader

logger = logging.getLogger(__name__)

_MAX_BYTES = 1 << 16
"""Size of a file beside an image at most; real ones have less than 2 KiB."""

Affine = tuple[float, float, float, float, float, float]


def parse_crs(text: str) -> CRS:
    """Read a coordinate reference system.

    Args:
        text: A code such as "EPSG:32633", a PROJ string or WKT.

    Raises:
        InputError: It is none of these, or rasterio is not installed.
    """
    import_rasterio()
    from rasterio.crs import CRS

    found = _read_crs(CRS.from_user_input, text)
    if not found:
        raise InputError(
            f"crs: expected a coordinate reference system, such as EPSG:32633, got {text[:80]!r}"
        )
    return found


def _read_crs(read: Callable[[str], CRS], text: str) -> CRS | None:
    """Return what a function of rasterio makes of a text, None if it cannot read it."""
    try:
        return read(text)
    except Exception:  # GDAL's errors have classes that are private to rasterio
        return None


def locate_image(
    path: Path, size_wh: tuple[int, int], crs: CRS | None, reading: ReadOptions
) -> tuple[Georeference | None, str]:
    """Find out where an image lies whose own format has no coordinates, such as a JPEG.

    Args:
        path: The image file.
        size_wh: Its width and height as it is shown.
        crs: That of an image which does not name its own.
        reading: How the image is read.

    Returns:
        The georeference, or None and why there is none; an empty text if there is no hint of one.
    """
    try:
        affine, own = _from_aux_xml(path, reading)
        affine = affine or _from_world_file(path)
        if affine is None:
            return None, ""
        if not has_rasterio():
            return None, f"{path}: its world file needs rasterio: pip install rasterio"
        orientation = orientation_of(path)
        turn = Turn.of(orientation, size_wh[::-1] if orientation >= 5 else size_wh)
        return _located(path, affine, own, crs, turn)
    except (InputError, OSError) as error:
        return None, str(error)


def locate_raster(
    path: Path, dataset: DatasetReader, turn: Turn, crs: CRS | None
) -> tuple[Georeference | None, str]:
    """Find out where an open raster lies, see `locate_image`.

    Args:
        path: The file.
        dataset: The same, open in rasterio.
        turn: How its pixels are turned to be shown.
        crs: That of a raster which does not name its own.
    """
    points, points_crs = dataset.gcps
    located = dataset.crs and not dataset.transform.is_identity
    if located or (points and points_crs):
        _warn_about_other_crs(path, dataset.crs or points_crs, crs)
        found = Georeference.of(dataset, turn)
        return found, "" if found else f"{path}: its georeference is degenerate"
    try:
        own = None if dataset.transform.is_identity else tuple(dataset.transform)[:6]
        affine = own or _from_world_file(path)
        return (None, "") if affine is None else _located(path, affine, dataset.crs, crs, turn)
    except (InputError, OSError) as error:
        return None, str(error)


def _located(
    path: Path, affine: Affine, own: CRS | None, given: CRS | None, turn: Turn
) -> tuple[Georeference | None, str]:
    try:
        crs = own or _from_prj(path)
    except InputError as error:
        if given is None:
            raise
        logger.warning("%s; `crs` is used", error)
        crs = None
    if crs:
        _warn_about_other_crs(path, crs, given)
    elif given is None:
        return None, (
            f"{path}: it lies on a map (by its world file or transform), but its "
            f"coordinate reference system is unknown: give `crs`, such as EPSG:32633, or put "
            f"{path.stem}.prj beside it"
        )
    found = Georeference.checked(crs or given, affine, str(path), turn)
    return found, "" if found else f"{path}: its georeference is degenerate"


def _warn_about_other_crs(path: Path, own: CRS, given: CRS | None) -> None:
    if given is not None and own != given:
        logger.warning("%s: its own coordinate reference system is used, not `crs`", path)


def _from_world_file(path: Path) -> Affine | None:
    """Read the six numbers of a world file beside an image; None if there is none.

    Returns:
        (a, b, c, d, e, f) as in `Georeference`. The file has a, d, b, e and the coordinates of the
        center of the top left pixel.

    Raises:
        InputError: It has anything else; the message has file and line.
    """
    world = next(filter(Path.is_file, _world_files(path)), None)
    if world is None:
        return None
    expected = "a world file of six numbers, one on each line"
    if world.stat().st_size > _MAX_BYTES:
        raise InputError(f"{world}: expected {expected}, got {world.stat().st_size} bytes")
    numbers = []
    for number, line in enumerate(read_lines(world), 1):
        if not line.strip():
            continue
        try:
            value = float(line)
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise InputError(f"{world}:{number}: expected {expected}, got {line[:40]!r}")
        numbers.append(value)
    if len(numbers) != 6:
        raise InputError(f"{world}: expected {expected}, got {len(numbers)}")
    a, d, b, e, x, y = numbers
    return a, b, x - (a + b) / 2, d, e, y - (d + e) / 2


def _world_files(path: Path) -> Iterator[Path]:
    """Yield the names that the world file of an image may have: a.jgw, a.jpgw, a.wld."""
    letters = path.suffix[1:].lower()
    if not letters:
        return
    for suffix in (f".{letters[0]}{letters[-1]}w", f".{letters}w", ".wld"):
        for written in (suffix, suffix.upper()):
            yield path.with_suffix(written)


def _from_aux_xml(path: Path, reading: ReadOptions) -> tuple[Affine | None, CRS | None]:
    """Read transform and CRS from the .aux.xml beside an image, where GDAL and QGIS write them."""
    if not path.with_name(f"{path.name}.aux.xml").is_file():
        return None, None
    try:
        with open_raster(path, reading) as dataset:
            transform = dataset.transform
            return None if transform.is_identity else tuple(transform)[:6], dataset.crs
    except InputError as error:  # such a file may also hold statistics alone
        logger.info("its .aux.xml is not used: %s", error)
        return None, None


def _from_prj(path: Path) -> CRS | None:
    """Read the .prj beside an image; None if there is none.

    Raises:
        InputError: It is not the WKT of a coordinate reference system.
    """
    from rasterio.crs import CRS

    written = (path.with_suffix(suffix) for suffix in (".prj", ".PRJ"))
    prj = next(filter(Path.is_file, written), None)
    if prj is None:
        return None
    text = "" if prj.stat().st_size > _MAX_BYTES else " ".join(read_lines(prj)).strip()
    found = _read_crs(CRS.from_wkt, text)
    if not found:
        raise InputError(
            f"{prj}: expected the WKT of a coordinate reference system, got {text[:40]!r}"
        )
    return found

"""Where an image lies on the earth: pixels to longitude and latitude, and the size of a pixel.

rasterio (the extra `geo`) is imported where it is used.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from DOTA_devkit.errors import InputError

if TYPE_CHECKING:
    from rasterio.control import GroundControlPoint
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader

logger = logging.getLogger(__name__)

WGS84 = "EPSG:4326"

# Semi-major axis in metres and squared eccentricity of the WGS 84 ellipsoid (NIMA TR8350.2).
_AXIS, _ECCENTRICITY2 = 6378137.0, 6.69437999014e-3


COARSE = 1.0
"""Pixels by which ground control points may miss their map without a word."""


@dataclass(frozen=True)
class Georeference:
    """crs: the coordinate system of the map. affine: (a, b, c, d, e, f) from pixels to map
    coordinates, x = a column + b row + c and y = d column + e row + f; (0, 0) is the top left
    corner of the image."""

    crs: CRS
    affine: tuple[float, float, float, float, float, float]

    @classmethod
    def of(cls, dataset: DatasetReader) -> Georeference | None:
        """Of an open rasterio dataset; None where it carries none, or one that fixes no place."""
        crs = dataset.crs
        if crs and not dataset.transform.is_identity:
            affine = tuple(dataset.transform)[:6]
        else:
            points, crs = dataset.gcps
            if not (points and crs):
                return None
            affine = _fitted_affine(points, dataset.name)
        a, b, _, d, e, _ = affine
        if not (np.isfinite(affine).all() and a * e != b * d):
            logger.warning("%s: its georeference fixes no place on the map", dataset.name)
            return None
        return cls(crs, affine)

    def to_map(self, points: np.ndarray) -> np.ndarray:
        """Pixels [N, 2] -> map coordinates [N, 2] float64."""
        a, b, c, d, e, f = self.affine
        return np.asarray(points, np.float64) @ [[a, d], [b, e]] + (c, f)

    def to_lonlat(self, points: np.ndarray) -> np.ndarray:
        """Pixels [N, 2] -> longitude and latitude [N, 2] in degrees of WGS 84, the longitude from
        -180 to 180; infinite where a point lies outside the map projection."""
        lonlat = _transform(self.crs, self.to_map(points))
        beyond = np.abs(lonlat[:, 0]) > 180  # of a raster that is in degrees itself
        beyond &= np.isfinite(lonlat[:, 0])
        lonlat[beyond, 0] = (lonlat[beyond, 0] + 180) % 360 - 180
        return lonlat

    def ground_size(self, center: tuple[float, float]) -> tuple[float, float]:
        """Width and height in metres, measured on the ground, of the pixel at `center`.

        Not those of the map: a metre of a Mercator map is half a metre of ground at 60 degrees.
        InputError where it has no place or no size.
        """
        step = 10.0  # pixels, so that the digits of degrees suffice
        x, y = center
        points = [(x - step, y), (x + step, y), (x, y - step), (x, y + step)]
        lonlat = self.to_lonlat(np.array(points))
        if not np.isfinite(lonlat).all():
            raise InputError("its middle lies outside its map projection")
        lon, lat = np.deg2rad(lonlat).T
        middle = (lat.min() + lat.max()) / 2
        bend = 1 - _ECCENTRICITY2 * np.sin(middle) ** 2
        east = _AXIS / np.sqrt(bend) * np.cos(middle)  # metres a radian of longitude
        north = _AXIS * (1 - _ECCENTRICITY2) / bend**1.5  # and of latitude
        apart = np.remainder(lon[1::2] - lon[::2] + np.pi, 2 * np.pi) - np.pi
        width, height = np.hypot(east * apart, north * (lat[1::2] - lat[::2])) / (2 * step)
        if not (0 < width < np.inf and 0 < height < np.inf):
            raise InputError(f"a pixel of {width} x {height} m: the georeference makes no sense")
        return float(width), float(height)


def _fitted_affine(
    points: Sequence[GroundControlPoint], name: str
) -> tuple[float, float, float, float, float, float]:
    """The affine map that fits ground control points best; not finite where they fix none.

    rasterio's own makes one of whatever lies in memory of fewer than three, or of points in line.
    """
    pixels = np.array([(point.col, point.row) for point in points], np.float64)
    places = np.array([(point.x, point.y) for point in points], np.float64)
    # about their middle: squares of coordinates of millions would eat the digits
    middle, origin = pixels.mean(axis=0), places.mean(axis=0)
    if np.linalg.matrix_rank(pixels - middle, tol=0.5) < 2:
        return (np.nan,) * 6
    matrix = np.linalg.lstsq(pixels - middle, places - origin, rcond=None)[0].T
    if not np.linalg.cond(matrix) < 1e6:  # places that are in line
        return (np.nan,) * 6
    misfit = (places - origin) - (pixels - middle) @ matrix.T
    off = np.hypot(*np.linalg.solve(matrix, misfit.T)).max()
    if off > COARSE:
        logger.warning(
            "%s: its ground control points lie up to %.1f pixels off the affine map through them, "
            "and so may the coordinates", name, off,
        )  # fmt: skip
    (a, b), (d, e) = matrix.tolist()
    c, f = (origin - matrix @ middle).tolist()
    return a, b, c, d, e, f


def _transform(crs: CRS, points: np.ndarray) -> np.ndarray:
    """Points [N, 2] of a map in degrees of WGS 84."""
    from rasterio.warp import transform

    try:
        lonlat = transform(crs, WGS84, *points.T.tolist())
    except Exception:  # GDAL's errors are of classes that rasterio keeps to itself
        # of a few points one that has no place is an error, and of many it is infinite
        if len(points) <= 1:
            return np.full((len(points), 2), np.inf)
        middle = len(points) // 2
        return np.concatenate([_transform(crs, points[:middle]), _transform(crs, points[middle:])])
    return np.array(lonlat, np.float64).reshape(2, -1).T


def import_rasterio() -> ModuleType:
    """rasterio, or an InputError that says how to get it."""
    try:
        import rasterio
    except ImportError:
        raise InputError(
            "windows and coordinates of GeoTIFFs need rasterio: pip install -e '.[geo]'"
        ) from None
    return rasterio

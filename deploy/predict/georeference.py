"""Where an image lies on the earth: from pixels to coordinates, and the ground size of a pixel.

rasterio (the extra `geo`) is imported where it is used.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging.turn import Turn

if TYPE_CHECKING:
    from rasterio.control import GroundControlPoint
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader

logger = logging.getLogger(__name__)

WGS84 = "EPSG:4326"

# Semi-major axis in meters and squared eccentricity of the WGS 84 ellipsoid (NIMA TR8350.2).
_SEMI_MAJOR_AXIS_M, _SQUARED_ECCENTRICITY = 6378137.0, 6.69437999014e-3

GCP_TOLERANCE_PX = 1.0
"""Pixels by which ground control points may miss the map that is fitted to them, unwarned."""


@dataclass(frozen=True)
class Georeference:
    """The map from pixels to coordinates.

    Attributes:
        crs: Coordinate reference system of the map.
        affine: (a, b, c, d, e, f) from pixels to map coordinates, x = a column + b row + c and
            y = d column + e row + f; (0, 0) is the top left corner of the image.
    """

    crs: CRS
    affine: tuple[float, float, float, float, float, float]

    @classmethod
    def of(cls, dataset: DatasetReader, turn: Turn | None = None) -> Georeference | None:
        """Read it from an open rasterio dataset; None if there is none or it is degenerate.

        Args:
            dataset: The dataset.
            turn: How its pixels are turned to be shown; pixels are those of the shown image.
        """
        crs = dataset.crs
        if crs and not dataset.transform.is_identity:
            affine = tuple(dataset.transform)[:6]
        else:
            points, crs = dataset.gcps
            if not (points and crs):
                return None
            affine = _fitted_affine(points, dataset.name)
        return cls.checked(crs, affine, dataset.name, turn)

    @classmethod
    def checked(
        cls,
        crs: CRS,
        affine: tuple[float, float, float, float, float, float],
        name: str,
        turn: Turn | None = None,
    ) -> Georeference | None:
        """Return the georeference of an affine map; None, and a warning, if it is degenerate.

        Args:
            crs: As the attribute.
            affine: As the attribute, from pixels of the stored image.
            name: Name of the image, for the warning.
            turn: How its pixels are turned to be shown.
        """
        a, b, _, d, e, _ = affine
        if not (np.isfinite(affine).all() and a * e != b * d):
            logger.warning("%s: its georeference is degenerate and is not used", name)
            return None
        return cls(crs, affine if turn is None else turn.affine(affine))

    def to_map(self, points: np.ndarray) -> np.ndarray:
        """Map pixels [N, 2] to coordinates of `crs` [N, 2] float64."""
        a, b, c, d, e, f = self.affine
        return np.asarray(points, np.float64) @ [[a, d], [b, e]] + (c, f)

    def to_lonlat(self, points: np.ndarray) -> np.ndarray:
        """Map pixels to longitude and latitude.

        Args:
            points: [N, 2] as (column, row).

        Returns:
            [N, 2] in degrees of WGS 84, the longitude from -180 to 180; infinite for a point
            outside the map projection.
        """
        lonlat = _transform(self.crs, self.to_map(points))
        beyond = np.abs(lonlat[:, 0]) > 180  # a raster in degrees may go on beyond 180
        beyond &= np.isfinite(lonlat[:, 0])
        lonlat[beyond, 0] = (lonlat[beyond, 0] + 180) % 360 - 180
        return lonlat

    def ground_size(self, center: tuple[float, float]) -> tuple[float, float]:
        """Measure a pixel on the ground.

        This is not its size on the map: a meter of a Mercator map is half a meter of ground at 60
        degrees of latitude.

        Args:
            center: Column and row of the pixel.

        Returns:
            Width and height in meters.

        Raises:
            InputError: The pixel lies outside the map projection, or has no size.
        """
        step = 10.0  # in pixels, so that the digits of degrees suffice
        x, y = center
        points = [(x - step, y), (x + step, y), (x, y - step), (x, y + step)]
        lonlat = self.to_lonlat(np.array(points))
        if not np.isfinite(lonlat).all():
            raise InputError("its center lies outside its map projection")
        lon, lat = np.deg2rad(lonlat).T
        middle = (lat.min() + lat.max()) / 2
        bend = 1 - _SQUARED_ECCENTRICITY * np.sin(middle) ** 2
        east = _SEMI_MAJOR_AXIS_M / np.sqrt(bend) * np.cos(middle)  # meters per radian of longitude
        north = _SEMI_MAJOR_AXIS_M * (1 - _SQUARED_ECCENTRICITY) / bend**1.5  # and of latitude
        apart = np.remainder(lon[1::2] - lon[::2] + np.pi, 2 * np.pi) - np.pi
        width, height = np.hypot(east * apart, north * (lat[1::2] - lat[::2])) / (2 * step)
        if not (0 < width < np.inf and 0 < height < np.inf):
            raise InputError(f"a pixel of {width} x {height} m: the georeference is wrong")
        return float(width), float(height)


def _fitted_affine(
    points: Sequence[GroundControlPoint], name: str
) -> tuple[float, float, float, float, float, float]:
    """Fit an affine map to ground control points; not finite if they do not determine one.

    rasterio's own fit returns whatever lies in memory for fewer than three points, or for points
    in a line.
    """
    pixels = np.array([(point.col, point.row) for point in points], np.float64)
    places = np.array([(point.x, point.y) for point in points], np.float64)
    # around their mean: the squares of coordinates in millions would use up the digits
    middle, origin = pixels.mean(axis=0), places.mean(axis=0)
    if np.linalg.matrix_rank(pixels - middle, tol=0.5) < 2:
        return (np.nan,) * 6
    matrix = np.linalg.lstsq(pixels - middle, places - origin, rcond=None)[0].T
    if not np.linalg.cond(matrix) < 1e6:  # places in a line
        return (np.nan,) * 6
    misfit = (places - origin) - (pixels - middle) @ matrix.T
    off = np.hypot(*np.linalg.solve(matrix, misfit.T)).max()
    if off > GCP_TOLERANCE_PX:
        logger.warning(
            "%s: the affine transform fitted to its ground control points is off by up to %.1f "
            "pixels, and so may be the coordinates of detections", name, off,
        )  # fmt: skip
    (a, b), (d, e) = matrix.tolist()
    c, f = (origin - matrix @ middle).tolist()
    return a, b, c, d, e, f


def _transform(crs: CRS, points: np.ndarray) -> np.ndarray:
    """Transform points [N, 2] of a map to longitude and latitude in degrees of WGS 84."""
    from rasterio.warp import transform

    try:
        lonlat = transform(crs, WGS84, *points.T.tolist())
    except Exception:  # GDAL's errors have classes that are private to rasterio
        # one point outside the projection is an error among a few points, infinite among many
        if len(points) <= 1:
            return np.full((len(points), 2), np.inf)
        middle = len(points) // 2
        return np.concatenate([_transform(crs, points[:middle]), _transform(crs, points[middle:])])
    return np.array(lonlat, np.float64).reshape(2, -1).T

"""GeoJSON (RFC 7946) of quadrilaterals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from DOTA_devkit.errors import InputError

DECIMALS = 8
"""Decimals of a coordinate; of a degree that is about a millimeter on the ground."""


def feature_collection(
    corners: np.ndarray, properties: Sequence[Mapping[str, Any]], on_earth: bool = True
) -> dict[str, Any]:
    """Build a FeatureCollection of polygons with properties.

    Args:
        corners: [N, 4, 2] as (longitude, latitude) in degrees if `on_earth`, else in any plane.
        properties: The properties of each polygon.
        on_earth: Whether polygons may have to be split at the antimeridian.

    Raises:
        InputError: With `on_earth`, a corner is not finite.
    """
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": _geometry_on_earth(outline) if on_earth else _polygon(outline),
                "properties": dict(own),
            }
            for outline, own in zip(corners, properties, strict=True)
        ],
    }


def _geometry_on_earth(outline: np.ndarray) -> dict[str, Any] | None:
    """Build a polygon, split in two if it crosses the antimeridian (RFC 7946, 3.1.9).

    Returns None, the geometry of an unlocated feature (3.2), if nothing is left of the polygon:
    a box without area at the antimeridian, or one around a pole.
    """
    if not np.isfinite(outline).all():
        raise InputError(f"a corner lies outside its map projection: {outline.tolist()}")
    if np.ptp(outline[:, 0]) <= 180:
        return _polygon(outline)
    from shapely.geometry import Polygon, box

    east = Polygon(np.stack([outline[:, 0] % 360, outline[:, 1]], axis=1)).buffer(0)
    parts = []
    for low, shift in ((0, 0), (180, -360)):
        part = east.intersection(box(low, -90, low + 180, 90))
        if part.geom_type == "Polygon" and part.area > 0:
            ring = np.array(part.exterior.coords)[:-1] + np.array([shift, 0])
            parts.append(_polygon(ring)["coordinates"])
    if not parts:
        return None
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}


def _polygon(outline: np.ndarray) -> dict[str, Any]:
    """Close the exterior ring and orient it counterclockwise (right-hand rule, 3.1.6)."""
    # relative to a corner: products of full coordinates would lose the digits of small boxes
    x, y = (outline - outline[:1]).T
    doubled_area = np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)
    if doubled_area < 0:
        outline = outline[::-1]
    ring = np.round(outline, DECIMALS).tolist()
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}

"""GeoJSON of objects on GeoTIFFs: polygons and multi-polygons, in any coordinate system.

A feature belongs to the image that its property `image` names, as `predict` writes it, else to the
one that the file is named after. rasterio gives the georeferences of the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from DOTA_devkit.converters.annotation import Annotation, ObjectRecord, build_annotation
from DOTA_devkit.converters.datasets import Source
from DOTA_devkit.converters.rectangles import box_of_outlines
from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import map_collecting
from DOTA_devkit.imaging.raster import import_rasterio, open_raster, turn_of
from DOTA_devkit.json_tree import JsonValue, read_json
from DOTA_devkit.number_ranges import COORDINATE, SCORE

if TYPE_CHECKING:
    from rasterio.crs import CRS

CLASS_PROPERTIES = ("class", "class_name", "label", "category", "name", "type")
IMAGE_PROPERTY = "image"
_LONLAT = "OGC:CRS84"  # longitude and latitude in this order, what RFC 7946 says


def read_geojson(path: Path | str, source: Source) -> list[Annotation]:
    """Read one file.

    Args:
        path: the file.
        source: has the images, and the name of the property that is the class.

    Returns:
        The annotations of the images that have features, in the order of the features; an image
        whose name is that of the file and that has none, without objects.

    Raises:
        InputError: a value is absent or not what was expected, an image is absent or has no
            georeference, or a polygon lies outside its map; the message has the file and the place
            in it. Also if rasterio is not installed.
        OSError: the file cannot be read.
    """
    root = read_json(path)
    kind = root.required("type")
    if kind.text() != "FeatureCollection":
        raise kind.error("'FeatureCollection'")
    crs = _crs(root)
    by_image: dict[str, list[tuple[int, JsonValue]]] = {}
    for number, feature in enumerate(root.required("features").elements(), 1):
        by_image.setdefault(_image_id(feature, root.path), []).append((number, feature))
    if not by_image:
        by_image[root.path.stem] = []
    return map_collecting(
        lambda item: _annotation(root, source, crs, *item), by_image.items(), "images"
    )


def _crs(root: JsonValue) -> CRS:
    """Return the coordinate system of the member `crs` of older files, else that of RFC 7946."""
    import_rasterio()
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    member = root.find("crs")
    name = None if member is None else member.required("properties").required("name")
    try:
        return CRS.from_user_input(_LONLAT if name is None else name.text())
    except CRSError:
        raise name.error("the name of a coordinate system, such as 'EPSG:32633'") from None


def _image_id(feature: JsonValue, path: Path) -> str:
    properties = feature.find("properties")
    image = None if properties is None else properties.find(IMAGE_PROPERTY)
    return path.stem if image is None or not isinstance(image.value, str) else image.text()


def _annotation(
    root: JsonValue,
    source: Source,
    crs: CRS,
    image_id: str,
    features: Sequence[tuple[int, JsonValue]],
) -> Annotation:
    image = source.images.get(image_id)
    if image is None:
        raise InputError(
            f"{root.where}: no image called {image_id}, whose georeference is needed (`images`)"
        )
    with open_raster(image) as dataset:
        if not dataset.crs or dataset.transform.is_identity:
            raise InputError(f"{image}: expected a georeference, got an image without one")
        map_crs, turn = dataset.crs, turn_of(image, dataset)
        affine = turn.affine(tuple(dataset.transform)[:6])
    records, left_out = [], []
    for number, feature in features:
        geometry = feature.find("geometry")
        kind = None if geometry is None else geometry.required("type").text()
        if kind not in ("Polygon", "MultiPolygon"):
            left_out.append(f"{feature.where} ({kind})")
            continue
        rings = [_to_pixels(ring, crs, map_crs, affine) for ring in _outer_rings(geometry)]
        records.append(_record(feature, rings, number, source.class_property))
    return build_annotation(root.path, records, turn.shown_wh, image.name, "feature", left_out)


def _outer_rings(geometry: JsonValue) -> list[JsonValue]:
    coordinates = geometry.required("coordinates")
    multiple = geometry.required("type").value == "MultiPolygon"
    polygons = coordinates.elements() if multiple else [coordinates]
    rings = []
    for polygon in polygons:
        parts = polygon.elements()
        if not parts:
            raise polygon.error("the rings of a polygon")
        rings.append(parts[0])
    if not rings:
        raise coordinates.error("the polygons of a multi-polygon")
    return rings


def _to_pixels(ring: JsonValue, crs: CRS, map_crs: CRS, affine: tuple[float, ...]) -> np.ndarray:
    """Return the points of a ring in pixels of the shown image, [K, 2]."""
    from rasterio.warp import transform

    points = ring.points()
    if len(points) < 4 or (points[0] != points[-1]).any():
        raise InputError(
            f"{ring.where}: expected a ring of at least 4 points, the last of them the first again"
        )
    try:
        points = np.array(transform(crs, map_crs, *points.T.tolist())).T
    except Exception:  # GDAL's errors have classes that are private to rasterio
        points = np.full_like(points, np.inf)
    a, b, c, d, e, f = affine
    with np.errstate(invalid="ignore"):
        pixels = (points - (c, f)) @ np.linalg.inv([[a, b], [d, e]]).T
    if not COORDINATE.holds(pixels).all():
        raise InputError(f"{ring.where}: expected points on the map of the image")
    return pixels


def _record(
    feature: JsonValue, rings: list[np.ndarray], number: int, class_property: str | None
) -> ObjectRecord:
    properties = feature.required("properties")
    wanted = CLASS_PROPERTIES if class_property is None else (class_property,)
    found = [value for key in wanted if (value := properties.find(key)) is not None]
    if not found:
        has = ", ".join(properties.value) or "none"
        raise InputError(
            f"{properties.where}: expected the class as one of {', '.join(wanted)}, got the "
            f"properties {has}; name the right one with `class_property`"
        )
    name = found[0].text() if isinstance(found[0].value, str) else str(found[0].key())
    corners, fitted = box_of_outlines(rings)
    score = properties.find("score")
    return ObjectRecord(
        name=name,
        corners=corners,
        difficult=0,
        line=number,
        score=np.nan if score is None else score.number(SCORE),
        fitted=fitted,
    )

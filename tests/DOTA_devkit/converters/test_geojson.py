"""GeoJSON on GeoTIFFs, whose pixels are half a meter."""

import json

import cv2
import numpy as np
import pytest

from DOTA_devkit.converters.datasets import Source
from DOTA_devkit.errors import InputError
from helpers.label_files import SQUARE, put


def feature(points, properties, kind="Polygon"):
    ring = [*points, points[0]]
    coordinates = [ring] if kind == "Polygon" else ring
    return {
        "type": "Feature",
        "properties": properties,
        "geometry": {"type": kind, "coordinates": coordinates},
    }


@pytest.fixture
def raster(tmp_path):
    """A GeoTIFF of 100 x 80 pixels of half a meter, and the map from its pixels to degrees."""
    rasterio = pytest.importorskip("rasterio")
    from rasterio.warp import transform

    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": "EPSG:32633"}
    affine = rasterio.Affine(0.5, 0, 5e5, 0, -0.5, 4e6)
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", width=100, height=80, transform=affine, **profile) as image:
        image.write(np.zeros((1, 80, 100), np.uint8))

    def to_degrees(corners):
        x, y = np.array(corners).T
        lon, lat = transform("EPSG:32633", "EPSG:4326", 5e5 + x / 2, 4e6 - y / 2)
        return np.stack([lon, lat], axis=1).tolist()

    return path, to_degrees


def geojson(tmp_path, path, *features, class_property=None, **document):
    from DOTA_devkit.converters.geojson import read_geojson

    document = {"type": "FeatureCollection", "features": list(features), **document}
    source = Source(tmp_path, "geojson", {"a": path}, class_property=class_property)
    return read_geojson(put(tmp_path, "a.geojson", document), source)


def test_geojson_in_degrees(tmp_path, raster):
    path, to_degrees = raster
    (found,) = geojson(
        tmp_path,
        path,
        feature(to_degrees(SQUARE), {"class": "ship", "image": "a", "score": 0.5}),
        feature(to_degrees([*SQUARE, [10, 40]]), {"label": "car"}),
        feature(to_degrees(SQUARE), {}, "LineString"),
    )
    np.testing.assert_allclose(found.labels.corners[0], SQUARE, atol=0.001)
    assert found.labels.names == ("ship", "car") and found.scores[0] == 0.5
    assert found.fitted.tolist() == [2] and "features[2] (LineString)" in found.left_out[0]
    assert found.size_wh == (100, 80) and found.image_id == "a"
    (found,) = geojson(tmp_path, path)
    assert found.image_id == "a" and len(found.labels) == 0


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"kind": "ship"}, r"properties: expected the class as one of .*, got the properties kind"),
        ({"class": 1.5}, "properties.class: expected an id"),
        ({"class": "ship", "image": "b"}, r"no image called b, whose georeference is needed"),
    ],
)
def test_geojson_property_errors(tmp_path, raster, properties, message):
    path, to_degrees = raster
    with pytest.raises(InputError, match=message):
        geojson(tmp_path, path, feature(to_degrees(SQUARE), properties))


def test_geojson_class_property(tmp_path, raster):
    path, to_degrees = raster
    one_feature = feature(to_degrees(SQUARE), {"class": "x", "type_id": 18})
    (found,) = geojson(tmp_path, path, one_feature, class_property="type_id")
    assert found.labels.names == ("18",)


def test_geojson_errors(tmp_path, raster):
    path, to_degrees = raster
    ship = feature(to_degrees(SQUARE), {"class": "ship"})
    with pytest.raises(InputError, match="expected points on the map of the image"):
        geojson(tmp_path, path, feature([[1e8, 1e8]] * 4, {"class": "ship"}))
    with pytest.raises(InputError, match="the last of them the first again"):
        wrong = json.loads(json.dumps(ship))
        wrong["geometry"]["coordinates"][0].pop()
        geojson(tmp_path, path, wrong)
    crs = {"type": "name", "properties": {"name": "EPSG:0"}}
    with pytest.raises(InputError, match=r"crs\.properties\.name: expected the name"):
        geojson(tmp_path, path, ship, crs=crs)
    with pytest.raises(InputError, match="type: expected 'FeatureCollection', got 'Feature'"):
        geojson(tmp_path, path, type="Feature")
    cv2.imwrite(str(path.with_suffix(".png")), np.zeros((8, 8, 3), np.uint8))
    plain = path.with_name("plain.tif")
    cv2.imwrite(str(plain), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"plain\.tif: expected a georeference"):
        geojson(tmp_path, plain, ship)

"""Real GeoTIFFs from the command line to the map, with a real network.

Expected values come from rasterio and are computed here, not taken from `georeference`.
"""

import json
import re

import numpy as np
import pytest

import main
from DOTA_devkit.formats import read_task1

rasterio = pytest.importorskip("rasterio")
from rasterio import warp  # noqa: E402

pytestmark = pytest.mark.slow  # commands with real files

WITH_BLACK_CORNER = "5b90f92da0d7280005fab355_4310"
NAMES = (WITH_BLACK_CORNER, "test_tiled", "2018_SJER_3_252000_4107000_image_477", "OSBS_029")
WGS84 = "EPSG:4326"
TILE, OVERLAP = 256, 64
CONF = 0.36  # the network finds hundreds of objects above it in each image


@pytest.fixture(scope="module")
def folder(shared):
    folder = shared / "data" / "geotiff"
    if not folder.is_dir():
        pytest.skip("no real GeoTIFFs")
    return folder


@pytest.fixture(scope="module")
def weights(sharp_folder):
    return sharp_folder / "checkpoint.pth"


def predict(weights, source, output, *flags):
    """Run the command and return its exit code."""
    sources = source if isinstance(source, list) else [source]
    words = ["--phase", "predict", "--device", "cpu", "--weights", weights, "--output", output,
             "--source", *sources, "--overlap", OVERLAP, "--conf_thresh", CONF, *flags]  # fmt: skip
    return main.main(list(map(str, words)))


@pytest.fixture(scope="module")
def results(folder, weights, tmp_path_factory):
    """JSON content, GeoJSON content and Task1 tables of one run over the four files."""
    output = tmp_path_factory.mktemp("real")
    sources = [folder / f"{name}.tif" for name in NAMES]
    flags = ("--formats", "json,geojson,task1", "--tile", TILE, "--scales", 0.5)
    assert predict(weights, sources, output, *flags) == 0
    task1 = [read_task1(path) for path in sorted(output.glob("Task1_*.txt"))]
    contents = [
        json.loads((output / f"detections.{suffix}").read_text()) for suffix in ("json", "geojson")
    ]
    return *contents, task1


def features_of(results, name):
    return [one for one in results[1]["features"] if one["properties"]["image"] == name]


def corners_of(results, name):
    """Return corners [N, 4, 2] in pixels, from the JSON file."""
    (image,) = [one for one in results[0]["images"] if one["image"] == name]
    return np.array([one["corners"] for one in image["detections"]])


def on_earth(dataset, pixels):
    """Map pixels [N, 2] to longitude and latitude [N, 2], with the affine map written out."""
    a, b, c, d, e, f = list(dataset.transform)[:6]
    x = [a * column + b * row + c for column, row in pixels]
    y = [d * column + e * row + f for column, row in pixels]
    return np.array(warp.transform(dataset.crs, WGS84, x, y)).T


@pytest.mark.parametrize("name", NAMES)
def test_geojson_corners_match_pixel_corners(folder, results, name):
    features, corners = features_of(results, name), corners_of(results, name)
    assert len(features) == len(corners) > 20
    with rasterio.open(folder / f"{name}.tif") as dataset:
        expected = on_earth(dataset, corners.reshape(-1, 2)).reshape(-1, 4, 2)
        west, south, east, north = warp.transform_bounds(dataset.crs, WGS84, *dataset.bounds)
        size_wh = (dataset.width, dataset.height)
    # rounding: half a hundredth of a pixel in the JSON file, and eight decimals in the GeoJSON
    tolerance = 0.005 * max(east - west, north - south) / min(size_wh) + 1e-8
    for feature, outline, pixels in zip(features, expected, corners, strict=True):
        ring = np.array(feature["geometry"]["coordinates"][0])[:-1]
        apart = np.abs(ring[:, None] - outline[None]).max(axis=2)
        assert apart.min(axis=0).max() < tolerance and apart.min(axis=1).max() < tolerance
        if (pixels >= 0).all() and (pixels <= size_wh).all():
            assert (ring >= (west - tolerance, south - tolerance)).all()
            assert (ring <= (east + tolerance, north + tolerance)).all()
    inside = (corners >= 0).all(axis=(1, 2)) & (corners <= size_wh).all(axis=(1, 2))
    assert inside.mean() > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_task1_corners_match_geojson(folder, results, name):
    rings = [np.array(one["geometry"]["coordinates"][0])[:-1] for one in features_of(results, name)]
    corners = np.concatenate([
        own.corners[[image == name for image in own.image_ids]] for own in results[2]
    ])  # fmt: skip
    with rasterio.open(folder / f"{name}.tif") as dataset:
        centers = on_earth(dataset, corners.mean(axis=1))
        meters = 0.06 * max(dataset.res)  # Task1 has one decimal
    found = np.array([ring.mean(axis=0) for ring in rings])
    assert len(centers) == len(found)
    apart = np.abs(centers[:, None] - found[None]).max(axis=2)
    assert apart.min(axis=0).max() < meters / 50_000 and apart.min(axis=1).max() < meters / 50_000


def test_geojson_follows_rfc_7946(results):
    content = results[1]
    assert set(content) == {"type", "features"} and content["type"] == "FeatureCollection"
    for feature in content["features"]:
        assert set(feature) == {"type", "geometry", "properties"} and feature["type"] == "Feature"
        assert feature["geometry"]["type"] == "Polygon"
        (ring,) = feature["geometry"]["coordinates"]
        assert len(ring) == 5 and ring[0] == ring[-1]
        lon, lat = np.array(ring).T - np.array(ring[0])[:, None]
        assert np.sum(lon[:-1] * lat[1:] - lon[1:] * lat[:-1]) > 0, "counterclockwise"
    # longitude first: California, Florida and the Netherlands
    for name, place in {
        NAMES[1]: (4.99, 51.84),
        NAMES[2]: (-119.8, 37.1),
        NAMES[3]: (-82, 29.7),
    }.items():
        lonlat = np.array(features_of(results, name)[0]["geometry"]["coordinates"][0][0])
        assert np.abs(lonlat - place).max() < 0.1
    assert [one["properties"]["class"] for one in content["features"]] == [
        one["class"] for image in results[0]["images"] for one in image["detections"]
    ]


def logged_windows(text):
    """Return the number of windows, and of those that were skipped, as logged."""
    return tuple(map(int, re.search(r"(\d+) windows, (\d+) of them without data", text).groups()))


@pytest.mark.slow
def test_windows_in_the_black_corner_are_skipped(folder, weights, tmp_path, capsys):
    flags = ("--formats", "csv", "--tile", 128, "--overlap", 32, "--scales", 0.5)
    assert predict(weights, folder / f"{WITH_BLACK_CORNER}.tif", tmp_path, *flags) == 0
    windows, skipped = logged_windows(capsys.readouterr().out)
    assert windows == 11 * 11
    with rasterio.open(folder / f"{WITH_BLACK_CORNER}.tif") as dataset:
        image = dataset.read().max(axis=0)
    # a window covers 256 pixels of the file, and the next one begins at most 192 further on
    black = (image.reshape(16, 128, 16, 128).max(axis=(1, 3)) == 0).sum()
    assert black > 16
    assert black / 8 < skipped < black


def local_scale(path):
    """Return width and height of the central pixel in meters, by a map centered on it."""
    with rasterio.open(path) as dataset:
        middle = np.array([dataset.width, dataset.height]) / 2
        lon, lat = on_earth(dataset, [middle])[0]
        ground = f"+proj=aeqd +lat_0={lat} +lon_0={lon} +datum=WGS84 +units=m"
        points = np.add(middle, [(-50, 0), (50, 0), (0, -50), (0, 50)])
        a, b, c, d, e, f = list(dataset.transform)[:6]
        x, y = points @ [[a], [b]] + c, points @ [[d], [e]] + f
        east_north = warp.transform(dataset.crs, ground, x.ravel().tolist(), y.ravel().tolist())
    left, right, top, bottom = np.array(east_north).T
    return np.hypot(*(right - left)) / 100, np.hypot(*(bottom - top)) / 100


def in_degrees(path, target):
    """Write a copy of the image in longitude and latitude."""
    with rasterio.open(path) as dataset:
        size = (dataset.width, dataset.height)
        matrix, width, height = warp.calculate_default_transform(
            dataset.crs, WGS84, *size, *dataset.bounds
        )
        pixels = np.zeros((3, height, width), np.uint8)
        place = {"src_transform": dataset.transform, "src_crs": dataset.crs,
                 "dst_transform": matrix, "dst_crs": WGS84}  # fmt: skip
        warp.reproject(dataset.read(), pixels, resampling=warp.Resampling.bilinear, **place)
        profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": WGS84}
    with rasterio.open(target, "w", width=width, height=height, transform=matrix, **profile) as out:
        out.write(pixels)
    return target


def expected_windows(path, scale):
    """Count the windows of TILE, overlapping by OVERLAP, that cover an image at a scale (x, y)."""
    with rasterio.open(path) as dataset:
        sides = np.array([dataset.width, dataset.height]) * scale
    return int(np.prod(np.maximum(1, np.ceil((sides - OVERLAP) / (TILE - OVERLAP)))))


@pytest.mark.parametrize("degrees", [False, True])
@pytest.mark.parametrize(
    ("name", "times"),
    [("test_tiled", 2), (WITH_BLACK_CORNER, 4.1), (NAMES[2], 0.5), (NAMES[3], 0.8)],
)
def test_gsd_scales_by_ground_size(folder, weights, tmp_path, capsys, name, times, degrees):
    path = folder / f"{name}.tif"
    if degrees:
        path = in_degrees(path, tmp_path / "degrees.tif")
    size = local_scale(path)
    gsd = times * size[0]
    flags = ("--formats", "csv", "--tile", TILE, "--gsd", gsd)
    assert predict(weights, path, tmp_path / "out", *flags) == 0
    log = capsys.readouterr().out
    logged = list(map(float, re.search(r"a pixel is (\S+) x (\S+) m on the ground", log).groups()))
    assert logged == pytest.approx(size, rel=0.005)
    windows, _ = logged_windows(log)
    assert windows == expected_windows(path, np.array(size) / gsd)


def test_signed_and_unsigned_16_bits(folder, weights, tmp_path, capsys):
    with rasterio.open(folder / f"{WITH_BLACK_CORNER}.tif") as dataset:
        pixels = dataset.read(window=((700, 1020), (700, 1020)))
        place = {"crs": dataset.crs, "transform": dataset.transform}
    found = []
    for kind in ("uint16", "int16"):
        path = tmp_path / f"{kind}.tif"
        with rasterio.open(path, "w", driver="GTiff", width=320, height=320, count=3, dtype=kind,
                           **place) as dataset:  # fmt: skip
            dataset.write(pixels.astype(kind) * 8)
        assert predict(weights, path, tmp_path / kind, "--formats", "json", "--tile", TILE) == 0
        log = capsys.readouterr().out
        assert log.count(f"{path}: 16 bits are stretched to 8: red ") == 1
        content = json.loads((tmp_path / kind / "detections.json").read_text())
        found.append(content["images"][0]["detections"])
    assert len(found[0]) > 20 and found[0] == found[1]


@pytest.fixture
def without_coordinates(folder, tmp_path):
    with rasterio.open(folder / "OSBS_029.tif") as dataset:
        pixels = dataset.read()
    path = tmp_path / "plain.tif"
    with rasterio.open(path, "w", driver="GTiff", width=400, height=400, count=3,
                       dtype="uint8") as dataset:  # fmt: skip
        dataset.write(pixels)
    return path


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--formats", "geojson"), "plain.tif: formats=geojson alone needs an image with coord"),
        (("--gsd", "0.2"), "plain.tif: gsd=0.2 needs an image with coordinates"),
        (("--gsd", "0.2", "--formats", "geojson"), "plain.tif: formats=geojson alone needs"),
    ],
)
def test_missing_coordinates_are_refused(
    folder, weights, without_coordinates, tmp_path, capsys, flags, message
):
    out = tmp_path / "out"
    assert predict(weights, without_coordinates, out, *flags) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not out.exists()
    # among other images it is left out
    sources = [without_coordinates, folder / "OSBS_029.tif"]
    assert predict(weights, sources, out, *flags) == 1
    assert f"left out: {without_coordinates}" in capsys.readouterr().out
    images = {
        one["properties"]["image"]
        for one in json.loads((out / "detections.geojson").read_text())["features"]
    }
    assert images == {"OSBS_029"}


def test_other_formats_are_written_without_coordinates(
    weights, without_coordinates, tmp_path, capsys
):
    out = tmp_path / "out"
    assert predict(weights, without_coordinates, out, "--formats", "csv,geojson") == 0
    assert sorted(path.name for path in out.iterdir()) == ["detections.csv"]
    log = capsys.readouterr().out
    (line,) = (line for line in log.splitlines() if "coordinates" in line)
    assert line.startswith("detections.geojson is not written, as no image has coordinates")
    assert line.endswith("together with a .prj or --crs)")

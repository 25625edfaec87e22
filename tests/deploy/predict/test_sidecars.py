"""Images with a world file beside them, against the transform and the projection of GDAL."""

import json
import logging
import re
import struct

import numpy as np
import pytest

from deploy.predict.pipeline import predict
from deploy.predict.settings import PredictSettings
from deploy.predict.sidecars import parse_crs
from deploy.predict.sources import inspect_images
from DOTA_devkit.errors import InputError
from helpers.data_folders import picture, write_image
from helpers.drawn_objects import DrawnObjects, scene
from helpers.prediction_runs import OBJECTS, SIZE_WH, Killed, KilledAfter

rasterio = pytest.importorskip("rasterio")
from rasterio.crs import CRS  # noqa: E402
from rasterio.transform import Affine  # noqa: E402
from rasterio.warp import transform  # noqa: E402

UTM = "EPSG:32633"
WORLD = "0.5\n0.1\n0.2\n-0.4\n500000.25\n5299999.75\n"  # a turned and sheared map
POINTS = np.array([(0, 0), (0.5, 0.5), (120, 0), (17.25, 88.5), (120, 90)])


@pytest.fixture
def image(tmp_path):
    """Return a function that writes an image of 120 x 90 and the files beside it."""

    def make(name="a.jpg", **beside):
        path = write_image(tmp_path / name, picture())
        for suffix, text in beside.items():
            path.with_suffix(f".{suffix}").write_text(text)
        return path

    return make


def located(path, crs=None):
    (source,), faults = inspect_images([path], crs=crs and parse_crs(crs))
    assert not faults
    return source


def expected_lonlat(affine, points, crs=UTM):
    """Longitudes and latitudes by rasterio, which has no part in reading the world file."""
    x, y = (
        np.reshape(affine[:6], (2, 3)) @ np.column_stack([points, np.ones(len(points))]).T
    ).tolist()
    return np.transpose(transform(CRS.from_string(crs), "EPSG:4326", x, y))


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.jpg", "jgw"),
        ("a.jpg", "jpgw"),
        ("a.jpg", "wld"),
        ("a.JPG", "JGW"),
        ("a.jpeg", "jgw"),
        ("a.b.png", "pgw"),
        ("a.png", "pngw"),
        ("a.bmp", "bpw"),
        ("a.tif", "tfw"),
        ("a.tiff", "tfw"),
        ("a.tif", "tifw"),
    ],
)
@pytest.mark.parametrize("by_prj", [True, False])
def test_a_world_file_places_the_image(image, name, suffix, by_prj):
    beside = {suffix: WORLD} | ({"prj": CRS.from_string(UTM).to_wkt()} if by_prj else {})
    path = image(name, **beside)
    source = located(path, None if by_prj else UTM)
    affine = Affine(0.5, 0.2, 500000.25 - 0.35, 0.1, -0.4, 5299999.75 + 0.15)
    with rasterio.open(path) as dataset:
        if not dataset.transform.is_identity:  # GDAL does not know all of these names
            assert dataset.transform.almost_equals(affine, 1e-9)
    np.testing.assert_allclose(
        source.georeference.to_lonlat(POINTS), expected_lonlat(affine, POINTS), atol=1e-10
    )
    assert source.unlocated == ""


ESRI_UTM = """PROJCS["WGS_1984_UTM_Zone_33N",
GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]],
PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],
PROJECTION["Transverse_Mercator"],PARAMETER["False_Easting",500000.0],
PARAMETER["False_Northing",0.0],PARAMETER["Central_Meridian",15.0],
PARAMETER["Scale_Factor",0.9996],PARAMETER["Latitude_Of_Origin",0.0],UNIT["Meter",1.0]]
"""


def test_prj_of_arcgis(image):
    """Its WKT has names of its own and no codes."""
    found = located(image(jgw=WORLD, prj=ESRI_UTM)).georeference.to_lonlat(POINTS)
    affine = Affine(0.5, 0.2, 500000.25 - 0.35, 0.1, -0.4, 5299999.75 + 0.15)
    np.testing.assert_allclose(found, expected_lonlat(affine, POINTS), atol=1e-10)


def test_the_map_of_a_jpeg_that_is_turned_to_be_shown(image):
    """World files are of the stored pixels: orientation 6 shows stored (x, y) at (90 - y, x)."""
    path = image(jgw=WORLD)
    tags = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 274, 3, 1, 6, 0, 0)
    segment = b"\xff\xe1" + struct.pack(">H", 8 + len(tags)) + b"Exif\0\0" + tags
    path.write_bytes(b"\xff\xd8" + segment + path.read_bytes()[2:])
    source = located(path, UTM)
    assert source.size_wh == (90, 120)
    affine = Affine(0.5, 0.2, 500000.25 - 0.35, 0.1, -0.4, 5299999.75 + 0.15)
    shown = np.stack([90 - POINTS[:, 1], POINTS[:, 0]], axis=1)
    found = source.georeference.to_lonlat(shown)
    np.testing.assert_allclose(found, expected_lonlat(affine, POINTS), atol=1e-10)


def test_aux_xml_as_gdal_writes_it(tmp_path):
    path, affine = tmp_path / "a.png", Affine(0.25, 0, 600000, 0, -0.25, 5100000)
    profile = {"width": 120, "height": 90, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="PNG", crs=UTM, transform=affine, **profile) as dataset:
        dataset.write(picture().transpose(2, 0, 1))
    assert (tmp_path / "a.png.aux.xml").is_file()
    found = located(path).georeference.to_lonlat(POINTS)
    np.testing.assert_allclose(found, expected_lonlat(affine, POINTS), atol=1e-10)


def test_own_crs_takes_precedence_over_the_given_one(image, caplog):
    path = image(jgw=WORLD, prj=CRS.from_string(UTM).to_wkt())
    assert located(path, "EPSG:32634").georeference.crs == CRS.from_string(UTM)
    assert f"{path}: its own coordinate reference system is used" in caplog.text
    caplog.clear()
    assert located(path, UTM).georeference and not caplog.records
    path.with_suffix(".prj").write_text("no WKT")
    assert located(path, "EPSG:32634").georeference.crs == CRS.from_epsg(32634)
    assert f"{path.with_suffix('.prj')}: expected the WKT" in caplog.text


@pytest.mark.parametrize(
    ("beside", "reason"),
    [
        ({"jgw": WORLD}, "a.jpg: it lies on a map .* give `crs`, such as EPSG:32633, or put a.prj"),
        ({"jgw": WORLD, "prj": "no WKT"}, "a.prj: expected the WKT of a .*, got 'no WKT'"),
        ({"jgw": WORLD, "prj": ""}, "a.prj: expected the WKT"),
        ({"jgw": WORLD, "prj": "x" * 100_000}, "a.prj: expected the WKT"),
        ({"jgw": ""}, "a.jgw: expected a world file of six numbers, one on each line, got 0"),
        ({"jgw": WORLD + "7\n"}, "a.jgw: expected a world file of six numbers, .*, got 7"),
        ({"jgw": WORLD.replace("0.2", "x")}, "a.jgw:3: expected a world file .*, got 'x'"),
        ({"jgw": WORLD.replace("0.2", "nan")}, "a.jgw:3: expected a world file .*, got 'nan'"),
        ({"jgw": WORLD.replace("0.2", "1e999")}, "a.jgw:3: expected a world file"),
        ({"jgw": "1\n" * 100_000}, "a.jgw: expected a world file .*, got 200000 bytes"),
        ({"prj": CRS.from_string(UTM).to_wkt()}, "^$"),  # without a place, no hint
        ({}, "^$"),
    ],
)
def test_reason_for_missing_coordinates(image, beside, reason):
    source = located(image(**beside))
    assert source.georeference is None
    assert re.search(reason, source.unlocated) and len(source.unlocated) < 400


def test_a_degenerate_world_file(image, caplog):
    source = located(image(jgw="0\n0\n0\n0\n5\n5\n"), UTM)
    assert source.georeference is None and "its georeference is degenerate" in source.unlocated
    assert "is degenerate and is not used" in caplog.text


@pytest.mark.parametrize("text", ["EPSG:1", "32633x", "", "utm 33", "EPSG:" + "9" * 500])
def test_bad_crs(text):
    with pytest.raises(InputError, match="crs: expected a coordinate reference system") as caught:
        parse_crs(text)
    assert len(str(caught.value)) < 200


def drawn(folder, name="a.png"):
    return write_image(folder / name, scene(SIZE_WH, OBJECTS))


def run(path, output, detector=None, **settings):
    settings = PredictSettings(**{"batch_size": 3, "formats": ("csv", "geojson"), **settings})
    return predict(detector or DrawnObjects(), [path], settings, output)


def test_predict_writes_map_coordinates(tmp_path):
    path = drawn(tmp_path)
    path.with_suffix(".pgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n5299999.75\n")
    done = run(path, tmp_path / "out", crs=UTM)
    features = json.loads((tmp_path / "out/detections.geojson").read_text())["features"]
    assert len(features) == len(OBJECTS)
    corners = done.images[0].detections.corners.reshape(-1, 2).astype(float)
    affine = Affine(0.5, 0, 500000, 0, -0.5, 5300000)
    expected = expected_lonlat(affine, corners).reshape(-1, 4, 2)
    for feature, outline in zip(features, expected, strict=True):
        ring = np.array(feature["geometry"]["coordinates"][0][:-1])
        np.testing.assert_allclose(sorted(ring.tolist()), sorted(outline.tolist()), atol=2e-8)


def test_log_explains_missing_geojson(tmp_path, caplog):
    for name in ("a.png", "b.png"):
        drawn(tmp_path / "images", name)
    (tmp_path / "images/a.pgw").write_text(WORLD)
    with caplog.at_level(logging.INFO):
        done = run(tmp_path / "images", tmp_path / "out")
    assert not done.faults and not (tmp_path / "out/detections.geojson").exists()
    assert f"not in detections.geojson: {tmp_path}/images/a.png: it lies on a map" in caplog.text
    assert f"no coordinates in 1 images, such as {tmp_path}/images/b.png" in caplog.text
    assert "detections.geojson is not written, as no image has coordinates" in caplog.text


def test_geojson_alone_and_gsd_say_what_is_missing(tmp_path):
    path = drawn(tmp_path)
    for settings in ({"formats": ("geojson",)}, {"gsd": 0.5}):
        with pytest.raises(
            InputError, match=r"needs an image with coordinates.* a world file beside"
        ):
            run(path, tmp_path / "out", **settings)
    path.with_suffix(".pgw").write_text(WORLD)
    with pytest.raises(InputError, match=r"needs an image with coordinates.* give `crs`"):
        run(path, tmp_path / "out", gsd=0.5)
    assert not run(path, tmp_path / "out", gsd=0.5, crs=UTM).faults


def test_stopped_run_resumes_with_the_same_crs(tmp_path):
    """It has no part in the detections, and the log of the first run asks for it."""
    path = drawn(tmp_path)
    path.with_suffix(".pgw").write_text(WORLD)
    with pytest.raises(Killed):
        run(path, tmp_path / "out", KilledAfter(2))
    detector = DrawnObjects()
    run(path, tmp_path / "out", detector, crs=UTM)
    assert len(detector.batches) == 2
    assert (tmp_path / "out/detections.geojson").is_file()

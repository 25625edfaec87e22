"""GeoTIFFs: read window by window, with their coordinates."""

import json
from pathlib import Path

import numpy as np
import pytest

from deploy.predict.georeference import Georeference
from deploy.predict.pipeline import predict
from deploy.predict.settings import PredictSettings
from deploy.predict.sources import inspect_images
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import ReadOptions
from DOTA_devkit.polygon import iou_matrix
from helpers.drawn_objects import DrawnObjects, corners_of, scene

rasterio = pytest.importorskip("rasterio")
from rasterio.control import GroundControlPoint  # noqa: E402
from rasterio.crs import CRS  # noqa: E402
from rasterio.transform import from_gcps, from_origin  # noqa: E402

REAL = "5b90f92da0d7280005fab355_4310.tif"
OBJECTS = [("plane", 70, 60, 30, 14, 25), ("ship", 150, 118, 40, 12, 70),
           ("plane", 260, 200, 26, 12, 0)]  # fmt: skip


def write_tiff(path, image, **profile):
    """image: [H, W, 3] BGR."""
    profile = {
        "crs": CRS.from_epsg(32632), "transform": from_origin(500000, 5200000, 0.5, 0.5),
        "dtype": image.dtype, "count": 3, **profile,
    }  # fmt: skip
    with rasterio.open(path, "w", driver="GTiff", width=image.shape[1], height=image.shape[0],
                       **profile) as dataset:  # fmt: skip
        dataset.write(image[:, :, ::-1].transpose(2, 0, 1), [1, 2, 3])
    return path


def run(path, output, **settings):
    return predict(DrawnObjects(), [path], PredictSettings(**{"batch_size": 3, **settings}), output)


def read(path):
    sources, faults = inspect_images([path])
    assert not faults, faults
    return sources[0]


def test_pixels_and_map_of_real_files(shared):
    folder = shared / "data" / "geotiff"
    for path in sorted(folder.glob("*.tif")):
        source = read(path)
        with rasterio.open(path) as dataset, source.open() as reader:
            width, height = source.size_wh
            left, top = width - 300, height - 120
            rgb = dataset.read(window=((top, top + 100), (left, left + 280)))
            part = reader.window(left, top, (280, 100))
            np.testing.assert_array_equal(part, rgb[::-1].transpose(1, 2, 0))
            np.testing.assert_allclose(
                source.georeference.to_map([(0, 0), (width, height)]),
                [dataset.transform * (0, 0), dataset.transform * (width, height)],
            )


def test_coordinates_of_a_real_file(shared):
    source = read(shared / "data" / "geotiff" / "test_tiled.tif")
    lonlat = source.georeference.to_lonlat([(0, 0), (1000, 1000)])
    # from rasterio's transform_bounds of the same file, which is another way
    np.testing.assert_allclose(lonlat[:, 0].mean(), 4.98816, atol=1e-4)
    np.testing.assert_allclose(lonlat[:, 1].mean(), 51.84103, atol=1e-4)
    assert source.georeference.ground_size((500, 500)) == pytest.approx((0.25, 0.25), rel=1e-3)


@pytest.mark.slow
def test_black_corner_of_real_file_is_skipped(shared, tmp_path):
    done = run(shared / "data" / "geotiff" / REAL, tmp_path, tile=256, formats=("geojson",))
    assert 0 < done.without_data < done.windows
    assert json.loads((tmp_path / "detections.geojson").read_text())["type"] == "FeatureCollection"


@pytest.mark.parametrize(
    ("crs", "transform", "expected"),
    [
        # a meter of the Mercator map at 60 degrees is about half a meter on the ground
        ("EPSG:3857", from_origin(0, 8399737.9, 1, 1), 0.5),
        ("EPSG:4326", from_origin(0, 0, 1e-5, 1e-5), 1.11),
        ("EPSG:2263", from_origin(980000, 200000, 1, 1), 0.3048),  # feet
        ("EPSG:32632", from_origin(500000, 5200000, 0.5, 0.5), 0.5),
    ],
)
def test_ground_size(crs, transform, expected):
    reference = Georeference(CRS.from_string(crs), tuple(transform)[:6])
    assert reference.ground_size((5, 5)) == pytest.approx((expected, expected), rel=0.01)


@pytest.mark.parametrize("count", [1, 3, 50])
def test_points_outside_the_projection_are_infinite(count):
    """The corners of a geostationary view look past the earth.

    rasterio raises an error for a few such points, but not for many.
    """
    view = CRS.from_proj4("+proj=geos +h=35785831 +lon_0=0 +sweep=y")
    reference = Georeference(view, tuple(from_origin(-5500000, 5500000, 11000, 11000))[:6])
    middle, corner = (500, 500), (0, 0)
    lonlat = reference.to_lonlat(np.array([middle, *[corner] * count]))
    np.testing.assert_allclose(lonlat[0], (0, 0), atol=1e-6)
    assert lonlat.shape == (count + 1, 2) and np.isinf(lonlat[1:]).all()
    assert np.isinf(reference.to_lonlat(np.array([corner] * count))).all()


def test_longitudes_are_from_minus_180_to_180():
    reference = Georeference(CRS.from_epsg(4326), tuple(from_origin(179.9, 1, 0.1, 0.1))[:6])
    lonlat = reference.to_lonlat(np.array([(0, 0), (1, 0), (2, 0), (500, 0)]))
    np.testing.assert_allclose(lonlat[:, 0], [179.9, 180, -179.9, -130.1], atol=1e-9)


def test_detections_outside_the_projection_are_left_out(tmp_path, caplog):
    """A plane and the ship lie on the disk of the earth, the second plane lies beside it."""
    path = write_tiff(
        tmp_path / "a.tif", scene((400, 250), OBJECTS),
        crs=CRS.from_proj4("+proj=geos +h=35785831 +lon_0=0 +sweep=y"),
        transform=from_origin(0, 2000000, 25000, 25000),
    )  # fmt: skip
    done = run(path, tmp_path / "out")
    assert len(done.images[0].detections) == 3 and len(done.faults) == 1
    message = "1 of 3 detections lie outside its map projection"
    assert sum(message in record.message for record in caplog.records) == 1
    assert len(json.loads((tmp_path / "out/detections.geojson").read_text())["features"]) == 2
    assert (tmp_path / "out/pictures/a.jpg").is_file()
    (left_out,) = json.loads((tmp_path / "out/detections.json").read_text())["left_out"].values()
    assert message in left_out


def test_local_grid_among_good_images(tmp_path):
    """Photogrammetry software exports such grids, which have no place on the earth."""
    local = write_tiff(tmp_path / "local.tif", scene((400, 250), OBJECTS),
                       crs=CRS.from_wkt('LOCAL_CS["Local (m)",UNIT["metre",1]]'))  # fmt: skip
    good = write_tiff(tmp_path / "good.tif", scene((400, 250), OBJECTS))
    done = predict(DrawnObjects(), [local, good], PredictSettings(), tmp_path / "out")
    assert [len(one.detections) for one in done.images] == [3, 3]
    assert "3 of 3 detections lie outside" in done.faults[str(local)]
    assert len(json.loads((tmp_path / "out/detections.geojson").read_text())["features"]) == 3
    scaled = predict(DrawnObjects(), [local, good], PredictSettings(gsd=0.5), tmp_path / "gsd")
    assert [one.source.path for one in scaled.images] == [good]
    assert scaled.faults[str(local)].startswith(f"{local}: ")


@pytest.mark.parametrize("options", [{}, {"tiled": True, "blockxsize": 64, "blockysize": 64}])
def test_geojson_lies_on_the_map(tmp_path, options):
    path = write_tiff(tmp_path / "a.tif", scene((400, 250), OBJECTS), **options)
    done = run(path, tmp_path / "out")
    found = done.images[0].detections
    assert len(found) == 3
    content = json.loads((tmp_path / "out/detections.geojson").read_text())
    assert set(content) == {"type", "features"}
    for feature, corners in zip(content["features"], found.corners, strict=True):
        ring = np.array(feature["geometry"]["coordinates"][0])
        x, y = ring.T
        assert np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) > 0
        back = rasterio.warp.transform("EPSG:4326", "EPSG:32632", x[:-1], y[:-1])
        pixels = (np.array(back).T - (500000, 5200000)) / (0.5, -0.5)
        assert iou_matrix(pixels[None], corners[None]).item() > 0.99
        assert feature["properties"]["image"] == "a"


def test_gsd_rescales_to_meters(tmp_path):
    objects = [("plane", 2 * x, 2 * y, 2 * w, 2 * h, d) for _, x, y, w, h, d in OBJECTS]
    path = write_tiff(tmp_path / "a.tif", scene((800, 500), objects))
    detector = DrawnObjects(max_side=50)  # finds the objects only at 1 m per pixel
    fine = predict(detector, [path], PredictSettings(gsd=1.0), tmp_path / "fine")
    assert len(fine.images[0].detections) == 3
    overlap = iou_matrix(corners_of(objects), fine.images[0].detections.corners)
    assert overlap.max(axis=1).min() > 0.7
    half = predict(DrawnObjects(), [path], PredictSettings(scales=(0.5,)), tmp_path / "half")
    assert fine.windows == half.windows


def test_geotiff_without_coordinates(tmp_path):
    path = write_tiff(tmp_path / "a.tif", scene((400, 250), OBJECTS), crs=None, transform=None)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/detections.geojson").write_text("of an earlier run")
    done = run(path, tmp_path / "out")
    assert len(done.images[0].detections) == 3 and not done.faults
    assert not (tmp_path / "out/detections.geojson").exists()
    with pytest.raises(InputError, match=r"a\.tif: gsd=0.5 needs an image with coordinates"):
        run(path, tmp_path / "out", gsd=0.5)


def test_coordinates_from_ground_control_points(tmp_path):
    points = [
        GroundControlPoint(row=r, col=c, x=8 + c * 1e-5, y=47 - r * 1e-5)
        for r in (0, 250) for c in (0, 400)
    ]  # fmt: skip
    image = scene((400, 250), OBJECTS)
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", driver="GTiff", width=400, height=250, count=3, dtype="uint8",
                       gcps=points, crs="EPSG:4326") as dataset:  # fmt: skip
        dataset.write(image[:, :, ::-1].transpose(2, 0, 1))
    lonlat = read(path).georeference.to_lonlat([(100, 50)])
    np.testing.assert_allclose(lonlat, [[8.001, 46.9995]], atol=1e-8)


def gcps(places, shift=0.0):
    """Ground control points at (column, row), 0.5 m per pixel; the first is shifted by pixels."""
    return [
        GroundControlPoint(row, column, 500000 + 0.5 * (column + shift * (k == 0)),
                           5200000 - 0.5 * row)
        for k, (column, row) in enumerate(places)
    ]  # fmt: skip


def write_with_gcps(path, points):
    with rasterio.open(path, "w", driver="GTiff", width=400, height=250, count=3, dtype="uint8",
                       gcps=points, crs="EPSG:32632") as dataset:  # fmt: skip
        dataset.write(scene((400, 250), OBJECTS)[:, :, ::-1].transpose(2, 0, 1))
    return path


CORNERS = [(0, 0), (400, 0), (400, 250), (0, 250)]


@pytest.mark.parametrize(
    "points",
    [
        gcps(CORNERS[:1]),
        gcps(CORNERS[:2]),
        gcps([(0, 0), (100, 50), (200, 100)]),  # in a line
        gcps([(70, 30)] * 4),  # all the same
        [GroundControlPoint(row, column, 500000, 5200000) for column, row in CORNERS],
    ],
)
def test_degenerate_control_points(tmp_path, caplog, points):
    source = read(write_with_gcps(tmp_path / "a.tif", points))
    assert source.georeference is None
    assert "a.tif: its georeference is degenerate and is not used" in caplog.text


@pytest.mark.parametrize("shift", [0.0, 0.5, 40.0])
def test_control_points_off_the_affine_map(tmp_path, caplog, shift):
    """The corners of a rectangle, one of them off: a quarter of the error stays at each."""
    source = read(write_with_gcps(tmp_path / "a.tif", gcps(CORNERS, shift)))
    expected = [(500000 + 0.5 * 0.75 * shift, 5200000), (500200 + 0.5 * 0.25 * shift, 5200000)]
    np.testing.assert_allclose(source.georeference.to_map(CORNERS[:2]), expected, atol=1e-6)
    # the same as the fit of GDAL
    np.testing.assert_allclose(
        source.georeference.affine, tuple(from_gcps(gcps(CORNERS, shift)))[:6], rtol=1e-6, atol=1e-6
    )
    assert ("is off by up to" in caplog.text) == (shift > 4)


@pytest.mark.parametrize("kind", ["16 bits", "gray", "alpha", "palette", "four bands", "nodata"])
def test_kinds_of_bands(tmp_path, kind):
    image = scene((400, 250), OBJECTS)
    path = tmp_path / "a.tif"
    if kind == "16 bits":
        write_tiff(path, image.astype(np.uint16) * 257)
    elif kind == "nodata":
        write_tiff(path, image, nodata=0)
    else:
        rgb = image[:, :, ::-1].transpose(2, 0, 1)
        bands = {
            "gray": rgb[:1],
            "palette": rgb[:1] // 64,
            "alpha": np.concatenate([rgb, np.full((1, 250, 400), 255, np.uint8)]),
            "four bands": np.concatenate([rgb, rgb[:1]]),
        }[kind]
        with rasterio.open(path, "w", driver="GTiff", width=400, height=250, count=len(bands),
                           dtype="uint8", photometric="palette" if kind == "palette" else
                           "minisblack" if kind == "gray" else "rgb") as dataset:  # fmt: skip
            dataset.write(bands)
            if kind == "palette":
                dataset.write_colormap(1, {k: (80 * k, 10, 20, 255) for k in range(4)})
    with read(path).open() as reader:
        part = reader.window(30, 20, (200, 120))
    expected = image[20:140, 30:230]
    if kind == "gray":
        expected = np.repeat(expected[:, :, 2:], 3, axis=2)
    elif kind == "palette":
        index = expected[:, :, 2] // 64
        expected = np.stack([np.full_like(index, 20), np.full_like(index, 10), 80 * index], 2)
    np.testing.assert_array_equal(part, expected)


def test_masked_windows_hold_no_data(tmp_path):
    image = scene((400, 250), OBJECTS)
    image[:, 200:] = np.random.default_rng(0).integers(0, 255, (250, 200, 3))
    path = write_tiff(tmp_path / "a.tif", image)
    with rasterio.open(path, "r+") as dataset:
        mask = np.full((250, 400), 255, np.uint8)
        mask[:, 200:] = 0
        dataset.write_mask(mask)
    with read(path).open() as reader:
        assert reader.window(210, 0, (100, 100)) is None
        assert reader.window(150, 0, (100, 100)) is not None


@pytest.mark.parametrize("kind", ["mask", "alpha", "nodata"])
def test_masked_pixels_are_black(tmp_path, kind):
    """Stale pixels of another flight, for example.

    A value that stands for "no data" hides nothing: it is a color that a roof may have as well.
    """
    image = scene((400, 250), OBJECTS)
    path = tmp_path / "a.tif"
    write_tiff(path, image, **{"alpha": {"count": 4, "photometric": "rgb", "alpha": "yes"},
                               "nodata": {"nodata": 0}}.get(kind, {}))  # fmt: skip
    shown = np.ones((250, 400), bool)
    shown[:, 200:] = False
    if kind != "nodata":
        with rasterio.open(path, "r+") as dataset:
            values = np.where(shown, 255, 0).astype(np.uint8)
            dataset.write(values, 4) if kind == "alpha" else dataset.write_mask(values)
    with read(path).open() as reader:
        part = reader.window(150, 20, (100, 200))
    expected = image[20:220, 150:250].copy()
    if kind != "nodata":
        expected[:, 50:] = 0
    np.testing.assert_array_equal(part, expected)


def test_float_bands_are_refused(tmp_path):
    path = write_tiff(tmp_path / "a.tif", np.ones((20, 30, 3), np.float32))
    _, faults = inspect_images([path])
    assert "bands of float32; expected all 8-bit or all 16-bit" in faults[str(path)]
    assert "gdal_translate -ot Byte -scale a.tif 8bit.tif" in faults[str(path)]


@pytest.mark.parametrize("marked_by", ["nodata", "mask"])
def test_stretch_ignores_pixels_without_data(tmp_path, marked_by):
    measured = np.random.default_rng(0).integers(300, 1500, (240, 400, 3)).astype(np.uint16)
    image = measured.copy()
    image[:, :300] = 60_000
    path = write_tiff(tmp_path / "a.tif", image, nodata=60_000 if marked_by == "nodata" else None)
    if marked_by == "mask":
        with rasterio.open(path, "r+") as dataset:
            mask = np.full(image.shape[:2], 255, np.uint8)
            mask[:, :300] = 0
            dataset.write_mask(mask)
    with read(path).open() as reader:
        for low, high in reader.stretch.limits:
            assert 300 <= low < 310 and 1490 < high < 1500
        part = reader.window(300, 0, (100, 240))
    assert np.abs(part - (measured[:, 300:] - 300.0) * 255 / 1200).max() < 3


def test_16_bit_palette_is_not_stretched(tmp_path):
    index = np.random.default_rng(0).integers(0, 4, (1, 30, 40)).astype(np.uint16) * 100
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", width=40, height=30, count=1,
                       dtype="uint16", photometric="palette") as dataset:  # fmt: skip
        dataset.write(index)
        dataset.write_colormap(1, {100 * k: (80 * k, 10, 20, 255) for k in range(4)})
    with read(tmp_path / "a.tif").open() as reader:
        part = reader.window(0, 0, (40, 30))
    np.testing.assert_array_equal(part[:, :, 2], index[0] // 100 * 80)
    assert (part[:, :, :2] == (20, 10)).all()


def test_bands_of_mixed_types_are_refused(tmp_path):
    for kind in ("uint8", "uint16"):
        write_tiff(tmp_path / f"{kind}.tif", np.ones((20, 30, 3), kind))
    band = (
        '<VRTRasterBand dataType="{0}" band="{1}"><SimpleSource><SourceFilename relativeToVRT="1">'
        "{2}.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
    )
    bands = [("Byte", 1, "uint8"), ("UInt16", 2, "uint16"), ("Byte", 3, "uint8")]
    (tmp_path / "a.vrt").write_text(
        '<VRTDataset rasterXSize="30" rasterYSize="20">'
        + "".join(band.format(*one) for one in bands)
        + "</VRTDataset>"
    )
    _, faults = inspect_images([tmp_path / "a.vrt"], ReadOptions(allow_remote=True))
    assert "bands of uint16, uint8; expected all 8-bit" in faults[str(tmp_path / "a.vrt")]


def test_damaged_file_among_good_ones(tmp_path):
    good = write_tiff(tmp_path / "good.tif", scene((400, 250), OBJECTS))
    bad = write_tiff(tmp_path / "bad.tif", scene((400, 250), OBJECTS), compress="deflate")
    content = bytearray(bad.read_bytes())
    content[300 : len(content) // 2] = bytes(len(content) // 2 - 300)
    bad.write_bytes(bytes(content))
    (tmp_path / "no.tif").write_text("not an image")
    settings = PredictSettings(batch_size=3)
    done = predict(DrawnObjects(), [good, bad, tmp_path / "no.tif"], settings, tmp_path / "out")
    assert [one.source.path for one in done.images] == [good]
    assert sorted(map(Path, done.faults)) == [bad, tmp_path / "no.tif"]


def test_gdal_cache_size_is_set_while_open(tmp_path):
    """Strips of a GeoTIFF cover all windows of a row."""
    before = rasterio.env.get_gdal_config("GDAL_CACHEMAX")
    source = read(write_tiff(tmp_path / "a.tif", scene((400, 250), OBJECTS)))
    with source.open():
        assert rasterio.env.get_gdal_config("GDAL_CACHEMAX") == 128 * 1024 * 1024
    assert rasterio.env.get_gdal_config("GDAL_CACHEMAX") == before


def test_shrunk_windows_are_averaged(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (80, 120, 3), dtype=np.uint8)
    with read(write_tiff(tmp_path / "a.tif", image)).open() as reader:
        part = reader.window(0, 0, (120, 80), shrink=4)
        overview = reader.overview(60)
    expected = image.reshape(20, 4, 30, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(part, expected, atol=1)
    assert overview.shape == (40, 60, 3)

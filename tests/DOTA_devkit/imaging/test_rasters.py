"""TIFFs of all kinds: depth, bands, orientation, masks and compressions, by one rule everywhere."""

import struct

import cv2
import numpy as np
import pytest

from datasets import DOTA, DataOptions
from deploy.detector import as_bgr
from deploy.predict.sources import inspect_images
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import ReadOptions, image_size_wh, read_image
from DOTA_devkit.imaging.bands import color_bands
from DOTA_devkit.imaging.raster import open_raster
from DOTA_devkit.splitting import open_source
from helpers.rasters import write_tiff

rasterio = pytest.importorskip("rasterio")

WIDTH, HEIGHT = 60, 40
HIGH_BYTE = ReadOptions("high_byte")


def noise(bands=3, low=0, high=256, dtype=np.uint8):
    return np.random.default_rng(0).integers(low, high, (HEIGHT, WIDTH, bands)).astype(dtype)


def everywhere(path, reading=None):
    """The pixels that train, split, Detector and predict get of one file."""
    reading = reading or ReadOptions()
    root = path.parent
    (root / "images").mkdir(exist_ok=True)
    (root / "images" / path.name).write_bytes(path.read_bytes())
    (root / "train.txt").write_text(path.stem + "\n")
    data = DOTA(root, "train", 64, 64, options=DataOptions(classes=("a",), reading=reading))
    (source,), faults = inspect_images([path], reading)
    assert not faults
    with source.open() as reader:
        predicted = reader.window(0, 0, source.size_wh)
    found = {
        "train": data.load_image(0),
        "split": open_source(path, reading).reader(1)(0, 0, 1000),
        "Detector": as_bgr(path, reading),
        "predict": predicted,
    }
    assert image_size_wh(path) == source.size_wh == predicted.shape[1::-1]
    for image in found.values():
        np.testing.assert_array_equal(image, predicted)
    return predicted


@pytest.mark.parametrize("bands", [1, 3, 4, 5])
def test_16_bits_are_stretched_for_every_command(tmp_path, bands):
    pixels = noise(bands, 0, 250, np.uint16)
    image = everywhere(write_tiff(tmp_path / "a.tif", pixels))
    assert image.max() > 200  # the upper 8 bits are all 0
    order = [2, 1, 0] if bands >= 3 else [0, 0, 0]
    # limits that are less than 255 apart are widened to it
    np.testing.assert_allclose(image, pixels[:, :, order].astype(int), atol=1)


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_high_byte(tmp_path, bands):
    pixels = noise(bands, 0, 65536, np.uint16)
    image = everywhere(write_tiff(tmp_path / "a.tif", pixels), HIGH_BYTE)
    order = [2, 1, 0] if bands >= 3 else [0, 0, 0]
    np.testing.assert_array_equal(image, pixels[:, :, order] >> 8)


@pytest.mark.parametrize(
    "profile",
    [
        {"compress": "zstd"},
        {"compress": "lerc"},
        {"compress": "lzw", "predictor": 2, "tiled": True, "blockxsize": 16, "blockysize": 16},
        {"photometric": "minisblack"},  # OpenCV only sees the first band
        {"interleave": "band"},
        {"BIGTIFF": "YES"},
    ],
)
def test_8_bit_colors(tmp_path, profile):
    pixels = noise()
    image = everywhere(write_tiff(tmp_path / "a.tif", pixels, **profile))
    np.testing.assert_array_equal(image, pixels[:, :, ::-1])


def test_five_bands_and_12_bits(tmp_path):
    pixels = noise(5)
    image = everywhere(write_tiff(tmp_path / "five.tif", pixels))
    np.testing.assert_array_equal(image, pixels[:, :, 2::-1])
    twelve = noise(3, 0, 4096, np.uint16)
    image = everywhere(write_tiff(tmp_path / "twelve.tif", twelve, nbits=12))
    np.testing.assert_allclose(image, twelve[:, :, ::-1] / 4095 * 255, atol=1.5)


def test_alpha_hides_pixels_in_every_command(tmp_path):
    pixels = noise(4, 1)
    pixels[:, :, 3] = 255
    pixels[:, :20, 3] = 0
    pixels[:, 20:30, 3] = 100  # OpenCV multiplies by it
    image = everywhere(write_tiff(tmp_path / "a.tif", pixels))
    assert (image[:, :20] == 0).all()
    np.testing.assert_array_equal(image[:, 20:], pixels[:, 20:, 2::-1])


def test_floats_name_the_remedy_in_every_command(tmp_path):
    path = write_tiff(tmp_path / "a.tif", noise(3, 0, 200, np.float32))
    expected = r"a\.tif: bands of float32; .*gdal_translate -ot Byte"
    for read in (read_image, as_bgr, lambda path: open_source(path).reader(1)):
        with pytest.raises(InputError, match=expected):
            read(path)
    _, faults = inspect_images([path])
    with pytest.raises(InputError, match=expected):
        raise InputError(faults[str(path)])


def with_orientation(path, pixels, orientation):
    """Write a TIFF of which the tag 274 has a value."""
    write_tiff(path, pixels)
    data = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    entries = [bytes(data[start + 2 + 12 * k : start + 14 + 12 * k]) for k in range(count)]
    entries.append(struct.pack("<HHIHH", 274, 3, 1, orientation, 0))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry)[0])
    data += b"\0" * (len(data) % 2)
    struct.pack_into("<I", data, 4, len(data))
    data += struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
    path.write_bytes(data)
    return path


SHOWN = {  # what TIFF 6.0 says of the first row and column
    1: lambda image: image,
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: lambda image: cv2.transpose(image),
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.rotate(cv2.transpose(image), cv2.ROTATE_180),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("orientation", SHOWN)
def test_orientation(tmp_path, orientation, bits):
    """One frame for every command, and windows, stretch and coordinates that go with it."""
    pixels = noise(3, 0, 250, np.uint8 if bits == 8 else np.uint16)
    path = with_orientation(tmp_path / "a.tif", pixels, orientation)
    image = everywhere(path)
    expected = SHOWN[orientation](np.ascontiguousarray(pixels[:, :, ::-1]))
    np.testing.assert_allclose(image, expected, atol=bits == 16)
    (source,), _ = inspect_images([path])
    with source.open() as reader:
        part = reader.window(5, 7, (20, 11))
        overview = reader.overview(1000)
    np.testing.assert_array_equal(part, image[7:18, 5:25])
    np.testing.assert_array_equal(overview, image)


@pytest.mark.parametrize("orientation", SHOWN)
def test_coordinates_of_a_turned_image(tmp_path, orientation):
    path = with_orientation(tmp_path / "a.tif", noise(), orientation)
    with rasterio.open(path, "r+") as file:
        file.crs, file.transform = "EPSG:32633", rasterio.Affine(2, 0.5, 500, 0.25, -3, 900)
        stored_to_map = file.transform
    (source,), _ = inspect_images([path])
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    stored = np.dstack([columns, rows, columns * 0]).astype(np.uint8)
    shown = SHOWN[orientation](stored)
    for x, y in ((0, 0), (7, 3), (35, 22)):
        column, row = shown[y, x, :2].tolist()
        expected = stored_to_map @ (column + 0.5, row + 0.5)
        np.testing.assert_allclose(
            source.georeference.to_map([[x + 0.5, y + 0.5]])[0], expected, atol=1e-9
        )


# -- bands ---------------------------------------------------------------------------------------


def chosen(path, asked=None):
    with open_raster(path) as dataset:
        return color_bands(path, dataset, asked).numbers


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("blue", "green", "red", "nir"), [3, 2, 1]),
        (("Red", "Green", "Blue", "NIR"), [1, 2, 3]),
        (("Band 1 (Blue)", "Band 2 (Green)", "Band 3 (Red)", "Band 4"), [3, 2, 1]),
        # PlanetScope's eight bands
        (("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"),
         [6, 4, 2]),
        (("Red Edge", "Blue", "Green", "Red"), [4, 3, 2]),
        (("near infrared", "red", "green", "blue"), [2, 3, 4]),
        (("blue", "green", "nir", "swir"), [1, 2, 3]),  # no red one
        ((None, None, None, None), [1, 2, 3]),
        (("red-green ratio", "green", "blue"), [1, 2, 3]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_names_of_bands(tmp_path, names, expected, dtype):
    """8 bits as well, although tools call the first three of them red, green and blue."""
    path = write_tiff(tmp_path / "a.tif", noise(len(names), 1, 250, dtype), names)
    assert chosen(path) == expected


def test_bands_in_every_command(tmp_path):
    pixels = noise(4, 1)
    pixels[:, :, 3] = 255
    named = write_tiff(tmp_path / "a.tif", pixels, ("blue", "green", "red", "nir"))
    np.testing.assert_array_equal(everywhere(named), pixels[:, :, :3])
    unnamed = write_tiff(tmp_path / "b.tif", pixels)
    asked = everywhere(unnamed, ReadOptions(bands=(3, 2, 1)))
    np.testing.assert_array_equal(asked, pixels[:, :, :3])
    gray = everywhere(unnamed, ReadOptions(bands=(2,)))
    np.testing.assert_array_equal(gray, pixels[:, :, [1, 1, 1]])
    with pytest.raises(InputError, match=r"b\.tif: bands 5,2,1 are asked for, but it has 4"):
        read_image(unnamed, ReadOptions(bands=(5, 2, 1)))


def test_other_formats_keep_their_colors(tmp_path):
    pixels = noise()
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.png", ReadOptions(bands=(3, 2, 1))), pixels
    )


def test_bands_are_logged(tmp_path):
    path = write_tiff(tmp_path / "a.tif", noise(4, 1), ("blue", "green", "red", "nir"))
    (source,), _ = inspect_images([path])
    with source.open() as reader:
        assert reader.notes() == [
            "bands 3, 2, 1 of 4 are taken as red, green and blue, by their names"
        ]


@pytest.mark.parametrize("bands", [(), (1, 2), (0, 1, 2), (1, 2, 3, 4)])
def test_wrong_bands_are_refused(bands):
    with pytest.raises(InputError, match=r"^bands must be the numbers of the red, green"):
        ReadOptions(bands=bands)


def test_wrong_depth_is_refused():
    with pytest.raises(InputError, match=r"^depth must be one of stretch, high_byte, got 'low'"):
        ReadOptions("low")

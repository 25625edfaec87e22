"""Image sizes from headers compared with the decoder; finding images by id."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from DOTA_devkit.errors import InputError
from DOTA_devkit.images import find_images, guess_image_folder
from DOTA_devkit.imaging import image_size_wh, read_image


def write_image(path, width=37, height=23, channels=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((height, width, channels), 90, np.uint8)
    ok, data = cv2.imencode(path.suffix, image)
    assert ok
    path.write_bytes(data.tobytes())
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_image_size_of_each_format(tmp_path, suffix, channels):
    path = write_image(tmp_path / f"图 a.b{suffix}", channels=channels)
    assert image_size_wh(path) == (37, 23)
    assert read_image(path).shape == (23, 37, 3)


def test_image_size_by_content_not_by_suffix(tmp_path):
    path = write_image(tmp_path / "a.png")
    path.rename(tmp_path / "a.jpg")
    assert image_size_wh(tmp_path / "a.jpg") == (37, 23)


# A TIFF directory with the one entry "orientation" (0x0112) = 6: rotated by 90 degrees.
ROTATED = b"MM\x00*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)


def exif_of_jpeg():
    segment = b"Exif\x00\x00" + ROTATED
    return b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment


def exif_of_png():
    chunk = b"eXIf" + ROTATED
    return struct.pack(">I", len(ROTATED)) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize(
    ("suffix", "before", "exif"),
    [
        (".jpg", None, exif_of_jpeg()),  # at the beginning
        (".jpg", b"\xff\xda", exif_of_jpeg()),  # after the size, before the pixels
        (".png", b"IDAT", exif_of_png()),
        (".png", b"IEND", exif_of_png()),  # after the pixels
    ],
)
def test_image_size_of_an_image_rotated_by_exif(tmp_path, suffix, before, exif):
    path = write_image(tmp_path / f"a{suffix}")
    data = path.read_bytes()
    # a chunk of a PNG begins with four bytes of length
    place = 2 if before is None else data.index(before) - (4 if suffix == ".png" else 0)
    path.write_bytes(data[:place] + exif + data[place:])
    assert read_image(path).shape == (37, 23, 3)  # what every reader of the image gets
    assert image_size_wh(path) == (23, 37)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
def test_image_size_of_tiff_in_both_byte_orders(tmp_path, order, kind):
    """A file of header and directory only has a size, although it cannot be decoded."""
    value = {3: "HH", 4: "I"}[kind]
    entries = [
        (tag, struct.pack(order + value, *((size, 0) if kind == 3 else (size,))))
        for tag, size in ((256, 3000), (257, 2000))
    ]
    directory = struct.pack(order + "H", len(entries)) + b"".join(
        struct.pack(order + "HHI", tag, kind, 1) + data for tag, data in entries
    )
    magic = b"II*\0" if order == "<" else b"MM\0*"
    path = tmp_path / "a.tif"
    path.write_bytes(magic + struct.pack(order + "I", 8) + directory)
    assert image_size_wh(path) == (3000, 2000)


def test_image_size_of_real_images(shared):
    folders = ("data/dota_samples/images", "data/hit_uav_small/images", "data/geotiff")
    paths = [path for folder in folders for path in find_images(shared / folder).values()]
    assert len(paths) > 500
    for path in paths[::5]:
        height, width = read_image(path).shape[:2]
        assert image_size_wh(path) == (width, height), path


@pytest.mark.parametrize(
    "data",
    [
        b"", b"text", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM12", b"II*\0", b"MM\0*\0\0",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0",  # truncated within the size
        b"P6 100000 100000 255\n123",  # more pixels than OpenCV accepts
    ],
)  # fmt: skip
def test_image_size_rejects_other_files(tmp_path, data):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.png: (not an image|the image is truncated)"):
        image_size_wh(path)


@pytest.mark.parametrize("suffix", [".jp2", ".JP2", ".gif", ".avif", ".ppm"])
def test_all_formats_that_are_read_are_found(tmp_path, suffix):
    path = tmp_path / "images" / f"a{suffix}"
    write_image(tmp_path / "images/b.png")
    path.touch()
    assert find_images(tmp_path / "images")["a"] == path
    (tmp_path / "images/b.png").unlink()
    (tmp_path / "labelTxt").mkdir()
    assert guess_image_folder(tmp_path / "labelTxt") == tmp_path / "images"


def test_find_images(tmp_path):
    for name in ("b.PNG", "a.1.jpg", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    assert list(find_images(tmp_path)) == ["a.1", "b"]
    (tmp_path / "b.tif").touch()
    with pytest.raises(InputError, match="share the id b"):
        find_images(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find_images(tmp_path / "none")


@pytest.mark.parametrize(
    ("labels", "images"),
    [
        ("data/labelTxt", "data/images"),
        ("data/Annotations", "data/AllImages"),
        ("data/labels/train", "data/images/train"),
        ("data/both", "data/both"),  # by default roLabelImg saves beside the image
    ],
)
def test_guess_image_folder(tmp_path, labels, images):
    (tmp_path / labels).mkdir(parents=True)
    assert guess_image_folder(tmp_path / labels) is None
    write_image(tmp_path / images / "a.png")
    assert guess_image_folder(tmp_path / labels) == tmp_path / images

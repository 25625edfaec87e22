"""All kinds of image files that are read or refused."""

import numpy as np
import pytest

from DOTA_devkit.errors import InputError
from DOTA_devkit.images import IMAGE_SUFFIXES
from DOTA_devkit.imaging import read_image
from helpers.data_folders import picture, write_image


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp", ".ppm"])
def test_read_image(tmp_path, suffix):
    assert suffix in IMAGE_SUFFIXES
    image = picture()
    found = read_image(write_image(tmp_path / f"bild ä{suffix}", image))
    assert found.shape == image.shape and found.dtype == np.uint8
    tolerance = 30 if suffix in (".jpg", ".webp") else 0
    assert np.abs(found.astype(int) - image.astype(int)).max() <= tolerance


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("kind", ["gray", "alpha", "16 bits", "16 bits gray"])
def test_read_image_converts_to_8_bit_bgr(tmp_path, suffix, kind):
    image = picture()
    gray = image[..., 0]
    alpha = np.dstack([image, np.full(gray.shape, 9, np.uint8)])
    stored, expected = {
        "gray": (gray, np.dstack([gray] * 3)),
        "alpha": (alpha, image),
        "16 bits": (image.astype(np.uint16) * 256 + 77, image),
        "16 bits gray": (gray.astype(np.uint16) * 256 + 77, np.dstack([gray] * 3)),
    }[kind]
    found = read_image(write_image(tmp_path / f"a{suffix}", stored))
    # The low byte is truncated or rounded, depending on the decoder of the format.
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= (1 if "16" in kind else 0)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_truncated_files(tmp_path, suffix, share):
    """OpenCV silently fills a truncated JPEG with gray and a PNG with black."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    path = write_image(tmp_path / f"a{suffix}", noise)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=str(path)):
        read_image(path)


def test_bytes_behind_the_end_are_ignored(tmp_path):
    for suffix in (".png", ".jpg"):
        path = write_image(tmp_path / f"a{suffix}", picture())
        path.write_bytes(path.read_bytes() + b"\0" * 100)
        assert read_image(path).shape == (90, 120, 3)


def test_truncated_file_with_a_thumbnail(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    path = write_image(tmp_path / "a.jpg", noise)
    data = path.read_bytes()
    thumbnail = b"Exif\0\0" + b"\xff\xd8 small \xff\xd9"
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    path.write_bytes(data[:2] + segment + data[2:])
    assert read_image(path).shape == (90, 120, 3)
    path.write_bytes((data[:2] + segment + data[2:])[:-500])
    with pytest.raises(InputError, match="truncated"):
        read_image(path)


@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xd9"])
def test_not_an_image(tmp_path, data):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match=str(path)):
        read_image(path)


def test_missing_image(tmp_path):
    with pytest.raises(InputError, match="no such image"):
        read_image(tmp_path / "a.png")
    with pytest.raises(InputError, match="expected an image, but this is a folder"):
        read_image(tmp_path)

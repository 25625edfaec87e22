"""Sizes that headers declare: judged before anything is planned or allocated for them."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from deploy.predict.sources import inspect_images
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import ReadOptions, read_image
from DOTA_devkit.splitting import SplitOptions, split_images
from helpers.rasters import write_tiff


def png_of(side, depth=8, color=2, pixels=b""):
    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", side, side, depth, color, 0, 0, 0)
    return b"".join(
        (b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(pixels, 9)),
         chunk(b"IEND", b""))
    )  # fmt: skip


def refusals(path, reading=None):
    """What read, predict and split say of an image."""
    reading = reading or ReadOptions()
    _, faults = inspect_images([path], reading)
    told = list(faults.values())
    for use in (
        lambda: read_image(path, reading),
        lambda: split_images({"a": path}, path.parent / "out", SplitOptions(reading=reading)),
    ):
        with pytest.raises(InputError) as caught:
            use()
        told.append(str(caught.value))
    assert len(told) == 3
    return told


@pytest.mark.parametrize("side", [2**31 - 1, 100_000, 20_000])
def test_a_png_that_is_too_small_for_its_size(tmp_path, side):
    path = tmp_path / "a.png"
    path.write_bytes(png_of(side))
    for told in refusals(path):
        assert told.startswith(f"{path}: {side}x{side} pixels (width x height) by its header, ")
        assert f"a PNG of {path.stat().st_size} bytes cannot hold" in told


def test_the_best_compression_is_allowed(tmp_path):
    """Equal pixels of 1 bit take the fewest bytes that there can be."""
    side = 8000
    (tmp_path / "a.png").write_bytes(png_of(side, 1, 0, bytes(side * (side // 8 + 1))))
    assert read_image(tmp_path / "a.png").shape == (side, side, 3)


@pytest.mark.slow
def test_more_pixels_than_opencv_decodes(tmp_path, monkeypatch):
    side = 40_000
    path = tmp_path / "city.png"
    path.write_bytes(png_of(side, 1, 0, bytes(side * (side // 8 + 1))))
    for told in refusals(path):
        assert "40000x40000 pixels (width x height) by its header, more than 1073741824" in told
        assert "OPENCV_IO_MAX_IMAGE_PIXELS=1600000000" in told and "GeoTIFF" in told
    monkeypatch.setenv("OPENCV_IO_MAX_IMAGE_PIXELS", "1600000000")
    sources, faults = inspect_images([path])
    assert len(sources) == 1 and not faults


def test_max_pixels(tmp_path):
    image = np.zeros((30, 40, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    for path in (tmp_path / "a.png", write_tiff(tmp_path / "b.tif", image)):
        for told in refusals(path, ReadOptions(max_pixels=1199)):
            assert "40x30 pixels (width x height) by its header, more than 1199" in told
            assert "set `max_pixels` to at least 1200" in told
        assert read_image(path, ReadOptions(max_pixels=1200)).shape == (30, 40, 3)
    with pytest.raises(InputError, match=r"^max_pixels must be at least 1, got 0"):
        ReadOptions(max_pixels=0)

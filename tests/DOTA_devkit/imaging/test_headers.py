"""What headers say about the pixels of an image."""

import struct

import cv2
import numpy as np
import pytest

from DOTA_devkit.imaging.headers import PixelKind, header_size_wh, pixel_kind

GRAY = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_bits_and_alpha(tmp_path, suffix, dtype, channels):
    path = tmp_path / f"a{suffix}"
    image = np.repeat(GRAY[..., None], channels, axis=2).astype(dtype)
    path.write_bytes(cv2.imencode(suffix, image)[1].tobytes())
    # OpenCV does not say what the fourth channel of a TIFF is.
    alpha = channels == 4 and suffix == ".png"
    assert pixel_kind(path) == PixelKind(8 * dtype().itemsize, alpha)
    assert header_size_wh(path) == (4, 3)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("colors", "extra", "expected"),
    [
        (2, 2, PixelKind(16, alpha=True)),
        (2, 0, PixelKind(16)),  # the fourth channel is something else, such as near infrared
        (3, 0, PixelKind(16, palette=True)),
    ],
)
def test_tags_of_a_tiff(tmp_path, order, colors, extra, expected):
    """The bits of four channels do not fit their entry, so it has the place of them."""
    tags = [(256, 4, 1), (257, 3, 1), (258, 16, 4), (262, colors, 1), (338, extra, 1)]
    directory = struct.pack(order + "H", len(tags))
    after = 8 + 2 + 12 * len(tags)
    for tag, value, count in tags:
        field = (
            struct.pack(order + "I", after) if count > 1 else struct.pack(order + "HH", value, 0)
        )
        directory += struct.pack(order + "HHI", tag, 3, count) + field
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    path = tmp_path / "a.tif"
    path.write_bytes(start + directory + struct.pack(order + "4H", 16, 16, 16, 16))
    assert pixel_kind(path) == expected


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".ppm"])
def test_other_formats_have_the_usual_kind(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(cv2.imencode(suffix, np.repeat(GRAY[..., None], 3, axis=2))[1].tobytes())
    assert pixel_kind(path) == PixelKind()


@pytest.mark.parametrize("start", [b"", b"GIF8", b"\x89PNG\r\n\x1a\n", b"II*\0\x08\0\0\0\xff\xff"])
def test_truncated_headers_raise_nothing(tmp_path, start):
    (tmp_path / "a").write_bytes(start)
    assert pixel_kind(tmp_path / "a").bits == 8

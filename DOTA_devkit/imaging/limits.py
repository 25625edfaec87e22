"""Checks of the image sizes in headers, before anything is planned or allocated for them."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging.options import ReadOptions

_OPENCV_VARIABLE = "OPENCV_IO_MAX_IMAGE_PIXELS"
_OPENCV_MAX_PIXELS = 1 << 30

_DEFLATE_RATIO = 1032
"""Most bytes that one byte of a PNG's compressed pixels can stand for (zlib's documentation)."""

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Color type of a PNG -> its channels."""


def check_size(
    path: Path | str, size_wh: tuple[int, int], options: ReadOptions, *, whole: bool
) -> None:
    """Refuse an image whose header declares more pixels than are allowed or than it can hold.

    Args:
        path: The image file.
        size_wh: Width and height by its header.
        options: `max_pixels` is the limit.
        whole: Whether it is decoded as a whole, for which OpenCV has a limit of its own.

    Raises:
        InputError: It is too large, or the file too small for it.
    """
    width, height = size_wh
    pixels = width * height
    stated = f"{path}: {width}x{height} pixels (width x height) by its header"
    held = _png_bytes(path)
    if held is not None:
        size = Path(path).stat().st_size
        if held > (size + 1) * _DEFLATE_RATIO:
            raise InputError(
                f"{stated}, which a PNG of {size} bytes cannot hold: the file is damaged"
            )
    if pixels > options.max_pixels:
        raise InputError(
            f"{stated}, more than {options.max_pixels}: set `max_pixels` to at least {pixels} if "
            "it is that large"
        )
    if whole and pixels > _opencv_limit():
        name = Path(path).name
        raise InputError(
            f"{stated}, more than {_opencv_limit()}, at which OpenCV stops: set the environment "
            f"variable {_OPENCV_VARIABLE}={pixels}, or convert it to a GeoTIFF, which predict and "
            f"split read window by window (gdal_translate -co TILED=YES {name} "
            f"{Path(name).with_suffix('.tif')})"
        )


def _opencv_limit() -> int:
    text = os.environ.get(_OPENCV_VARIABLE, "")
    return int(text) if text.isdecimal() else _OPENCV_MAX_PIXELS


def _png_bytes(path: Path | str) -> int | None:
    """Return the bytes of the pixels that a PNG declares; None for another file."""
    with open(path, "rb") as file:
        header = file.read(26)
    if len(header) < 26 or header[:8] != b"\x89PNG\r\n\x1a\n" or header[12:16] != b"IHDR":
        return None
    width, height, depth, color = struct.unpack(">IIBB", header[16:26])
    return height * -(-width * depth * _PNG_CHANNELS.get(color, 1) // 8)

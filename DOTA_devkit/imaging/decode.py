"""Whole images by OpenCV, with truncation detected."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import ARCHIVE, VIDEO, image_hint, kind_of


def import_cv2() -> ModuleType:
    """Import OpenCV, which is needed only for pixels.

    Raises:
        InputError: It is not installed.
    """
    try:
        import cv2
    except ImportError:
        raise InputError("images need OpenCV: pip install opencv-python") from None
    return cv2


def decode(path: Path | str, deep: bool) -> np.ndarray:
    """Decode an image as [H, W, 3] in BGR, turned by its EXIF orientation, without alpha.

    Args:
        path: The image file.
        deep: Keep 16 bits per channel (uint16 or int16); otherwise the upper 8 bits are taken.

    Raises:
        InputError: The file is missing, truncated or not an image, or OpenCV is not installed.
    """
    cv2 = import_cv2()
    if kind_of(path) in (VIDEO, ARCHIVE) and Path(path).is_file():  # which may have gigabytes
        raise InputError(f"{path}: not an image{image_hint(path)}")
    try:
        data = Path(path).read_bytes()  # not imread, which cannot open all names on Windows
    except FileNotFoundError:
        raise InputError(f"{path}: no such image") from None
    except IsADirectoryError:
        raise InputError(f"{path}: expected an image, but this is a folder") from None
    # OpenCV silently fills the missing part of a truncated JPEG or PNG with gray or black.
    if _is_truncated(data):
        raise InputError(f"{path}: the image is truncated after {len(data)} bytes")
    image = _imdecode(data, cv2.IMREAD_COLOR | (cv2.IMREAD_ANYDEPTH if deep else 0))
    if deep and image is not None and image.dtype not in (np.uint8, np.uint16, np.int16):
        image = _imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(
            f"{path}: not an image that OpenCV can read ({len(data)} bytes){image_hint(path)}"
        )
    return image


def _imdecode(data: bytes, flags: int) -> np.ndarray | None:
    cv2 = import_cv2()
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:  # the header declares an image too large for OpenCV
        return None


def _is_truncated(data: bytes) -> bool:
    """Return whether the end of a PNG or JPEG is missing; False for any other content."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data.rfind(b"IEND") < 0
    if data.startswith(b"\xff\xd8"):
        # Search from the first scan on, since a thumbnail before it has an end marker of its own.
        return not data.endswith(b"\xff\xd9") and data.find(b"\xff\xd9", _first_scan(data)) < 0
    return False


def _first_scan(data: bytes) -> int:
    """Return the offset at which the pixel data of a JPEG begins, behind its segments."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        if data[position + 1] == 0xFF:  # a fill byte
            position += 1
            continue
        if data[position + 1] == 0xDA:
            break
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return position

"""Finding images by their id, and reading their sizes without decoding them."""

from __future__ import annotations

import struct
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import numpy as np

from DOTA_devkit.errors import InputError

COMMON_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""Image formats that patches may be written in, and suffixes that image lists may contain."""

IMAGE_SUFFIXES = (*COMMON_SUFFIXES, ".webp")
"""Image formats that are read."""

_PNG_TAIL_BYTES = 1 << 16
"""Bytes at the end of a PNG that are searched for EXIF data, which may follow the pixels."""

# Names of the folder of images beside the folder of labels, in the known layouts.
_IMAGE_FOLDERS = ("images", "AllImages", "JPEGImages", "Images", "image", "img", "imgs")


def find_images(folder: Path | str) -> dict[str, Path]:
    """Find the images in a folder.

    Args:
        folder: the folder; its subfolders and hidden files are ignored.

    Returns:
        Image id (file name without suffix) -> path, sorted by file name.

    Raises:
        InputError: the folder is missing, or two images share an id.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of images")
    images: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        other = images.setdefault(path.stem, path)
        if other is not path:
            raise InputError(f"{other} and {path} share the id {path.stem}, which must be unique")
    return images


def guess_image_folder(label_folder: Path | str) -> Path | None:
    """Find the folder of images that belongs to a folder of labels.

    Args:
        label_folder: the folder of labels, such as ``labelTxt`` or ``labels/train``.

    Returns:
        The first folder of a known layout that contains images, the label folder itself last;
        None if there is none.
    """
    label_folder = Path(label_folder)
    beside = [label_folder.parent / name for name in _IMAGE_FOLDERS]
    # In a YOLO layout the images of .../labels/train are in .../images/train.
    mirrored = [label_folder.parent.parent / name / label_folder.name for name in _IMAGE_FOLDERS]
    for folder in (*beside, *mirrored, label_folder):
        if folder.is_dir() and any(p.suffix.lower() in IMAGE_SUFFIXES for p in folder.iterdir()):
            return folder
    return None


def read_image(path: Path | str) -> np.ndarray:
    """Read an image as uint8 ``[H, W, 3]`` in BGR.

    Raises:
        InputError: OpenCV is not installed or cannot read the file.
        OSError: the file cannot be opened.
    """
    cv2 = import_cv2()
    # Not imread, which on Windows cannot open names outside of the code page.
    data = np.fromfile(path, dtype=np.uint8)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error:  # a header with more pixels than OpenCV accepts
        image = None
    if image is None:
        raise InputError(f"{path}: not an image that OpenCV can read")
    return image


def import_cv2() -> ModuleType:
    """Import OpenCV, which only work on pixels needs.

    Raises:
        InputError: it is not installed.
    """
    try:
        import cv2
    except ImportError:
        raise InputError("images need OpenCV: pip install opencv-python") from None
    return cv2


def image_size_wh(path: Path | str) -> tuple[int, int]:
    """Return the size that `read_image` would give, read from the header if possible.

    A dataset such as DOTA has images of 100 megapixels: decoding them all takes minutes, reading
    the headers milliseconds. Files that EXIF data may rotate are decoded.

    Args:
        path: the image file.

    Returns:
        Width and height in pixels.

    Raises:
        InputError: the image cannot be read, or OpenCV is needed and not installed.
        OSError: the file cannot be opened.
    """
    with open(path, "rb") as file:
        magic = file.read(8)
        size = None
        if magic == b"\x89PNG\r\n\x1a\n":
            size = _png_size(file)
        elif magic[:2] == b"\xff\xd8":
            file.seek(2)
            size = _jpeg_size(file)
        elif magic[:2] == b"BM":
            size = _bmp_size(file)
        elif len(magic) == 8 and magic[:4] in (b"II*\0", b"MM\0*"):
            size = _tiff_size(file, "<" if magic[:2] == b"II" else ">", magic[4:])
    if size is None or min(size) <= 0:
        height, width = read_image(path).shape[:2]
        size = (width, height)
    return size


def _png_size(file: BinaryIO) -> tuple[int, int] | None:
    size = None
    while header := file.read(8):
        if len(header) < 8:
            return None
        length, kind = struct.unpack(">I4s", header)
        if kind == b"IHDR":
            sides = file.read(8)
            if len(sides) < 8:
                return None
            size = struct.unpack(">II", sides)
            length -= 8
        elif kind == b"eXIf":
            return None
        elif kind == b"IDAT":  # EXIF may follow the pixels, which cannot be skipped in one step
            file.seek(max(file.tell(), file.seek(0, 2) - _PNG_TAIL_BYTES))
            return None if b"eXIf" in file.read() else size
        file.seek(length + 4, 1)
    return None


def _jpeg_size(file: BinaryIO) -> tuple[int, int] | None:
    size = None
    while marker := file.read(2):
        if len(marker) < 2 or marker[0] != 0xFF:
            return None
        if marker[1] == 0xFF:  # fill byte
            file.seek(-1, 1)
            continue
        segment = file.read(7)
        if len(segment) < 7:
            return None
        length = struct.unpack(">H", segment[:2])[0]
        if 0xC0 <= marker[1] <= 0xCF and marker[1] not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack(">HH", segment[3:7])
            size = width, height
        if marker[1] == 0xDA:  # start of the pixels
            return size
        if marker[1] == 0xE1 and segment[2:6] == b"Exif":
            return None
        file.seek(length - 7, 1)
    return None


def _bmp_size(file: BinaryIO) -> tuple[int, int] | None:
    file.seek(14)
    header = file.read(12)
    if len(header) < 12 or struct.unpack("<I", header[:4])[0] < 40:
        return None
    width, height = struct.unpack("<ii", header[4:12])
    return width, abs(height)


def _tiff_size(file: BinaryIO, order: str, offset: bytes) -> tuple[int, int] | None:
    """Read the first directory; return None if a tag rotates the image or has an odd type."""
    width_tag, height_tag, orientation_tag = 256, 257, 274
    formats = {3: "H2x", 4: "I"}  # 16 or 32 bits, left-aligned in the four bytes of the value
    file.seek(struct.unpack(order + "I", offset)[0])
    count = file.read(2)
    if len(count) < 2:
        return None
    found = {orientation_tag: 1}
    for _ in range(struct.unpack(order + "H", count)[0]):
        entry = file.read(12)
        if len(entry) < 12:
            return None
        tag, kind, values = struct.unpack(order + "HHI", entry[:8])
        if tag in (width_tag, height_tag, orientation_tag):
            if kind not in formats or values != 1:
                return None
            found[tag] = struct.unpack(order + formats[kind], entry[8:])[0]
    if found[orientation_tag] != 1 or width_tag not in found or height_tag not in found:
        return None
    return found[width_tag], found[height_tag]

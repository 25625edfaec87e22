"""Sizes and orientations of images, read from their headers."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from DOTA_devkit.imaging.turn import Turn

_PNG_TAIL_BYTES = 1 << 16
"""Bytes at the end of a PNG that are searched for EXIF data, which may follow the pixels."""

_WIDTH_TAG, _HEIGHT_TAG, _ORIENTATION_TAG = 256, 257, 274
_BITS_TAG, _COLORS_TAG, _EXTRA_TAG = 258, 262, 338
_SINGLE_TAGS = (_WIDTH_TAG, _HEIGHT_TAG, _ORIENTATION_TAG, _COLORS_TAG)
_FIRST_TAGS = (_BITS_TAG, _EXTRA_TAG)
_TIFF_PALETTE = 3  # a value of _COLORS_TAG


def header_size_wh(path: Path | str) -> tuple[int, int] | None:
    """Return width and height of an image as it is shown, by its header alone.

    Args:
        path: The image file.

    Returns:
        None if the header is of another format than PNG, JPEG, BMP and TIFF, or is not understood,
        or if EXIF data may turn a PNG.

    Raises:
        OSError: The file cannot be opened.
    """
    with open(path, "rb") as file:
        magic = file.read(8)
        size = None
        if magic == b"\x89PNG\r\n\x1a\n":
            size = _png_size(file)
        elif magic[:2] == b"\xff\xd8":
            size, orientation = _jpeg_header(file)
            size = None if size is None else Turn.of(orientation, size).shown_wh
        elif magic[:2] == b"BM":
            size = _bmp_size(file)
        else:
            tags = _tiff_tags(file, magic)
            if tags.keys() >= {_WIDTH_TAG, _HEIGHT_TAG}:
                stored_wh = (tags[_WIDTH_TAG], tags[_HEIGHT_TAG])
                size = Turn.of(tags.get(_ORIENTATION_TAG, 1), stored_wh).shown_wh
    return None if size is None or min(size) <= 0 else size


def orientation_of(path: Path | str) -> int:
    """Return the orientation tag of a TIFF or JPEG, 1 to 8; 1 for any other file."""
    with open(path, "rb") as file:
        magic = file.read(8)
        if magic[:2] == b"\xff\xd8":
            return _jpeg_header(file)[1]
        return _tiff_tags(file, magic).get(_ORIENTATION_TAG, 1)


@dataclass(frozen=True)
class PixelKind:
    """The pixel format of an image file.

    Attributes:
        bits: Bits per channel.
        alpha: Whether there is a channel, or a color, that makes pixels transparent.
        palette: Whether the numbers are those of colors in a table.
    """

    bits: int = 8
    alpha: bool = False
    palette: bool = False


def pixel_kind(path: Path | str) -> PixelKind:
    """Return what the header of a PNG, TIFF or GIF says about its pixels; else the default.

    Raises:
        OSError: The file cannot be opened.
    """
    with open(path, "rb") as file:
        magic = file.read(8)
        if magic == b"\x89PNG\r\n\x1a\n":
            return _png_kind(file)
        if magic[:4] == b"GIF8":
            return PixelKind(palette=True)
        tags = _tiff_tags(file, magic)
    return PixelKind(
        bits=tags.get(_BITS_TAG, 8 if _WIDTH_TAG not in tags else 1),
        alpha=tags.get(_EXTRA_TAG, 0) in (1, 2),
        palette=tags.get(_COLORS_TAG) == _TIFF_PALETTE,
    )


def _png_kind(file: BinaryIO) -> PixelKind:
    """Return the kind of a PNG; its transparency may be in a part of its own before the pixels."""
    bits, color, transparent = 8, 2, False
    while len(header := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        if kind == b"IHDR" and len(head := file.read(10)) == 10:
            bits, color = head[8], head[9]
            length -= 10
        transparent |= kind == b"tRNS"
        if kind == b"IDAT":
            break
        file.seek(length + 4, 1)
    palette = color == 3
    return PixelKind(8 if palette else bits, transparent or color in (4, 6), palette)


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


def _jpeg_header(file: BinaryIO) -> tuple[tuple[int, int] | None, int]:
    """Return the stored size, None if the header is not understood, and the EXIF orientation."""
    size, orientation = None, 1
    file.seek(2)
    while marker := file.read(2):
        if len(marker) < 2 or marker[0] != 0xFF:
            break
        if marker[1] == 0xFF:  # fill byte
            file.seek(-1, 1)
            continue
        segment = file.read(7)
        if len(segment) < 7:
            break
        length = struct.unpack(">H", segment[:2])[0]
        if 0xC0 <= marker[1] <= 0xCF and marker[1] not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack(">HH", segment[3:7])
            size = width, height
        if marker[1] == 0xDA:  # start of the pixels
            return size, orientation
        if marker[1] == 0xE1 and segment[2:6] == b"Exif":
            exif = io.BytesIO(file.read(max(length - 7, 0))[1:])  # a TIFF of its own
            orientation = _tiff_tags(exif, exif.read(8)).get(_ORIENTATION_TAG, 1)
        else:
            file.seek(length - 7, 1)
    return None, orientation


def _bmp_size(file: BinaryIO) -> tuple[int, int] | None:
    file.seek(14)
    header = file.read(12)
    if len(header) < 12 or struct.unpack("<I", header[:4])[0] < 40:
        return None
    width, height = struct.unpack("<ii", header[4:12])
    return width, abs(height)


def _tiff_tags(file: BinaryIO, magic: bytes) -> dict[int, int]:
    """Read size and orientation of the first image of a TIFF or BigTIFF; {} for other files."""
    order = {b"II": "<", b"MM": ">"}.get(magic[:2])
    if order is None or len(magic) < 8:
        return {}
    version = struct.unpack(order + "H", magic[2:4])[0]
    if version not in (42, 43):
        return {}
    try:
        return dict(_tiff_entries(file, order, version == 43, magic[4:]))
    except struct.error:  # the file ends in the directory
        return {}


def _tiff_entries(
    file: BinaryIO, order: str, big: bool, offset: bytes
) -> Iterator[tuple[int, int]]:
    """Yield tag and value of the tags that are of interest: a single one, or the first of some."""
    formats = {3: "H", 4: "I", 16: "Q"}  # left-aligned in the bytes of the value
    first_of_many = []
    number, size = ("Q", 20) if big else ("I", 12)
    offset = struct.unpack(order + number, file.read(8) if big else offset)[0]
    file.seek(offset)
    count = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))[0]
    for _ in range(min(count, 1 << 16)):
        entry = file.read(size)
        tag, kind, values = struct.unpack_from(order + "HH" + number, entry)
        value_at = size - (8 if big else 4)
        if tag in _SINGLE_TAGS and kind in formats and values == 1:
            yield tag, struct.unpack_from(order + formats[kind], entry, value_at)[0]
        elif tag in _FIRST_TAGS and kind == 3 and values:  # one number for each channel
            if 2 * values <= size - value_at:
                yield tag, struct.unpack_from(order + "H", entry, value_at)[0]
            else:
                place = struct.unpack_from(order + ("Q" if big else "I"), entry, value_at)[0]
                first_of_many.append((tag, place))
    for tag, place in first_of_many:
        file.seek(place)
        yield tag, struct.unpack(order + "H", file.read(2))[0]

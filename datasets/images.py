"""Image files: finding them in a folder by id, and reading them, with truncation detected."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from DOTA_devkit.errors import InputError

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".jp2", ".avif",
    ".gif", ".pbm", ".pgm", ".ppm", ".pnm", ".pxm", ".pam", ".sr", ".ras", ".hdr", ".pic",
)  # fmt: skip
"""Formats that OpenCV reads, in upper or lower case; a few depend on how it was built."""

_MAX_LISTED_IDS = 5


class ImageFolder:
    """The images of a folder by id, which is the file name without its suffix.

    The folder is listed once, so lookups do not access the disk, and suffixes in upper or lower
    case are found on any file system.

    Args:
        folder: The folder.

    Raises:
        InputError: The folder does not exist.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self._names: dict[str, list[str]] = {}
        try:
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in entries if not entry.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{self.folder}: no such image folder") from None
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in IMAGE_SUFFIXES:
                self._names.setdefault(stem, []).append(name)

    def ids(self) -> list[str]:
        """Return all ids, sorted."""
        return list(self._names)

    def id_of(self, entry: str) -> str:
        """Return the id that a list entry stands for: the entry itself, or without its suffix.

        An id may contain dots (`0.5_Everitt`), so only an image suffix is removed, and only if the
        entry as it stands is not the id of an image.
        """
        stem, suffix = os.path.splitext(entry)
        if entry not in self._names and suffix.lower() in IMAGE_SUFFIXES:
            return stem
        return entry

    def path(self, entry: str) -> Path:
        """Return the file of an image.

        Raises:
            InputError: There is none, or more than one.
        """
        image_id = self.id_of(entry)
        names = self._names.get(image_id, [])
        if not names:
            raise InputError(
                f"{self.folder}: no image with id {image_id!r} (looked for {image_id}.png, .jpg, "
                f".bmp, .tif and the other suffixes that OpenCV reads)"
            )
        if len(names) > 1:
            raise InputError(
                f"{self.folder}: {' and '.join(names)} share the id {image_id!r}, but a label file "
                "belongs to one image: rename or remove one of them"
            )
        return self.folder / names[0]

    def resolve(self, entries: Sequence[str], source: Path | str) -> list[str]:
        """Return the ids of the entries of a list.

        Raises:
            InputError: Some have no image, or more than one; the message counts them.
        """
        ids = [self.id_of(entry) for entry in entries]
        missing = [image_id for image_id in ids if image_id not in self._names]
        if missing:
            shown = ", ".join(missing[:_MAX_LISTED_IDS])
            shown += ", ..." if len(missing) > _MAX_LISTED_IDS else ""
            raise InputError(
                f"{source}: {len(missing)} of {len(ids)} ids have no image in {self.folder}: "
                f"{shown}"
            )
        for image_id in ids:
            if len(self._names[image_id]) > 1:
                self.path(image_id)  # raises
        return ids


def read_image(path: Path | str) -> np.ndarray:
    """Read an image as [H, W, 3] uint8 in BGR, rotated according to its EXIF orientation.

    Gray images become BGR, 16 bits per channel become 8, and an alpha channel is dropped.

    Raises:
        InputError: The file is missing, truncated or not an image.
    """
    return _read(path, cv2.IMREAD_COLOR)


def read_deep_image(path: Path | str) -> np.ndarray:
    """Read an image as `read_image` does, but keep 16 bits per channel: uint16 or int16."""
    image = _read(path, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    return image if image.dtype in (np.uint8, np.uint16, np.int16) else read_image(path)


def _read(path: Path | str, flags: int) -> np.ndarray:
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such image") from None
    except IsADirectoryError:
        raise InputError(f"{path}: expected an image, but this is a folder") from None
    # OpenCV silently fills the missing part of a truncated JPEG or PNG with gray or black.
    if _is_truncated(data):
        raise InputError(f"{path}: the image is truncated after {len(data)} bytes")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:  # the header declares an image too large for OpenCV
        image = None
    if image is None:
        raise InputError(f"{path}: not an image that OpenCV can read ({len(data)} bytes)")
    return image


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

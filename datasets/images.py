"""Image files: which there are in a folder, by id, and reading one whole or not at all."""

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
"""What OpenCV's builds read, in upper or lower case. A few of them depend on the build."""

_SHOWN = 5


class ImageFolder:
    """The images of a folder by id, which is the file name without its suffix.

    The folder is listed once, so that a lookup costs no access to the disk and a suffix in any
    case is found on any file system.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self._names: dict[str, list[str]] = {}
        try:
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in entries if not entry.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{self.folder}: no such folder of images") from None
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in IMAGE_SUFFIXES:
                self._names.setdefault(stem, []).append(name)

    def ids(self) -> list[str]:
        """Every id, sorted."""
        return list(self._names)

    def id_of(self, entry: str) -> str:
        """The id that an entry of a list means: itself, or without its suffix.

        An id may hold dots (`0.5_Everitt`), so only what is an image's suffix is taken off, and
        only where the entry as it stands is no image's id.
        """
        stem, suffix = os.path.splitext(entry)
        if entry not in self._names and suffix.lower() in IMAGE_SUFFIXES:
            return stem
        return entry

    def path(self, entry: str) -> Path:
        """File of an image. InputError where there is none, or more than one."""
        image_id = self.id_of(entry)
        names = self._names.get(image_id, [])
        if not names:
            raise InputError(
                f"{self.folder}: no image of id {image_id!r} (looked for {image_id}.png, .jpg, "
                f".bmp, .tif and the other suffixes that OpenCV reads)"
            )
        if len(names) > 1:
            raise InputError(
                f"{self.folder}: {' and '.join(names)} share the id {image_id!r}, and labels "
                "belong to one image: rename or remove one"
            )
        return self.folder / names[0]

    def resolve(self, entries: Sequence[str], source: Path | str) -> list[str]:
        """The ids of a list's entries; one InputError that counts those without an image."""
        ids = [self.id_of(entry) for entry in entries]
        missing = [image_id for image_id in ids if image_id not in self._names]
        if missing:
            shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
            raise InputError(
                f"{source}: {len(missing)} of {len(ids)} ids have no image in {self.folder}: "
                f"{shown}"
            )
        for image_id in ids:
            if len(self._names[image_id]) > 1:
                self.path(image_id)  # raises
        return ids


def read_image(path: Path | str) -> np.ndarray:
    """An image [H, W, 3] uint8 in BGR, turned as its EXIF orientation says.

    Grey becomes BGR, 16 bits a channel become 8, an alpha channel is dropped. InputError where
    the file is missing, cut off or no image.
    """
    return _read(path, cv2.IMREAD_COLOR)


def read_deep_image(path: Path | str) -> np.ndarray:
    """As `read_image`, but an image of 16 bits a channel comes as it is: uint16 or int16."""
    image = _read(path, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    return image if image.dtype in (np.uint8, np.uint16, np.int16) else read_image(path)


def _read(path: Path | str, flags: int) -> np.ndarray:
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such image") from None
    except IsADirectoryError:
        raise InputError(f"{path}: a folder, and an image is expected") from None
    # OpenCV fills up what is missing of a cut-off JPEG or PNG with grey or black, in silence.
    if _is_cut_off(data):
        raise InputError(f"{path}: the image is cut off after {len(data)} bytes")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:  # a header that promises more than OpenCV takes
        image = None
    if image is None:
        raise InputError(f"{path}: not an image that OpenCV can read ({len(data)} bytes)")
    return image


def _is_cut_off(data: bytes) -> bool:
    """Whether a PNG or JPEG lacks its end; False for any other content."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data.rfind(b"IEND") < 0
    if data.startswith(b"\xff\xd8"):
        # The last marker, after the first scan begins: a thumbnail before it has its own.
        return not data.endswith(b"\xff\xd9") and data.find(b"\xff\xd9", _first_scan(data)) < 0
    return False


def _first_scan(data: bytes) -> int:
    """Where the pixels of a JPEG begin, behind its segments."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        if data[position + 1] == 0xFF:  # a fill byte
            position += 1
            continue
        if data[position + 1] == 0xDA:
            break
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return position

"""The images of a data folder by id."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import shorten_list
from DOTA_devkit.images import IMAGE_SUFFIXES


class UnreadableImage(InputError):
    """An image of a dataset cannot be read; the message names it."""

    def with_advice(self) -> UnreadableImage:
        """Return the error with the advice that a training can skip such images."""
        return type(self)(f"{str(self).rstrip()}; `skip_bad_images` leaves such images out")


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
            raise InputError(
                f"{self.folder}: no such image folder{_layout_hint(self.folder)}"
            ) from None
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
            raise InputError(
                f"{source}: {len(missing)} of {len(ids)} ids have no image in {self.folder}: "
                f"{shorten_list(missing)}"
            )
        for image_id in ids:
            if len(self._names[image_id]) > 1:
                self.path(image_id)  # raises
        return ids


def _layout_hint(folder: Path) -> str:
    """Return where images are instead of a missing image folder, in other layouts."""
    parent = folder.parent
    if not parent.is_dir():
        return ""
    beside = sorted(parent.iterdir())
    if any(path.suffix.lower() in IMAGE_SUFFIXES for path in beside):
        return f"; images lie in {parent} itself: move them into {folder.name}/"
    folders = [path.name for path in beside if path.is_dir()]
    return f"; the folders there are {', '.join(folders[:10])}" if folders else ""

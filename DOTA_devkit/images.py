"""Finding images by their id."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from DOTA_devkit.errors import InputError

COMMON_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""Image formats that patches may be written in."""

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".jp2", ".avif",
    ".gif", ".pbm", ".pgm", ".ppm", ".pnm", ".pxm", ".pam", ".sr", ".ras", ".hdr", ".pic",
)  # fmt: skip
"""Formats that are read, in upper or lower case; a few depend on how OpenCV was built."""

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
        if folder.is_dir() and holds_images(folder):
            return folder
    return None


def holds_images(folder: Path) -> bool:
    """Return whether a folder contains images."""
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir())


def image_id_of(entry: str, known: Collection[str]) -> str:
    """Return the id that a list entry stands for: the entry itself, or without its suffix.

    Args:
        entry: an id, or the file name of an image.
        known: ids that stay as they are, even if they end like the name of an image.
    """
    path = Path(entry)
    return path.stem if entry not in known and path.suffix.lower() in IMAGE_SUFFIXES else entry

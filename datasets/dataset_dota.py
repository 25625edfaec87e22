"""DOTA, and any data in its layout: images/, labelTxt/*.txt and id lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from datasets.folder import FolderDataset
from DOTA_devkit.formats import DOTA_CLASSES, Labels, read_label_files, read_labels


class DOTA(FolderDataset):
    """Dataset whose label files have lines `x1 y1 x2 y2 x3 y3 x4 y4 class [difficulty]`."""

    image_folder = "images"
    label_folder = "labelTxt"
    label_suffix = ".txt"

    def default_classes(self) -> tuple[str, ...]:
        """Return the classes of DOTA 1.0."""
        return tuple(DOTA_CLASSES["1.0"])

    def read_label_file(self, path: Path) -> Labels:
        """Read a DOTA label file."""
        return read_labels(path)

    def read_label_files(self, paths: Sequence[Path]) -> Iterable[Labels]:
        """Read several label files together, which is faster."""
        if type(self).read_label_file is not DOTA.read_label_file:
            return super().read_label_files(paths)  # a subclass reads another format
        return read_label_files(paths)

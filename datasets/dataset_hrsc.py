"""HRSC2016 in the original's layout: AllImages/, Annotations/*.xml and id lists."""

from __future__ import annotations

from pathlib import Path

from datasets.folder import FolderDataset
from DOTA_devkit.converters.hrsc import hrsc_classes, read_hrsc
from DOTA_devkit.formats import Labels


class HRSC(FolderDataset):
    """Ships, at one of the set's three class levels (`options.hrsc_level`).

    Level 1 knows only "ship", as the original does; level 2 the category (warcraft, merchant
    ship, ...) and level 3 the type, each with the coarser names for objects that the set itself
    knows no closer. Which Class_ID is what: `DOTA_devkit.converters.hrsc`.
    """

    image_folder = "AllImages"
    label_folder = "Annotations"
    label_suffix = ".xml"

    def default_classes(self) -> tuple[str, ...]:
        return hrsc_classes(self.options.hrsc_level)

    def read_label_file(self, path: Path) -> Labels:
        return read_hrsc(path, self.options.hrsc_level).labels

    def _cache_path(self) -> Path:
        return Path(f"{self.label_path}.level{self.options.hrsc_level}.cache.npz")

"""HRSC2016 in the original's layout: AllImages/, Annotations/*.xml and id lists."""

from __future__ import annotations

from pathlib import Path

from datasets.folder import FolderDataset
from DOTA_devkit.converters.hrsc import hrsc_classes, read_hrsc
from DOTA_devkit.formats import Labels


class HRSC(FolderDataset):
    """Ships, at one of the dataset's three class levels (`options.hrsc_level`).

    Level 1 has the single class "ship", as in the original; level 2 has the category (warcraft,
    merchant ship, ...) and level 3 the type. Objects that the dataset labels less precisely get
    the coarser name. The names by Class_ID are in `DOTA_devkit.converters.hrsc`.
    """

    image_folder = "AllImages"
    label_folder = "Annotations"
    label_suffix = ".xml"

    def default_classes(self) -> tuple[str, ...]:
        """Return the classes of the level."""
        return hrsc_classes(self.options.hrsc_level)

    def read_label_file(self, path: Path) -> Labels:
        """Read an XML file of HRSC2016."""
        return read_hrsc(path, self.options.hrsc_level).labels

    def _cache_path(self) -> Path:
        return Path(f"{self.label_path}.level{self.options.hrsc_level}.cache.npz")

"""Split large images and their labels into patches ``NAME__RATE__X___Y``, by the devkit's rules.

Everything between an image with its label file and the patches on disk belongs here. Merging the
results of patches belongs to `DOTA_devkit.merging`, the command line to `DOTA_devkit.commands`.
"""

from DOTA_devkit.splitting.grid import resized_wh, windows
from DOTA_devkit.splitting.labels import LabelCutter
from DOTA_devkit.splitting.options import SplitOptions
from DOTA_devkit.splitting.sources import (
    PatchReader,
    PatchSource,
    WholeImage,
    WindowedTiff,
    open_source,
)
from DOTA_devkit.splitting.split import SplitSummary, split_folder, split_images

__all__ = [
    "LabelCutter",
    "PatchReader",
    "PatchSource",
    "SplitOptions",
    "SplitSummary",
    "WholeImage",
    "WindowedTiff",
    "open_source",
    "resized_wh",
    "split_folder",
    "split_images",
    "windows",
]

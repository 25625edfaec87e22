"""Cut large images and their labels into patches ``NAME__RATE__X___Y``, by the devkit's rules.

Here belongs the way from an image and its label file to patches on disk. Putting results of
patches back together belongs to `DOTA_devkit.merging`, the command line to `DOTA_devkit.commands`.
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

"""Split images without labels, with the interface of the DOTA devkit.

The work is done by `DOTA_devkit.splitting`.
"""

from __future__ import annotations

from pathlib import Path

from DOTA_devkit._compat.split import ImageSplitter
from DOTA_devkit.splitting import SplitOptions


class splitbase(ImageSplitter):
    """Splits the images of ``srcpath`` into ``dstpath``.

    Args:
        srcpath: folder of images to read.
        dstpath: folder of patches to write.
        gap: overlap of neighboring patches, pixels.
        subsize: side of a patch, pixels.
        ext: suffix of the patches.
    """

    def __init__(
        self,
        srcpath: str | Path,
        dstpath: str | Path,
        gap: int = 100,
        subsize: int = 1024,
        ext: str = ".png",
    ) -> None:
        self.srcpath, self.dstpath = str(srcpath), str(dstpath)
        super().__init__(srcpath, dstpath, SplitOptions(size=subsize, gap=gap, suffix=ext))

"""As `DOTA_devkit.SplitOnlyImage`, on several cores and with padding of small images."""

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
        padding: pad patches of small images to ``subsize`` with black.
        num_process: number of threads that write patches.
    """

    def __init__(
        self,
        srcpath: str | Path,
        dstpath: str | Path,
        gap: int = 100,
        subsize: int = 1024,
        ext: str = ".png",
        padding: bool = True,
        num_process: int = 32,
    ) -> None:
        self.srcpath, self.dstpath = str(srcpath), str(dstpath)
        options = SplitOptions(size=subsize, gap=gap, suffix=ext, pad=padding)
        super().__init__(srcpath, dstpath, options, workers=num_process)

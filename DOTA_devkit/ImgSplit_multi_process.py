"""As `DOTA_devkit.ImgSplit`, on several cores and with padding of small images."""

from __future__ import annotations

from pathlib import Path

from DOTA_devkit._compat.split import LabeledSplitter


class splitbase(LabeledSplitter):
    """Splits ``images/`` and ``labelTxt/`` of ``basepath`` into those of ``outpath``.

    Args:
        basepath: folder to read.
        outpath: folder to write.
        code: accepted for old scripts and ignored; labels are UTF-8.
        gap: overlap of neighboring patches, pixels.
        subsize: side of a patch, pixels.
        thresh: an object of which at most this share is left gets difficulty 2.
        choosebestpoint: start a cut object at the corner that best fits its label's order.
        ext: suffix of the patches.
        padding: pad patches of small images to ``subsize`` with black.
        num_process: number of threads that write patches.
    """

    def __init__(
        self,
        basepath: str | Path,
        outpath: str | Path,
        code: str = "utf-8",
        gap: int = 512,
        subsize: int = 1024,
        thresh: float = 0.7,
        choosebestpoint: bool = True,
        ext: str = ".png",
        padding: bool = True,
        num_process: int = 8,
    ) -> None:
        super().__init__(
            basepath, outpath, gap, subsize, thresh, choosebestpoint, ext, padding, num_process
        )

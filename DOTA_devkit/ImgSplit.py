"""Splitting images and labels under the name of the DOTA devkit; see `DOTA_devkit.splitting`."""

from __future__ import annotations

from pathlib import Path

from DOTA_devkit._compat.split import LabelledSplitter
from DOTA_devkit.splitting import SplitOptions


class splitbase(LabelledSplitter):
    """Splits ``images/`` and ``labelTxt/`` of ``basepath`` into those of ``outpath``.

    Args:
        basepath, outpath: folders of that layout.
        code: there for old scripts; labels are UTF-8.
        gap: overlap of neighbours, pixels.
        subsize: side of a patch, pixels.
        thresh: an object of which no more than this share is left gets difficulty 2.
        choosebestpoint: begin a cut object at the corner that fits its label's order best.
        ext: suffix of the patches.
    """

    def __init__(
        self,
        basepath: str | Path,
        outpath: str | Path,
        code: str = "utf-8",
        gap: int = 100,
        subsize: int = 1024,
        thresh: float = 0.7,
        choosebestpoint: bool = True,
        ext: str = ".png",
    ) -> None:
        options = SplitOptions(
            size=subsize, gap=gap, min_share=thresh, fit_order=choosebestpoint, suffix=ext
        )
        super().__init__(basepath, outpath, options, workers=1)

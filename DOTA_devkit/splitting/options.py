"""How images are split."""

from __future__ import annotations

from dataclasses import dataclass, replace

from DOTA_devkit.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class SplitOptions:
    """How to cut.

    Attributes:
        size: side of a patch, pixels.
        gap: overlap of neighbours, pixels.
        rates: factors by which each image is resized before it is cut.
        min_share: an object of which no more than this share is left becomes difficult.
        fit_order: begin a cut object at the corner that fits its label's order best.
        keep_empty: share of the patches without objects that is kept, 0 to 1; which ones is
            settled by their names and the seed.
        seed: another seed keeps other empty patches.
        suffix: one of `SUFFIXES`.
        pad: fill patches of small images up to ``size`` with black, right and below.
        jpeg_quality: 0 to 100.
    """

    size: int = 600
    gap: int = 100
    rates: tuple[float, ...] = (1.0,)
    min_share: float = 0.7
    fit_order: bool = True
    keep_empty: float = 1.0
    seed: int = 0
    suffix: str = ".png"
    pad: bool = False
    jpeg_quality: int = 95

    def at_rates(self, *rates: float) -> SplitOptions:
        """The same at other rates."""
        return replace(self, rates=rates)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"patch size must be 1 or more, came {self.size}")
        if not 0 <= self.gap < self.size:
            raise InputError(f"gap must be in [0, size), here [0, {self.size}), came {self.gap}")
        if not self.rates or not all(0 < rate <= 16 for rate in self.rates):
            raise InputError(f"rates must be above 0 and at most 16, came {self.rates}")
        if not 0 <= self.keep_empty <= 1:
            raise InputError(f"share of empty patches must be in [0, 1], came {self.keep_empty}")
        if self.suffix.lower() not in SUFFIXES:
            raise InputError(f"patches are written as {', '.join(SUFFIXES)}, not {self.suffix!r}")

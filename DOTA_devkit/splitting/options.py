"""The options of a split."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from DOTA_devkit.errors import InputError
from DOTA_devkit.images import COMMON_SUFFIXES
from DOTA_devkit.imaging import ReadOptions
from DOTA_devkit.patches import MAX_RATE, MIN_RATE


@dataclass(frozen=True)
class SplitOptions:
    """How images and labels are split.

    Attributes:
        size: side of a patch, pixels.
        gap: overlap of neighboring patches, pixels.
        rates: factors by which each image is resized before it is split.
        min_share: an object of which at most this share of the area is left becomes difficult.
        fit_order: start a cut object at the corner that best fits the corner order of its label.
        keep_empty: share of the patches without objects to keep, 0 to 1; their names and the
            seed decide which ones.
        seed: a different seed keeps different empty patches.
        suffix: image format of the patches, one of `DOTA_devkit.images.COMMON_SUFFIXES`.
        pad: pad patches of small images to ``size`` with black on the right and at the bottom.
        jpeg_quality: 0 to 100.
        whole_pixels: write labels as the original devkit does. It truncates coordinates to whole
            pixels, which moves and shrinks boxes by up to a pixel, before and after resizing, and
            it drops cut objects of which neither four nor five corners are left.
        reading: how the pixels of the images are read.
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
    whole_pixels: bool = False
    reading: ReadOptions = field(default_factory=ReadOptions)

    def at_rates(self, *rates: float) -> SplitOptions:
        """Copy the options with other rates."""
        return replace(self, rates=rates)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"size must be at least 1, got {self.size}")
        if not 0 <= self.gap < self.size:
            raise InputError(
                f"gap must be in [0, {self.size}), smaller than the size, got {self.gap}"
            )
        if not self.rates or not all(MIN_RATE <= rate <= MAX_RATE for rate in self.rates):
            raise InputError(
                f"rates must be above 0, from {MIN_RATE:g} to {MAX_RATE}, got {self.rates}"
            )
        if len(set(self.rates)) < len(self.rates):
            raise InputError(f"rates must be different ones, got {self.rates}")
        if not 0 <= self.keep_empty <= 1:
            raise InputError(f"keep_empty must be in [0, 1], got {self.keep_empty}")
        if self.suffix.lower() not in COMMON_SUFFIXES:
            raise InputError(
                f"suffix must be one of {', '.join(COMMON_SUFFIXES)}, got {self.suffix!r}"
            )

"""The rule by which the pixels of image files are read."""

from __future__ import annotations

from dataclasses import dataclass

from DOTA_devkit.errors import InputError

STRETCH, HIGH_BYTE = "stretch", "high_byte"

DEPTHS = (STRETCH, HIGH_BYTE)
"""Conversions of 16 bits per channel to 8: a contrast stretch, or the upper 8 bits."""

MAX_PIXELS = 1 << 36
"""Pixels of 262,144 x 262,144, or 26 km x 26 km at 10 cm."""


@dataclass(frozen=True)
class ReadOptions:
    """How image files become uint8 pixels in BGR; images of 8 bits are never changed.

    Attributes:
        depth: How 16 bits per channel are converted to 8, one of `DEPTHS`.
        bands: Numbers (from 1) of the red, green and blue band of a TIFF or JPEG 2000 file, or of
            one gray band; None to go by the names and colors that the file gives its bands.
        max_pixels: Images of more pixels by their header are refused.
        allow_remote: Read virtual images (VRT, WMS) and remote ones, which make GDAL read other
            files and ask servers.
    """

    depth: str = STRETCH
    bands: tuple[int, ...] | None = None
    max_pixels: int = MAX_PIXELS
    allow_remote: bool = False

    def __post_init__(self) -> None:
        if self.depth not in DEPTHS:
            raise InputError(f"depth must be one of {', '.join(DEPTHS)}, got {self.depth!r}")
        if self.bands is not None and (len(self.bands) not in (1, 3) or min(self.bands) < 1):
            raise InputError(
                "bands must be the numbers of the red, green and blue band, such as 3,2,1, or of "
                f"one gray band, counted from 1, got {self.bands_text()}"
            )
        if self.max_pixels < 1:
            raise InputError(f"max_pixels must be at least 1, got {self.max_pixels}")

    def bands_text(self) -> str:
        """Return the bands as text, such as "3,2,1"; "" for None."""
        return ",".join(map(str, self.bands or ()))

    @staticmethod
    def parse_bands(text: str) -> tuple[int, ...] | None:
        """Parse what `bands_text` returns.

        Raises:
            InputError: It is something else.
        """
        if not text:
            return None
        parts = [part.strip() for part in text.split(",")]
        numbers = tuple(int(part) if part.isdecimal() else 0 for part in parts)
        return ReadOptions(bands=numbers).bands

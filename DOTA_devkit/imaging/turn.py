"""The orientation tag of TIFF files: how the stored pixels are turned to be shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Turn:
    """The way from the stored image to the one that is shown, which all labels refer to.

    Attributes:
        stored_wh: Width and height of the stored image.
        transposes: Whether rows become columns, before anything else.
        flips_x: Whether left and right are exchanged.
        flips_y: Whether top and bottom are exchanged.
    """

    stored_wh: tuple[int, int]
    transposes: bool = False
    flips_x: bool = False
    flips_y: bool = False

    @classmethod
    def of(cls, orientation: int, stored_wh: tuple[int, int]) -> Turn:
        """Return the turn of a value of the tag, 1 to 8 (TIFF 6.0); others turn nothing."""
        if not 1 <= orientation <= 8:
            orientation = 1
        return cls(
            stored_wh, orientation >= 5, orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)
        )

    @property
    def shown_wh(self) -> tuple[int, int]:
        """Width and height of the image that is shown."""
        return self.stored_wh[::-1] if self.transposes else self.stored_wh

    def stored_window(self, left: int, top: int, size_wh: tuple[int, int]) -> tuple[int, ...]:
        """Return left, top, width and height in the stored image of a window of the shown one."""
        width, height = size_wh
        if self.flips_x:
            left = self.shown_wh[0] - left - width
        if self.flips_y:
            top = self.shown_wh[1] - top - height
        return (top, left, height, width) if self.transposes else (left, top, width, height)

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Turn the stored pixels [H, W, ...] of a window."""
        if self.transposes:
            pixels = pixels.swapaxes(0, 1)
        if self.flips_x:
            pixels = pixels[:, ::-1]
        if self.flips_y:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)

    def affine(self, stored: tuple[float, ...]) -> tuple[float, ...]:
        """Return the map from pixels of the shown image to coordinates.

        Args:
            stored: (a, b, c, d, e, f) of the stored image, x = a column + b row + c and
                y = d column + e row + f.
        """
        rows = []
        width, height = self.shown_wh
        for per_column, per_row, offset in (stored[:3], stored[3:]):
            if self.transposes:
                per_column, per_row = per_row, per_column
            if self.flips_x:
                offset, per_column = offset + per_column * width, -per_column
            if self.flips_y:
                offset, per_row = offset + per_row * height, -per_row
            rows += [per_column, per_row, offset]
        return tuple(rows)

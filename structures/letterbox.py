"""Letterbox (resize and pad an image to the network's input) and normalization of pixel values.

Coordinates: a pixel covers the unit square from its index to its index plus one, so an image spans
[0, width] x [0, height].
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from DOTA_devkit.letterboxing import fit_inside


@dataclass(frozen=True)
class Letterbox:
    """Placement of a source image in the network's input: scaled, centered, black around it.

    Points map as `input = scale * source + pad`, in continuous pixels (a pixel spans one unit),
    which is what `cv2.resize` does.

    Attributes:
        source_wh: Size of the source image.
        input_wh: Size of the input.
        inner_wh: Size of the scaled image inside the input.
        pad: Black columns on the left and rows on top.
    """

    source_wh: tuple[int, int]
    input_wh: tuple[int, int]
    inner_wh: tuple[int, int]
    pad: tuple[int, int]

    @classmethod
    def fit(
        cls, source_wh: tuple[int, int], input_wh: tuple[int, int], squash: bool = False
    ) -> Letterbox:
        """Place an image of one size in an input of another.

        Args:
            source_wh: Size of the source image.
            input_wh: Size of the input.
            squash: Stretch the image to the input instead of keeping its aspect ratio, in which
                the longer side fits (small images are enlarged).
        """
        source_wh, input_wh = tuple(source_wh), tuple(input_wh)
        if squash:
            return cls(source_wh, input_wh, input_wh, (0, 0))
        return cls(source_wh, input_wh, *fit_inside(source_wh, input_wh))

    @property
    def scale(self) -> tuple[float, float]:
        """Input pixels per source pixel in x and y, which differ by the rounding of `inner_wh`."""
        return (self.inner_wh[0] / self.source_wh[0], self.inner_wh[1] / self.source_wh[1])

    @property
    def matrix(self) -> np.ndarray:
        """The affine matrix [2, 3] from source to input."""
        (sx, sy), (px, py) = self.scale, self.pad
        return np.array([[sx, 0, px], [0, sy, py]], np.float64)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Resize and pad a source image to the input image [H, W, ...], border 0."""
        if self.inner_wh != self.source_wh:
            image = cv2.resize(image, self.inner_wh, interpolation=cv2.INTER_LINEAR)
        left, top = self.pad
        right, bottom = (
            self.input_wh[0] - self.inner_wh[0] - left,
            self.input_wh[1] - self.inner_wh[1] - top,
        )
        if left or top or right or bottom:
            border = cv2.BORDER_CONSTANT
            image = cv2.copyMakeBorder(image, top, bottom, left, right, border, value=0)
        return image

    def to_input(self, points: np.ndarray) -> np.ndarray:
        """Map points [..., 2] from source to input pixels."""
        return points * np.array(self.scale) + np.array(self.pad)

    def to_source(self, points: np.ndarray) -> np.ndarray:
        """Map points [..., 2] from input to source pixels."""
        return (points - np.array(self.pad)) / np.array(self.scale)


IDENTITY_TABLE = np.arange(256, dtype=np.float32)
"""Lookup table that leaves 8-bit values unchanged."""


def normalize(
    image: np.ndarray, values: np.ndarray = IDENTITY_TABLE, order: tuple[int, ...] = (0, 1, 2)
) -> np.ndarray:
    """Convert an image to the network's input: value / 255 - 0.5, channels first.

    Args:
        image: [H, W, 3] in BGR, values 0 to 255.
        values: [256] replacement of each value, only for 8-bit images (see
            `datasets.augment.PhotometricDistort.draw`).
        order: Order of the channels, only for 8-bit images.

    Returns:
        [3, H, W] float32.
    """
    if image.dtype != np.uint8:
        image = np.asarray(image, np.float32).clip(0, 255)
        return np.ascontiguousarray((image / np.float32(255) - np.float32(0.5)).transpose(2, 0, 1))
    table = values / np.float32(255) - np.float32(0.5)
    channels = cv2.split(image)
    planes = np.empty((3, *image.shape[:2]), np.float32)
    for plane, channel in zip(planes, order, strict=True):
        cv2.LUT(channels[channel], table, dst=plane)
    return planes

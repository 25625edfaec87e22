"""The letterbox: how an image lies in the network's input, and the values it has there.

Frames. A pixel covers the unit square from its index to its index plus one, so an image spans
[0, width] x [0, height].
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Letterbox:
    """How a source image lies in the network's input: scaled, centred, black around it.

    Train, test, eval and export share it. Points map as `input = scale * source + pad`, in
    continuous pixels (a pixel spans one unit), which is what `cv2.resize` does.
    """

    source_wh: tuple[int, int]
    input_wh: tuple[int, int]
    inner_wh: tuple[int, int]
    """Size of the scaled image inside the input."""
    pad: tuple[int, int]
    """Black columns on the left and rows on top."""

    @classmethod
    def fit(
        cls, source_wh: tuple[int, int], input_wh: tuple[int, int], squash: bool = False
    ) -> Letterbox:
        """The longer side fits (small images are enlarged), or both where `squash`."""
        (source_w, source_h), (input_w, input_h) = source_wh, input_wh
        if squash:
            return cls((source_w, source_h), (input_w, input_h), (input_w, input_h), (0, 0))
        # in integers, which every runtime rounds alike where a side comes out at a half
        if input_w * source_h <= input_h * source_w:
            inner_w, inner_h = input_w, max(1, _rounded(source_h * input_w, source_w))
        else:
            inner_w, inner_h = max(1, _rounded(source_w * input_h, source_h)), input_h
        pad = ((input_w - inner_w) // 2, (input_h - inner_h) // 2)
        return cls((source_w, source_h), (input_w, input_h), (inner_w, inner_h), pad)

    @property
    def scale(self) -> tuple[float, float]:
        """Input pixels a source pixel, in x and y; they differ by the rounding of `inner_wh`."""
        return (self.inner_wh[0] / self.source_wh[0], self.inner_wh[1] / self.source_wh[1])

    @property
    def matrix(self) -> np.ndarray:
        """The map from source to input as an affine matrix [2, 3]."""
        (sx, sy), (px, py) = self.scale, self.pad
        return np.array([[sx, 0, px], [0, sy, py]], np.float64)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The input image [H, W, ...] of a source image, border 0."""
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
        """Points [..., 2] of the source in the input's frame."""
        return points * np.array(self.scale) + np.array(self.pad)

    def to_source(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 2] of the input in the source's frame."""
        return (points - np.array(self.pad)) / np.array(self.scale)


def _rounded(numerator: int, denominator: int) -> int:
    """The quotient of positive numbers as the nearest whole one, a half upwards."""
    return (2 * numerator + denominator) // (2 * denominator)


PLAIN = np.arange(256, dtype=np.float32)
"""The table that changes nothing."""


def normalize(
    image: np.ndarray, values: np.ndarray = PLAIN, order: tuple[int, ...] = (0, 1, 2)
) -> np.ndarray:
    """Network input [3, H, W] float32 of an image [H, W, 3]: values / 255 - 0.5, in BGR.

    `values` [256] and `order` are a distortion of an 8-bit image, see `PhotometricDistort.draw`.
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

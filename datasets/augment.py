"""Training augmentation: one random affine map, and a photometric distortion by lookup table."""

from __future__ import annotations

import cv2
import numpy as np

from structures.letterbox import Letterbox

ROTATIONS = ("free", "right", "none")
"""Random rotations: "free" is an angle up to 90 degrees for half of the images, "right" a multiple
of 90 degrees, "none" no rotation."""

FLIP_PROBABILITY = 0.5
CROP_PROBABILITY = 0.3
CROP_SCALES = (0.9, 1.1)
CROP_MARGIN_PX = 32
ROTATION_PROBABILITY = 0.5


def _shift(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def random_view(rng: np.random.Generator, letterbox: Letterbox, rotation: str) -> np.ndarray:
    """Draw an affine map from the source image to a random view of it in the network's input.

    Each axis is flipped with probability 0.5. With probability 0.3 the view is centered at a random
    point (at least 32 pixels from the borders) and shows 0.9 to 1.1 times the extent of the image.
    Finally it is rotated about its center.

    Args:
        rng: Random generator.
        letterbox: The placement of the image without augmentation.
        rotation: One of `ROTATIONS`.

    Returns:
        [2, 3] affine matrix.
    """
    width, height = letterbox.source_wh
    center = np.array([width / 2, height / 2])
    focus, zoom = center, 1.0
    flip = np.where(rng.random(2) < FLIP_PROBABILITY, -1.0, 1.0)
    if rng.random() < CROP_PROBABILITY:
        zoom = 1 / rng.uniform(*CROP_SCALES)
        margin = np.minimum(CROP_MARGIN_PX, center / 2)
        focus = rng.uniform(margin, 2 * center - margin)
    angle = _random_angle(rng, rotation)
    if angle == 0:
        return _upright_view(letterbox, flip, focus, zoom)
    # The focus moves to the center of the source, and from there the letterbox applies.
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    turn = np.array(
        [[cos * flip[0], sin * flip[1], 0], [-sin * flip[0], cos * flip[1], 0], [0, 0, 1]]
    )
    return letterbox.matrix @ _shift(*center) @ turn @ _shift(*-focus)


def _random_angle(rng: np.random.Generator, rotation: str) -> float:
    if rotation == "right":
        return float(rng.integers(4)) * np.pi / 2
    if rotation == "free" and rng.random() < ROTATION_PROBABILITY:
        return float(rng.uniform(0, np.pi / 2))
    return 0.0


def _upright_view(
    letterbox: Letterbox, flip: np.ndarray, focus: np.ndarray, zoom: float
) -> np.ndarray:
    """Return the map of a view without rotation, with the image at integer size and position.

    It is shifted by less than a pixel for that. Such a view is resized like the letterbox of
    testing, and is cheaper to make.
    """
    source = np.array(letterbox.source_wh)
    inner = np.maximum(np.rint(np.array(letterbox.inner_wh) * zoom), 1)
    scale = inner / source
    middle = np.array(letterbox.pad) + np.array(letterbox.inner_wh) / 2
    # Position of the image's top left corner after flipping.
    seen = np.where(flip > 0, focus, source - focus)
    corner = np.rint(middle - seen * scale)
    offset = np.where(flip > 0, corner, corner + inner)
    return np.array([[scale[0] * flip[0], 0, offset[0]], [0, scale[1] * flip[1], offset[1]]])


def warp(image: np.ndarray, matrix: np.ndarray, view_wh: tuple[int, int]) -> np.ndarray:
    """Warp an image by an affine map, border 0.

    Args:
        image: [H, W, 3].
        matrix: [2, 3] map of continuous pixel coordinates.
        view_wh: Width and height of the result.

    Returns:
        The view [H, W, 3].
    """
    if matrix[0, 1] == 0 and matrix[1, 0] == 0:
        view = _place(image, matrix, view_wh)
        if view is not None:
            return view
    # OpenCV maps pixel centers, which are half a pixel off the continuous coordinates.
    indexed = matrix.copy()
    indexed[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    if image.dtype != np.uint8 or image.shape[2:] != (3,):  # from a user-defined reader
        return cv2.warpAffine(image, indexed, view_wh, flags=cv2.INTER_LINEAR)
    # Four channels take half the time of three, including the conversions.
    padded = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
    padded = cv2.warpAffine(padded, indexed, view_wh, flags=cv2.INTER_LINEAR)
    return cv2.cvtColor(padded, cv2.COLOR_BGRA2BGR)


def _place(image: np.ndarray, matrix: np.ndarray, view_wh: tuple[int, int]) -> np.ndarray | None:
    """Warp by resizing if the map scales to an integer size and position; else return None."""
    source = np.array(image.shape[1::-1])
    scale, offset = np.diag(matrix[:, :2]), matrix[:, 2]
    inner, corner = np.abs(scale) * source, np.minimum(offset, offset + scale * source)
    whole = np.rint(np.concatenate([inner, corner]))
    if np.abs(np.concatenate([inner, corner]) - whole).max() > 1e-6 or whole[:2].min() < 1:
        return None
    width, height, left, top = whole.astype(int).tolist()
    if (width, height) != image.shape[1::-1]:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    if scale.min() < 0:
        image = cv2.flip(image, -1 if scale.max() < 0 else int(scale[0] < 0))
    view_w, view_h = view_wh
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + width, view_w), min(top + height, view_h)
    image = image[max(y0 - top, 0) : max(y1 - top, 0), max(x0 - left, 0) : max(x1 - left, 0)]
    if image.shape[:2] == (view_h, view_w):
        return np.ascontiguousarray(image)
    view = np.zeros((view_h, view_w, *image.shape[2:]), image.dtype)
    view[y0 : y0 + image.shape[0], x0 : x0 + image.shape[1]] = image
    return view


class PhotometricDistort:
    """Random brightness, then contrast, then channel order, each with probability 0.5.

    This is the scheme of SSD without its changes of hue and saturation, as in the training of the
    original. It is a table of 256 values and a channel order, so an 8-bit image is distorted,
    clipped and normalized in one pass, with the same values as float arithmetic on the image.

    Args:
        rng: Generator for calls of the object; by default each call has one of its own, which
            follows from NumPy's global state.

    Attributes:
        brightness: Maximum change of brightness, of 255.
        contrast: Range of the contrast factor.
        orders: Channel orders.
    """

    brightness = 32.0
    contrast = (0.5, 1.5)
    orders = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))

    def __init__(self, rng: np.random.Generator | None = None):
        self.rng = rng

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, int, int]]:
        """Draw a table [256] float32 of new values in [0, 255], and a channel order."""
        values = np.arange(256, dtype=np.float32)
        if rng.integers(2):
            values += np.float32(rng.uniform(-self.brightness, self.brightness))
        if rng.integers(2):
            values *= np.float32(rng.uniform(*self.contrast))
        order = self.orders[rng.integers(len(self.orders))] if rng.integers(2) else self.orders[0]
        return values.clip(0, 255), order

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return a distorted copy [H, W, 3] float32 of an 8-bit image [H, W, 3]."""
        rng = self.rng or np.random.default_rng(np.random.randint(1 << 31, size=4))
        values, order = self.draw(rng)
        return values[image[..., order].astype(np.uint8)]

"""The built-in sample set: stylised aerial scenes with exact labels, drawn from a fixed seed.

`make_sample(root)` writes a small set in DOTA layout on first use and finds it there later:

    root/images/*.png  root/labelTxt/*.txt  root/{train,val,test}.txt  root/classes.txt

The drawing is NumPy alone (OpenCV only compresses the PNG), and random numbers come from
`RandomState`, whose streams NumPy has frozen: the pictures depend on the seed, not on versions.

Frames: an image has x to the right and y down, in pixels; pixel (row i, column j) covers
[j, j + 1] x [i, i + 1]. An object is drawn in a frame of its own, x forward and y to its right.
"""

from __future__ import annotations

import contextlib
import glob
import json
import logging
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from DOTA_devkit.errors import InputError

logger = logging.getLogger(__name__)

VERSION = 4  # raise it whenever a scene comes out differently: sets made before are then remade
CLASSES = ("plane", "ship", "vehicle", "harbor")
SPLITS = {"train": 300, "val": 40, "test": 60}  # images
SIZE = 256  # width and height of an image
STAMP = "sample_set.json"  # written last; it says who made the folder
MADE_BY = "datasets.sample"

MIN_VISIBLE = 0.6  # a smaller share of the box in the image is labelled as difficult
MIN_DRAWN = 0.2  # and a smaller one than this is not drawn at all
CUT_OFF = 2  # the difficulty that DOTA's splitting tools give to objects cut at the border

Colour = tuple[float, float, float]  # blue, green, red, 0 to 255
Random = np.random.RandomState


# ---------------------------------------------------------------------------------------------
# Geometry and raster


def box_corners(center: Sequence[float], length: float, width: float, heading: float) -> np.ndarray:
    """Corners [4, 2] of a turned rectangle: front left, front right, back right, back left."""
    half = np.array([[1, -1], [1, 1], [-1, 1], [-1, -1]]) * (length / 2, width / 2)
    return place(half, center, heading)


def place(points: np.ndarray, center: Sequence[float], heading: float) -> np.ndarray:
    """Points [K, 2] of an object's frame in the image; `heading` in radians, clockwise."""
    cos, sin = math.cos(heading), math.sin(heading)
    return points @ np.array([[cos, sin], [-sin, cos]]) + np.asarray(center, float)


def following(polygon: np.ndarray) -> np.ndarray:
    """For each corner [K, 2] the next one (as np.roll by -1, which takes ten times as long)."""
    return np.concatenate((polygon[1:], polygon[:1]))


def polygon_area(polygon: np.ndarray) -> float:
    """Area of a polygon [K, 2], positive where the corners run clockwise (y is down)."""
    (x0, y0), (x1, y1) = polygon.T, following(polygon).T
    return 0.5 * float((x0 * y1 - y0 * x1).sum())


def clip_to_image(polygon: np.ndarray, size: float) -> np.ndarray:
    """The part [K, 2] of a convex polygon inside [0, size]^2, K = 0 where there is none.

    Sutherland and Hodgman's clipping: one border after the other.
    """
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    if (high <= 0).any() or (low >= size).any():
        return np.zeros((0, 2))
    if (low >= 0).all() and (high <= size).all():
        return polygon
    for axis, sign, bound in ((0, 1, 0.0), (0, -1, -size), (1, 1, 0.0), (1, -1, -size)):
        kept = []
        for a, b in zip(polygon, following(polygon), strict=True):
            depth_a, depth_b = sign * a[axis] - bound, sign * b[axis] - bound
            if depth_a >= 0:
                kept.append(a)
            if depth_a * depth_b < 0:
                kept.append(a + (b - a) * (depth_a / (depth_a - depth_b)))
        polygon = np.array(kept).reshape(-1, 2)
    return polygon


def fitted_rectangle(polygon: np.ndarray) -> np.ndarray:
    """Corners [4, 2] of the smallest rectangle around a convex polygon, clockwise."""
    best, best_area = polygon, math.inf
    for dx, dy in following(polygon) - polygon:
        length = math.hypot(dx, dy)
        if length < 1e-6:
            continue
        axes = np.array([[dx, dy], [-dy, dx]]) / length
        low, high = (polygon @ axes.T).min(axis=0), (polygon @ axes.T).max(axis=0)
        if np.prod(high - low) < best_area - 1e-9:
            best_area = np.prod(high - low)
            (u0, v0), (u1, v1) = low, high
            best = np.array([[u0, v0], [u1, v0], [u1, v1], [u0, v1]]) @ axes
    return best


def overlap_any(box: np.ndarray, others: Sequence[np.ndarray], gap: float) -> bool:
    """Whether a rectangle [4, 2] comes within `gap` pixels of another (separating axes)."""
    if not others:
        return False
    boxes = np.stack(others)  # [N, 4, 2]
    own_axes = np.broadcast_to(box[1:3] - box[0:2], (len(boxes), 2, 2))
    axes = np.concatenate([own_axes, boxes[:, 1:3] - boxes[:, 0:2]], axis=1)
    axes = axes / np.linalg.norm(axes, axis=2, keepdims=True)
    own, their = axes @ box.T, axes @ boxes.transpose(0, 2, 1)  # [N, 4 axes, 4 corners]
    apart = np.maximum(own.min(2) - their.max(2), their.min(2) - own.max(2)).max(axis=1)
    return bool((apart < gap).any())


def coverage(polygon: np.ndarray, size: int) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """How much of each pixel a convex polygon [K, 2] covers: (window, alpha [h, w]).

    None where the polygon lies outside the image. Alpha falls from 1 to 0 over the one pixel
    around an edge, by the distance of the pixel's middle, so that edges lie where the corners
    say, to a fraction of a pixel.
    """
    # Plain floats: most polygons have a handful of corners and a few hundred pixels, for which
    # NumPy's cost of a call is the larger part. A set has 80,000 of them.
    corners = polygon.tolist()
    xs, ys = zip(*corners, strict=True)
    x0, x1 = max(math.floor(min(xs) - 0.5), 0), min(math.ceil(max(xs) + 0.5), size)
    y0, y1 = max(math.floor(min(ys) - 0.5), 0), min(math.ceil(max(ys) + 0.5), size)
    if x1 <= x0 or y1 <= y0:
        return None
    edges = [(x, y, u - x, v - y) for (x, y), (u, v) in pairwise((*corners, corners[0]))]
    turn = math.copysign(1.0, sum(x * dy - y * dx for x, y, dx, dy in edges))  # 1 is clockwise
    lines = []  # (a, b, c): a x + b y + c is a point's distance inside the edge
    for x, y, dx, dy in edges:
        length = math.hypot(dx, dy)
        if length > 0:
            a, b = -turn * dy / length, turn * dx / length
            lines.append((a, b, -a * x - b * y))
    a, b, c = np.array(lines, np.float32).T[:, :, None]
    across = a * (np.arange(x0, x1, dtype=np.float32) + 0.5)  # [K, w]
    down = b * (np.arange(y0, y1, dtype=np.float32) + 0.5) + (c + 0.5)  # [K, h]
    alpha = (across[:, None, :] + down[:, :, None]).min(axis=0)
    return (slice(y0, y1), slice(x0, x1)), np.minimum(np.maximum(alpha, 0.0), 1.0)


def value_noise(rng: Random, size: int, cell_xy: tuple[float, float]) -> np.ndarray:
    """Smooth noise [size, size] in [-1, 1] whose bumps are about `cell_xy` pixels wide."""
    steps = []
    for cell in cell_xy:
        position = np.arange(size) / cell + rng.rand()
        index = position.astype(int)
        t = (position - index).astype(np.float32)
        steps.append((index, t * t * (3 - 2 * t)))
    (ix, tx), (iy, ty) = steps
    grid = rng.uniform(-1, 1, (iy[-1] + 2, ix[-1] + 2)).astype(np.float32)
    columns = grid[:, ix] + (grid[:, ix + 1] - grid[:, ix]) * tx
    return columns[iy] + (columns[iy + 1] - columns[iy]) * ty[:, None]


# ---------------------------------------------------------------------------------------------
# Sprites: what stands in a scene


@dataclass(frozen=True)
class Sprite:
    """Something seen from above, in its own frame (pixels, centre of its box at 0)."""

    kind: str | None  # class name; None for clutter
    length: float
    width: float
    height: float  # how far its shadow falls
    body: list[tuple[np.ndarray, Colour]]  # convex polygons that make the silhouette
    details: list[tuple[np.ndarray, Colour]] = field(default_factory=list)  # drawn upon it


def _pick(rng: Random, options: Sequence):
    return options[rng.randint(len(options))]


def _shade(colour: Colour, factor: float) -> Colour:
    return tuple(min(255.0, channel * factor) for channel in colour)


def _rect(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def _ahead(polygon: np.ndarray, distance: float) -> np.ndarray:
    return polygon + np.array([distance, 0.0])


def _bevelled(length: float, width: float, bevel: float) -> np.ndarray:
    x, y, b = length / 2, width / 2, bevel
    return np.array([[x - b, -y], [x, -y + b], [x, y - b], [x - b, y],
                     [b - x, y], [-x, y - b], [-x, b - y], [b - x, -y]])  # fmt: skip


def _ellipse(length: float, width: float, count: int = 12) -> np.ndarray:
    turn = np.arange(count) * (2 * math.pi / count)
    return np.stack([np.cos(turn) * length / 2, np.sin(turn) * width / 2], axis=1)


_HULL = np.array([(-0.5, -0.38), (-0.45, -0.5), (0.1, -0.5), (0.34, -0.33), (0.5, 0),
                  (0.34, 0.33), (0.1, 0.5), (-0.45, 0.5), (-0.5, 0.38)])  # fmt: skip
_PAINT: tuple[Colour, ...] = (
    (235, 235, 235), (200, 200, 205), (60, 55, 55), (150, 60, 45), (50, 50, 190), (60, 150, 70),
    (70, 190, 220), (190, 150, 60),
)  # fmt: skip
_CAR_PAINT = (*_PAINT, *_PAINT[:3], (90, 60, 50), (150, 185, 200), (165, 165, 170), (70, 70, 130))


def boat(rng: Random, length: float) -> Sprite:
    """A motor boat: white hull with a pointed bow, wooden deck, dark windscreen."""
    width = length * rng.uniform(0.32, 0.4)
    hull = _pick(rng, ((240, 240, 238), (225, 228, 232), (205, 215, 225)))
    deck = _pick(rng, ((120, 165, 200), (185, 195, 205), (150, 120, 90), (205, 205, 200)))
    scale = np.array([length, width])
    details = [(_HULL * scale * (0.84, 0.7), deck)]
    x = length * rng.uniform(-0.12, 0.02)
    cabin = _rect(x - length * 0.14, -width * 0.28, x + length * 0.12, width * 0.28)
    details += [(_ahead(cabin, length * 0.05), (70, 50, 40)), (cabin, (250, 250, 250))]
    return Sprite("ship", length, width, 2.0, [(_HULL * scale, hull)], details)


def freighter(rng: Random, length: float) -> Sprite:
    """A cargo ship: coloured hull, hatches or containers, a white bridge near the stern."""
    width = length * rng.uniform(0.2, 0.28)
    hull = _pick(rng, ((45, 45, 60), (40, 40, 130), (95, 60, 40), (60, 75, 60)))
    scale = np.array([length, width])
    details = [(_HULL * scale * (0.93, 0.8), _pick(rng, ((90, 100, 150), (120, 125, 120))))]
    count, boxes = max(2, int(length / 14)), rng.rand() < 0.6
    edges = np.linspace(-0.2, 0.28, count + 1) * length
    for x0, x1 in pairwise(edges):
        colour = _pick(rng, _PAINT) if boxes else (165, 180, 185)
        details.append((_rect(x0, -width * 0.32, x1 - 1.5, width * 0.32), colour))
    bridge = _rect(-0.4 * length, -width * 0.42, -0.25 * length, width * 0.42)
    details += [(bridge, (240, 240, 240)), (bridge * (0.9, 0.5), (150, 150, 155))]
    return Sprite("ship", length, width, 4.0, [(_HULL * scale, hull)], details)


def plane(rng: Random, length: float) -> Sprite:
    """An aircraft: fuselage with a nose, swept or straight wings, tail, engines."""
    jet = rng.rand() < 0.7
    width = length * (rng.uniform(0.85, 1.0) if jet else rng.uniform(1.0, 1.15))
    paint = _pick(rng, ((240, 240, 240), (225, 225, 230), (205, 210, 215), (190, 175, 160)))
    accent = _pick(rng, ((170, 80, 40), (50, 50, 180), (90, 90, 90), (60, 150, 200)))
    sweep, chord = (0.2, 0.16) if jet else (0.02, 0.15)
    root, girth = (0.14, 0.055) if jet else (0.2, 0.06)
    fuselage = np.array([(0.5, 0), (0.46, 0.6), (0.38, 1), (-0.3, 1), (-0.5, 0.3),
                         (-0.5, -0.3), (-0.3, -1), (0.38, -1), (0.46, -0.6)])  # fmt: skip
    wing = np.array([(root, 0), (root - sweep, 0.5), (root - sweep - 0.07, 0.5), (root - chord, 0)])
    tail = np.array([(-0.34, 0), (-0.42, 0.2), (-0.49, 0.2), (-0.47, 0)])
    size, mirror = np.array([length, width]), np.array([1, -1])
    body = [(fuselage * (length, girth * length), paint)]
    for side in (1, mirror):
        body.insert(0, (wing * size * side, _shade(paint, 0.9)))
        body.insert(0, (tail * size * side, accent))
    details = [(_rect(-0.5, -0.02, -0.33, 0.02) * length, accent),
               (_rect(0.4, -0.03, 0.44, 0.03) * length, (60, 50, 45))]  # fmt: skip
    if jet:
        for side in (1, mirror):
            engine = _rect(0.02, 0.15, 0.13, 0.21) * length
            body.append((engine * side, _shade(paint, 0.62)))
    else:
        details.append((_rect(0.12, -0.05, 0.2, 0.05) * length, (60, 50, 45)))
    return Sprite("plane", length, width, 3.0, body, details)


def car(rng: Random, length: float) -> Sprite:
    """A car: bevelled body, dark windscreen and rear window around a roof."""
    width = length * rng.uniform(0.46, 0.52)
    paint, glass = _pick(rng, _CAR_PAINT), (55, 45, 40)
    if sum(paint) < 250:
        glass = (175, 160, 145)  # reflecting, else it would not show on a dark car
    x, y = length / 2, width / 2
    screen = np.array([(0.5, -0.8), (0.5, 0.8), (0.16, 0.62), (0.16, -0.62)]) * (x, y)
    rear = np.array([(-0.78, -0.72), (-0.56, -0.6), (-0.56, 0.6), (-0.78, 0.72)]) * (x, y)
    roof = _rect(-0.52, -0.62, 0.16, 0.62) * (x, y)
    details = [(screen, glass), (rear, glass), (roof, _shade(paint, 1.12))]
    return Sprite("vehicle", length, width, 1.8, [(_bevelled(length, width, 1.6), paint)], details)


def lorry(rng: Random, length: float) -> Sprite:
    """A lorry: cab with windscreen, a gap, a long box."""
    width = max(9.0, length * rng.uniform(0.27, 0.32))
    x, y = length / 2, width / 2
    cab, load = _pick(rng, _PAINT), _pick(rng, _PAINT[:2] + _PAINT[5:])
    body = [
        (_rect(-x, -y, x - 0.24 * length, y), load),
        (_ahead(_bevelled(0.2 * length, width * 0.94, 1.2), 0.4 * length), cab),
        (_rect(x - 0.26 * length, -y * 0.4, x - 0.18 * length, y * 0.4), (50, 50, 50)),
    ]
    details = [
        (_rect(0.38 * length, -y * 0.75, 0.44 * length, y * 0.75), (55, 45, 40)),
        (_rect(-x + 1.5, -0.7, x - 0.24 * length - 1.5, 0.7), _shade(load, 0.85)),
    ]
    return Sprite("vehicle", length, width, 3.0, body, details)


def pier(rng: Random, length: float) -> Sprite:
    """A landing stage: planks between two beams."""
    width = rng.uniform(10, 14)
    wood = _pick(rng, ((120, 150, 175), (150, 165, 175), (100, 130, 160)))
    x, y = length / 2, width / 2
    details = [(_rect(-x + 1, -y + 1.5, x - 1, y - 1.5), wood)]
    for at in np.arange(-x + 4, x - 2, 5.0):
        details.append((_rect(at, -y + 1.5, at + 1, y - 1.5), _shade(wood, 0.78)))
    return Sprite("harbor", length, width, 2.0, [(_rect(-x, -y, x, y), _shade(wood, 0.6))], details)


def roof(rng: Random, length: float, width: float) -> Sprite:
    """A house: two halves of a roof, unlike in brightness."""
    tile = _pick(rng, ((75, 95, 165), (90, 100, 120), (110, 115, 120), (95, 120, 170)))
    x, y = length / 2, width / 2
    body = [(_rect(-x, -y, x, 0), _shade(tile, 1.15)), (_rect(-x, 0, x, y), _shade(tile, 0.82))]
    return Sprite(None, length, width, 6.0, body)


def flat_roof(rng: Random, length: float, width: float) -> Sprite:
    """A hall with a flat roof and what stands upon it."""
    grey = rng.uniform(140, 205)
    x, y = length / 2, width / 2
    details = [(_rect(1.5 - x, 1.5 - y, x - 1.5, y - 1.5), (grey, grey, grey * 0.98))]
    for _ in range(rng.randint(2, 6)):
        at = rng.uniform(-0.7, 0.7, 2) * (x, y)
        size = rng.uniform(2, 5, 2)
        details.append((_rect(-size[0], -size[1], *size) / 2 + at, _shade((grey,) * 3, 0.7)))
    return Sprite(None, length, width, 7.0, [(_rect(-x, -y, x, y), (grey * 0.75,) * 3)], details)


def container(rng: Random) -> Sprite:
    """A plain box of a vehicle's size: clutter."""
    length, width = rng.uniform(14, 24), rng.uniform(7, 9)
    paint = _shade(_pick(rng, _PAINT), 0.85)
    x, y = length / 2, width / 2
    ribs = [(_rect(at, -y, at + 0.8, y), _shade(paint, 0.8)) for at in np.arange(3 - x, x - 2, 3.0)]
    return Sprite(None, length, width, 3.0, [(_rect(-x, -y, x, y), paint)], ribs)


def tree(rng: Random) -> Sprite:
    """A round crown, lit on one side."""
    size = rng.uniform(7, 16)
    green = _shade((50, 95, 62), rng.uniform(0.7, 1.15))
    lit = _ellipse(size * 0.55, size * 0.5, 8) + rng.uniform(-0.12, 0.12, 2) * size
    crown = [(_ellipse(size, size, 10), green)]
    return Sprite(None, size, size, 3.5, crown, [(lit, _shade(green, 1.25))])


def rock(rng: Random, length: float) -> Sprite:
    """A stone or islet, long as a boat but blunt: clutter."""
    width = length * rng.uniform(0.35, 0.8)
    outline = _ellipse(length, width, 9) * rng.uniform(0.88, 1.0, (9, 1))
    grey = _shade((105, 120, 128), rng.uniform(0.75, 1.2))
    top = (outline * 0.6 - 0.8, _shade(grey, 1.2))
    return Sprite(None, length, width, 2.0, [(outline, grey)], [top])


def cross(rng: Random, length: float) -> Sprite:
    """A painted or paved cross, as large as a plane: clutter."""
    arm = length * rng.uniform(0.06, 0.1)
    paint = _pick(rng, ((215, 215, 215), (90, 190, 215), (130, 135, 140)))
    x = length / 2
    bars = [(_rect(-x, -arm, x, arm), paint), (_rect(-arm, -x, arm, x), paint)]
    return Sprite(None, length, length, 0.0, bars)


# ---------------------------------------------------------------------------------------------
# A scene: ground first, then what stands on it


class Scene:
    """An image in the making. Layouts paint its ground and `put` sprites; `render` draws them."""

    def __init__(self, rng: Random, size: int = SIZE, objects: bool = True):
        self.rng, self.size, self.objects = rng, size, objects
        self.image = np.zeros((size, size, 3), np.float32)
        turn = rng.uniform(0, 2 * math.pi)
        self.sun = np.array([math.cos(turn), math.sin(turn)]) * rng.uniform(0.7, 1.1)
        self.standing: list[tuple[float, float, float, np.ndarray]] = []  # x, y, radius, box
        self.items: list[tuple[Sprite, np.ndarray, float]] = []
        self.labels: list[tuple[np.ndarray, str, int]] = []

    def paint(
        self,
        polygon: np.ndarray,
        colour: Colour | np.ndarray,
        opacity: float | np.ndarray = 1.0,
    ) -> None:
        """Blend a colour into a convex polygon [K, 2].

        Either may vary over the image: `colour` [size, size, 3], `opacity` [size, size].
        """
        covered = coverage(polygon, self.size)
        if covered is not None:
            window, alpha = covered
            paint = colour[window] if np.ndim(colour) == 3 else np.asarray(colour, np.float32)
            alpha = alpha * (opacity[window] if np.ndim(opacity) == 2 else np.float32(opacity))
            patch = self.image[window]
            patch += alpha[..., None] * (paint - patch)

    def ground(self, colour: Colour, mottled: float, rough: float, stretch: float = 1.0):
        """A textured surface [size, size, 3]."""
        rng = self.rng
        patches = mottled * value_noise(rng, self.size, (60, 60))
        light = 0.6 * mottled * value_noise(rng, self.size, (19, 19))
        light += rough * value_noise(rng, self.size, (4.3 * stretch, 4.3)) + 0.85 * patches
        tint = 0.35 * patches
        blue, green, red = colour
        return np.stack([blue + light - tint, green + light + 0.3 * tint, red + light + tint], -1)

    def put(
        self, sprite: Sprite, center: Sequence[float], heading: float, gap: float = 1.5
    ) -> bool:
        """Stand a sprite in the scene; False where there is no room or too little would show."""
        if sprite.kind is not None and not self.objects:
            return False
        (x, y), radius = center, math.hypot(sprite.length, sprite.width) / 2
        if min(x, y) < -radius or max(x, y) > self.size + radius:
            return False
        box = box_corners(center, sprite.length, sprite.width, heading)
        inside = clip_to_image(box, self.size)
        share = polygon_area(inside) / polygon_area(box) if len(inside) else 0.0
        least = MIN_DRAWN if sprite.kind is not None else 1e-6
        near = [b for u, v, r, b in self.standing if math.hypot(u - x, v - y) < r + radius + gap]
        if share < least or overlap_any(box, near, gap):
            return False
        self.standing.append((x, y, radius, box))
        self.items.append((sprite, np.asarray(center, float), heading))
        if sprite.kind is not None:
            # What is cut off is labelled as a detector is taught it: by the part that shows.
            corners = box if share > 1 - 1e-9 else fitted_rectangle(inside)
            self.labels.append((corners, sprite.kind, 0 if share >= MIN_VISIBLE else CUT_OFF))
        return True

    def scatter(
        self,
        make: Callable[[], Sprite],
        count: int,
        inside: np.ndarray | None = None,
        heading: float | None = None,
        gap: float = 3.0,
    ) -> None:
        """Put up to `count` sprites at random places of a rectangle [4, 2] (default: anywhere)."""
        if inside is None:
            inside = _rect(-5, -5, self.size + 5, self.size + 5)
        for _ in range(count):
            sprite = make()
            turn = self.rng.uniform(0, 2 * math.pi) if heading is None else heading
            for _ in range(4):
                u, v = self.rng.rand(2)
                spot = inside[0] + u * (inside[1] - inside[0]) + v * (inside[3] - inside[0])
                if self.put(sprite, spot, turn, gap):
                    break

    def render(self) -> np.ndarray:
        """The finished image [size, size, 3] uint8, BGR."""
        for sprite, center, heading in self.items:
            if sprite.height:
                for polygon, _ in sprite.body:
                    shadow = place(polygon, center + self.sun * sprite.height, heading)
                    self.paint(shadow, (35, 30, 25), 0.42)
        for sprite, center, heading in self.items:
            for polygon, colour in sprite.body + sprite.details:
                self.paint(place(polygon, center, heading), colour)
        light = self.rng.uniform(0.85, 1.08) + 0.05 * value_noise(self.rng, self.size, (120, 120))
        grain = self.rng.uniform(-5, 5, (self.size, self.size, 1)).astype(np.float32)
        return np.clip(self.image * light[..., None] + grain + 0.5, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Axes:
    """A turned frame of a scene: u along a coast, road or row, v across it, `center` at (0, 0)."""

    center: tuple[float, float]
    heading: float

    @classmethod
    def random(cls, scene: Scene) -> Axes:
        center = scene.size / 2 + scene.rng.uniform(-20, 20, 2)
        return cls(tuple(center), scene.rng.uniform(0, 2 * math.pi))

    def point(self, u: float, v: float) -> np.ndarray:
        return place(np.array([[u, v]]), self.center, self.heading)[0]

    def strip(self, u0: float, v0: float, u1: float, v1: float) -> np.ndarray:
        return place(_rect(u0, v0, u1, v1), self.center, self.heading)


FAR = 400.0  # beyond every corner of an image, seen from any origin of axes
REACH = 175.0  # as far along the axes as things are put: most of it shows


def _water(scene: Scene) -> None:
    colour = _pick(scene.rng, ((112, 92, 48), (122, 108, 66), (98, 84, 58), (128, 100, 40)))
    scene.image[:] = scene.ground(colour, 8, 7, stretch=2.2)


def _land(scene: Scene) -> np.ndarray:
    colour = _pick(scene.rng, ((72, 120, 98), (85, 135, 120), (80, 110, 95), (105, 140, 150)))
    return scene.ground(colour, 13, 12)


def _tarmac(scene: Scene) -> np.ndarray:
    grey = scene.rng.uniform(88, 128)
    return scene.ground((grey, grey, grey * 0.98), 7, 6)


_CROPS = np.float32([(70, 125, 95), (95, 160, 165), (75, 110, 130), (90, 150, 120)])


def _fields(scene: Scene) -> None:
    """A patchwork of fields, some with furrows."""
    rng, axes = scene.rng, Axes.random(scene)
    scene.image[:] = _land(scene)
    relief = scene.ground((0, 0, 0), 7, 8)
    u = -200.0
    while u < 200:
        wide, v = rng.uniform(70, 130), rng.uniform(-260, -200)
        while v < 200:
            tall = rng.uniform(80, 170)
            parcel = axes.strip(u + 1.5, v + 1.5, u + wide - 1.5, v + tall - 1.5)
            if coverage(parcel, scene.size) is not None:
                surface = relief + _pick(rng, _CROPS)
                if rng.rand() < 0.6:
                    surface += _furrows(scene, axes.heading + _pick(rng, (0, math.pi / 2)))
                scene.paint(parcel, surface)
            v += tall
        u += wide


def _furrows(scene: Scene, heading: float) -> np.ndarray:
    """Brightness [size, size, 1] of ploughed stripes across `heading`."""
    rate, depth = 2 * math.pi / scene.rng.uniform(5, 9), scene.rng.uniform(3, 8)
    middle = rate * (np.arange(scene.size, dtype=np.float32) + 0.5)
    wave = middle * math.cos(heading) + (middle * math.sin(heading))[:, None]
    return depth * np.sin(wave)[..., None]


def _road(scene: Scene, axes: Axes, v: float, width: float) -> None:
    """A road along u with edge lines and a dashed middle."""
    scene.paint(axes.strip(-FAR, v - width / 2 - 3, FAR, v + width / 2 + 3), (110, 135, 140), 0.7)
    scene.paint(axes.strip(-FAR, v - width / 2, FAR, v + width / 2), _tarmac(scene))
    for side in (-1, 1):
        at = v + side * (width / 2 - 1.5)
        scene.paint(axes.strip(-FAR, at - 0.5, FAR, at + 0.5), (205, 210, 210), 0.8)
    for u in np.arange(-190, 190, 16.0):
        scene.paint(axes.strip(u, v - 0.5, u + 8, v + 0.5), (210, 215, 215), 0.9)


def _foam(scene: Scene) -> np.ndarray:
    """Opacity [size, size] of broken foam."""
    patches = value_noise(scene.rng, scene.size, (6.5, 6.5))
    return np.clip(0.4 + 0.5 * patches + 0.4 * value_noise(scene.rng, scene.size, (2.2, 2.2)), 0, 1)


def _wake(
    scene: Scene,
    foam: np.ndarray,
    center: Sequence[float],
    heading: float,
    length: float,
    width: float,
) -> None:
    """Foam behind a moving ship: a broad tail and two arms that spread and fade."""
    white, scale = (222, 222, 212), np.array([length, width])
    for reach in (0.8, 1.3, 1.9):
        tail = np.array([(-0.3, -0.4), (-0.4 - reach, -0.15), (-0.4 - reach, 0.15), (-0.3, 0.4)])
        scene.paint(place(tail * scale, center, heading), white, 0.5 * foam)
    for reach in (0.3, 0.7, 1.2):
        for side in (-1, 1):
            out = 0.75 + 0.6 * reach
            arm = np.array([(0.3, 0.35), (0.0, 0.6), (-reach, out), (-reach, out - 0.3)])
            scene.paint(place(arm * scale * (1, side), center, heading), white, 0.4 * foam)


def _sailing(scene: Scene, count: int, fits: Callable[[np.ndarray, float], bool]) -> None:
    """Ships under way at places that `fits(center, length)` allows."""
    rng, foam = scene.rng, _foam(scene)
    for _ in range(count):
        large = rng.rand() < 0.4
        sprite = freighter(rng, rng.uniform(46, 88)) if large else boat(rng, rng.uniform(20, 38))
        for _ in range(6):
            center, heading = rng.uniform(0, scene.size, 2), rng.uniform(0, 2 * math.pi)
            if fits(center, sprite.length) and scene.put(sprite, center, heading, gap=4):
                if rng.rand() < 0.7:
                    _wake(scene, foam, center, heading, sprite.length, sprite.width)
                break


def _halls(scene: Scene, axes: Axes, v0: float, v1: float, count: int) -> None:
    """Large flat roofs between v0 and v1, parallel to the axes."""
    rng, beside = scene.rng, axes.strip(-REACH, v0, REACH, v1)
    scene.scatter(
        lambda: flat_roof(rng, rng.uniform(38, 76), rng.uniform(25, 44)),
        count, beside, axes.heading, gap=6,
    )  # fmt: skip


def _houses(scene: Scene, axes: Axes, v0: float, v1: float, count: int) -> None:
    """Houses between v0 and v1, parallel to the axes."""
    rng, beside = scene.rng, axes.strip(-REACH, v0, REACH, v1)
    scene.scatter(
        lambda: roof(rng, rng.uniform(22, 46), rng.uniform(15, 27)),
        count, beside, axes.heading, gap=5,
    )  # fmt: skip


def harbour(scene: Scene) -> None:
    """A coast with a quay, piers and boats moored side by side."""
    rng, axes = scene.rng, Axes.random(scene)
    _water(scene)
    coast = rng.uniform(-70, -15)
    moored, taken = rng.uniform(21, 33), rng.uniform(0.2, 0.8)
    for u in np.arange(-170 + rng.uniform(0, 60), 170, 2 * moored + rng.uniform(20, 40)):
        if rng.rand() < 0.15:
            continue
        stage = pier(rng, rng.uniform(52, 90))
        v = coast + 3 + stage.length / 2
        if not scene.put(stage, axes.point(u, v), axes.heading + math.pi / 2):
            continue
        for side in (-1, 1):
            at = v - stage.length / 2 + rng.uniform(6, 12)
            while at < v + stage.length / 2 - 4:
                vessel = boat(rng, moored * rng.uniform(0.85, 1.0))
                if rng.rand() < taken:
                    bow = axes.heading + math.pi * ((side > 0) == (rng.rand() < 0.8))
                    off = side * (stage.width / 2 + vessel.length / 2 + 2)
                    scene.put(vessel, axes.point(u + off, at + vessel.width / 2), bow, gap=1.2)
                at += vessel.width + rng.uniform(1.5, 3)
    normal = axes.point(0, 1) - axes.point(0, 0)
    origin = axes.point(0, coast)
    _sailing(scene, rng.randint(0, 4), lambda c, size: (c - origin) @ normal > size * 0.6 + 6)
    scene.paint(axes.strip(-FAR, -FAR, FAR, coast + 5), (160, 190, 200), 0.8)
    scene.paint(axes.strip(-FAR, -FAR, FAR, coast), _land(scene))
    scene.paint(axes.strip(-FAR, coast - 22, FAR, coast), scene.ground((150, 158, 160), 6, 6))
    scene.paint(axes.strip(-FAR, coast - 1.5, FAR, coast), (95, 100, 105))
    along = axes.heading
    quay = axes.strip(-REACH, coast - 16, REACH, coast - 7)
    scene.scatter(lambda: container(rng), rng.randint(2, 9), quay, along)
    scene.scatter(lambda: car(rng, rng.uniform(16, 22)), rng.randint(0, 5), quay, along)
    _houses(scene, axes, coast - 140, coast - 40, 7)
    scene.scatter(lambda: tree(rng), 14, axes.strip(-REACH, coast - 140, REACH, coast - 30))
    sea = axes.strip(-REACH, coast + 15, REACH, 150)
    scene.scatter(lambda: rock(rng, rng.uniform(8, 22)), 3, sea)


def open_water(scene: Scene) -> None:
    """Ships under way between rocks, and foam without a ship."""
    rng = scene.rng
    _water(scene)
    foam = _foam(scene)
    for _ in range(rng.randint(2, 7)):  # crests and streaks, as long as ships
        length, heading = rng.uniform(15, 60), rng.uniform(0, 2 * math.pi)
        spot = rng.uniform(0, scene.size, 2)
        for part in (1.0, 0.6):
            streak = _ellipse(length * part, length * rng.uniform(0.12, 0.3) * part)
            scene.paint(place(streak, spot, heading), (222, 222, 212), 0.7 * foam)
    if scene.objects:
        _sailing(scene, rng.randint(3, 9), lambda center, size: True)
    scene.scatter(lambda: rock(rng, rng.uniform(10, 46)), rng.randint(3, 9), gap=5)


def car_park(scene: Scene) -> None:
    """Rows of parked cars with marked bays between roofs and trees."""
    rng, axes = scene.rng, Axes.random(scene)
    scene.image[:] = _land(scene)
    half_u, half_v = rng.uniform(60, 105), rng.uniform(36, 75)
    scene.paint(axes.strip(-half_u - 6, -half_v - 6, half_u + 6, half_v + 6), (140, 150, 150))
    scene.paint(axes.strip(-half_u - 4, -half_v - 4, half_u + 4, half_v + 4), _tarmac(scene))
    size, filled = rng.uniform(17, 24), rng.uniform(0.25, 0.65)
    bay = size * 0.52 + rng.uniform(2.5, 4)
    v = -half_v + size / 2
    row = 0
    while v < half_v - size / 2 + 2:
        for u in np.arange(-half_u + bay, half_u - bay / 2, bay):
            left, tall = u - bay / 2, size * 0.55
            line = axes.strip(left - 0.5, v - tall, left + 0.5, v + tall)
            scene.paint(line, (200, 205, 205), 0.7)
            if rng.rand() < filled:
                heading = axes.heading + math.pi * (rng.randint(2) + 0.5)
                vehicle = car(rng, size * rng.uniform(0.88, 1.0))
                scene.put(vehicle, axes.point(u, v + rng.uniform(-1, 1)), heading, gap=0.8)
        v += size + (3 if row % 2 == 0 else size * 1.1)
        row += 1
    for v0, v1 in ((-REACH, -half_v - 14), (half_v + 14, REACH)):
        away = math.copysign(12, v0)
        _halls(scene, axes, v0 + away, v1 + away, 2)
        _houses(scene, axes, v0, v1, 3)
        beside = axes.strip(-REACH, v0, REACH, v1)
        scene.scatter(lambda: container(rng), rng.randint(0, 4), beside)
        scene.scatter(lambda: tree(rng), 10, beside)


def countryside(scene: Scene) -> None:
    """Fields with one or two roads: cars and lorries in their lanes, farms, hay, trees."""
    rng, axes = scene.rng, Axes.random(scene)
    _fields(scene)
    roads = [rng.uniform(-40, 40)]
    if rng.rand() < 0.35:
        roads.append(roads[0] + rng.uniform(65, 90))
    for v in roads:
        width = rng.uniform(32, 38)
        _road(scene, axes, v, width)
        for lane in (-1, 1):
            u = -180 + rng.uniform(0, 40)
            while u < 180:
                long = rng.rand() < 0.3
                sprite = lorry(rng, rng.uniform(32, 46)) if long else car(rng, rng.uniform(17, 24))
                across = v + lane * width / 4 + rng.uniform(-0.8, 0.8)
                center = axes.point(u + sprite.length / 2, across)
                heading = axes.heading + (0 if lane > 0 else math.pi) + rng.uniform(-0.04, 0.04)
                scene.put(sprite, center, heading)
                u += sprite.length + rng.uniform(6, 90)
    edges = [-REACH, *roads, REACH]
    for v0, v1 in pairwise(edges):
        _houses(scene, axes, v0 + 34, v1 - 34, 3)
        beside = axes.strip(-REACH, v0 + 32, REACH, v1 - 32)
        scene.scatter(lambda: container(rng), rng.randint(0, 4), beside)
        scene.scatter(lambda: rock(rng, rng.uniform(7, 15)), rng.randint(0, 5), beside)
        scene.scatter(lambda: tree(rng), 12, beside)


def airfield(scene: Scene) -> None:
    """An apron with parked aircraft, a taxiway, halls, painted crosses, service vehicles."""
    rng, axes = scene.rng, Axes.random(scene)
    scene.image[:] = _land(scene)
    top, bottom = rng.uniform(-95, -50), rng.uniform(60, 110)
    grey = rng.uniform(150, 185)
    scene.paint(axes.strip(-FAR, top, FAR, bottom), scene.ground((grey, grey, grey), 7, 4))
    for u in np.arange(-180, 180, 24.0):
        scene.paint(axes.strip(u, top, u + 0.8, bottom), (110, 112, 115), 0.45)
    scene.paint(axes.strip(-FAR, bottom - 16, FAR, bottom - 14.5), (70, 190, 215), 0.8)
    size, u = rng.uniform(34, 62), -170 + rng.uniform(0, 40)
    facing = axes.heading - math.pi / 2 + rng.uniform(-0.3, 0.3)
    while u < 170:
        if rng.rand() < 0.85:
            craft = plane(rng, size * rng.uniform(0.85, 1.0))
            at = axes.point(u, top + 8 + craft.length / 2)
            lead_in = axes.strip(u - 0.6, top + craft.length, u + 0.6, bottom - 15)
            scene.paint(lead_in, (70, 190, 215), 0.7)
            scene.put(craft, at, facing)
        u += size * 1.1 + rng.uniform(2, 22)
    apron = axes.strip(-150, top + 8, 150, bottom - 20)
    scene.scatter(lambda: plane(rng, rng.uniform(26, 48)), rng.randint(1, 6), apron, gap=4)
    scene.scatter(lambda: car(rng, rng.uniform(16, 21)), rng.randint(0, 4), apron)
    scene.scatter(lambda: lorry(rng, rng.uniform(30, 38)), rng.randint(0, 2), apron)
    scene.scatter(lambda: container(rng), rng.randint(0, 3), apron)
    scene.scatter(lambda: cross(rng, rng.uniform(22, 40)), rng.randint(0, 3))
    for v0, v1 in ((-REACH, top - 8), (bottom + 8, REACH)):
        away = math.copysign(16, v0)
        _halls(scene, axes, v0 + away, v1 + away, 2)
        scene.scatter(lambda: tree(rng), 8, axes.strip(-REACH, v0, REACH, v1))


LAYOUTS = (  # and their shares of the images
    (harbour, 0.24), (open_water, 0.16), (car_park, 0.17), (countryside, 0.19), (airfield, 0.24),
)  # fmt: skip
WITHOUT_OBJECTS = 0.08  # share of the images


def draw_scene(sequence: np.random.SeedSequence) -> tuple[np.ndarray, list]:
    """One image [SIZE, SIZE, 3] uint8 BGR and its labels (corners [4, 2], class, difficulty)."""
    rng = np.random.RandomState(np.random.MT19937(sequence))
    layouts, weights = zip(*LAYOUTS, strict=True)
    layout = layouts[int(np.searchsorted(np.cumsum(weights), rng.rand() * sum(weights)))]
    scene = Scene(rng, objects=rng.rand() >= WITHOUT_OBJECTS)
    layout(scene)
    return scene.render(), scene.labels


# ---------------------------------------------------------------------------------------------
# The folder


def make_sample(root: Path, seed: int = 0) -> Path:
    """Make the sample set in `root` unless it is there already, and return `root`.

    The set is made beside `root` and renamed, so a run that is killed leaves no half of a set
    at `root`. A set of another seed or version is replaced.

    Raises `InputError` where `root` exists and was not made by this function (it is left as it
    is), `OSError` where it cannot be written.
    """
    root = Path(root)
    stamp = {"made_by": MADE_BY, "version": VERSION, "seed": int(seed)}
    _sweep(root)
    found = _read_stamp(root)
    if found == stamp and _is_complete(root):
        return root
    if found is None and (root.is_file() or (root.is_dir() and any(root.iterdir()))):
        raise InputError(
            f"{root} exists but is not a sample set (it holds no {STAMP}); nothing was changed. "
            "Move it away, start from another folder, or name your own data with --data_dir."
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{root.name}.partial-", dir=root.parent))
    try:
        logger.info("drawing the sample set in %s", root)
        _write_set(work / "set", seed)
        (work / "set" / STAMP).write_text(json.dumps(stamp) + "\n")
        _swap_in(work, root, stamp)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return root


def _write_set(folder: Path, seed: int) -> None:
    (folder / "images").mkdir(parents=True)
    (folder / "labelTxt").mkdir()
    _write_lines(folder / "classes.txt", CLASSES)
    per_split = np.random.SeedSequence(seed).spawn(len(SPLITS))
    with tqdm(total=sum(SPLITS.values()), desc="sample set", unit="image", disable=None) as bar:
        for (split, count), split_seed in zip(SPLITS.items(), per_split, strict=True):
            ids = [f"{split}_{index:03d}" for index in range(count)]
            for image_id, scene_seed in zip(ids, split_seed.spawn(count), strict=True):
                image, labels = draw_scene(scene_seed)
                png = cv2.imencode(".png", image)[1]
                (folder / "images" / f"{image_id}.png").write_bytes(png.tobytes())
                lines = [_label_line(*label) for label in labels]
                header = ["imagesource:drawn", "gsd:null"]
                _write_lines(folder / "labelTxt" / f"{image_id}.txt", header + lines)
                bar.update()
            _write_lines(folder / f"{split}.txt", ids)


def _label_line(corners: np.ndarray, name: str, difficulty: int) -> str:
    rounded = np.round(corners.ravel(), 2) + 0.0  # no "-0.00"
    return " ".join(f"{value:.2f}" for value in rounded) + f" {name} {difficulty}"


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())


def _read_stamp(root: Path) -> dict | None:
    """What a set of ours says about itself; None for anything else."""
    try:
        stamp = json.loads((root / STAMP).read_text())
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) and stamp.get("made_by") == MADE_BY else None


def _is_complete(root: Path) -> bool:
    """Whether a set of ours still has its files (someone may have tidied up)."""
    count = sum(SPLITS.values())
    lists = [root / f"{name}.txt" for name in (*SPLITS, "classes")]
    return all(path.is_file() for path in lists) and all(
        sum(1 for _ in (root / folder).glob(pattern)) >= count
        for folder, pattern in (("images", "*.png"), ("labelTxt", "*.txt"))
    )


def _swap_in(work: Path, root: Path, stamp: dict) -> None:
    """Rename the finished set to `root`; an older set of ours moves out of the way first."""
    try:
        found = _read_stamp(root)
        if found is not None and not (found == stamp and _is_complete(root)):
            root.rename(work / "replaced")
        elif found is None and root.is_dir():
            root.rmdir()  # it was empty
        (work / "set").rename(root)
    except OSError:
        if not (_read_stamp(root) == stamp and _is_complete(root)):
            raise  # else another process was faster, with the same set


def _sweep(root: Path, idle_seconds: float = 60.0) -> None:
    """Delete what killed runs left beside `root`; a run at work adds an image every moment."""
    for left in root.parent.glob(f"{glob.escape(root.name)}.partial-*"):
        with contextlib.suppress(FileNotFoundError):  # its owner has just finished
            folders = [path for path in (left, left / "set" / "images") if path.is_dir()]
            touched = max((path.stat().st_mtime for path in folders), default=math.inf)
            if time.time() - touched > idle_seconds:
                shutil.rmtree(left, ignore_errors=True)

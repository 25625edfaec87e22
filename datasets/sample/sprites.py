"""Sprites of the sample set: objects of each class, and clutter that resembles them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from datasets.sample.raster import Random, ellipse, rectangle

Color = tuple[float, float, float]  # blue, green, red, 0 to 255


@dataclass(frozen=True)
class Sprite:
    """An object seen from above, in its own frame (layout units, center of its box at 0).

    Attributes:
        kind: Class name; None for clutter.
        length: Length of its box, along x.
        width: Width of its box, along y.
        height: Height, which determines the length of its shadow.
        body: Convex polygons of the silhouette, with colors.
        details: Convex polygons drawn on top of the body.
    """

    kind: str | None
    length: float
    width: float
    height: float
    body: list[tuple[np.ndarray, Color]]
    details: list[tuple[np.ndarray, Color]] = field(default_factory=list)


def pick(rng: Random, options: Sequence):
    """Choose one of the options at random."""
    return options[rng.randint(len(options))]


def shade(color: Color, factor: float) -> Color:
    """Make a color darker or brighter by a factor."""
    return tuple(min(255.0, channel * factor) for channel in color)


def move_ahead(polygon: np.ndarray, distance: float) -> np.ndarray:
    """Move a polygon along x."""
    return polygon + np.array([distance, 0.0])


def beveled(length: float, width: float, bevel: float) -> np.ndarray:
    """Return a rectangle with beveled corners, [8, 2]."""
    x, y, b = length / 2, width / 2, bevel
    return np.array([[x - b, -y], [x, -y + b], [x, y - b], [x - b, y],
                     [b - x, y], [-x, y - b], [-x, b - y], [b - x, -y]])  # fmt: skip


_HULL = np.array([(-0.5, -0.38), (-0.45, -0.5), (0.1, -0.5), (0.34, -0.33), (0.5, 0),
                  (0.34, 0.33), (0.1, 0.5), (-0.45, 0.5), (-0.5, 0.38)])  # fmt: skip
_PAINT: tuple[Color, ...] = (
    (235, 235, 235), (200, 200, 205), (60, 55, 55), (150, 60, 45), (50, 50, 190), (60, 150, 70),
    (70, 190, 220), (190, 150, 60),
)  # fmt: skip
_CAR_PAINT = (*_PAINT, *_PAINT[:3], (90, 60, 50), (150, 185, 200), (165, 165, 170), (70, 70, 130))


def boat(rng: Random, length: float) -> Sprite:
    """A motor boat: white hull with a pointed bow, wooden deck, dark windscreen."""
    width = length * rng.uniform(0.32, 0.4)
    hull = pick(rng, ((240, 240, 238), (225, 228, 232), (205, 215, 225)))
    deck = pick(rng, ((120, 165, 200), (185, 195, 205), (150, 120, 90), (205, 205, 200)))
    scale = np.array([length, width])
    details = [(_HULL * scale * (0.84, 0.7), deck)]
    x = length * rng.uniform(-0.12, 0.02)
    cabin = rectangle(x - length * 0.14, -width * 0.28, x + length * 0.12, width * 0.28)
    details += [(move_ahead(cabin, length * 0.05), (70, 50, 40)), (cabin, (250, 250, 250))]
    return Sprite("ship", length, width, 2.0, [(_HULL * scale, hull)], details)


def freighter(rng: Random, length: float) -> Sprite:
    """A cargo ship: colored hull, hatches or containers, a white bridge near the stern."""
    width = length * rng.uniform(0.2, 0.28)
    hull = pick(rng, ((45, 45, 60), (40, 40, 130), (95, 60, 40), (60, 75, 60)))
    scale = np.array([length, width])
    details = [(_HULL * scale * (0.93, 0.8), pick(rng, ((90, 100, 150), (120, 125, 120))))]
    count, boxes = max(2, int(length / 14)), rng.rand() < 0.6
    edges = np.linspace(-0.2, 0.28, count + 1) * length
    for x0, x1 in pairwise(edges):
        color = pick(rng, _PAINT) if boxes else (165, 180, 185)
        details.append((rectangle(x0, -width * 0.32, x1 - 1.5, width * 0.32), color))
    bridge = rectangle(-0.4 * length, -width * 0.42, -0.25 * length, width * 0.42)
    details += [(bridge, (240, 240, 240)), (bridge * (0.9, 0.5), (150, 150, 155))]
    return Sprite("ship", length, width, 4.0, [(_HULL * scale, hull)], details)


def plane(rng: Random, length: float) -> Sprite:
    """An aircraft: fuselage with a nose, swept or straight wings, tail, engines."""
    jet = rng.rand() < 0.7
    width = length * (rng.uniform(0.85, 1.0) if jet else rng.uniform(1.0, 1.15))
    paint = pick(rng, ((240, 240, 240), (225, 225, 230), (205, 210, 215), (190, 175, 160)))
    accent = pick(rng, ((170, 80, 40), (50, 50, 180), (90, 90, 90), (60, 150, 200)))
    sweep, chord = (0.2, 0.16) if jet else (0.02, 0.15)
    root, girth = (0.14, 0.055) if jet else (0.2, 0.06)
    fuselage = np.array([(0.5, 0), (0.46, 0.6), (0.38, 1), (-0.3, 1), (-0.5, 0.3),
                         (-0.5, -0.3), (-0.3, -1), (0.38, -1), (0.46, -0.6)])  # fmt: skip
    wing = np.array([(root, 0), (root - sweep, 0.5), (root - sweep - 0.07, 0.5), (root - chord, 0)])
    tail = np.array([(-0.34, 0), (-0.42, 0.2), (-0.49, 0.2), (-0.47, 0)])
    size, mirror = np.array([length, width]), np.array([1, -1])
    body = [(fuselage * (length, girth * length), paint)]
    for side in (1, mirror):
        body.insert(0, (wing * size * side, shade(paint, 0.9)))
        body.insert(0, (tail * size * side, accent))
    details = [(rectangle(-0.5, -0.02, -0.33, 0.02) * length, accent),
               (rectangle(0.4, -0.03, 0.44, 0.03) * length, (60, 50, 45))]  # fmt: skip
    if jet:
        for side in (1, mirror):
            engine = rectangle(0.02, 0.15, 0.13, 0.21) * length
            body.append((engine * side, shade(paint, 0.62)))
    else:
        details.append((rectangle(0.12, -0.05, 0.2, 0.05) * length, (60, 50, 45)))
    return Sprite("plane", length, width, 3.0, body, details)


def car(rng: Random, length: float) -> Sprite:
    """A car: beveled body, dark windscreen and rear window around a roof."""
    width = length * rng.uniform(0.46, 0.52)
    paint, glass = pick(rng, _CAR_PAINT), (55, 45, 40)
    if sum(paint) < 250:
        glass = (175, 160, 145)  # reflecting, otherwise invisible on a dark car
    x, y = length / 2, width / 2
    screen = np.array([(0.5, -0.8), (0.5, 0.8), (0.16, 0.62), (0.16, -0.62)]) * (x, y)
    rear = np.array([(-0.78, -0.72), (-0.56, -0.6), (-0.56, 0.6), (-0.78, 0.72)]) * (x, y)
    roof = rectangle(-0.52, -0.62, 0.16, 0.62) * (x, y)
    details = [(screen, glass), (rear, glass), (roof, shade(paint, 1.12))]
    return Sprite("vehicle", length, width, 1.8, [(beveled(length, width, 1.6), paint)], details)


def truck(rng: Random, length: float) -> Sprite:
    """A truck: cab with windscreen, a gap, a long box."""
    width = max(9.0, length * rng.uniform(0.27, 0.32))
    x, y = length / 2, width / 2
    cab, load = pick(rng, _PAINT), pick(rng, _PAINT[:2] + _PAINT[5:])
    body = [
        (rectangle(-x, -y, x - 0.24 * length, y), load),
        (move_ahead(beveled(0.2 * length, width * 0.94, 1.2), 0.4 * length), cab),
        (rectangle(x - 0.26 * length, -y * 0.4, x - 0.18 * length, y * 0.4), (50, 50, 50)),
    ]
    details = [
        (rectangle(0.38 * length, -y * 0.75, 0.44 * length, y * 0.75), (55, 45, 40)),
        (rectangle(-x + 1.5, -0.7, x - 0.24 * length - 1.5, 0.7), shade(load, 0.85)),
    ]
    return Sprite("vehicle", length, width, 3.0, body, details)


def pier(rng: Random, length: float) -> Sprite:
    """A pier: planks between two beams."""
    width = rng.uniform(10, 14)
    wood = pick(rng, ((120, 150, 175), (150, 165, 175), (100, 130, 160)))
    x, y = length / 2, width / 2
    details = [(rectangle(-x + 1, -y + 1.5, x - 1, y - 1.5), wood)]
    for at in np.arange(-x + 4, x - 2, 5.0):
        details.append((rectangle(at, -y + 1.5, at + 1, y - 1.5), shade(wood, 0.78)))
    return Sprite(
        "harbor", length, width, 2.0, [(rectangle(-x, -y, x, y), shade(wood, 0.6))], details
    )


def roof(rng: Random, length: float, width: float) -> Sprite:
    """A house: two halves of a roof of different brightness."""
    tile = pick(rng, ((75, 95, 165), (90, 100, 120), (110, 115, 120), (95, 120, 170)))
    x, y = length / 2, width / 2
    body = [
        (rectangle(-x, -y, x, 0), shade(tile, 1.15)),
        (rectangle(-x, 0, x, y), shade(tile, 0.82)),
    ]
    return Sprite(None, length, width, 6.0, body)


def flat_roof(rng: Random, length: float, width: float) -> Sprite:
    """A hall with a flat roof and installations on it."""
    gray = rng.uniform(140, 205)
    x, y = length / 2, width / 2
    details = [(rectangle(1.5 - x, 1.5 - y, x - 1.5, y - 1.5), (gray, gray, gray * 0.98))]
    for _ in range(rng.randint(2, 6)):
        at = rng.uniform(-0.7, 0.7, 2) * (x, y)
        size = rng.uniform(2, 5, 2)
        details.append((rectangle(-size[0], -size[1], *size) / 2 + at, shade((gray,) * 3, 0.7)))
    return Sprite(
        None, length, width, 7.0, [(rectangle(-x, -y, x, y), (gray * 0.75,) * 3)], details
    )


def container(rng: Random) -> Sprite:
    """Clutter: a plain box of a vehicle's size."""
    length, width = rng.uniform(14, 24), rng.uniform(7, 9)
    paint = shade(pick(rng, _PAINT), 0.85)
    x, y = length / 2, width / 2
    ribs = [
        (rectangle(at, -y, at + 0.8, y), shade(paint, 0.8)) for at in np.arange(3 - x, x - 2, 3.0)
    ]
    return Sprite(None, length, width, 3.0, [(rectangle(-x, -y, x, y), paint)], ribs)


def tree(rng: Random) -> Sprite:
    """Clutter: a round tree crown, lit on one side."""
    size = rng.uniform(7, 16)
    green = shade((50, 95, 62), rng.uniform(0.7, 1.15))
    lit = ellipse(size * 0.55, size * 0.5, 8) + rng.uniform(-0.12, 0.12, 2) * size
    crown = [(ellipse(size, size, 10), green)]
    return Sprite(None, size, size, 3.5, crown, [(lit, shade(green, 1.25))])


def rock(rng: Random, length: float) -> Sprite:
    """Clutter: a rock or islet, as long as a boat but blunt."""
    width = length * rng.uniform(0.35, 0.8)
    outline = ellipse(length, width, 9) * rng.uniform(0.88, 1.0, (9, 1))
    gray = shade((105, 120, 128), rng.uniform(0.75, 1.2))
    top = (outline * 0.6 - 0.8, shade(gray, 1.2))
    return Sprite(None, length, width, 2.0, [(outline, gray)], [top])


def cross(rng: Random, length: float) -> Sprite:
    """Clutter: a painted or paved cross, as large as a plane."""
    arm = length * rng.uniform(0.06, 0.1)
    paint = pick(rng, ((215, 215, 215), (90, 190, 215), (130, 135, 140)))
    x = length / 2
    bars = [(rectangle(-x, -arm, x, arm), paint), (rectangle(-arm, -x, arm, x), paint)]
    return Sprite(None, length, length, 0.0, bars)

"""A scene of the sample set: ground, objects with their labels, and rendering.

Random numbers come from `RandomState`, whose streams NumPy has frozen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from datasets.sample.raster import (
    Random,
    box_corners,
    clip_to_image,
    coverage,
    fitted_rectangle,
    overlap_any,
    place,
    polygon_area,
    rectangle,
    value_noise,
)
from datasets.sample.sprites import Color, Sprite
from DOTA_devkit.splitting.labels import TRUNCATED_DIFFICULTY

SIZE = 192  # width and height of an image in pixels
ZOOM = 1.25  # pixels per layout unit; an image shows SIZE / ZOOM units
MIN_VISIBLE = 0.6  # objects of which a smaller share is in the image are labeled as difficult
MIN_DRAWN = 0.2  # objects of which a smaller share is in the image are not drawn


class Scene:
    """An image under construction: layouts paint its ground and `put` sprites; `render` draws them.

    Args:
        rng: Random generator.
        pixels: Width and height of the image.
        zoom: Pixels per layout unit.
        objects: Whether objects (sprites of a class) can be put into the scene.

    Attributes:
        size: Width and height in layout units.
        image: [pixels, pixels, 3] float32, the ground.
        sun: Offset of shadows per unit of height.
        standing: x, y, radius and box of everything in the scene.
        items: Sprites with center and heading.
        labels: Corners [4, 2] in pixels, class name and difficulty of each object.
    """

    def __init__(self, rng: Random, pixels: int = SIZE, zoom: float = ZOOM, objects: bool = True):
        self.rng, self.pixels, self.zoom, self.objects = rng, pixels, zoom, objects
        self.size = pixels / zoom
        self.image = np.zeros((pixels, pixels, 3), np.float32)
        turn = rng.uniform(0, 2 * math.pi)
        self.sun = np.array([math.cos(turn), math.sin(turn)]) * rng.uniform(0.7, 1.1)
        self.standing: list[tuple[float, float, float, np.ndarray]] = []
        self.items: list[tuple[Sprite, np.ndarray, float]] = []
        self.labels: list[tuple[np.ndarray, str, int]] = []

    def paint(
        self,
        polygon: np.ndarray,
        color: Color | np.ndarray,
        opacity: float | np.ndarray = 1.0,
    ) -> None:
        """Blend a color into a convex polygon [K, 2] of the ground.

        Either may vary over the image: `color` [pixels, pixels, 3], `opacity` [pixels, pixels].
        """
        covered = coverage(polygon * self.zoom, self.pixels)
        if covered is not None:
            window, alpha = covered
            paint = color[window] if np.ndim(color) == 3 else np.asarray(color, np.float32)
            alpha = alpha * (opacity[window] if np.ndim(opacity) == 2 else np.float32(opacity))
            patch = self.image[window]
            patch += alpha[..., None] * (paint - patch)

    def ground(self, color: Color, mottled: float, rough: float, stretch: float = 1.0):
        """Generate a textured surface [pixels, pixels, 3].

        Args:
            color: Mean color.
            mottled: Strength of large patches.
            rough: Strength of fine texture.
            stretch: Aspect ratio of the fine texture.
        """
        rng = self.rng
        patches = mottled * value_noise(rng, self.pixels, (60, 60))
        light = 0.6 * mottled * value_noise(rng, self.pixels, (19, 19))
        light += rough * value_noise(rng, self.pixels, (4.3 * stretch, 4.3)) + 0.85 * patches
        tint = 0.35 * patches
        blue, green, red = color
        return np.stack([blue + light - tint, green + light + 0.3 * tint, red + light + tint], -1)

    def put(
        self, sprite: Sprite, center: Sequence[float], heading: float, gap: float = 1.5
    ) -> bool:
        """Put a sprite into the scene.

        Returns:
            Whether it was put: there is room, and enough of it is visible.
        """
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
            # Truncated objects are labeled like training targets: by their visible part.
            corners = box if share > 1 - 1e-9 else fitted_rectangle(inside)
            difficulty = 0 if share >= MIN_VISIBLE else TRUNCATED_DIFFICULTY
            self.labels.append((corners * self.zoom, sprite.kind, difficulty))
        return True

    def scatter(
        self,
        make: Callable[[], Sprite],
        count: int,
        inside: np.ndarray | None = None,
        heading: float | None = None,
        gap: float = 3.0,
    ) -> None:
        """Put up to `count` sprites at random positions, anywhere or in a rectangle [4, 2]."""
        if inside is None:
            inside = rectangle(-5, -5, self.size + 5, self.size + 5)
        for _ in range(count):
            sprite = make()
            turn = self.rng.uniform(0, 2 * math.pi) if heading is None else heading
            for _ in range(4):
                u, v = self.rng.rand(2)
                spot = inside[0] + u * (inside[1] - inside[0]) + v * (inside[3] - inside[0])
                if self.put(sprite, spot, turn, gap):
                    break

    def render(self) -> np.ndarray:
        """Render the finished image [pixels, pixels, 3] uint8 in BGR."""
        for sprite, center, heading in self.items:
            if sprite.height:
                for polygon, _ in sprite.body:
                    shadow = place(polygon, center + self.sun * sprite.height, heading)
                    self.paint(shadow, (35, 30, 25), 0.42)
        for sprite, center, heading in self.items:
            for polygon, color in sprite.body + sprite.details:
                self.paint(place(polygon, center, heading), color)
        light = self.rng.uniform(0.85, 1.08) + 0.05 * value_noise(self.rng, self.pixels, (120, 120))
        grain = self.rng.uniform(-5, 5, (self.pixels, self.pixels, 1)).astype(np.float32)
        return np.clip(self.image * light[..., None] + grain + 0.5, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Axes:
    """A rotated coordinate system of a scene: u along a coast, road or row, v across it.

    Attributes:
        center: The origin in the scene.
        heading: Direction of u in radians, clockwise.
    """

    center: tuple[float, float]
    heading: float

    @classmethod
    def random(cls, scene: Scene) -> Axes:
        """Draw axes near the center of a scene."""
        center = scene.size / 2 + scene.rng.uniform(-20, 20, 2)
        return cls(tuple(center), scene.rng.uniform(0, 2 * math.pi))

    def point(self, u: float, v: float) -> np.ndarray:
        """Map a point to the scene, [2]."""
        return place(np.array([[u, v]]), self.center, self.heading)[0]

    def strip(self, u0: float, v0: float, u1: float, v1: float) -> np.ndarray:
        """Map a rectangle to the scene, corners [4, 2]."""
        return place(rectangle(u0, v0, u1, v1), self.center, self.heading)

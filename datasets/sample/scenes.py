"""The scenes of the sample set: ground first, then what stands on it, with exact labels.

Random numbers come from `RandomState`, whose streams NumPy has frozen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

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
    value_noise,
)
from datasets.sample.sprites import (
    Colour,
    Sprite,
    _ellipse,
    _pick,
    _rect,
    boat,
    car,
    container,
    cross,
    flat_roof,
    freighter,
    lorry,
    pier,
    plane,
    rock,
    roof,
    tree,
)

SIZE = 192  # width and height of an image
ZOOM = 1.25  # pixels a unit: scenes are laid out in units, of which an image shows SIZE / ZOOM
MIN_VISIBLE = 0.6  # a smaller share of the box in the image is labelled as difficult
MIN_DRAWN = 0.2  # and a smaller one than this is not drawn at all
CUT_OFF = 2  # the difficulty that DOTA's splitting tools give to objects cut at the border


class Scene:
    """An image in the making. Layouts paint its ground and `put` sprites; `render` draws them."""

    def __init__(self, rng: Random, pixels: int = SIZE, zoom: float = ZOOM, objects: bool = True):
        self.rng, self.pixels, self.zoom, self.objects = rng, pixels, zoom, objects
        self.size = pixels / zoom  # in units, as all that layouts say
        self.image = np.zeros((pixels, pixels, 3), np.float32)
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

        Either may vary over the image: `colour` [pixels, pixels, 3], `opacity` [pixels, pixels].
        """
        covered = coverage(polygon * self.zoom, self.pixels)
        if covered is not None:
            window, alpha = covered
            paint = colour[window] if np.ndim(colour) == 3 else np.asarray(colour, np.float32)
            alpha = alpha * (opacity[window] if np.ndim(opacity) == 2 else np.float32(opacity))
            patch = self.image[window]
            patch += alpha[..., None] * (paint - patch)

    def ground(self, colour: Colour, mottled: float, rough: float, stretch: float = 1.0):
        """A textured surface [pixels, pixels, 3]."""
        rng = self.rng
        patches = mottled * value_noise(rng, self.pixels, (60, 60))
        light = 0.6 * mottled * value_noise(rng, self.pixels, (19, 19))
        light += rough * value_noise(rng, self.pixels, (4.3 * stretch, 4.3)) + 0.85 * patches
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
            difficulty = 0 if share >= MIN_VISIBLE else CUT_OFF
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
        """The finished image [pixels, pixels, 3] uint8, BGR."""
        for sprite, center, heading in self.items:
            if sprite.height:
                for polygon, _ in sprite.body:
                    shadow = place(polygon, center + self.sun * sprite.height, heading)
                    self.paint(shadow, (35, 30, 25), 0.42)
        for sprite, center, heading in self.items:
            for polygon, colour in sprite.body + sprite.details:
                self.paint(place(polygon, center, heading), colour)
        light = self.rng.uniform(0.85, 1.08) + 0.05 * value_noise(self.rng, self.pixels, (120, 120))
        grain = self.rng.uniform(-5, 5, (self.pixels, self.pixels, 1)).astype(np.float32)
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
            if coverage(parcel * scene.zoom, scene.pixels) is not None:
                surface = relief + _pick(rng, _CROPS)
                if rng.rand() < 0.6:
                    surface += _furrows(scene, axes.heading + _pick(rng, (0, math.pi / 2)))
                scene.paint(parcel, surface)
            v += tall
        u += wide


def _furrows(scene: Scene, heading: float) -> np.ndarray:
    """Brightness [pixels, pixels, 1] of ploughed stripes across `heading`."""
    rate, depth = 2 * math.pi / scene.rng.uniform(5, 9), scene.rng.uniform(3, 8)
    middle = rate * (np.arange(scene.pixels, dtype=np.float32) + 0.5)
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
    """Opacity [pixels, pixels] of broken foam."""
    patches = value_noise(scene.rng, scene.pixels, (6.5, 6.5))
    return np.clip(
        0.4 + 0.5 * patches + 0.4 * value_noise(scene.rng, scene.pixels, (2.2, 2.2)), 0, 1
    )


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
        sprite = freighter(rng, rng.uniform(42, 72)) if large else boat(rng, rng.uniform(20, 38))
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
    coast = rng.uniform(-60, -10)
    moored, taken = rng.uniform(18, 27), rng.uniform(0.2, 0.7)
    for u in np.arange(-170 + rng.uniform(0, 60), 170, 2 * moored + rng.uniform(18, 30)):
        if rng.rand() < 0.08:
            continue
        stage = pier(rng, rng.uniform(36, 62))
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
    (harbour, 0.32), (open_water, 0.14), (car_park, 0.13), (countryside, 0.17), (airfield, 0.24),
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

"""The layouts of the sample set: which ground and which objects a scene has."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from datasets.sample.raster import ellipse, place
from datasets.sample.scene import Axes, Scene
from datasets.sample.sprites import (
    boat,
    car,
    container,
    cross,
    flat_roof,
    freighter,
    pier,
    plane,
    rock,
    roof,
    tree,
    truck,
)
from datasets.sample.surfaces import (
    FAR,
    REACH,
    asphalt,
    foam_opacity,
    land,
    paint_fields,
    paint_road,
    paint_wake,
    paint_water,
)


def put_moving_ships(scene: Scene, count: int, fits: Callable[[np.ndarray, float], bool]) -> None:
    """Put moving ships, most with a wake, where `fits(center, length)` allows it."""
    rng, foam = scene.rng, foam_opacity(scene)
    for _ in range(count):
        large = rng.rand() < 0.4
        sprite = freighter(rng, rng.uniform(42, 72)) if large else boat(rng, rng.uniform(20, 38))
        for _ in range(6):
            center, heading = rng.uniform(0, scene.size, 2), rng.uniform(0, 2 * math.pi)
            if fits(center, sprite.length) and scene.put(sprite, center, heading, gap=4):
                if rng.rand() < 0.7:
                    paint_wake(scene, foam, center, heading, sprite.length, sprite.width)
                break


def put_halls(scene: Scene, axes: Axes, v0: float, v1: float, count: int) -> None:
    """Put large flat roofs between v0 and v1, parallel to the axes."""
    rng, beside = scene.rng, axes.strip(-REACH, v0, REACH, v1)
    scene.scatter(
        lambda: flat_roof(rng, rng.uniform(38, 76), rng.uniform(25, 44)),
        count, beside, axes.heading, gap=6,
    )  # fmt: skip


def put_houses(scene: Scene, axes: Axes, v0: float, v1: float, count: int) -> None:
    """Put houses between v0 and v1, parallel to the axes."""
    rng, beside = scene.rng, axes.strip(-REACH, v0, REACH, v1)
    scene.scatter(
        lambda: roof(rng, rng.uniform(22, 46), rng.uniform(15, 27)),
        count, beside, axes.heading, gap=5,
    )  # fmt: skip


def harbor(scene: Scene) -> None:
    """Lay out a coast with a quay, piers and boats moored side by side."""
    rng, axes = scene.rng, Axes.random(scene)
    paint_water(scene)
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
    put_moving_ships(
        scene, rng.randint(0, 4), lambda c, size: (c - origin) @ normal > size * 0.6 + 6
    )
    scene.paint(axes.strip(-FAR, -FAR, FAR, coast + 5), (160, 190, 200), 0.8)
    scene.paint(axes.strip(-FAR, -FAR, FAR, coast), land(scene))
    scene.paint(axes.strip(-FAR, coast - 22, FAR, coast), scene.ground((150, 158, 160), 6, 6))
    scene.paint(axes.strip(-FAR, coast - 1.5, FAR, coast), (95, 100, 105))
    along = axes.heading
    quay = axes.strip(-REACH, coast - 16, REACH, coast - 7)
    scene.scatter(lambda: container(rng), rng.randint(2, 9), quay, along)
    scene.scatter(lambda: car(rng, rng.uniform(16, 22)), rng.randint(0, 5), quay, along)
    put_houses(scene, axes, coast - 140, coast - 40, 7)
    scene.scatter(lambda: tree(rng), 14, axes.strip(-REACH, coast - 140, REACH, coast - 30))
    sea = axes.strip(-REACH, coast + 15, REACH, 150)
    scene.scatter(lambda: rock(rng, rng.uniform(8, 22)), 3, sea)


def open_water(scene: Scene) -> None:
    """Lay out moving ships between rocks, and foam without a ship."""
    rng = scene.rng
    paint_water(scene)
    foam = foam_opacity(scene)
    for _ in range(rng.randint(2, 7)):  # wave crests and streaks, as long as ships
        length, heading = rng.uniform(15, 60), rng.uniform(0, 2 * math.pi)
        spot = rng.uniform(0, scene.size, 2)
        for part in (1.0, 0.6):
            streak = ellipse(length * part, length * rng.uniform(0.12, 0.3) * part)
            scene.paint(place(streak, spot, heading), (222, 222, 212), 0.7 * foam)
    if scene.objects:
        put_moving_ships(scene, rng.randint(3, 9), lambda center, size: True)
    scene.scatter(lambda: rock(rng, rng.uniform(10, 46)), rng.randint(3, 9), gap=5)


def parking_lot(scene: Scene) -> None:
    """Lay out rows of parked cars in marked bays between roofs and trees."""
    rng, axes = scene.rng, Axes.random(scene)
    scene.image[:] = land(scene)
    half_u, half_v = rng.uniform(60, 105), rng.uniform(36, 75)
    scene.paint(axes.strip(-half_u - 6, -half_v - 6, half_u + 6, half_v + 6), (140, 150, 150))
    scene.paint(axes.strip(-half_u - 4, -half_v - 4, half_u + 4, half_v + 4), asphalt(scene))
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
        put_halls(scene, axes, v0 + away, v1 + away, 2)
        put_houses(scene, axes, v0, v1, 3)
        beside = axes.strip(-REACH, v0, REACH, v1)
        scene.scatter(lambda: container(rng), rng.randint(0, 4), beside)
        scene.scatter(lambda: tree(rng), 10, beside)


def countryside(scene: Scene) -> None:
    """Lay out fields with one or two roads: cars and trucks in their lanes, farms, hay, trees."""
    rng, axes = scene.rng, Axes.random(scene)
    paint_fields(scene)
    roads = [rng.uniform(-40, 40)]
    if rng.rand() < 0.35:
        roads.append(roads[0] + rng.uniform(65, 90))
    for v in roads:
        width = rng.uniform(32, 38)
        paint_road(scene, axes, v, width)
        for lane in (-1, 1):
            u = -180 + rng.uniform(0, 40)
            while u < 180:
                long = rng.rand() < 0.3
                sprite = truck(rng, rng.uniform(32, 46)) if long else car(rng, rng.uniform(17, 24))
                across = v + lane * width / 4 + rng.uniform(-0.8, 0.8)
                center = axes.point(u + sprite.length / 2, across)
                heading = axes.heading + (0 if lane > 0 else math.pi) + rng.uniform(-0.04, 0.04)
                scene.put(sprite, center, heading)
                u += sprite.length + rng.uniform(6, 90)
    edges = [-REACH, *roads, REACH]
    for v0, v1 in pairwise(edges):
        put_houses(scene, axes, v0 + 34, v1 - 34, 3)
        beside = axes.strip(-REACH, v0 + 32, REACH, v1 - 32)
        scene.scatter(lambda: container(rng), rng.randint(0, 4), beside)
        scene.scatter(lambda: rock(rng, rng.uniform(7, 15)), rng.randint(0, 5), beside)
        scene.scatter(lambda: tree(rng), 12, beside)


def airfield(scene: Scene) -> None:
    """Lay out an apron with parked aircraft, taxiway, hangars, painted crosses, vehicles."""
    rng, axes = scene.rng, Axes.random(scene)
    scene.image[:] = land(scene)
    top, bottom = rng.uniform(-95, -50), rng.uniform(60, 110)
    gray = rng.uniform(150, 185)
    scene.paint(axes.strip(-FAR, top, FAR, bottom), scene.ground((gray, gray, gray), 7, 4))
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
    scene.scatter(lambda: truck(rng, rng.uniform(30, 38)), rng.randint(0, 2), apron)
    scene.scatter(lambda: container(rng), rng.randint(0, 3), apron)
    scene.scatter(lambda: cross(rng, rng.uniform(22, 40)), rng.randint(0, 3))
    for v0, v1 in ((-REACH, top - 8), (bottom + 8, REACH)):
        away = math.copysign(16, v0)
        put_halls(scene, axes, v0 + away, v1 + away, 2)
        scene.scatter(lambda: tree(rng), 8, axes.strip(-REACH, v0, REACH, v1))


LAYOUTS = (  # with their shares of the images
    (harbor, 0.32), (open_water, 0.14), (parking_lot, 0.13), (countryside, 0.17), (airfield, 0.24),
)  # fmt: skip
SHARE_WITHOUT_OBJECTS = 0.08  # of the images


def draw_scene(sequence: np.random.SeedSequence) -> tuple[np.ndarray, list]:
    """Draw one scene.

    Args:
        sequence: Its seed.

    Returns:
        The image [SIZE, SIZE, 3] uint8 in BGR and its labels (corners [4, 2], class, difficulty).
    """
    rng = np.random.RandomState(np.random.MT19937(sequence))
    layouts, weights = zip(*LAYOUTS, strict=True)
    layout = layouts[int(np.searchsorted(np.cumsum(weights), rng.rand() * sum(weights)))]
    scene = Scene(rng, objects=rng.rand() >= SHARE_WITHOUT_OBJECTS)
    layout(scene)
    return scene.render(), scene.labels

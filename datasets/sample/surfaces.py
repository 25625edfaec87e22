"""Surfaces of the scenes: water, land, asphalt, fields, roads and foam."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from datasets.sample.raster import coverage, place, value_noise
from datasets.sample.scene import Axes, Scene
from datasets.sample.sprites import pick

FAR = 400.0  # a distance beyond every corner of an image, from any origin of axes
REACH = 175.0  # the range along the axes in which objects are put, most of which is visible


def paint_water(scene: Scene) -> None:
    """Paint the whole scene as water."""
    color = pick(scene.rng, ((112, 92, 48), (122, 108, 66), (98, 84, 58), (128, 100, 40)))
    scene.image[:] = scene.ground(color, 8, 7, stretch=2.2)


def land(scene: Scene) -> np.ndarray:
    """Generate a surface of grass or soil, [pixels, pixels, 3]."""
    color = pick(scene.rng, ((72, 120, 98), (85, 135, 120), (80, 110, 95), (105, 140, 150)))
    return scene.ground(color, 13, 12)


def asphalt(scene: Scene) -> np.ndarray:
    """Generate a surface of asphalt, [pixels, pixels, 3]."""
    gray = scene.rng.uniform(88, 128)
    return scene.ground((gray, gray, gray * 0.98), 7, 6)


_CROPS = np.float32([(70, 125, 95), (95, 160, 165), (75, 110, 130), (90, 150, 120)])


def paint_fields(scene: Scene) -> None:
    """Paint a patchwork of fields, some with furrows."""
    rng, axes = scene.rng, Axes.random(scene)
    scene.image[:] = land(scene)
    relief = scene.ground((0, 0, 0), 7, 8)
    u = -200.0
    while u < 200:
        wide, v = rng.uniform(70, 130), rng.uniform(-260, -200)
        while v < 200:
            tall = rng.uniform(80, 170)
            parcel = axes.strip(u + 1.5, v + 1.5, u + wide - 1.5, v + tall - 1.5)
            if coverage(parcel * scene.zoom, scene.pixels) is not None:
                surface = relief + pick(rng, _CROPS)
                if rng.rand() < 0.6:
                    surface += _furrows(scene, axes.heading + pick(rng, (0, math.pi / 2)))
                scene.paint(parcel, surface)
            v += tall
        u += wide


def _furrows(scene: Scene, heading: float) -> np.ndarray:
    """Return the brightness [pixels, pixels, 1] of plowed furrows across `heading`."""
    rate, depth = 2 * math.pi / scene.rng.uniform(5, 9), scene.rng.uniform(3, 8)
    middle = rate * (np.arange(scene.pixels, dtype=np.float32) + 0.5)
    wave = middle * math.cos(heading) + (middle * math.sin(heading))[:, None]
    return depth * np.sin(wave)[..., None]


def paint_road(scene: Scene, axes: Axes, v: float, width: float) -> None:
    """Paint a road along u with edge lines and a dashed center line."""
    scene.paint(axes.strip(-FAR, v - width / 2 - 3, FAR, v + width / 2 + 3), (110, 135, 140), 0.7)
    scene.paint(axes.strip(-FAR, v - width / 2, FAR, v + width / 2), asphalt(scene))
    for side in (-1, 1):
        at = v + side * (width / 2 - 1.5)
        scene.paint(axes.strip(-FAR, at - 0.5, FAR, at + 0.5), (205, 210, 210), 0.8)
    for u in np.arange(-190, 190, 16.0):
        scene.paint(axes.strip(u, v - 0.5, u + 8, v + 0.5), (210, 215, 215), 0.9)


def foam_opacity(scene: Scene) -> np.ndarray:
    """Return the opacity [pixels, pixels] of broken foam."""
    patches = value_noise(scene.rng, scene.pixels, (6.5, 6.5))
    return np.clip(
        0.4 + 0.5 * patches + 0.4 * value_noise(scene.rng, scene.pixels, (2.2, 2.2)), 0, 1
    )


def paint_wake(
    scene: Scene,
    foam: np.ndarray,
    center: Sequence[float],
    heading: float,
    length: float,
    width: float,
) -> None:
    """Paint the wake of a moving ship: a broad tail and two arms that spread and fade."""
    white, scale = (222, 222, 212), np.array([length, width])
    for reach in (0.8, 1.3, 1.9):
        tail = np.array([(-0.3, -0.4), (-0.4 - reach, -0.15), (-0.4 - reach, 0.15), (-0.3, 0.4)])
        scene.paint(place(tail * scale, center, heading), white, 0.5 * foam)
    for reach in (0.3, 0.7, 1.2):
        for side in (-1, 1):
            out = 0.75 + 0.6 * reach
            arm = np.array([(0.3, 0.35), (0.0, 0.6), (-reach, out), (-reach, out - 0.3)])
            scene.paint(place(arm * scale * (1, side), center, heading), white, 0.4 * foam)

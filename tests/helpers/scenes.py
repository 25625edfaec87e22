"""Small scenes of objects and detections, and IoU and AP computed in the plainest way."""

from functools import cache

import numpy as np
import shapely

from DOTA_devkit.formats import Task1
from DOTA_devkit.scoring import Truth


def square(x: float, y: float, side: float = 10) -> np.ndarray:
    return np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]], float)


def task1(rows: list[tuple[str, float, np.ndarray]]) -> Task1:
    return Task1(
        [row[0] for row in rows],
        np.array([row[1] for row in rows], float),
        np.reshape([row[2] for row in rows], (-1, 4, 2)),
    )


def truth_of_squares(
    objects: dict[str, list[tuple[np.ndarray, int, int]]], classes=("ship",)
) -> Truth:
    return Truth.from_arrays(
        {
            image_id: tuple(np.array(column) for column in zip(*rows, strict=True))
            if rows
            else (np.zeros((0, 4, 2)), np.zeros(0), np.zeros(0))
            for image_id, rows in objects.items()
        },
        classes,
    )


def reference_area(corners: np.ndarray) -> float:
    return _polygon(_bytes(corners)).area


def reference_iou(a: np.ndarray, b: np.ndarray) -> float:
    return _iou(_bytes(a), _bytes(b))


def _bytes(corners: np.ndarray) -> bytes:
    return np.asarray(corners, np.float64).tobytes()


@cache  # tests score one scene with many settings
def _polygon(corners: bytes) -> shapely.Geometry:
    return shapely.make_valid(shapely.Polygon(np.frombuffer(corners).reshape(-1, 2)))


@cache
def _iou(a: bytes, b: bytes) -> float:
    a, b = _polygon(a), _polygon(b)
    shared = a.intersection(b).area
    return shared / (a.area + b.area - shared)


def reference_ap(recall: list[float], precision: list[float], metric: str) -> float:
    if metric == "voc12":
        area, before = 0.0, 0.0
        for k in range(len(recall)):
            area += (recall[k] - before) * max(precision[k:])
            before = recall[k]
        return area
    points = np.arange(0.0, 1.1, 0.1) if metric == "voc07" else np.linspace(0, 1, 101)
    best = [max([p for r, p in zip(recall, precision, strict=True) if r >= t], default=0)
            for t in points]  # fmt: skip
    return sum(best) / len(points)


def random_scene(seed, images=5, classes=("ship", "plane", "car"), difficult=0.15):
    """Return (detections, truth) of oriented boxes with errors of every kind.

    Each object has up to three detections, shifted and scaled at random and of another class now
    and then, and each image has a few detections on the background.
    """
    rng = np.random.default_rng(seed)
    objects, rows = {}, {name: [] for name in classes}
    for k in range(images):
        count = int(rng.integers(0, 8))
        corners = rng.uniform(0, 130, (count, 1, 2)) + rotated_boxes(rng, count)
        labels = rng.integers(len(classes), size=count)
        objects[f"P{k}"] = (corners, labels, rng.random(count) < difficult)
        for box, label in zip(corners, labels, strict=True):
            for _ in range(rng.integers(0, 4)):
                found = label if rng.random() < 0.75 else rng.integers(len(classes))
                shift = rng.normal(0, 0.15, 2) * np.ptp(box, axis=0)
                moved = box.mean(axis=0) + (box - box.mean(axis=0)) * rng.uniform(0.8, 1.2) + shift
                rows[classes[found]].append((f"P{k}", rng.random(), moved))
        for box in rng.uniform(0, 130, (2, 1, 2)) + rotated_boxes(rng, 2):
            rows[classes[rng.integers(len(classes))]].append((f"P{k}", rng.random(), box))
    return {name: task1(found) for name, found in rows.items()}, Truth.from_arrays(objects, classes)


def rotated_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return boxes [N, 4, 2] around the origin, with sides of 10 to 60 pixels at any angle."""
    halves = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * rng.uniform(5, 30, (count, 1, 2))
    angles = rng.uniform(0, np.pi, count)
    turn = np.array([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]])
    return np.einsum("nkj,ijn->nki", halves, turn)

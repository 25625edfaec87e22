"""Rectangles, and the order of corners and vectors, against independent computations."""

import cv2
import numpy as np
import pytest

from structures import boxes


def rectangle(cx, cy, w, h, degrees):
    """Corners of a rectangle by complex rotation, clockwise from the unrotated top left."""
    corners = np.array([-w - 1j * h, w - 1j * h, w + 1j * h, -w + 1j * h]) / 2
    corners = corners * np.exp(1j * np.deg2rad(degrees)) + cx + 1j * cy
    return np.stack([corners.real, corners.imag], axis=1)


def same_outline(a, b, tolerance=1e-4):
    """Whether two outlines are equal except for their first corner and orientation."""
    ways = [np.roll(order, k, axis=0) for order in (b, b[::-1]) for k in range(4)]
    return min(np.abs(a - way).max() for way in ways) < tolerance


# -- rectangles ----------------------------------------------------------------------------------


def test_wh_slices_cover_the_channels_once():
    covered = [i for part in boxes.WH.values() for i in range(10)[part]]
    assert covered == list(range(boxes.HEAD_CHANNELS["wh"]))


@pytest.mark.parametrize(
    "convert", [boxes.rectangles_to_corners, boxes.corners_to_rectangles, boxes.min_area_rectangles]
)
def test_conversions_without_boxes(convert):
    empty = np.zeros((0, 5)) if convert is boxes.rectangles_to_corners else np.zeros((0, 4, 2))
    assert len(convert(empty)) == 0


@pytest.mark.parametrize("degrees", [-90, -45, -1, 0, 0.5, 30, 45, 89.9, 90, 135, 180])
def test_rectangles_to_corners_round_trip(degrees):
    expected = rectangle(100.5, 30.25, 40, 12, degrees)
    corners = boxes.rectangles_to_corners([[100.5, 30.25, 40, 12, degrees]])
    assert same_outline(corners[0], expected)
    again = boxes.rectangles_to_corners(boxes.corners_to_rectangles(corners))
    assert same_outline(again[0], expected)
    back = boxes.corners_to_rectangles(corners)[0]
    assert -90 < back[4] <= 90
    assert sorted(back[2:4]) == pytest.approx([12, 40], abs=1e-4)


def test_rectangles_to_corners_matches_opencv():
    rng = np.random.default_rng(0)
    rectangles = np.column_stack(
        [rng.uniform(0, 152, (500, 2)), rng.uniform(1, 60, (500, 2)), rng.uniform(-90, 90, 500)]
    ).astype(np.float32)
    expected = [cv2.boxPoints(((x, y), (w, h), a)) for x, y, w, h, a in rectangles.tolist()]
    # OpenCV decides which corner comes first, and its compiler may fuse a product.
    np.testing.assert_allclose(boxes.rectangles_to_corners(rectangles), expected, atol=2e-5)


@pytest.mark.parametrize("points, sides", [
    ([[0, 0], [4, 0], [4, 2], [0, 2]], (2, 4)),
    ([[0, 0], [0, 2], [4, 2], [4, 0]], (2, 4)),  # counter-clockwise
    ([[0, 0], [4, 2], [4, 0], [0, 2]], (2, 4)),  # self-intersecting
    ([[0, 0], [10, 0], [12, 2], [9, 1]], (20 / 148**0.5, 148**0.5)),  # concave: hull of three
    ([[0, 0], [3, 3], [2, 4], [-1, 1]], (2**0.5, 18**0.5)),  # rotated by 45 degrees
    ([[0, 0], [4, 0], [6, 2], [2, 2]], (2, 6)),  # a parallelogram
    ([[5, 5], [5, 5], [5, 5], [5, 5]], (0, 0)),  # one point
    ([[0, 0], [3, 4], [3, 4], [0, 0]], (0, 5)),  # a line
])  # fmt: skip
def test_min_area_rectangles(points, sides):
    found = boxes.min_area_rectangles(np.array([points], float))
    assert sorted(boxes.side_lengths(found)[0]) == pytest.approx(sides, abs=1e-9)
    # It contains every point: none is outside of any side.
    corners = found[0]
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        side = np.subtract(b, a)
        x, y = (np.array(points) - a).T
        across = side[0] * y - side[1] * x
        assert (across >= -1e-9).all(), "clockwise on the image, all points on the right-hand side"


@pytest.mark.parametrize("corners_each", [3, 4, 5, 8])
def test_min_area_rectangles_matches_opencv(corners_each):
    rng = np.random.default_rng(corners_each)
    points = rng.uniform(0, 600, (200, corners_each, 2)).astype(np.float32)
    sides = boxes.side_lengths(boxes.min_area_rectangles(points))
    expected = [np.prod(cv2.minAreaRect(p)[1]) for p in points]
    np.testing.assert_allclose(sides.prod(axis=1), expected, rtol=1e-3)


def test_min_area_rectangles_keeps_rectangles():
    integers = np.array([[[10, 20], [50, 20], [50, 31], [10, 31]]], np.float32)
    np.testing.assert_array_equal(boxes.min_area_rectangles(integers), integers)
    rotated = rectangle(3e5, 2e5, 40, 12, 33)[None]  # far from the origin
    np.testing.assert_allclose(boxes.min_area_rectangles(rotated), rotated, atol=1e-8)


# -- vectors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees, t, r", [
    (0, (0, -6), (20, 0)),  # t up, r right
    (90, (0, -20), (6, 0)),
    (180, (0, -6), (20, 0)),
    (-90, (0, -20), (6, 0)),
    (30, (-10 * 3**0.5, -10), (3, -3 * 3**0.5)),  # t has x <= 0, although its edge is a short one
    (-30, (-3, -3 * 3**0.5), (10 * 3**0.5, -10)),
    (45, (-20 / 2**0.5, -20 / 2**0.5), (6 / 2**0.5, -6 / 2**0.5)),
    (0.00005, (0, -6), (20, 0)),  # rounding noise of an axis-aligned box is ignored
    (-0.00005, (0, -6), (20, 0)),
])  # fmt: skip
def test_corners_to_vectors_order(degrees, t, r):
    corners = rectangle(70, 80, 40, 12, degrees)
    for way in (corners, corners[::-1]):
        for start in range(4):
            center, vectors, _ = boxes.corners_to_vectors(np.roll(way, start, axis=0)[None])
            np.testing.assert_allclose(center[0], (70, 80), atol=1e-9)
            expected = [*t, *r, *(-np.array(t)), *(-np.array(r))]
            np.testing.assert_allclose(vectors[0], expected, atol=1e-4)


def test_vectors_to_corners_is_the_inverse():
    rng = np.random.default_rng(1)
    corners = np.stack(
        [
            rectangle(*rng.uniform(50, 100, 2), *rng.uniform(1, 40, 2), rng.uniform(-90, 90))
            for _ in range(300)
        ]
    )
    centers, vectors, sizes = boxes.corners_to_vectors(corners)
    back = boxes.vectors_to_corners(centers, vectors)
    assert all(same_outline(a, b, 1e-9) for a, b in zip(back, corners, strict=True))
    np.testing.assert_allclose(sizes, np.ptp(corners, axis=1))
    again = boxes.corners_to_vectors(back)
    np.testing.assert_allclose(again[1], vectors, atol=1e-9)


def test_vectors_to_corners_starts_at_the_top_right():
    center, vectors, _ = boxes.corners_to_vectors(rectangle(10, 10, 8, 4, 0)[None])
    found = boxes.vectors_to_corners(center, vectors)[0]
    assert found.tolist() == [[14, 8], [14, 12], [6, 12], [6, 8]]

"""Rectangles, the order of corners and vectors, and the letterbox, against independent answers."""

import math
from fractions import Fraction

import cv2
import numpy as np
import pytest

from structures import boxes
from structures.letterbox import Letterbox


def rectangle(cx, cy, w, h, degrees):
    """Corners of one rectangle by complex rotation, clockwise from the unturned top left."""
    corners = np.array([-w - 1j * h, w - 1j * h, w + 1j * h, -w + 1j * h]) / 2
    corners = corners * np.exp(1j * np.deg2rad(degrees)) + cx + 1j * cy
    return np.stack([corners.real, corners.imag], axis=1)


def same_outline(a, b, tolerance=1e-4):
    """Whether two outlines are one but for where they start and which way they go."""
    ways = [np.roll(order, k, axis=0) for order in (b, b[::-1]) for k in range(4)]
    return min(np.abs(a - way).max() for way in ways) < tolerance


# -- rectangles ----------------------------------------------------------------------------------


def test_head_slices_cover_the_channels_once():
    covered = [i for part in boxes.WH.values() for i in range(10)[part]]
    assert covered == list(range(boxes.HEAD_CHANNELS["wh"]))


@pytest.mark.parametrize(
    "convert", [boxes.rectangles_to_corners, boxes.corners_to_rectangles, boxes.min_area_rectangles]
)
def test_no_boxes(convert):
    empty = np.zeros((0, 5)) if convert is boxes.rectangles_to_corners else np.zeros((0, 4, 2))
    assert len(convert(empty)) == 0


@pytest.mark.parametrize("degrees", [-90, -45, -1, 0, 0.5, 30, 45, 89.9, 90, 135, 180])
def test_rectangles_to_corners_and_back(degrees):
    expected = rectangle(100.5, 30.25, 40, 12, degrees)
    corners = boxes.rectangles_to_corners([[100.5, 30.25, 40, 12, degrees]])
    assert same_outline(corners[0], expected)
    again = boxes.rectangles_to_corners(boxes.corners_to_rectangles(corners))
    assert same_outline(again[0], expected)
    back = boxes.corners_to_rectangles(corners)[0]
    assert -90 < back[4] <= 90
    assert sorted(back[2:4]) == pytest.approx([12, 40], abs=1e-4)


def test_rectangles_to_corners_is_boxpoints_to_the_last_bit():
    rng = np.random.default_rng(0)
    rectangles = np.column_stack(
        [rng.uniform(0, 152, (500, 2)), rng.uniform(1, 60, (500, 2)), rng.uniform(-90, 90, 500)]
    ).astype(np.float32)
    expected = [cv2.boxPoints(((x, y), (w, h), a)) for x, y, w, h, a in rectangles.tolist()]
    # The same corners; which comes first is OpenCV's, and its compiler may fuse a product.
    np.testing.assert_allclose(boxes.rectangles_to_corners(rectangles), expected, atol=2e-5)


@pytest.mark.parametrize("points, sides", [
    ([[0, 0], [4, 0], [4, 2], [0, 2]], (2, 4)),
    ([[0, 0], [0, 2], [4, 2], [4, 0]], (2, 4)),  # counter-clockwise
    ([[0, 0], [4, 2], [4, 0], [0, 2]], (2, 4)),  # self-crossing
    ([[0, 0], [10, 0], [12, 2], [9, 1]], (20 / 148**0.5, 148**0.5)),  # concave: hull of three
    ([[0, 0], [3, 3], [2, 4], [-1, 1]], (2**0.5, 18**0.5)),  # turned by 45 degrees
    ([[0, 0], [4, 0], [6, 2], [2, 2]], (2, 6)),  # a parallelogram
    ([[5, 5], [5, 5], [5, 5], [5, 5]], (0, 0)),  # one point
    ([[0, 0], [3, 4], [3, 4], [0, 0]], (0, 5)),  # a line
])  # fmt: skip
def test_min_area_rectangle(points, sides):
    found = boxes.min_area_rectangles(np.array([points], float))
    assert sorted(boxes.side_lengths(found)[0]) == pytest.approx(sides, abs=1e-9)
    # It holds every point: none is outside of any side.
    corners = found[0]
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        side = np.subtract(b, a)
        x, y = (np.array(points) - a).T
        across = side[0] * y - side[1] * x
        assert (across >= -1e-9).all(), "clockwise on the image, all points on the right hand"


@pytest.mark.parametrize("corners_each", [3, 4, 5, 8])
def test_min_area_is_opencvs_area(corners_each):
    rng = np.random.default_rng(corners_each)
    points = rng.uniform(0, 600, (200, corners_each, 2)).astype(np.float32)
    sides = boxes.side_lengths(boxes.min_area_rectangles(points))
    expected = [np.prod(cv2.minAreaRect(p)[1]) for p in points]
    np.testing.assert_allclose(sides.prod(axis=1), expected, rtol=1e-3)


def test_min_area_keeps_a_rectangle_as_it_is():
    integers = np.array([[[10, 20], [50, 20], [50, 31], [10, 31]]], np.float32)
    np.testing.assert_array_equal(boxes.min_area_rectangles(integers), integers)
    turned = rectangle(3e5, 2e5, 40, 12, 33)[None]  # far from the origin
    np.testing.assert_allclose(boxes.min_area_rectangles(turned), turned, atol=1e-8)


# -- vectors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees, t, r", [
    (0, (0, -6), (20, 0)),  # t up, r right
    (90, (0, -20), (6, 0)),
    (180, (0, -6), (20, 0)),
    (-90, (0, -20), (6, 0)),
    (30, (-10 * 3**0.5, -10), (3, -3 * 3**0.5)),  # t has x <= 0, though its edge is a short one
    (-30, (-3, -3 * 3**0.5), (10 * 3**0.5, -10)),
    (45, (-20 / 2**0.5, -20 / 2**0.5), (6 / 2**0.5, -6 / 2**0.5)),
    (0.00005, (0, -6), (20, 0)),  # rounding noise of an axis-aligned box counts as none
    (-0.00005, (0, -6), (20, 0)),
])  # fmt: skip
def test_order_of_vectors(degrees, t, r):
    corners = rectangle(70, 80, 40, 12, degrees)
    for way in (corners, corners[::-1]):
        for start in range(4):
            center, vectors, _ = boxes.corners_to_vectors(np.roll(way, start, axis=0)[None])
            np.testing.assert_allclose(center[0], (70, 80), atol=1e-9)
            expected = [*t, *r, *(-np.array(t)), *(-np.array(r))]
            np.testing.assert_allclose(vectors[0], expected, atol=1e-4)


def test_vectors_and_corners_are_inverse():
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


def test_corners_run_from_the_top_right():
    center, vectors, _ = boxes.corners_to_vectors(rectangle(10, 10, 8, 4, 0)[None])
    found = boxes.vectors_to_corners(center, vectors)[0]
    assert found.tolist() == [[14, 8], [14, 12], [6, 12], [6, 8]]


# -- letterbox -----------------------------------------------------------------------------------


@pytest.mark.parametrize("source, target, inner, pad", [
    ((600, 600), (608, 608), (608, 608), (0, 0)),  # enlarged
    ((1000, 500), (608, 608), (608, 304), (0, 152)),
    ((500, 1000), (608, 608), (304, 608), (152, 0)),
    ((300, 100), (640, 320), (640, 213), (0, 53)),  # an odd remainder goes below
    ((100, 300), (640, 320), (107, 320), (266, 0)),
    ((1, 5000), (64, 64), (1, 64), (31, 0)),  # never thinner than a pixel
    ((608, 608), (608, 608), (608, 608), (0, 0)),
])  # fmt: skip
def test_letterbox(source, target, inner, pad):
    box = Letterbox.fit(source, target)
    assert (box.inner_wh, box.pad) == (inner, pad)
    image = np.full((source[1], source[0], 3), 200, np.uint8)
    shown = box.apply(image)
    assert shown.shape == (target[1], target[0], 3)
    bright = np.argwhere(shown[..., 0] > 0)
    assert bright.min(axis=0).tolist() == [pad[1], pad[0]]
    assert np.ptp(bright, axis=0).tolist() == [inner[1] - 1, inner[0] - 1]
    corners = np.array([[[0, 0], [source[0], 0], source, [0, source[1]]]], float)
    there = box.to_input(corners)
    np.testing.assert_allclose(there[0, 2] - there[0, 0], inner)
    np.testing.assert_allclose(there[0, 0], pad)
    np.testing.assert_allclose(box.to_source(there), corners, atol=1e-9)


@pytest.mark.parametrize("target", [(416, 416), (608, 608), (640, 512), (96, 128)])
def test_a_scaled_side_is_rounded_as_fractions_are(target):
    """Half a pixel upwards, where 169 * 608 / 832 in floats may lie on either side of 123.5."""
    sizes = [
        (1600, 225),
        (1280, 101),
        (192, 51),
        (832, 169),
        (1664, 338),
        (448, 77),
        (1, 1),
        (99999, 3),
    ]
    sizes += np.random.default_rng(0).integers(1, 3000, (500, 2)).tolist()
    halves = 0
    for width, height in [*sizes, *[(h, w) for w, h in sizes]]:
        scale = min(Fraction(target[0], width), Fraction(target[1], height))
        exact = [side * scale for side in (width, height)]
        halves += any(side.denominator == 2 for side in exact)
        expected = tuple(max(1, math.floor(side + Fraction(1, 2))) for side in exact)
        assert Letterbox.fit((width, height), target).inner_wh == expected
    assert halves


def test_squash_fills_the_input():
    box = Letterbox.fit((1000, 500), (608, 416), squash=True)
    assert box.pad == (0, 0)
    assert box.scale == (0.608, 0.832)
    assert box.apply(np.zeros((500, 1000, 3), np.uint8)).shape == (416, 608, 3)


def test_letterbox_moves_pixels_where_it_says():
    image = np.zeros((100, 200, 3), np.uint8)
    image[20:40, 60:100] = 255
    box = Letterbox.fit((200, 100), (608, 608))
    rows, columns = np.nonzero(box.apply(image)[..., 0] > 127)
    (x0, y0), (x1, y1) = box.to_input(np.array([[60, 20], [100, 40]]))
    assert abs(columns.min() - x0) <= 1 and abs(columns.max() + 1 - x1) <= 1
    assert abs(rows.min() - y0) <= 1 and abs(rows.max() + 1 - y1) <= 1


def test_matrix_is_the_map():
    box = Letterbox.fit((333, 77), (416, 608))
    points = np.random.default_rng(0).uniform(0, 300, (5, 2))
    mapped = points @ box.matrix[:, :2].T + box.matrix[:, 2]
    np.testing.assert_allclose(mapped, box.to_input(points))

"""Rectangles of corners and outlines, against values computed by hand and a search over angles."""

import math

import numpy as np
import pytest

from DOTA_devkit.converters.rectangles import (
    box_of_outline,
    exact_rectangle,
    rectangle_around,
    rotated_corners,
    smallest_rectangle,
    upright_corners,
)

SQUARE = [[10, 20], [30, 20], [30, 60], [10, 60]]


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        (SQUARE, (20, 40, 20, 40, 0)),
        # from the second corner on: the first edge points down
        (SQUARE[1:] + SQUARE[:1], (20, 40, 40, 20, math.pi / 2)),
        # the other way around: the first corner stays the first, the edge to the last one leads
        (SQUARE[::-1], (20, 40, 40, 20, 3 * math.pi / 2)),
        # a square on its corner: the top is the first
        ([[50, 40], [60, 50], [50, 60], [40, 50]], (50, 50, 200**0.5, 200**0.5, math.pi / 4)),
        (np.full((4, 2), 7), (7, 7, 0, 0, 0)),
    ],
)
def test_exact_rectangle(corners, expected):
    found = exact_rectangle(np.array(corners))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert found.degrees == pytest.approx(math.degrees(expected[4]))
    turned = np.array(corners)[[0, 3, 2, 1]]
    same = [np.allclose(found.corners, way) for way in (corners, turned)]
    assert any(same)


@pytest.mark.parametrize(("shift", "is_one"), [(0.004, True), (0.1, False)])
def test_exact_rectangle_allows_for_rounding(shift, is_one):
    corners = np.array(SQUARE, float)
    corners[2, 0] += shift
    assert (exact_rectangle(corners) is not None) == is_one
    assert rectangle_around(corners)[1] == (not is_one)


def test_angle_of_long_box_comes_from_its_long_side():
    """Rounding turns the short side of a box of 2 x 1000 pixels by a quarter of a degree."""
    corners = np.round(rotated_corners(500, 500, 2, 1000, math.radians(30)), 2)
    found = exact_rectangle(corners)
    assert found.degrees == pytest.approx(30, abs=0.002)


def searched_area(points):
    """The area of the smallest rectangle over angles in steps of a fiftieth of a degree."""
    angles = np.deg2rad(np.arange(0, 90, 0.02))
    x = points @ np.stack([np.cos(angles), np.sin(angles)])
    y = points @ np.stack([-np.sin(angles), np.cos(angles)])
    return (np.ptp(x, axis=0) * np.ptp(y, axis=0)).min()


def test_smallest_rectangle_by_search():
    rng = np.random.default_rng(0)
    for count in (3, 5, 20):
        points = rng.normal(size=(count, 2)) * (300, 40) + 1e5
        found = smallest_rectangle(points)
        searched = searched_area(points)
        assert 0.99 * searched < found.w * found.h <= searched * (1 + 1e-9)
        relative = points - (found.cx, found.cy)
        axis = np.array([math.cos(found.angle), math.sin(found.angle)])
        assert np.abs(relative @ axis).max() <= found.w / 2 + 1e-6
        assert np.abs(relative @ [-axis[1], axis[0]]).max() <= found.h / 2 + 1e-6


@pytest.mark.parametrize(
    ("points", "size"),
    [([[5, 6]], (0, 0)), ([[5, 6], [5, 6]], (0, 0)), ([[0, 0], [3, 4], [6, 8]], (10, 0))],
)
def test_smallest_rectangle_of_points_in_a_row(points, size):
    found = smallest_rectangle(np.array(points))
    np.testing.assert_allclose((found.w, found.h), size, atol=1e-9)
    np.testing.assert_allclose((found.cx, found.cy), np.mean([points[0], points[-1]], axis=0))


@pytest.mark.parametrize(
    ("points", "corners", "fitted"),
    [
        (SQUARE, SQUARE, False),
        ([*SQUARE, SQUARE[0]], SQUARE, False),  # closed
        ([[0, 0], [9, 1], [5, 5], [1, 8]], [[0, 0], [9, 1], [5, 5], [1, 8]], False),
        ([*SQUARE, [10, 40]], SQUARE, True),
        ([[10, 20], [30, 20], [30, 60]], SQUARE, True),
    ],
)
def test_box_of_outline(points, corners, fitted):
    found, is_fitted = box_of_outline(np.array(points))
    assert is_fitted == fitted
    if not fitted:
        np.testing.assert_array_equal(found, corners)
    assert {tuple(xy) for xy in found.round(9).tolist()} == {
        tuple(map(float, xy)) for xy in corners
    }


def test_upright_corners_of_any_two():
    np.testing.assert_array_equal(upright_corners(30, 60, 10, 20), SQUARE)

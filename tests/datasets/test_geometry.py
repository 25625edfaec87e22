"""Clipping and views, against Shapely and by hand."""

import numpy as np
import pytest
from shapely.geometry import MultiPoint, Polygon, box

from datasets.geometry import (
    clip_polygons,
    is_convex,
    polygon_areas,
    rectangles_in_view,
    transform_points,
)
from structures import boxes
from structures.letterbox import Letterbox

SAME = np.array([[1.0, 0, 0], [0, 1, 0]])


def test_functions_without_polygons():
    rectangles, shares, whole = rectangles_in_view(np.zeros((0, 4, 2)), SAME, (5, 5), (5, 5))
    assert len(rectangles) == len(shares) == len(whole) == 0


@pytest.mark.parametrize("points, area", [
    ([[0, 0], [4, 0], [4, 3], [0, 3]], 12),
    ([[0, 3], [4, 3], [4, 0], [0, 0]], 12),
    ([[0, 0], [4, 0], [1, 1], [0, 4]], 4),  # concave
    ([[7, 7], [7, 7], [7, 7], [7, 7]], 0),
])  # fmt: skip
def test_polygon_areas(points, area):
    assert polygon_areas(np.array([points], float) + 1e6) == pytest.approx([area])


@pytest.mark.parametrize("points, convex", [
    ([[0, 0], [4, 0], [4, 3], [0, 3]], True),
    ([[0, 3], [4, 3], [4, 0], [0, 0]], True),
    ([[0, 0], [4, 0], [1, 1], [0, 4]], False),
    ([[0, 0], [4, 3], [4, 0], [0, 3]], False),  # self-intersecting
])  # fmt: skip
def test_is_convex(points, convex):
    assert is_convex(np.array([points], float)).tolist() == [convex]


def test_clip_polygons_matches_shapely():
    rng = np.random.default_rng(3)
    rectangles = np.column_stack(
        [rng.uniform(-20, 120, (400, 2)), rng.uniform(2, 90, (400, 2)), rng.uniform(-90, 90, 400)]
    )
    outlines = boxes.rectangles_to_corners(rectangles).astype(np.float64)
    clipped = clip_polygons(outlines, (100, 70))
    window = box(0, 0, 100, 70)
    for outline, part in zip(outlines, clipped, strict=True):
        expected = Polygon(outline).intersection(window)
        assert polygon_areas(part[None])[0] == pytest.approx(expected.area, abs=1e-6)
        if expected.area:
            hull = MultiPoint(part).convex_hull
            assert hull.symmetric_difference(expected).area < 1e-6


def test_whole_objects_are_unchanged():
    outline = np.array([[[0, 0], [100, 0], [100, 50], [0, 50]]], float)  # touches every border
    rectangles, shares, _ = rectangles_in_view(outline, SAME, (100, 50), (100, 50))
    assert shares.tolist() == [1]
    np.testing.assert_array_equal(rectangles, outline)


@pytest.mark.parametrize("left, share, x0", [(-10, 0.75, 0), (-39, 0.025, 0), (-40, 0, None)])
def test_objects_at_the_border_are_refitted(left, share, x0):
    outline = np.array([[left, 10], [left + 40, 10], [left + 40, 30], [left, 30]], float)
    rectangles, shares, whole = rectangles_in_view(outline[None], SAME, (200, 100), (200, 100))
    assert shares[0] == pytest.approx(share)
    np.testing.assert_array_equal(whole[0], outline)
    if share:
        assert rectangles[0].min(axis=0).tolist() == [x0, 10]
        assert rectangles[0].max(axis=0).tolist() == [left + 40, 30]


def test_clipped_rotated_objects_keep_their_angle():
    """Clipping a corner keeps the angle, which clamping single corners would not."""
    outline = boxes.rectangles_to_corners([[50, 4, 60, 16, 20]]).astype(np.float64)
    rectangles, shares, _ = rectangles_in_view(outline, SAME, (100, 100), (100, 100))
    assert 0.6 < shares[0] < 1
    sides = rectangles[0, 1:3] - rectangles[0, :2]
    degrees = np.rad2deg(np.arctan2(sides[:, 1], sides[:, 0])) % 90
    np.testing.assert_allclose(degrees, 20, atol=1e-4)


def test_padding_is_not_part_of_the_image():
    """An object that reaches into the border of a letterbox is clipped to the image."""
    letterbox = Letterbox.fit((200, 100), (200, 200))
    outline = np.array([[[20, -10], [60, -10], [60, 10], [20, 10]]], float)
    rectangles, shares, _ = rectangles_in_view(outline, letterbox.matrix, (200, 100), (200, 200))
    assert shares[0] == pytest.approx(0.5)
    assert rectangles[0].min(axis=0).tolist() == [20, 50]


@pytest.mark.parametrize("outline", [
    [[0, 0], [30, 0], [15, 0], [5, 0]],  # a line
    [[9, 9], [9, 9], [9, 9], [9, 9]],  # a point
])  # fmt: skip
def test_outlines_without_area_are_not_visible(outline):
    _, shares, _ = rectangles_in_view(np.array([outline], float), SAME, (50, 50), (50, 50))
    assert shares.tolist() == [0]


def test_self_intersecting_outlines():
    bow_tie = np.array([[[-10, 0], [30, 20], [30, 0], [-10, 20]]], float)
    _, shares, _ = rectangles_in_view(bow_tie, SAME, (50, 50), (50, 50))
    assert shares[0] == pytest.approx(0.75)


def test_rotated_views():
    turn = np.array([[0.0, -1, 80], [1, 0, 0]])  # by 90 degrees about the origin, then right
    outline = np.array([[[10, 20], [40, 20], [40, 30], [10, 30]]], float)
    rectangles, shares, _ = rectangles_in_view(outline, turn, (100, 80), (80, 100))
    assert shares.tolist() == [1]
    assert rectangles[0].min(axis=0).tolist() == [50, 10]
    assert rectangles[0].max(axis=0).tolist() == [60, 40]
    np.testing.assert_allclose(transform_points(outline, turn)[0, 0], (60, 10))

"""The letterbox: sizes, padding, and the mapping of points and pixels."""

import math
from fractions import Fraction

import numpy as np
import pytest

from structures.letterbox import Letterbox


@pytest.mark.parametrize("source, target, inner, pad", [
    ((600, 600), (608, 608), (608, 608), (0, 0)),  # enlarged
    ((1000, 500), (608, 608), (608, 304), (0, 152)),
    ((500, 1000), (608, 608), (304, 608), (152, 0)),
    ((300, 100), (640, 320), (640, 213), (0, 53)),  # the odd row goes below
    ((100, 300), (640, 320), (107, 320), (266, 0)),
    ((1, 5000), (64, 64), (1, 64), (31, 0)),  # never thinner than one pixel
    ((608, 608), (608, 608), (608, 608), (0, 0)),
])  # fmt: skip
def test_fit_and_apply(source, target, inner, pad):
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
def test_fit_rounds_exactly(target):
    """Halves are rounded up; as floats, 169 * 608 / 832 may lie on either side of 123.5."""
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


def test_fit_squash():
    box = Letterbox.fit((1000, 500), (608, 416), squash=True)
    assert box.pad == (0, 0)
    assert box.scale == (0.608, 0.832)
    assert box.apply(np.zeros((500, 1000, 3), np.uint8)).shape == (416, 608, 3)


def test_apply_matches_to_input():
    image = np.zeros((100, 200, 3), np.uint8)
    image[20:40, 60:100] = 255
    box = Letterbox.fit((200, 100), (608, 608))
    rows, columns = np.nonzero(box.apply(image)[..., 0] > 127)
    (x0, y0), (x1, y1) = box.to_input(np.array([[60, 20], [100, 40]]))
    assert abs(columns.min() - x0) <= 1 and abs(columns.max() + 1 - x1) <= 1
    assert abs(rows.min() - y0) <= 1 and abs(rows.max() + 1 - y1) <= 1


def test_matrix_matches_to_input():
    box = Letterbox.fit((333, 77), (416, 608))
    points = np.random.default_rng(0).uniform(0, 300, (5, 2))
    mapped = points @ box.matrix[:, :2].T + box.matrix[:, 2]
    np.testing.assert_allclose(mapped, box.to_input(points))

"""Random views and colors: positions and values of pixels, and how often they change."""

import cv2
import numpy as np
import pytest

from datasets.augment import ROTATIONS, PhotometricDistort, random_view, warp
from datasets.geometry import transform_points
from helpers.data_folders import picture
from structures.letterbox import Letterbox, normalize


def test_warp_by_the_letterbox_matrix():
    image = picture(120, 90)
    box = Letterbox.fit((120, 90), (160, 160))
    warped = warp(image, box.matrix, (160, 160)).astype(int)
    # Two interpolations of the same map, which differ in the outermost pixels, blended by warp.
    inner = (slice(22, 138), slice(2, 158))
    assert np.abs(warped - box.apply(image).astype(int))[inner].max() <= 4


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_points_and_pixels_move_together(rotation):
    rng = np.random.default_rng(5)
    box = Letterbox.fit((200, 150), (256, 192))
    for _ in range(30):
        image = np.zeros((150, 200, 3), np.uint8)
        left, top = rng.integers((30, 30), (160, 110))
        image[top : top + 10, left : left + 10] = 255
        image = cv2.GaussianBlur(image, (0, 0), 3)  # smooth, so that resampling keeps its centroid
        center = np.array([left + 5.0, top + 5.0])
        matrix = random_view(rng, box, rotation)
        x, y = transform_points(center, matrix)
        view = warp(image, matrix, (256, 192))[..., 0].astype(float)
        if not (20 < x < 236 and 20 < y < 172):
            continue
        rows, columns = np.mgrid[:192, :256] + 0.5
        assert (view * columns).sum() / view.sum() == pytest.approx(x, abs=0.05)
        assert (view * rows).sum() / view.sum() == pytest.approx(y, abs=0.05)


def angles_scales_flips(rotation, count=4000):
    rng = np.random.default_rng(0)
    box = Letterbox.fit((100, 100), (100, 100))
    linear = np.array([random_view(rng, box, rotation)[:, :2] for _ in range(count)])
    scales = np.sqrt(np.abs(np.linalg.det(linear)))
    return linear / scales[:, None, None], scales, np.linalg.det(linear) < 0


def test_frequency_of_view_changes():
    turns, scales, mirrored = angles_scales_flips("free")
    assert np.mean(mirrored) == pytest.approx(0.5, abs=0.03)  # one of the two axes, but not both
    assert np.mean(~np.isclose(scales, 1)) == pytest.approx(0.3, abs=0.03)
    assert scales.min() >= 1 / 1.1 - 1e-9 and scales.max() <= 1 / 0.9 + 1e-9
    upright = np.isclose(np.abs(turns[:, 0, 0]), 1)
    assert np.mean(upright) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("rotation, values", [("none", {1}), ("right", {0, 1})])
def test_rotation_options(rotation, values):
    turns, _, _ = angles_scales_flips(rotation, 300)
    assert set(np.abs(turns[:, 0, 0]).round(6).tolist()) == values


def test_random_view_is_reproducible():
    box = Letterbox.fit((100, 80), (96, 96))
    first, second = (random_view(np.random.default_rng(7), box, "free") for _ in range(2))
    np.testing.assert_array_equal(first, second)


# -- colors --------------------------------------------------------------------------------------


def test_normalized_values():
    image = picture()
    expected = (image.astype(np.float32) / 255 - 0.5).transpose(2, 0, 1)
    np.testing.assert_allclose(normalize(image), expected, atol=1e-7)
    np.testing.assert_allclose(normalize(image.astype(np.float32)), expected, atol=1e-7)
    assert normalize(image.astype(np.float64) * 3).max() == 0.5, "clipped"
    assert normalize(image).dtype == np.float32 and normalize(image).flags["C_CONTIGUOUS"]


def test_distortion_table_matches_float_arithmetic():
    """Compare with the steps of SSD on a float image: add, multiply, swap channels, clip."""
    image = picture(40, 30)
    for seed in range(40):
        values, order = PhotometricDistort().draw(np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        expected = image.astype(np.float64)
        expected += rng.uniform(-32, 32) if rng.integers(2) else 0
        expected *= rng.uniform(0.5, 1.5) if rng.integers(2) else 1
        expected = expected[..., order].clip(0, 255) / 255 - 0.5
        found = normalize(image, values, order)
        np.testing.assert_allclose(found, expected.transpose(2, 0, 1), atol=1e-5)


def test_frequency_of_color_changes():
    rng = np.random.default_rng(0)
    draws = [PhotometricDistort().draw(rng) for _ in range(4000)]
    tables = np.array([values for values, _ in draws], np.float64)
    middle = tables[:, 100:110]
    contrast = (middle[:, -1] - middle[:, 0]) / 9
    brightness = middle[:, 0] / contrast - 100
    assert np.mean(~np.isclose(contrast, 1, atol=1e-4)) == pytest.approx(0.5, abs=0.03)
    assert np.mean(~np.isclose(brightness, 0, atol=1e-2)) == pytest.approx(0.5, abs=0.03)
    assert 0.5 <= contrast.min() < 0.55 and 1.45 < contrast.max() <= 1.5
    assert -32.1 <= brightness.min() < -30 and 30 < brightness.max() <= 32.1
    assert tables.min() >= 0 and tables.max() <= 255
    orders = [order for _, order in draws]
    assert np.mean([order != (0, 1, 2) for order in orders]) == pytest.approx(5 / 12, abs=0.03)
    assert len(set(orders)) == 6


def test_photometric_distort_call():
    distort = PhotometricDistort(np.random.default_rng(3))
    found = distort(picture())
    assert found.dtype == np.float32 and found.shape == (90, 120, 3)
    assert found.min() >= 0 and found.max() <= 255

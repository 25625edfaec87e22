"""Detections: selecting rows, changing frames, and NMS against plain loops."""

import numpy as np
import pytest
from shapely.geometry import Polygon

from structures.detections import Detections


def square(x, y, side=10.0):
    return [[x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def some(count, seed=0, labels=3):
    """Overlapping rotated rectangles, some with equal scores."""
    rng = np.random.default_rng(seed)
    center = rng.uniform(0, 60, (count, 1, 2))
    u = rng.normal(0, 8, (count, 2))
    v = np.stack([-u[:, 1], u[:, 0]], axis=1) * rng.uniform(0.3, 1, (count, 1))
    corners = center + np.stack([u - v, u + v, v - u, -u - v], axis=1)
    scores = rng.integers(1, 10, count) / 10
    return Detections(
        corners.astype(np.float32), scores.astype(np.float32), rng.integers(0, labels, count)
    )


def reference_nms(detections, threshold, agnostic=False):
    order = sorted(range(len(detections)), key=lambda i: (-detections.scores[i], i))
    polygons = [Polygon(c) for c in detections.corners.astype(float)]
    kept = []
    for i in order:
        rivals = [j for j in kept if agnostic or detections.labels[j] == detections.labels[i]]
        if all(
            polygons[i].intersection(polygons[j]).area / polygons[i].union(polygons[j]).area
            <= threshold
            for j in rivals
        ):
            kept.append(i)
    return kept


def test_no_detections():
    none = Detections()
    assert len(none) == len(none.nms(0.1)) == len(none[none.labels == 0]) == 0
    assert none.corners.shape == (0, 4, 2) and none.corners.dtype == np.float32
    assert none.labels.dtype == np.int64


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_nms_matches_plain_loops(threshold, seed):
    found = some(60, seed)
    kept = reference_nms(found, threshold)
    after = found.nms(threshold)
    np.testing.assert_array_equal(after.corners, found.corners[kept])
    np.testing.assert_array_equal(after.scores, found.scores[kept])
    np.testing.assert_array_equal(after.labels, found.labels[kept])


def test_nms_is_per_class():
    corners = np.array([square(0, 0), square(0, 0), square(0, 0)], np.float32)
    found = Detections(corners, np.float32([0.5, 0.9, 0.7]), np.array([0, 1, 0]))
    after = found.nms(0.1)
    np.testing.assert_allclose(after.scores, [0.9, 0.7])
    assert after.labels.tolist() == [1, 0]


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5])
def test_agnostic_nms_matches_plain_loops(threshold):
    found = some(60)
    kept = reference_nms(found, threshold, agnostic=True)
    after = found.agnostic_nms(threshold)
    np.testing.assert_array_equal(after.corners, found.corners[kept])
    np.testing.assert_array_equal(after.labels, found.labels[kept])
    assert len(after) < len(found.nms(threshold))
    assert len(Detections().agnostic_nms(threshold)) == 0


def test_agnostic_nms_prefers_the_higher_score_and_the_first_of_equal_ones():
    corners = np.array([square(0, 0), square(0, 0), square(0, 0), square(0, 5)], np.float32)
    found = Detections(corners, np.float32([0.5, 0.9, 0.9, 0.7]), np.array([0, 1, 2, 0]))
    assert found.agnostic_nms(0.5).labels.tolist() == [1, 0]  # the last one's IoU is 1/3
    assert found.agnostic_nms(0.3).labels.tolist() == [1]


def test_select_by_slice_mask_and_indices():
    found = some(5)
    for index in (slice(1, 3), found.labels == found.labels[0], [4, 0], np.array([], int)):
        part = found[index]
        np.testing.assert_array_equal(part.corners, found.corners[index])
        np.testing.assert_array_equal(part.scores, found.scores[index])
        np.testing.assert_array_equal(part.labels, found.labels[index])


def test_with_corners_keeps_scores_and_labels():
    found = some(4)
    moved = found.with_corners(found.corners.astype(np.float64) + 1)
    assert moved.corners.dtype == np.float32
    np.testing.assert_array_equal(moved.scores, found.scores)
    np.testing.assert_array_equal(moved.labels, found.labels)


@pytest.mark.parametrize(
    "corners, scores, labels",
    [
        (np.zeros((2, 8)), np.zeros(2), np.zeros(2, int)),  # not [N, 4, 2]
        (np.zeros((2, 4, 2)), np.zeros(3), np.zeros(2, int)),
        (np.zeros((2, 4, 2)), np.zeros(2), np.zeros((2, 1), int)),
    ],
)
def test_inconsistent_shapes(corners, scores, labels):
    with pytest.raises(ValueError, match="corners"):
        Detections(corners, scores, labels)

"""Training targets against recorded ones, OpenCV's filling, and rules by hand."""

import cv2
import numpy as np
import pytest

from datasets import targets
from structures import boxes

GRID = (152, 152)

# Conversions of a rectangle to the angle conventions of OpenCV's minAreaRect over time.
ANGLE_CONVENTIONS = {
    "[-90, 0), up to 4.5.0 and from 4.13": lambda r: r,
    "(0, 90], from 4.5.1 to 4.12": lambda r: r[:, [0, 1, 3, 2, 4]] + (0, 0, 0, 0, 90),
    "rotated by 180 degrees": lambda r: np.add(r, (0, 0, 0, 0, 180)),
    "by -90 degrees": lambda r: r[:, [0, 1, 3, 2, 4]] - (0, 0, 0, 0, 90),
}


@pytest.fixture(scope="module")
def recorded(shared):
    return np.load(shared / "fixtures/targets20.npz")


@pytest.mark.parametrize("convention", ANGLE_CONVENTIONS)
@pytest.mark.parametrize("number", range(20))
def test_recorded_annotations(recorded, number, convention):
    def get(key):
        return recorded[f"a{number}_{key}"]

    rectangles = ANGLE_CONVENTIONS[convention](get("rect").reshape(-1, 5).astype(np.float64))
    found = targets.encode_targets(rectangles, get("cat"), 15, GRID)
    count = min(len(rectangles), 500)
    for key in ("ind", "cls_theta"):
        np.testing.assert_array_equal(found[key][:count], get(key), err_msg=key)
        assert not found[key][count:].any()
    np.testing.assert_array_equal(found["reg_mask"], get("reg_mask"))
    np.testing.assert_allclose(found["wh"][:count], get("wh"), atol=1e-3)
    np.testing.assert_allclose(found["reg"][:count], get("reg"), atol=1e-6)
    heatmap = np.zeros((15, *GRID), np.float32)
    heatmap[tuple(get("hm_nz").astype(int).T)] = get("hm_val")
    np.testing.assert_allclose(found["hm"], heatmap, atol=1e-3)


def test_recorded_corners_and_rectangles_agree(recorded):
    for number in range(20):
        found = boxes.min_area_rectangles(recorded[f"a{number}_pts"] / 4)
        expected = boxes.rectangles_to_corners(recorded[f"a{number}_rect"].reshape(-1, 5))
        _, ours, _ = boxes.corners_to_vectors(found)
        _, theirs, _ = boxes.corners_to_vectors(expected)
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_shapes_and_dtypes_without_objects():
    found = targets.encode_targets(np.zeros((0, 5)), np.zeros(0), 3, (8, 12), max_objs=7)
    shapes = {key: (value.shape, value.dtype.name) for key, value in found.items()}
    assert shapes == {
        "hm": ((3, 8, 12), "float32"),
        "hm_weight": ((3, 8, 12), "float32"),
        "wh": ((7, 10), "float32"),
        "reg": ((7, 2), "float32"),
        "cls_theta": ((7, 1), "float32"),
        "ind": ((7,), "int64"),
        "reg_mask": ((7,), "uint8"),
    }
    assert (found["hm_weight"] == 1).all()
    assert not any(value.any() for key, value in found.items() if key != "hm_weight")


def test_one_object_by_hand():
    found = targets.encode_targets([[5.75, 3.25, 8, 4, 0]], [1], 2, (8, 12))
    assert found["ind"][0] == 3 * 12 + 5
    assert found["reg"][0].tolist() == [0.75, 0.25]
    assert found["wh"][0].tolist() == [0, -2, 4, 0, 0, 2, -4, 0, 8, 4]
    assert found["cls_theta"][0] == 0
    assert found["hm"][1, 3, 5] == 1 and not found["hm"][0].any()


@pytest.mark.parametrize("center, cell", [
    ((12.0, 8.0), (11, 7)),  # on the far border
    ((0.0, 0.0), (0, 0)),
    ((11.999, 0.5), (11, 0)),
])  # fmt: skip
def test_centers_on_the_border(center, cell):
    found = targets.encode_targets([[*center, 2, 2, 0]], [0], 1, (8, 12))
    assert found["ind"][0] == cell[1] * 12 + cell[0]
    assert found["hm"][0, cell[1], cell[0]] == 1


# -- Gaussians -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sides, radius", [
    # The third radius is the smallest: (-1.4 (w + h) + sqrt(1.96 (w + h)^2 + 3.36 w h)) / 2
    ((0, 0), 0),
    ((2, 2), 0),  # 0.55
    ((5, 5), 1),  # 1.37
    ((10, 40), 4),  # 4.51
    ((40, 10), 4),
    ((80, 80), 21),  # 21.87
])  # fmt: skip
def test_gaussian_radius(sides, radius):
    assert targets.gaussian_radius(np.array([sides])).tolist() == [radius]


def test_draw_gaussians_takes_the_maximum():
    heatmap = np.zeros((2, 40, 50), np.float32)
    cells = np.array([[3, 5], [6, 5], [48, 39], [25, 20], [0, 0]])
    radii = np.array([4, 3, 6, 15, 0])  # small and large, at the border and inside
    labels = np.array([0, 0, 1, 1, 1])
    targets.draw_gaussians(heatmap, labels, cells, radii)
    expected = np.zeros_like(heatmap)
    ys, xs = np.mgrid[:40, :50]
    for label, (x, y), radius in zip(labels, cells, radii, strict=True):
        square = (xs - x) ** 2 + (ys - y) ** 2
        bell = np.exp(-square / (2 * ((2 * radius + 1) / 6) ** 2))
        bell[(abs(xs - x) > radius) | (abs(ys - y) > radius)] = 0
        expected[label] = np.maximum(expected[label], bell)
    np.testing.assert_allclose(heatmap, expected, atol=1e-6)


# -- is_rotated ----------------------------------------------------------------------------------


def fill(corners):
    relative = corners - corners.min(axis=0)
    width, height = np.ceil(relative.max(axis=0)).astype(int)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, relative.astype(np.int32)[None], 1)
    return mask.sum(), mask.size


def test_is_rotated_matches_opencv_filling():
    rng = np.random.default_rng(0)
    count = 3000
    degrees = np.where(
        rng.random(count) < 0.1, rng.choice([0, 30, 45, 90], count), rng.uniform(-90, 90, count)
    )
    rectangles = np.column_stack(
        [rng.uniform(0, 152, (count, 2)), np.exp(rng.uniform(-1, 4.5, (count, 2))), degrees]
    )
    corners = boxes.rectangles_to_corners(rectangles)
    filled, cells = np.array([fill(c) for c in corners]).T
    relative = corners - corners.min(axis=1, keepdims=True)
    np.testing.assert_array_equal(targets._count_filled(relative), filled)
    np.testing.assert_array_equal(targets.is_rotated(corners), filled / (cells + 1e-4) < 0.95)


@pytest.mark.parametrize("rectangle, rotated", [
    ((50, 50, 20, 8, 0), False),
    ((50, 50, 20, 8, 90), False),
    ((50, 50, 60, 20, 0.5), False),
    ((50, 50, 20, 8, 1), True),  # 20.1 x 8.3 is rounded up to 21 x 9 cells, 10 % of them empty
    ((50, 50, 20, 8, 30), True),
    ((50, 50, 1, 1, 45), True),  # three of four cells
])  # fmt: skip
def test_is_rotated(rectangle, rotated):
    assert targets.is_rotated(boxes.rectangles_to_corners([rectangle])).tolist() == [rotated]


# -- ignored objects -----------------------------------------------------------------------------


def test_weight_is_0_in_ignored_objects():
    ignored = boxes.rectangles_to_corners([[10, 10, 8, 4, 0]])
    found = targets.encode_targets(np.zeros((0, 5)), [], 2, (20, 30), 500, ignored, np.array([1]))
    weight = found["hm_weight"]
    assert (weight[0] == 1).all(), "only in its own class"
    assert (weight[1, 8:12, 6:14] == 0).all()
    assert (weight[1] == 0).sum() <= 5 * 9, "only its box"
    assert not found["hm"].any() and not found["reg_mask"].any()


def test_target_centers_keep_weight_1_in_ignored_boxes():
    ignored = boxes.rectangles_to_corners([[10, 10, 16, 16, 0]])
    found = targets.encode_targets(
        [[10.5, 10.5, 4, 4, 0]], [0], 1, (20, 30), 500, ignored, np.array([0])
    )
    weight = found["hm_weight"][0]
    assert (weight[9:12, 9:12] == 1).all(), "the 3 x 3 cells that the decoder compares"
    assert weight.sum() == 20 * 30 - 17 * 17 + 9


def test_objects_beyond_max_objs_are_ignored():
    rectangles = [[5, 5, 4, 4, 0], [20, 10, 6, 6, 0]]
    found = targets.encode_targets(rectangles, [0, 0], 1, (20, 30), max_objs=1)
    assert found["reg_mask"].tolist() == [1]
    assert found["hm"][0, 5, 5] == 1 and found["hm"][0, 10, 20] == 0
    assert (found["hm_weight"][0, 8:12, 18:22] == 0).all()
    assert (found["hm_weight"][0, :7] == 1).all()


def test_ignored_boxes_outside_of_the_grid():
    ignored = boxes.rectangles_to_corners([[-30, 5, 8, 4, 10], [29, 19, 8, 8, 45]])
    found = targets.encode_targets(
        np.zeros((0, 5)), [], 1, (20, 30), 500, ignored, np.array([0, 0])
    )
    assert (found["hm_weight"][0, :, :20] == 1).all()
    assert found["hm_weight"][0, 19, 29] == 0

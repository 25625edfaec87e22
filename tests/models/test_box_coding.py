"""Box codings: a symmetric matrix is that of one rectangle, and changes smoothly with it."""

import numpy as np
import pytest
import torch
from shapely.geometry import Polygon

from models.box_coding import (
    AGREEMENT,
    agreeing_mean,
    code_rectangles,
    decoded_maps,
    fourfold_angle,
    rectangle_vectors,
    symmetric_matrix,
)
from structures.boxes import UPRIGHT_MIDPOINTS, corners_to_vectors, vectors_to_corners


def coded(length: float, width: float, degrees: float) -> torch.Tensor:
    """The head's output [1, 10] for a box, by an eigendecomposition written the other way round."""
    turn = np.deg2rad(degrees)
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = axes @ np.diag([length / 2, width / 2]) @ axes.T
    right, bottom = matrix[:, 0], matrix[:, 1]
    fourfold = [np.cos(4 * turn), np.sin(4 * turn)]
    return torch.from_numpy(np.concatenate([-bottom, right, bottom, -right, fourfold]))[
        None
    ].float()


def polygon_of(vectors: torch.Tensor) -> Polygon:
    return Polygon(vectors_to_corners(np.zeros((1, 2)), vectors[:, :8].numpy())[0])


def box(length: float, width: float, degrees: float) -> Polygon:
    turn = np.deg2rad(degrees)
    along = np.array([np.cos(turn), np.sin(turn)]) * length / 2
    across = np.array([-np.sin(turn), np.cos(turn)]) * width / 2
    return Polygon([along + across, along - across, -along - across, across - along])


@pytest.mark.parametrize("degrees", [0, 1e-4, 10, 44.9, 45, 45.1, 89.99, 90, 91, 135, 179.9])
@pytest.mark.parametrize("length", [3.0, 3.001, 40.0])
def test_the_rectangle_of_a_box_is_the_box(length, degrees):
    found = polygon_of(rectangle_vectors(coded(length, 3.0, degrees)))
    expected = box(length, 3.0, degrees)
    assert found.symmetric_difference(expected).area / expected.area < 1e-4


@pytest.mark.parametrize("degrees", [0, 0.01, 30, -30, 44, 89.9, 90.1, 120])
@pytest.mark.parametrize("size", [(8, 2), (5, 5)])
def test_rectangles_are_coded_and_decoded_again(size, degrees):
    corners = np.array(box(*size, degrees).exterior.coords)[None, :4]
    _, vectors, sizes = corners_to_vectors(corners)
    code = code_rectangles(torch.from_numpy(vectors).float())
    np.testing.assert_allclose(code.numpy(), coded(*size, degrees).numpy(), atol=1e-4)
    expected = np.concatenate([vectors, sizes], axis=1)
    np.testing.assert_allclose(rectangle_vectors(code).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("degrees", [0, 0.01, 30, -30, 44, 60, 89.9, 90.1, 120, 179])
def test_vectors_have_the_order_of_the_original(degrees):
    corners = np.array(box(8, 2, degrees).exterior.coords)[None, :4]
    _, expected, sizes = corners_to_vectors(corners)
    found = rectangle_vectors(coded(8, 2, degrees)).numpy()
    np.testing.assert_allclose(found[:, :8], expected, atol=1e-4)
    np.testing.assert_allclose(found[:, 8:], sizes, atol=1e-4)


def test_an_upright_box_has_the_vectors_of_the_original():
    size = np.array([6.0, 2.0])
    found = rectangle_vectors(coded(*size, 0))[0]
    expected = np.concatenate([(np.array(UPRIGHT_MIDPOINTS) * size).ravel(), size])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("degrees", [17, 45, 128])
def test_size_is_that_of_the_enclosing_rectangle(degrees):
    found = rectangle_vectors(coded(9, 4, degrees))
    left, top, right, bottom = polygon_of(found).bounds
    np.testing.assert_allclose(found[0, 8:].numpy(), [right - left, bottom - top], atol=1e-4)


def test_angle_of_long_box_without_direction_comes_from_the_matrix():
    vectors = coded(20, 4, 25)
    vectors[:, 8:] = 0
    found, expected = polygon_of(rectangle_vectors(vectors)), box(20, 4, 25)
    assert found.symmetric_difference(expected).area / expected.area < 1e-4


def test_a_wrong_angle_hardly_turns_a_long_box():
    """cos 4a and sin 4a of a box that is turned by 45 degrees more, the worst that there is."""
    vectors = coded(20, 4, 25)
    vectors[:, 8:] *= -1
    expected = box(20, 4, 25)
    found = polygon_of(rectangle_vectors(vectors))
    assert found.intersection(expected).area / found.union(expected).area > 0.6


def test_coding_is_continuous():
    """Boxes a hundredth of a degree apart have almost the same code, all the way round."""
    codes = torch.cat([coded(10, 3, degrees) for degrees in np.arange(0, 360, 0.01)])
    assert (codes.roll(-1, 0) - codes).abs().max() < 2e-3


@pytest.mark.parametrize("degrees", [0, 10, 22.5, 45, 90, 100])
def test_fourfold_angle(degrees):
    turn = torch.tensor(degrees).deg2rad()
    found = fourfold_angle(torch.stack([turn.cos(), turn.sin()])[None])[0]
    torch.testing.assert_close(found, torch.stack([(4 * turn).cos(), (4 * turn).sin()]))


def test_four_vectors_are_averaged():
    vectors = torch.tensor([[0.5, -2.0, 3.0, 1.0, 1.5, 4.0, -5.0, 0.0, 9.0, 9.0]])
    xx, xy, yy = symmetric_matrix(vectors)
    assert (xx.item(), xy.item(), yy.item()) == (4.0, (1.0 - 0.0 + 1.5 - 0.5) / 4, 3.0)


@pytest.mark.parametrize("value", [0.0, -3.0, 1e4])
def test_any_output_gives_a_finite_rectangle(value):
    found = rectangle_vectors(torch.full((1, 10, 2, 3), value))
    assert found.shape == (1, 10, 2, 3) and torch.isfinite(found).all()
    assert (found[:, 8:] >= 0.25 - 1e-6).all()


def parts_of(length, width, degrees, x, y):
    """Return the numbers [1, 7] of a box with its center at x, y."""
    code = coded(length, width, degrees)
    xx, xy, yy = symmetric_matrix(code)
    return torch.cat([torch.stack([xx, xy, yy], dim=1), code[:, 8:], torch.tensor([[x, y]])], dim=1)


def seen_from_their_cells(boxes):
    """Return boxes whose centers are relative to the cell in the middle as nine cells see them."""
    places = [(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return [
        box - torch.tensor([0.0] * 5 + [float(x), float(y)])
        for box, (x, y) in zip(boxes, places, strict=True)
    ]


def test_mean_of_equal_boxes_is_the_box():
    box_parts = parts_of(8.0, 3.0, 20, 0.3, 0.7)
    torch.testing.assert_close(agreeing_mean(seen_from_their_cells([box_parts] * 9)), box_parts)


def test_errors_of_nine_cells_cancel_out():
    true = parts_of(8.0, 3.0, 20, 0.3, 0.7)
    errors = torch.randn(9, 1, 7, generator=torch.Generator().manual_seed(0)) * 0.1
    mean = agreeing_mean(seen_from_their_cells([true + error for error in errors]))
    assert (mean - true).norm() < 0.6 * errors.norm(dim=2).mean()


@pytest.mark.parametrize(
    "other",
    [
        (8.0, 3.0, 20, 2.8, 0.7),  # the same box beside it
        (20.0, 3.0, 20, 0.3, 0.7),  # a longer one
        (8.0, 3.0, 110, 0.3, 0.7),  # across
        (0.0, 0.0, 0, 0.3, 0.7),  # no cell
        (-8.0, -3.0, 20, 0.3, 0.7),
    ],
)
def test_boxes_that_disagree_do_not_count(other):
    own = parts_of(8.0, 3.0, 20, 0.3, 0.7)
    others = [parts_of(*other)] * 4
    mean = agreeing_mean(seen_from_their_cells([*others, own, *others]))
    torch.testing.assert_close(mean, own)


def test_weights_fall_with_the_difference():
    """The mean of a box and another whose squared difference is half of what is the limit."""
    own = parts_of(8.0, 4.0, 0, 0.0, 0.0)
    apart = 3.0 * (AGREEMENT / 2) ** 0.5  # the half sides are 4 and 2
    other = parts_of(8.0, 4.0, 0, apart, 0.0)
    mean = agreeing_mean(seen_from_their_cells([other, *[own] * 8]))
    assert mean[0, 5].item() == pytest.approx(apart * 0.5 / 8.5)


def mean_by_loops(parts, y, x):
    """Average the boxes around a cell of maps [7, H, W], from the definition."""
    own, total, weights = parts[:, y, x], 0, 0

    def matrix(box):
        return np.array([[box[0], box[1]], [box[1], box[2]]])

    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if not (0 <= y + dy < parts.shape[1] and 0 <= x + dx < parts.shape[2]):
                continue
            other = parts[:, y + dy, x + dx] + np.array([0, 0, 0, 0, 0, dx, dy])
            error = np.sum((other - own)[5:] ** 2)
            error += np.linalg.norm(matrix(other) - matrix(own)) ** 2 / 2
            size = max(np.trace(matrix(own)) ** 2 / 4, 1 / 64)
            weight = max(0, 1 - error / (0.2 * size))
            total, weights = total + weight * other, weights + weight
    return total / weights


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (2, 1)])
def test_boxes_of_maps_are_the_means_around_their_cells(size):
    rng = np.random.default_rng(0)
    parts = np.stack([np.full(size, value) for value in (4.0, 0.5, 2.0, 0.2, -0.6, 0.5, 0.5)])
    parts += rng.normal(0, 0.3, parts.shape)
    # the center of all cells is near the middle of the map
    rows, columns = np.mgrid[: size[0], : size[1]]
    parts[5] += np.clip(size[1] // 2 - columns, -2, 2)
    parts[6] += np.clip(size[0] // 2 - rows, -2, 2)
    xx, xy, yy, cos4, sin4, x, y = torch.from_numpy(parts).float()[:, None]
    wh = torch.stack([-xy, -yy, xx, xy, xy, yy, -xx, -xy, cos4, sin4], dim=1)
    maps = {"wh": wh, "reg": torch.stack([x, y], dim=1), "cls_theta": torch.rand(1, 1, *size)}
    found = decoded_maps(maps)
    means = np.stack(
        [
            [mean_by_loops(parts, *cell) for cell in row]
            for row in np.moveaxis([rows, columns], 0, 2)
        ]
    )
    np.testing.assert_allclose(found["reg"][0].numpy(), np.moveaxis(means, 2, 0)[5:], atol=1e-5)
    xx, xy, yy, cos4, sin4 = torch.from_numpy(np.moveaxis(means, 2, 0)[:5]).float()[:, None]
    mean_wh = torch.stack([-xy, -yy, xx, xy, xy, yy, -xx, -xy, cos4, sin4], dim=1)
    np.testing.assert_allclose(found["wh"], rectangle_vectors(mean_wh), atol=1e-4)

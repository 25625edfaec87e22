"""The losses of rectangles: against formulas of the textbook, and the same for equal mistakes."""

import numpy as np
import pytest
import shapely
import torch

from models.assignment import object_cells, spread_over_neighbors
from models.losses import ObjectCounts
from models.rectangle_loss import (
    RectangleLoss,
    bhattacharyya_distance,
    box_errors,
    box_losses,
    estimated_overlap,
    hellinger_distance,
)
from structures.boxes import corners_to_vectors, rectangles_to_corners


def true_wh(*boxes: tuple[float, float, float]) -> torch.Tensor:
    """The targets [N, 10] of boxes (length, width, degrees), as the data set makes them."""
    rectangles = np.array([(0, 0, *box) for box in boxes], np.float32)
    _, vectors, sizes = corners_to_vectors(rectangles_to_corners(rectangles))
    return torch.from_numpy(np.concatenate([vectors, sizes], axis=1))


def matrix(length: float, width: float, degrees: float) -> np.ndarray:
    """The symmetric matrix of a box: half sides along the unit vectors of its axes."""
    turn = np.deg2rad(degrees)
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return axes @ np.diag([length / 2, width / 2]) @ axes.T


def coded(*boxes: tuple[float, float, float]) -> torch.Tensor:
    """The head's output [N, 10] that stands for boxes."""
    rows = []
    for box in boxes:
        (xx, xy), (_, yy) = matrix(*box)
        turn = 4 * np.deg2rad(box[2])
        rows.append([-xy, -yy, xx, xy, xy, yy, -xx, -xy, np.cos(turn), np.sin(turn)])
    return torch.tensor(rows, dtype=torch.float32)


def hellinger(errors):
    return hellinger_distance(bhattacharyya_distance(errors))


def bhattacharyya(first, second, shift) -> float:
    """The distance of two Gaussians, from their covariances (of uniform boxes: half side^2 / 3)."""
    a, b = (matrix(*box) @ matrix(*box) / 3 for box in (first, second))
    mean = (a + b) / 2
    shift = np.asarray(shift, float)
    return shift @ np.linalg.solve(mean, shift) / 8 + 0.5 * np.log(
        np.linalg.det(mean) / np.sqrt(np.linalg.det(a) * np.linalg.det(b))
    )


@pytest.mark.parametrize(
    "found, truth, shift",
    [
        ((8, 3, 20), (8, 3, 30), (0, 0)),
        ((9, 2, 100), (8, 3, 30), (0.5, -1.0)),
        ((4, 4, 0), (6, 2, 90), (2.0, 0.25)),
        ((20, 3, 44.9), (18, 3, 45.1), (-1, 1)),
    ],
)
def test_distances_are_those_of_the_formulas(found, truth, shift):
    errors = box_errors(coded(found), torch.tensor([shift]), true_wh(truth), torch.zeros(1, 2))
    expected = bhattacharyya(found, truth, shift)
    distance = bhattacharyya_distance(errors)
    np.testing.assert_allclose(distance.item(), expected, rtol=1e-3)
    np.testing.assert_allclose(hellinger(errors).item(), np.sqrt(1 - np.exp(-expected)), atol=1e-4)


@pytest.mark.parametrize("degrees", [0, 0.001, 30, 45, 89.999, 90, 135])
def test_exact_boxes_have_no_error(degrees):
    box = (12, 5, degrees)
    errors = box_errors(coded(box), torch.full((1, 2), 0.3), true_wh(box), torch.full((1, 2), 0.3))
    assert errors.sides.abs().max() < 1e-3
    assert errors.center.abs().max() == 0
    assert errors.angle.abs().max() < 1e-3
    assert hellinger(errors).item() < 2e-3


def test_the_same_mistake_costs_the_same_for_any_size_and_direction():
    boxes = [(size * 4, size * 2, degrees) for size in (1, 7) for degrees in (10, 55, 100)]
    larger = [(1.2 * length, 0.9 * width, degrees) for length, width, degrees in boxes]
    turns = np.deg2rad([degrees for _, _, degrees in boxes])
    along = np.stack([np.cos(turns), np.sin(turns)], axis=1) * [[box[0]] for box in boxes]
    across = np.stack([-np.sin(turns), np.cos(turns)], axis=1) * [[box[1]] for box in boxes]
    shifts = torch.from_numpy(0.1 * along + 0.05 * across).float()
    errors = box_errors(coded(*larger), shifts, true_wh(*boxes), torch.zeros(6, 2))
    for part in (
        errors.sides.flatten(1).norm(dim=1),
        errors.center.norm(dim=1),
        hellinger(errors),
    ):
        assert part[0] > 0.05
        torch.testing.assert_close(part, part[:1].expand(6), atol=1e-4, rtol=1e-4)


def test_large_errors_pull_more_than_small_ones():
    """A long ship of which half is found must not count as little as a box that nearly fits."""

    def loss(factor: float) -> float:
        still, one = torch.zeros(1, 2), torch.ones(1)
        losses, _ = box_losses(coded((40 * factor, 8, 0)), still, true_wh((40, 8, 0)), still, one)
        return (losses["wh"] + losses["overlap"]).item()

    def slope(factor: float) -> float:
        return (loss(factor - 0.01) - loss(factor + 0.01)) / 0.02

    assert slope(0.5) > 1.5 * slope(0.85) > 0


def test_a_box_without_area_has_a_gradient_that_is_finite():
    wh, reg = torch.zeros(2, 10, requires_grad=True), torch.full((2, 2), 50.0, requires_grad=True)
    errors = box_errors(wh, reg, true_wh((5, 3, 10), (0, 0, 0)), torch.zeros(2, 2))
    (bhattacharyya_distance(errors) + hellinger(errors)).sum().backward()
    assert torch.isfinite(wh.grad).all() and torch.isfinite(reg.grad).all()


def test_the_estimated_overlap_is_near_the_exact_one():
    rng = np.random.default_rng(0)
    count = 400
    size = rng.uniform(0, 1, (count, 1))  # of the errors
    truth = np.stack(
        [rng.uniform(4, 20, count), np.full(count, 4.0), rng.uniform(0, 180, count)], 1
    )
    scales = np.exp(size * rng.normal(0, 0.3, (count, 2)))
    found = truth * np.concatenate([scales, np.ones((count, 1))], axis=1)
    found[:, 2] += size[:, 0] * rng.normal(0, 12, count)
    shift = size * rng.normal(0, 0.7, (count, 2))
    rectangles = [np.concatenate([at, boxes], axis=1).astype(np.float32)
                  for at, boxes in ((np.zeros((count, 2)), truth), (shift, found))]  # fmt: skip
    a, b = (shapely.polygons(rectangles_to_corners(one)) for one in rectangles)
    exact = shapely.area(shapely.intersection(a, b)) / shapely.area(shapely.union(a, b))
    errors = box_errors(coded(*map(tuple, found)), torch.from_numpy(shift).float(),
                        true_wh(*map(tuple, truth)), torch.zeros(count, 2))  # fmt: skip
    estimates = estimated_overlap(hellinger(errors)).numpy()
    assert exact.min() < 0.4 and exact.max() > 0.98
    assert np.abs(estimates - exact).mean() < 0.03 and np.abs(estimates - exact).max() < 0.15


def test_the_fit_is_learned_and_does_not_change_the_boxes():
    targets = spread_over_neighbors(batch((0, 3.5, 3.5)))
    cells = object_cells(targets)
    wh = coded((5, 3, 0)).expand(*cells.shape, 10).clone().requires_grad_(True)
    logits = torch.zeros(*cells.shape, 1, requires_grad=True)
    maps = {"hm": torch.zeros_like(targets["hm"]), "wh": wh, "cls_theta": logits,
            "reg": targets["reg"]}  # fmt: skip
    optimizer = torch.optim.SGD([logits], lr=9)
    for _ in range(100):
        optimizer.zero_grad()
        loss = RectangleLoss()(maps, targets)["fit"]
        loss.backward()
        optimizer.step()
    assert wh.grad is None
    used = targets["reg_mask"] != 0
    errors = box_errors(wh[used], maps["reg"][used], targets["wh"][used], targets["reg"][used])
    expected = estimated_overlap(hellinger(errors))
    torch.testing.assert_close(torch.sigmoid(logits[used])[:, 0], expected, atol=0.01, rtol=0)


def batch(*centers: tuple[int, float, float], images: int = 2):
    """Targets of boxes 4 x 2 with these centers (image, x, y) on a grid of 8 x 8 cells."""
    targets = {
        "hm": torch.zeros(images, 1, 8, 8),
        "wh": torch.zeros(images, 3, 10),
        "reg": torch.zeros(images, 3, 2),
        "cls_theta": torch.ones(images, 3, 1),
        "ind": torch.zeros(images, 3, dtype=torch.int64),
        "reg_mask": torch.zeros(images, 3, dtype=torch.uint8),
    }
    for image, x, y in centers:
        slot = int(targets["reg_mask"][image].sum())
        targets["wh"][image, slot] = true_wh((4, 2, 30))[0]
        targets["reg"][image, slot] = torch.tensor([x % 1, y % 1])
        targets["ind"][image, slot] = int(y) * 8 + int(x)
        targets["reg_mask"][image, slot] = 1
        targets["hm"][image, 0, int(y), int(x)] = 1
    return targets


def losses_of(targets, counts=None):
    """The losses of predictions that are alike in all cells."""
    loss = RectangleLoss(mean_objects=2)
    assigned = loss.assign(targets)
    cells = object_cells(assigned)
    maps = {
        "hm": torch.full_like(targets["hm"], -2.0),
        "wh": coded((5, 3, 0)).expand(*cells.shape, 10),
        "reg": torch.full((*cells.shape, 2), 0.5),
        "cls_theta": torch.zeros(*cells.shape, 1),
    }
    return loss(maps, assigned, counts=counts)


def test_an_object_at_the_border_weighs_as_much_as_others():
    inside, corner = losses_of(batch((0, 3.5, 3.5))), losses_of(batch((0, 0.5, 0.5)))
    torch.testing.assert_close(inside["wh"], corner["wh"])
    torch.testing.assert_close(inside["overlap"] > 0, torch.tensor(True))


def test_losses_are_means_over_the_objects():
    one, three = batch((0, 3.5, 3.5)), batch((0, 3.5, 3.5), (1, 1.5, 1.5), (1, 5.5, 5.5))
    torch.testing.assert_close(losses_of(one)["wh"], losses_of(three)["wh"])


def test_parts_of_a_step_add_up_to_its_losses():
    parts = batch((0, 3.5, 3.5), (0, 6.2, 0.9)), batch((1, 4.5, 2.5))
    whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    counts = ObjectCounts.of(parts[0]) + ObjectCounts.of(parts[1])
    expected = losses_of(whole)
    for name, value in expected.items():
        summed = sum(losses_of(part, counts)[name] for part in parts)
        torch.testing.assert_close(summed, value)


def test_a_batch_without_objects_has_no_box_losses():
    losses = losses_of(batch())
    assert (
        losses["wh"] == losses["off"] == losses["overlap"] == losses["angle"] == losses["fit"] == 0
        and losses["hm"] > 0
    )


def test_decoded_maps_are_refused():
    targets = spread_over_neighbors(batch())
    with pytest.raises(ValueError, match="logits=True"):
        RectangleLoss()({"hm": targets["hm"]}, targets, logits=False)

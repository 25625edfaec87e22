"""The losses against a teacher: zero where both agree, and the formulas of the papers elsewhere."""

import numpy as np
import pytest
import torch

from helpers.networks import tiny_model
from models.assignment import object_cells, spread_over_neighbors
from models.losses import ObjectCounts
from models.teacher_loss import teacher_losses
from structures.boxes import RECTANGLE, VECTORS


def targets_of(count=2):
    """Two images with one object each, or with none."""
    targets = {
        "hm": torch.zeros(2, 2, 16, 16),
        "reg_mask": torch.zeros(2, 2),
        "ind": torch.zeros(2, 2, dtype=torch.int64),
        "wh": torch.zeros(2, 2, 10),
        "reg": torch.full((2, 2, 2), 0.5),
        "cls_theta": torch.ones(2, 2, 1),
    }
    for image in range(count):
        targets["hm"][image, image, 5, 7] = 1
        targets["reg_mask"][image, 0] = 1
        targets["ind"][image, 0] = 5 * 16 + 7
        targets["wh"][image, 0] = torch.tensor([0.0, -2, 4, 0, 0, 2, -4, 0, 8, 4])
    return targets


def assigned(box_coding, count=2):
    targets = targets_of(count)
    return spread_over_neighbors(targets) if box_coding == RECTANGLE else targets


def output(model, images, targets):
    return model(images, logits=True, cells=object_cells(targets))


def losses_of(box_coding, count=2, seeds=(0, 1), weight=None):
    """Return the losses of one network against another, and the networks' outputs."""
    targets = assigned(box_coding, count)
    if weight is not None:
        targets["hm_weight"] = weight
    student, teacher = (tiny_model(seed=seed, box_coding=box_coding).eval() for seed in seeds)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2)) - 0.5
    maps = output(student, images, targets)
    with torch.no_grad():
        taught = output(teacher, images, targets)
    counts = ObjectCounts.of(targets)
    return teacher_losses(maps, taught, targets, counts, 1.0, box_coding), maps, taught


@pytest.mark.parametrize("box_coding", [VECTORS, RECTANGLE])
def test_a_network_that_equals_its_teacher_has_nothing_to_learn(box_coding):
    losses, maps, _ = losses_of(box_coding, seeds=(0, 0))
    (slope,) = torch.autograd.grad(losses["teacher_hm"], maps["hm"], retain_graph=True)
    assert losses["teacher_hm"].item() == 0 and not slope.any()
    slopes = torch.autograd.grad(losses["teacher_box"], [maps["wh"], maps["reg"]])
    assert max(slope.abs().max() for slope in slopes) < 1e-4


def test_heat_map_has_the_quality_focal_loss():
    losses, maps, taught = losses_of(VECTORS)
    own, other = (torch.sigmoid(one["hm"].double()).detach().numpy() for one in (maps, taught))
    entropy = -other * np.log(own) - (1 - other) * np.log(1 - own)
    expected = (np.abs(other - own) ** 2 * entropy).sum() / 2  # objects
    assert losses["teacher_hm"].item() == pytest.approx(expected, rel=1e-5)


def test_cells_without_weight_are_not_learned():
    weight = torch.ones(2, 2, 16, 16)
    weight[:, 1] = 0
    losses, maps, _ = losses_of(VECTORS, weight=weight)
    (slope,) = torch.autograd.grad(losses["teacher_hm"], maps["hm"])
    assert not slope[:, 1].any() and slope[:, 0].any()


def test_vectors_have_the_errors_of_the_heads():
    losses, maps, taught = losses_of(VECTORS)
    errors = [
        torch.nn.functional.smooth_l1_loss(maps[name][:, 0], taught[name][:, 0])
        for name in ("wh", "reg")
    ]
    rotated, own = torch.sigmoid(taught["cls_theta"][:, 0]), torch.sigmoid(maps["cls_theta"][:, 0])
    entropy = torch.nn.functional.binary_cross_entropy(own, rotated)
    torch.testing.assert_close(losses["teacher_box"], sum(errors) + entropy)


def test_boxes_are_pulled_toward_those_of_the_teacher():
    targets = assigned(RECTANGLE)
    teacher = tiny_model(seed=1, box_coding=RECTANGLE).eval()
    with torch.no_grad():
        taught = output(teacher, torch.rand(2, 3, 64, 64) - 0.5, targets)
        taught["wh"] += torch.tensor([0.0, -1, 2, 0, 0, 1, -2, 0, 1, 0])  # boxes, not squares
    maps = {name: values + 0.4 * torch.rand_like(values) for name, values in taught.items()}
    maps = {name: values.requires_grad_() for name, values in maps.items()}
    optimizer = torch.optim.Adam([maps["wh"], maps["reg"]], 0.02)
    counts = ObjectCounts.of(targets)
    for _ in range(150):
        optimizer.zero_grad()
        teacher_losses(maps, taught, targets, counts, 1.0, RECTANGLE)["teacher_box"].backward()
        optimizer.step()
    used = targets["reg_mask"] != 0
    assert (maps["reg"][used] - taught["reg"][used]).abs().max() < 0.05


@pytest.mark.parametrize("box_coding", [VECTORS, RECTANGLE])
def test_images_without_objects(box_coding):
    losses, _, taught = losses_of(box_coding, count=0)
    assert losses["teacher_box"].item() == 0
    assert 0 < losses["teacher_hm"].item() < 1000
    sum(losses.values()).backward()
    assert not any(values.requires_grad for values in taught.values())

"""Losses: as recorded from the original, small cases by hand, and finite where it was not."""

import math

import numpy as np
import pytest
import torch

from models.losses import (
    DetectionLoss,
    bernoulli_from_logits,
    bernoulli_from_probabilities,
    focal_loss,
    masked_mean,
)

NAMES = ("hm", "wh", "off", "cls_theta")
MAPS = ("hm", "wh", "reg", "cls_theta")


def batch(objects: int = 2, batch_size: int = 2, size: int = 8, slots: int = 5):
    """Random maps (logits), and targets of `objects` per image on the diagonal."""
    generator = torch.Generator().manual_seed(objects)

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    maps = {
        "hm": randn(batch_size, 3, size, size),
        "wh": randn(batch_size, 10, size, size),
        "reg": randn(batch_size, 2, size, size),
        "cls_theta": randn(batch_size, 1, size, size),
    }
    targets = {
        "hm": torch.rand(batch_size, 3, size, size, generator=generator) * 0.9,
        "wh": randn(batch_size, slots, 10),
        "reg": torch.rand(batch_size, slots, 2, generator=generator),
        "cls_theta": torch.ones(batch_size, slots, 1),
        "ind": torch.zeros(batch_size, slots, dtype=torch.int64),
        "reg_mask": torch.zeros(batch_size, slots, dtype=torch.uint8),
    }
    for i in range(objects):
        targets["hm"][:, i % 3, i, i] = 1
        targets["ind"][:, i] = i * size + i
        targets["reg_mask"][:, i] = 1
    return maps, targets


def sigmoid(maps):
    return {k: v.sigmoid() if k in ("hm", "cls_theta") else v for k, v in maps.items()}


@pytest.mark.parametrize("logits", [False, True])
def test_values_and_gradients_match_the_original(shared, logits):
    recorded = np.load(shared / "fixtures/loss_batch4_256.npz")
    targets = {name[3:]: torch.from_numpy(recorded[name]) for name in recorded if "gt_" in name}
    maps = {name: torch.from_numpy(recorded[f"pr_{name}"]).requires_grad_() for name in MAPS}
    given = maps
    if logits:  # in double precision, so that the round trip costs no digits
        given = {k: v.double().logit() if k in ("hm", "cls_theta") else v for k, v in maps.items()}
    losses = DetectionLoss()(given, targets, logits=logits)
    total = sum(losses.values())
    total.backward()
    assert tuple(losses) == NAMES
    values = [losses[name].item() for name in NAMES] + [total.item()]
    np.testing.assert_allclose(values, recorded["losses"], rtol=1e-6)
    # logits in float32 cost a digit where two terms of a gradient (up to 9.8) cancel
    atol = 1e-5 if logits else 1e-9
    for name in MAPS:
        np.testing.assert_allclose(
            maps[name].grad.numpy(), recorded[f"grad_{name}"], rtol=1e-4, atol=atol
        )


def test_focal_loss_by_hand():
    """Plain Python on every cell, with weights other than 0 and 1 as well."""
    generator = torch.Generator().manual_seed(3)
    p = torch.rand(2, 2, 3, 4, generator=generator) * 0.98 + 0.01
    target = torch.rand(2, 2, 3, 4, generator=generator) * 0.99
    target[0, 1, 2, 3] = target[1, 0, 0, 1] = target[1, 1, 1, 1] = 1
    weight = torch.rand(2, 2, 3, 4, generator=generator)
    for weights in (torch.ones_like(p), weight):
        loss = centers = 0.0
        for p_, t, w in zip(p.flatten(), target.flatten(), weights.flatten(), strict=True):
            p_, t, w = p_.item(), t.item(), w.item()
            if t == 1:
                centers += w
                loss -= w * math.log(p_) * (1 - p_) ** 2
            else:
                loss -= w * math.log(1 - p_) * p_**2 * (1 - t) ** 4
        result = focal_loss(bernoulli_from_probabilities(p), target, weights)
        assert result.item() == pytest.approx(loss / centers, rel=1e-5)
    plain = focal_loss(bernoulli_from_probabilities(p), target)
    ones = focal_loss(bernoulli_from_probabilities(p), target, torch.ones_like(p))
    assert plain.item() == ones.item()  # no weight means a weight of 1


def test_masked_mean_by_hand():
    values = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [50.0, 60.0]]])
    mask = torch.tensor([[1, 1, 0]], dtype=torch.uint8)
    assert masked_mean(values, mask).item() == (1 + 2 + 3 + 4) / 4
    assert masked_mean(values, torch.zeros(1, 3)).item() == 0


def test_empty_slots_are_ignored():
    maps, targets = batch(objects=2)
    before = DetectionLoss()(maps, targets, logits=True)
    for name in ("wh", "reg", "cls_theta"):
        targets[name][:, 2:] = 77.0
    targets["ind"][:, 2:] = 63
    after = DetectionLoss()(maps, targets, logits=True)
    assert {name: after[name].item() for name in NAMES} == {
        name: before[name].item() for name in NAMES
    }


def test_weight_0_excludes_cells():
    maps, targets = batch()
    targets["hm_weight"] = torch.ones_like(targets["hm"])
    targets["hm_weight"][0, 2, 3:6, 4:7] = 0
    maps["hm"].requires_grad_()
    loss = DetectionLoss()(maps, targets, logits=True)["hm"]
    loss.backward()
    assert (maps["hm"].grad[0, 2, 3:6, 4:7] == 0).all()
    assert (maps["hm"].grad != 0).sum() == maps["hm"].numel() - 9
    maps["hm"].data[0, 2, 3:6, 4:7] = 9.0
    assert DetectionLoss()(maps, targets, logits=True)["hm"].item() == loss.item()


@pytest.mark.parametrize("logits", [False, True])
def test_batch_without_objects(logits):
    maps, targets = batch(objects=0)
    maps = maps if logits else sigmoid(maps)
    for values in maps.values():
        values.requires_grad_()
    losses = DetectionLoss(mean_objects=50)(maps, targets, logits=logits)
    sum(losses.values()).backward()
    for name in ("wh", "off", "cls_theta"):
        assert losses[name].item() == 0
        assert losses[name].requires_grad  # part of the graph
    for name in ("wh", "reg", "cls_theta"):
        assert (maps[name].grad == 0).all()
    assert losses["hm"] > 0
    assert maps["hm"].grad.isfinite().all()


@pytest.mark.parametrize(
    ("mean_objects", "divisor"),
    [(1.0, 1.0), (40.0, 40.0), (0.25, 1.0), (0.0, 1.0)],  # below 1 counts as 1
)
def test_empty_batch_is_divided_by_mean_objects(mean_objects, divisor):
    maps, targets = batch(objects=0)
    alone = DetectionLoss()(maps, targets, logits=True)["hm"].item()
    loss = DetectionLoss(mean_objects)(maps, targets, logits=True)["hm"].item()
    assert loss == pytest.approx(alone / divisor, rel=1e-6)


def test_empty_batch_weighs_no_more_than_a_normal_one():
    """At the start of training, with the same background, with and without ten objects in it."""
    maps, targets = batch(objects=0, size=64, slots=10)
    for values in maps.values():
        values.fill_(0)
    maps["hm"].fill_(-2.19)
    targets["hm"].fill_(0)
    empty = DetectionLoss(mean_objects=20)(maps, targets, logits=True)
    for i in range(10):
        targets["hm"][:, 0, 6 * i, 6 * i] = 1
        targets["ind"][:, i] = 6 * i * 64 + 6 * i
        targets["reg_mask"][:, i] = 1
    normal = DetectionLoss(mean_objects=20)(maps, targets, logits=True)
    assert 0 < sum(empty.values()) < sum(normal.values())


def test_mean_objects_is_unused_with_objects():
    maps, targets = batch(objects=2)
    assert (
        DetectionLoss(50.0)(maps, targets, logits=True)["hm"].item()
        == DetectionLoss()(maps, targets, logits=True)["hm"].item()
    )


@pytest.mark.parametrize("mean_objects", [math.nan, math.inf])
def test_mean_objects_must_be_finite(mean_objects):
    with pytest.raises(ValueError, match="must be finite"):
        DetectionLoss(mean_objects)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("extreme", [1000.0, -1000.0, 17.0, -90.0, 8.5, 0.0])
@pytest.mark.parametrize("objects", [0, 3])
@pytest.mark.parametrize("logits", [False, True])
def test_losses_are_finite_for_extreme_logits(dtype, extreme, objects, logits):
    maps, targets = batch(objects)
    maps = {name: values.to(dtype) for name, values in maps.items()}
    maps["hm"].fill_(extreme)
    maps["cls_theta"].fill_(extreme)
    targets["cls_theta"][:, 0] = 0
    for values in maps.values():
        values.requires_grad_()
    losses = DetectionLoss()(maps if logits else sigmoid(maps), targets, logits=logits)
    sum(losses.values()).backward()
    for loss in losses.values():
        assert loss.dtype == torch.float32
        assert loss.isfinite()
    for values in maps.values():
        assert values.grad.isfinite().all()


def test_saturated_error_has_a_gradient():
    maps, targets = batch(objects=1)
    maps["hm"].fill_(50.0)  # all background predicted as objects: the sigmoid is 1 in float32
    maps["hm"].requires_grad_()
    DetectionLoss()(maps, targets, logits=True)["hm"].backward()
    assert (maps["hm"].grad[targets["hm"] < 0.5] > 0).all()


def test_logits_and_probabilities_agree():
    maps, targets = batch(objects=3)
    of_logits = DetectionLoss()(maps, targets, logits=True)
    of_probabilities = DetectionLoss()(sigmoid(maps), targets)
    for name in NAMES:
        assert of_logits[name].item() == pytest.approx(of_probabilities[name].item(), rel=1e-5)


@pytest.mark.parametrize("logits", [False, True])
def test_autocast_changes_nothing(logits):
    maps, targets = batch(objects=3)
    maps = maps if logits else sigmoid(maps)
    plain = DetectionLoss()(maps, targets, logits=logits)
    with torch.autocast("cpu", torch.bfloat16):
        cast = DetectionLoss()(maps, targets, logits=logits)
    assert {name: cast[name].item() for name in NAMES} == {n: plain[n].item() for n in NAMES}


@pytest.mark.parametrize("value", [0.0, 1.0, 0.3])
def test_probabilities_are_clamped(value):
    p, not_p, log_p, log_not_p = bernoulli_from_probabilities(torch.tensor([value]))
    assert p.item() == pytest.approx(value, abs=1.1e-6)
    assert not_p.item() == pytest.approx(1 - value, abs=1.1e-6)
    assert log_p.isfinite() and log_not_p.isfinite()


def test_logarithms_of_large_logits():
    p, not_p, log_p, log_not_p = bernoulli_from_logits(torch.tensor([-1000.0, 30.0]))
    assert log_p[0].item() == -1000
    assert log_not_p[1].item() == pytest.approx(-30, rel=1e-6)
    assert not_p[1].item() == pytest.approx(math.exp(-30), rel=1e-5)  # 1 - p would be 0
    assert p[0].item() == 0

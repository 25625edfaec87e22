"""The optimizer: weight decay for the weights of convolutions alone."""

import torch
from torch import nn

from training.optimizer import make_optimizer
from training.settings import TrainSettings


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3))


def test_adam_has_one_group_as_in_the_original():
    model = network()
    optimizer = make_optimizer(model, TrainSettings(lr=0.5))
    assert type(optimizer) is torch.optim.Adam
    (group,) = optimizer.param_groups
    assert [id(one) for one in group["params"]] == [id(one) for one in model.parameters()]
    assert (group["lr"], group["weight_decay"]) == (0.5, 0)


def test_adamw_decays_kernels_alone():
    model = network()
    optimizer = make_optimizer(model, TrainSettings(optimizer="adamw", lr=0.5, weight_decay=0.2))
    assert type(optimizer) is torch.optim.AdamW
    for parameter in model.parameters():
        parameter.data.fill_(1.0)
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for parameter in model.parameters():
        expected = 1 - 0.5 * 0.2 if parameter.ndim > 1 else 1.0
        torch.testing.assert_close(parameter.data, torch.full_like(parameter, expected))


def test_beta2_is_a_setting():
    for name in ("adam", "adamw"):
        settings = TrainSettings(optimizer=name, beta2=0.9)
        for group in make_optimizer(network(), settings).param_groups:
            assert group["betas"] == (0.9, 0.9)


def test_frozen_parameters_are_left_out():
    model = network()
    model[0].requires_grad_(False)
    for name in ("adam", "adamw"):
        groups = make_optimizer(model, TrainSettings(optimizer=name)).param_groups
        assert sum(len(group["params"]) for group in groups) == 4

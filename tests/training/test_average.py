"""Averaged weights: by hand, with the ramp, and with what cannot be averaged."""

import pytest
import torch
from torch import nn

from training.average import WeightAverage


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def add_to_weights(model: nn.Module, amount: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += amount


def test_the_average_follows_with_the_ramp():
    model = network()
    average = WeightAverage(model, decay=0.25)
    start = model[0].weight.clone()
    expected = start.clone()
    for step, decay in enumerate((2 / 11, 0.25, 0.25), 1):  # 3 / 12 is the limit
        add_to_weights(model, 1.0)
        average.update()
        expected = decay * expected + (1 - decay) * (start + step)
        torch.testing.assert_close(average.model[0].weight, expected)
    torch.testing.assert_close(model[0].weight, start + 3)


def test_statistics_are_averaged_and_counters_copied():
    model = network()
    average = WeightAverage(model, decay=0.9)
    model.train()(torch.randn(2, 3, 4, 4))
    average.update()
    norm, own = model[1], average.model[1]
    torch.testing.assert_close(own.running_mean, (1 - 2 / 11) * norm.running_mean)
    assert own.num_batches_tracked == norm.num_batches_tracked == 1


def test_the_copy_is_apart_and_not_trained():
    model = network().train()
    average = WeightAverage(model, decay=0.9)
    assert not average.model.training and model.training
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_resumed_average_does_not_repeat_the_warmup():
    model = network()
    average = WeightAverage(model, decay=0.9, steps=1000)
    before = average.model[0].bias.clone()
    add_to_weights(model, 1.0)
    average.update()
    torch.testing.assert_close(average.model[0].bias, before + 0.1)
    assert average.steps == 1001


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_layout_in_memory_is_kept(memory_format):
    model = network().to(memory_format=memory_format)
    copy = WeightAverage(model, decay=0.9).model
    assert copy[0].weight.stride() == model[0].weight.stride()

"""Upsampling behind a convolution against upsampling before it, as PyTorch computes it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models import upsampling
from models.model_parts import CombinationModule
from models.upsampling import convolve_upsampled, pays

SIZES = [(3, 4), (1, 1), (1, 6), (5, 1), (2, 2)]


def layers(size, channels=5):
    torch.manual_seed(0)
    coarse = torch.randn(2, channels, *size, dtype=torch.double)
    coarse = coarse.contiguous(memory_format=torch.channels_last).requires_grad_()
    return coarse, nn.Conv2d(channels, 3, 3, padding=1).double()


def upsampled_first(coarse, convolution):
    return convolution(F.interpolate(coarse, scale_factor=2, mode="bilinear"))


@pytest.mark.parametrize("size", SIZES)
def test_values_and_gradients_are_those_of_upsampling_first(size):
    coarse, convolution = layers(size)
    found = convolve_upsampled(coarse, convolution.weight, convolution.bias)
    expected = upsampled_first(coarse, convolution)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    given, factor = [coarse, *convolution.parameters()], torch.randn_like(expected)
    gradients = torch.autograd.grad(found, given, factor)
    for one, other in zip(gradients, torch.autograd.grad(expected, given, factor), strict=True):
        torch.testing.assert_close(one, other)


def test_no_images():
    coarse, convolution = layers((3, 4))
    result = convolve_upsampled(coarse[:0], convolution.weight, convolution.bias)
    assert result.shape == (0, 3, 6, 8)
    result.sum().backward()
    assert not convolution.weight.grad.any()


def test_merge_is_the_same_either_way(monkeypatch):
    torch.manual_seed(0)
    merge = CombinationModule(128, 8).to(memory_format=torch.channels_last)
    fine = torch.randn(2, 8, 6, 8).contiguous(memory_format=torch.channels_last)
    results = []
    for least in (128, 129):
        monkeypatch.setattr(upsampling, "_LEAST_CHANNELS_IN_TRAINING", least)
        coarse = torch.randn(2, 128, 3, 4, generator=torch.Generator().manual_seed(1))
        coarse = coarse.contiguous(memory_format=torch.channels_last).requires_grad_()
        assert pays(coarse, merge.up[0].weight, (6, 8)) == (least == 128)
        merged = merge(coarse, fine)
        gradients = torch.autograd.grad(merged.square().sum(), [coarse, *merge.parameters()])
        results.append([merged, *gradients])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_when_it_pays():
    weight = nn.Conv2d(256, 2, 3).weight
    coarse = torch.randn(1, 256, 3, 4).contiguous(memory_format=torch.channels_last)
    assert pays(coarse, weight, (6, 8))
    assert not pays(coarse, weight, (5, 8))  # not twice the size
    assert not pays(coarse.contiguous(), weight, (6, 8))
    fewer = coarse[:, :128].contiguous(memory_format=torch.channels_last)
    assert pays(fewer, weight[:, :128], (6, 8))
    with torch.no_grad():
        assert pays(coarse, weight, (6, 8)) and not pays(fewer, weight[:, :128], (6, 8))
    with torch.autocast("cpu", torch.bfloat16):
        assert not pays(coarse, weight, (6, 8))
    fewer = coarse[:, :96].contiguous(memory_format=torch.channels_last)
    assert not pays(fewer, weight[:, :96], (6, 8))

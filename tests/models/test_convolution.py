"""Convolutions of a network against PyTorch's own, with the gradients."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models import convolution
from models.convolution import Conv2d, convolve


@pytest.fixture(autouse=True)
def avx2(monkeypatch):
    """Let every CPU be one on which the gradients are computed in another layout."""
    monkeypatch.setattr(convolution, "_AVX2", True)


def random(*shape):
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    return tensor.contiguous(memory_format=torch.channels_last).requires_grad_()


def is_own(result):
    return type(result.grad_fn).__name__ == "_ConvolutionBackward"


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "size, stride, padding", [((6, 7), 1, 1), ((6, 7), 2, 1), ((5, 5), 1, 0), ((1, 2), 1, 1)]
)
def test_values_and_gradients_are_those_of_pytorch(bias, size, stride, padding):
    x, weight = random(3, 16, *size), random(5, 16, 3, 3)
    given = [x, weight, torch.randn(5).requires_grad_()] if bias else [x, weight]
    found = convolve(x, weight, given[2] if bias else None, (stride,) * 2, (padding,) * 2)
    expected = F.conv2d(*given, stride=stride, padding=padding)
    assert is_own(found) and not is_own(expected)
    torch.testing.assert_close(found, expected)
    factor = torch.randn_like(expected)
    gradients = torch.autograd.grad(found, given, factor)
    for one, other in zip(gradients, torch.autograd.grad(expected, given, factor), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_input_without_a_gradient():
    x, layer = random(2, 16, 4, 5).detach(), Conv2d(16, 3, 3, padding=1)
    layer(x).sum().backward()
    expected = nn.Conv2d(16, 3, 3, padding=1)
    expected.load_state_dict(layer.state_dict())
    expected(x).sum().backward()
    torch.testing.assert_close(layer.weight.grad, expected.weight.grad)
    torch.testing.assert_close(layer.bias.grad, expected.bias.grad)


def test_frozen_input_side_alone_gets_a_gradient():
    layer = Conv2d(16, 3, 3, padding=1).requires_grad_(False)
    x = random(2, 16, 4, 5)
    result = layer(x)
    assert not is_own(result)  # there is no gradient of weights to be made faster
    result.sum().backward()
    assert x.grad.shape == x.shape


def test_other_cases_are_left_to_pytorch(monkeypatch):
    x, weight = random(2, 16, 4, 5), random(3, 16, 3, 3)
    assert not is_own(convolve(x.contiguous(), weight, None))
    assert not is_own(convolve(x, random(3, 16, 1, 1), None))
    assert not is_own(convolve(random(2, 3, 4, 5), random(4, 3, 3, 3), None))  # an image
    assert not is_own(convolve(x.double(), weight.double(), None))
    assert not is_own(convolve(x[:0], weight, None))
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_own(convolve(x, weight, None))
    with torch.no_grad():
        assert convolve(x, weight, None).grad_fn is None
    monkeypatch.setattr(convolution, "_AVX2", False)
    assert not is_own(convolve(x, weight, None))

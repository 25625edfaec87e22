"""Equalize the ranges of channels, so that one 8-bit scale for a whole tensor suits all of them.

ReLU commutes with a positive factor, and so do resizing and concatenation: the output channels of a
convolution may be scaled if the next convolution divides its weights by the same factors, and the
maps stay the same (Nagel et al., Data-Free Quantization Through Weight Equalization and Bias
Correction, 2019). Here the factors come from the ranges of the activations, so that each channel
reaches 1.

It is done where ranges differ most: in the merges, and in the hidden layers of what makes the
scores.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from deploy.export.network import ExportNetwork

MIN_RELATIVE_RANGE = 1e-3
"""A channel whose range is below this share of the largest is scaled as if it had that range."""


@torch.no_grad()
def equalize(network: ExportNetwork, batches: Iterable[np.ndarray]) -> None:
    """Scale the channels of the merges and of the hidden layers of the scores in place.

    Args:
        network: The network.
        batches: Its inputs, [B, 3, H, W] float32 each.
    """
    merges = (network.dec_c4, network.dec_c3, network.dec_c2)
    scoring = [network.hm] if network.fit is None else [network.hm, network.fit]
    convolutions = [head[0] for head in scoring]
    for merge in merges:
        convolutions += [merge.up[0], merge.cat_conv[0]]
    highest = max_channel_outputs(network, convolutions, batches)

    heads = [network.hm[0], *(head[0] for head in network.box_heads)]
    after = ([merges[1].up[0]], [merges[2].up[0]], heads)
    for merge, followers in zip(merges, after, strict=True):
        up, mix = merge.up[0], merge.cat_conv[0]
        # The merge concatenates the finer map first, then the upsampled one.
        divide_inputs(mix, scale_outputs(up, highest[up]), mix.in_channels - up.out_channels)
        factors = scale_outputs(mix, highest[mix])
        for following in followers:
            divide_inputs(following, factors)
    for head in scoring:
        divide_inputs(head[-1], scale_outputs(head[0], highest[head[0]]))


def max_channel_outputs(
    network: nn.Module, convolutions: list[nn.Conv2d], batches: Iterable[np.ndarray]
) -> dict[nn.Conv2d, Tensor]:
    """Return the highest value of each output channel, 0 where ReLU lets nothing through."""
    highest = {one: torch.zeros(one.out_channels) for one in convolutions}

    def record(convolution: nn.Conv2d, _: tuple[Tensor, ...], output: Tensor) -> None:
        highest[convolution] = torch.maximum(highest[convolution], output.amax(dim=(0, 2, 3)))

    handles = [one.register_forward_hook(record) for one in convolutions]
    try:
        for batch in batches:
            network(torch.from_numpy(batch))
    finally:
        for handle in handles:
            handle.remove()
    return highest


def scale_outputs(convolution: nn.Conv2d, highest: Tensor) -> Tensor:
    """Scale each output channel in place so that it reaches 1.

    Args:
        convolution: The convolution.
        highest: The highest value of each channel, [C].

    Returns:
        The factors, [C].
    """
    largest = highest.max()
    if not largest > 0:  # ReLU lets nothing through, so there is nothing to scale
        return torch.ones_like(highest)
    factors = 1 / highest.clamp(min=float(largest) * MIN_RELATIVE_RANGE)
    convolution.weight *= factors[:, None, None, None]
    convolution.bias *= factors
    return factors


def divide_inputs(convolution: nn.Conv2d, factors: Tensor, start: int = 0) -> None:
    """Divide the weights of the input channels from `start` on by the factors, in place."""
    convolution.weight[:, start : start + len(factors)] /= factors[None, :, None, None]

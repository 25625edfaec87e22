"""BatchNorm over the images of all processes, so that they normalize as one process would.

`torch.nn.SyncBatchNorm` does so on GPUs alone. It is also undefined where no process has a value,
as a head has none in a batch without objects (`models.heads_at_cells`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from DOTA_devkit.errors import InputError
from processes.group import add_up, gather_tensors, process_count


def use_global_statistics(model: nn.Module) -> None:
    """Let the BatchNorms of a network take the statistics of all processes in training.

    Parameters, buffers and their names stay. In eval mode, and with a single process, the layers
    do what they did.

    Args:
        model: The network, which is changed.

    Raises:
        InputError: It has a kind of BatchNorm for which there is no such version.
    """
    for name, module in model.named_modules():
        if not isinstance(module, _BatchNorm):
            continue
        ours = _GLOBAL.get(type(module)) or _with_activation(type(module))
        if ours is None:
            raise InputError(
                f"layer {name} is a {type(module).__name__}, which several processes cannot share: "
                "train this backbone with one process"
            )
        module.__class__ = ours


@contextmanager
def uncounted(network: nn.Module) -> Iterator[None]:
    """Let the images that go through a network in the block stay out of its global statistics.

    Args:
        network: The network. Its BatchNorms signal that this process has no image.
    """
    norms = [module for module in network.modules() if isinstance(module, GlobalStatistics)]
    for norm in norms:
        norm.counted = False
    try:
        yield
    finally:
        for norm in norms:
            norm.counted = True


class GlobalStatistics:
    """Mixed into a BatchNorm: in training it normalizes over the images of all processes.

    Attributes:
        counted: Whether the images of this process are part of the statistics, see `uncounted`.
    """

    counted = True

    def forward(self, x: Tensor) -> Tensor:
        """Normalize [N, C, ...], where N may differ between the processes, and may be 0."""
        if not self.training or process_count() == 1:
            return super().forward(x)
        return self.normalize(x)

    def normalize(self, x: Tensor) -> Tensor:
        """Normalize by the statistics of all processes, and update the running ones.

        One value of a channel has no variance: then the running statistics are used.
        """
        with torch.no_grad():
            count, mean, variance = _global_moments(x if self.counted else x[:0])
            enough = count > 1
            self.num_batches_tracked += enough.squeeze()
            if self.momentum is None:
                momentum = 1 / self.num_batches_tracked.clamp(min=1).to(mean.dtype)
            else:
                momentum = torch.full_like(count, self.momentum)
            momentum = momentum * enough
            unbiased = variance * (count / (count - 1).clamp(min=1))
            # A channel without values has statistics of NaN, which 0 times anything would keep.
            mean = torch.where(enough, mean, self.running_mean)
            variance = torch.where(enough, variance, self.running_var)
            unbiased = torch.where(enough, unbiased, self.running_var)
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(unbiased, momentum)
        weight = torch.ones_like(mean) if self.weight is None else self.weight
        bias = torch.zeros_like(mean) if self.bias is None else self.bias
        return _Normalize.apply(x, weight, bias, mean, variance, count, self.eps, self.counted)


class GlobalBatchNorm1d(GlobalStatistics, nn.BatchNorm1d):
    """See `GlobalStatistics`."""


class GlobalBatchNorm2d(GlobalStatistics, nn.BatchNorm2d):
    """See `GlobalStatistics`."""


_GLOBAL: dict[type, type] = {
    nn.BatchNorm1d: GlobalBatchNorm1d,
    nn.BatchNorm2d: GlobalBatchNorm2d,
}


def _with_activation(kind: type) -> type | None:
    """Return the version of timm's BatchNorm that applies an activation as well, else None."""
    if kind.__name__ != "BatchNormAct2d":
        return None

    def normalize(self, x: Tensor) -> Tensor:
        return self.act(self.drop(GlobalStatistics.normalize(self, x)))

    ours = type(f"Global{kind.__name__}", (GlobalStatistics, kind), {"normalize": normalize})
    _GLOBAL[kind] = ours
    return ours


def _global_moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return count [1], mean [C] and biased variance [C] of the channels over all processes."""
    channels = x.shape[1]
    count = x.numel() // channels
    over = [axis for axis in range(x.ndim) if axis != 1]
    if count:
        variance, mean = torch.var_mean(_precise(x), dim=over, correction=0)
    else:
        variance = mean = _precise(x.new_zeros(channels))
    own = torch.cat([mean, variance, mean.new_full((1,), count)])
    parts = gather_tensors(own)
    means, variances, counts = parts.split([channels, channels, 1], dim=1)
    total = counts.sum(dim=0)
    share = counts / total.clamp(min=1)
    mean = (means * share).sum(dim=0)
    variance = ((variances + (means - mean).square()) * share).sum(dim=0)
    return total, mean, variance


def _precise(values: Tensor) -> Tensor:
    """Return the values in float32, or in float64 if they are: mixed precision has others."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


class _Normalize(torch.autograd.Function):
    """Normalizes by statistics that depend on the images of all processes."""

    @staticmethod
    def forward(ctx, x, weight, bias, mean, variance, count, eps, counted):
        """Return `(x - mean) / sqrt(variance + eps) * weight + bias`."""
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps = eps
        ctx.counted = counted
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx, grad):
        """Return the gradients of the images and of this process's share of weight and bias."""
        x, weight, mean, variance, count = ctx.saved_tensors
        shape = [1, -1, *[1] * (x.ndim - 2)]
        over = [axis for axis in range(x.ndim) if axis != 1]
        scale = torch.rsqrt(variance + ctx.eps)
        normalized = (_precise(x) - mean.view(shape)) * scale.view(shape)
        grad = _precise(grad)
        own = torch.stack([grad.sum(dim=over), (grad * normalized).sum(dim=over)])
        grad_bias, grad_weight = own.clone().unbind()
        # The running statistics do not depend on the images.
        means = add_up(own) * (count > 1) / count.clamp(min=1)
        through = grad
        if ctx.counted:  # else the statistics do not depend on these images
            through = grad - means[0].view(shape) - normalized * means[1].view(shape)
        grad_x = (through * (weight * scale).view(shape)).to(x.dtype)
        return grad_x, grad_weight, grad_bias, None, None, None, None, None

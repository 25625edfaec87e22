"""The network as it is exported: batch norm folded, the heads' first convolutions joined."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models import CTRBOX
from models.ctrbox_net import SIGMOID_HEADS
from models.model_parts import CombinationModule

HEADS = ("hm", "wh", "reg", "cls_theta")


class ExportNetwork(nn.Module):
    """The same maps as `CTRBOX` in eval mode, by fewer and larger operations.

    The weights are copies; the model stays as it is.
    """

    def __init__(self, model: CTRBOX) -> None:
        super().__init__()
        model = copy.deepcopy(model).cpu().float().eval()
        fold_batch_norms(model)
        self.base_network = model.base_network
        self.dec_c4, self.dec_c3, self.dec_c2 = model.dec_c4, model.dec_c3, model.dec_c2
        heads = {name: model.get_submodule(name) for name in HEADS}
        self.first = join_convolutions([head[0] for head in heads.values()])
        self.hidden = [head[0].out_channels for head in heads.values()]
        self.last = nn.ModuleDict({name: head[-1] for name, head in heads.items()})
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """[B, 3, H, W] -> `hm`, `wh`, `reg`, `cls_theta` as `CTRBOX` gives them."""
        c2, c3, c4, c5 = self.base_network(x)
        merged = _merge(self.dec_c4, c5, c4)
        merged = _merge(self.dec_c3, merged, c3)
        merged = _merge(self.dec_c2, merged, c2)
        hidden = F.relu(self.first(merged)).split(self.hidden, dim=1)
        maps = (last(part) for last, part in zip(self.last.values(), hidden, strict=True))
        return tuple(
            torch.sigmoid(values) if name in SIGMOID_HEADS else values
            for name, values in zip(HEADS, maps, strict=True)
        )


def _merge(module: CombinationModule, low: Tensor, up: Tensor) -> Tensor:
    """As the module's own forward, at a factor that is known beforehand: sides are multiples of
    32, so that the finer map is exactly twice as large."""
    low = F.interpolate(low, scale_factor=2.0, mode="bilinear", align_corners=False)
    return module.cat_conv(torch.cat((up, module.up(low)), dim=1))


def fold_batch_norms(module: nn.Module) -> None:
    """Fold each BatchNorm into the convolution in front of it, in place.

    In front means: the sibling that is defined just before, as in every backbone of the table;
    `check_same_maps` tells where that does not hold.
    """
    before: tuple[str, nn.Module] | None = None
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d) and before and isinstance(before[1], nn.Conv2d):
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(module, name, nn.Identity())
        fold_batch_norms(child)
        before = (name, child)


def join_convolutions(convolutions: list[nn.Conv2d]) -> nn.Conv2d:
    """One convolution that puts out the channels of all, one after the other."""
    first = convolutions[0]
    joined = nn.Conv2d(
        first.in_channels,
        sum(one.out_channels for one in convolutions),
        first.kernel_size,
        padding=first.padding,
    )
    joined.weight = nn.Parameter(torch.cat([one.weight for one in convolutions]))
    joined.bias = nn.Parameter(torch.cat([one.bias for one in convolutions]))
    return joined


@torch.no_grad()
def check_same_maps(network: ExportNetwork, model: CTRBOX) -> None:
    """ValueError where folding or joining changed what the model computes."""
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) - 0.5
    maps = copy.deepcopy(model).cpu().float().eval()(image)
    for name, values in zip(HEADS, network(image), strict=True):
        error = (values - maps[name]).abs().max().item()
        if not error <= 1e-3 * max(1.0, maps[name].abs().max().item()):
            raise ValueError(
                f"folding the batch norms of {model.backbone} changed {name} by {error:.3g}: its "
                "modules do not define each BatchNorm right behind its convolution"
            )

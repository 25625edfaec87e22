"""The network as it is exported: BatchNorm folded, and only the heat map computed as a map."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deploy.export.graph.heads import BOX_HEADS, HeadsAtPeaks
from DOTA_devkit.errors import InputError
from models import CTRBOX
from models.backbones import get_backbone
from models.box_coding import fitting_score
from models.ctrbox_net import decode_heads
from models.folding import TRIAL_SHAPE, fold_batch_norms
from structures.boxes import RECTANGLE

TRACED_OUTPUTS = ("hm", "features")
"""Outputs of the traced network, from which the rest of the graph is computed."""


class ExportNetwork(nn.Module):
    """What a decoder needs of `CTRBOX` in eval mode, in float32 on the CPU.

    That is the heat map, and the features from which the heads of `BOX_HEADS` are computed at its
    peaks (see `graph.heads`).

    Args:
        model: The checkpoint's model. Its weights are copied; the model itself does not change.

    Attributes:
        box_heads: The heads of `BOX_HEADS`, in that order.
        box_coding: How they are coded, one of `structures.boxes.BOX_CODINGS`.
        backbone: Name of the backbone.
        convolutional: As of the backbone, see `models.backbones.Backbone`.
    """

    def __init__(self, model: CTRBOX) -> None:
        super().__init__()
        model = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
        fold_batch_norms(model)
        self.backbone = model.backbone
        self.convolutional = get_backbone(model.backbone).convolutional
        self.base_network = model.base_network
        self.dec_c4, self.dec_c3, self.dec_c2 = model.dec_c4, model.dec_c3, model.dec_c2
        self.hm = model.hm
        # How well boxes fit, which the scores need of all cells.
        self.fit = model.cls_theta if model.box_coding == RECTANGLE else None
        # A plain list, since they are not part of what is traced.
        self.box_heads = [model.get_submodule(name) for name in BOX_HEADS]
        self.box_coding = model.box_coding

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the heat map and the features.

        Args:
            x: [B, 3, H, W].

        Returns:
            `hm` as `CTRBOX` returns it, and the features [B, C, H / 4, W / 4].
        """
        c2, c3, c4, c5 = self.base_network(x)
        merged = self.dec_c4.merge(double(c5), c4)
        merged = self.dec_c3.merge(double(merged), c3)
        features = self.dec_c2.merge(double(merged), c2)
        heatmap = torch.sigmoid(self.hm(features))
        if self.fit is not None:
            heatmap = fitting_score(heatmap, torch.sigmoid(self.fit(features)))
        return heatmap, features


class HeadMaps(nn.Module):
    """The network with all heads as whole maps, for runtimes in which the decoder cannot run.

    Args:
        network: The network. Its weights are used, not copied.
    """

    def __init__(self, network: ExportNetwork) -> None:
        super().__init__()
        self.network = network
        self.box_heads = nn.ModuleList(network.box_heads)

    def forward(self, input: Tensor) -> tuple[Tensor, ...]:
        """Compute `hm` and the maps of `BOX_HEADS`, as `CTRBOX` returns them.

        Args:
            input: [B, 3, H, W].
        """
        heatmap, features = self.network(input)
        heads = zip(BOX_HEADS, self.box_heads, strict=True)
        maps = {name: head(features) for name, head in heads}
        return heatmap, *decode_heads(maps, self.network.box_coding).values()


def double(x: Tensor) -> Tensor:
    """Resize [B, C, H, W] to [B, C, 2 H, 2 W], bilinear.

    The factor is constant in the exported graph: the input's sides are multiples of 32, so the
    finer map of a merge is exactly twice as large.
    """
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


@torch.no_grad()
def check_same_maps(network: ExportNetwork, model: CTRBOX) -> None:
    """Check that the network computes what the model does.

    Raises:
        InputError: Folding, or computing heads at cells instead of as maps, changed the result, or
            the model computes values that are not finite.
    """
    image = torch.rand(TRIAL_SHAPE, generator=torch.Generator().manual_seed(0)) - 0.5
    maps = copy.deepcopy(model).cpu().float().eval()(image)
    if not all(torch.isfinite(values).all() for values in maps.values()):
        raise InputError(
            "the checkpoint cannot be exported: the output of its network is not finite, as "
            "after a training run that diverged"
        )
    heatmap, features = network(image)
    cells = torch.arange(heatmap[0, 0].numel())[None]
    values = HeadsAtPeaks(network.box_heads, network.box_coding)(features, cells).transpose(1, 2)
    expected = torch.cat([maps[name] for name in BOX_HEADS], dim=1).flatten(2)
    for name, ours, theirs in (("hm", heatmap, maps["hm"]), ("the boxes", values, expected)):
        error = (ours - theirs).abs().max().item()
        if not error <= 1e-3 * max(1.0, theirs.abs().max().item()):
            raise InputError(
                f"the checkpoint cannot be exported: folding the BatchNorms of {model.backbone} "
                f"changed {name} by {error:.3g}"
            )

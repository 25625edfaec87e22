"""The detector: a backbone, three merges down to stride 4, and a head for each output map."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from models.backbones import get_backbone
from models.model_parts import CombinationModule, make_head
from models.pretrained import load_pretrained
from structures.boxes import STRIDE

SIGMOID_HEADS = ("hm", "cls_theta")  # trained with a cross-entropy; the others are regressed
PRIOR_LOGIT = -2.19  # of the heat map at the start: a probability of 0.1


class CTRBOX(nn.Module):
    """Box boundary-aware vectors: the centres of objects, and four vectors from each to its sides.

    Args:
        heads: channels of each output map, `{'hm': classes, 'wh': 10, 'reg': 2, 'cls_theta': 1}`.
        pretrained: the backbone's first weights. True or 'imagenet' for torchvision's, a path for a
            file, False, None or 'none' for random ones.
        down_ratio: stride of the output maps; it can only be 4.
        final_kernel: kernel size of the heads' last convolution, but for `wh`, where it is 3.
        head_conv: hidden channels of each head.
        backbone: a name of `models.backbones.BACKBONES`.
        head_bn: BatchNorm in the heads, which helps where batches are small.
        classes: their names in the order of `hm`'s channels, or None where nobody knows them.
        input_size: (height, width) that it is made for, or None.

    Raises:
        ValueError: `down_ratio` is not 4, or `classes` are not as many as `hm` has channels.
        InputError: no such backbone, or `pretrained` cannot be had or used.
    """

    def __init__(
        self,
        heads: dict[str, int],
        pretrained: bool | str | Path | None,
        down_ratio: int,
        final_kernel: int,
        head_conv: int,
        backbone: str = "resnet101",
        head_bn: bool = False,
        *,
        classes: tuple[str, ...] | None = None,
        input_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        if down_ratio != STRIDE:
            raise ValueError(
                f"down_ratio must be {STRIDE}, not {down_ratio}: every backbone puts out maps at a "
                "quarter of the input, and targets and decoder must use the same grid. The width "
                "of the heads does not depend on it; it comes from the backbone table."
            )
        if classes is not None and len(classes) != heads.get("hm"):
            raise ValueError(f"{len(classes)} classes for {heads.get('hm')} channels of 'hm'")
        row = get_backbone(backbone)
        c2, c3, c4, c5 = row.channels
        self.heads = dict(heads)
        self.backbone = backbone
        self.final_kernel = final_kernel
        self.head_conv = head_conv
        self.head_bn = head_bn
        self.classes = None if classes is None else tuple(classes)
        self.input_size = None if input_size is None else tuple(input_size)

        self.base_network = row.build()
        self.dec_c2 = CombinationModule(c3, c2)
        self.dec_c3 = CombinationModule(c4, c3)
        self.dec_c4 = CombinationModule(c5, c4)
        for name, channels in self.heads.items():
            kernel_size = 3 if name == "wh" else final_kernel
            bias = PRIOR_LOGIT if name == "hm" else 0.0
            head = make_head(c2, head_conv, channels, kernel_size, head_bn, bias)
            self.add_module(name, head)

        if pretrained not in (False, None, "none"):
            load_pretrained(self, "imagenet" if pretrained is True else pretrained)

    def forward(self, x: Tensor, logits: bool = False) -> dict[str, Tensor]:
        """The output maps of a batch of images.

        Args:
            x: [B, 3, H, W], BGR, `pixel / 255 - 0.5`; H and W multiples of 32.
            logits: give `hm` and `cls_theta` before their sigmoid, as the losses want them.
                (An argument and not a method, so that it works through DataParallel.)

        Returns:
            For each head [B, channels, H / 4, W / 4]. With the usual heads, in cells of that grid:
            `hm`: probability [0, 1] that an object of the class has its centre in the cell;
            `wh`: vectors from centre to top, right, bottom, left side (x, y each), then width and
            height of the axis-aligned rectangle around the box;
            `reg`: offset (x, y) of the centre from the cell's corner, 0 to 1;
            `cls_theta`: probability [0, 1] that the box is turned, so that the vectors hold.
        """
        c2, c3, c4, c5 = self.base_network(x)
        merged = self.dec_c4(c5, c4)
        merged = self.dec_c3(merged, c3)
        merged = self.dec_c2(merged, c2)
        maps = {name: self.get_submodule(name)(merged) for name in self.heads}
        if logits:
            return maps
        return {
            name: torch.sigmoid(values) if name in SIGMOID_HEADS else values
            for name, values in maps.items()
        }

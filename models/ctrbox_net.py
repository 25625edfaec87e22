"""The detector: a backbone, three merges up to stride 4, and one head per output map."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from models.backbones import get_backbone
from models.box_coding import decoded_maps, start_as_rectangles
from models.global_batch_norm import uncounted
from models.heads_at_cells import head_at_cells
from models.model_parts import CombinationModule, Features, make_head
from models.pretrained import load_pretrained
from processes.group import process_count
from structures.boxes import BOX_CODINGS, RECTANGLE, STRIDE, VECTORS

SIGMOID_HEADS = ("hm", "cls_theta")  # trained with cross-entropy; the others are regressed
PRIOR_LOGIT = -2.19  # initial logit of the heat map: a probability of 0.1


class CTRBOX(nn.Module):
    """Detector with box boundary-aware vectors: object centers, and four vectors from each center.

    Args:
        heads: Channels of each output map, `{'hm': classes, 'wh': 10, 'reg': 2, 'cls_theta': 1}`.
        pretrained: Initial weights of the backbone: True or 'imagenet' for torchvision's or
            timm's, a path for those of a file, False, None or 'none' for random ones.
        down_ratio: Stride of the output maps; only 4 is supported.
        final_kernel: Kernel size of the last convolution of each head except `wh`, where it is 3.
        head_conv: Hidden channels of each head.
        backbone: A name in `models.backbones.BACKBONES`, or `timm/NAME` for a model of timm.
        head_bn: Use BatchNorm in the heads, which helps with small batches.
        classes: Class names in the order of the channels of `hm`, or None if they are unknown.
        input_size: (height, width) that the model is meant for, or None.
        neck: Channels of the three merges, and thus of the input of the heads. None takes those of
            the backbone's own maps, as the original does.
        box_coding: One of `structures.boxes.BOX_CODINGS`, how the heads `wh` and `cls_theta` are
            trained: as the original's boundary vectors, or as rectangles.

    Attributes:
        center_shift: The part of the centers, right and down in cells, that follows from how the
            images were labeled (see `training.centers`). It does not turn or flip with an image.

    Raises:
        ValueError: `down_ratio` is not 4, `neck` is not positive, `box_coding` is unknown, or the
            number of `classes` differs from the channels of `hm`.
        InputError: The backbone is unknown or cannot be used, or `pretrained` cannot be obtained
            or does not fit.
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
        neck: int | None = None,
        box_coding: str = VECTORS,
    ) -> None:
        super().__init__()
        if down_ratio != STRIDE:
            raise ValueError(
                f"down_ratio must be {STRIDE}, got {down_ratio}: every backbone outputs maps at a "
                "quarter of the input size, and targets and decoder must use the same grid. The "
                "width of the heads does not depend on it; it comes from the backbone table."
            )
        if classes is not None and len(classes) != heads.get("hm"):
            raise ValueError(
                f"classes has {len(classes)} names for {heads.get('hm')} channels of 'hm'"
            )
        if neck is not None and neck < 1:
            raise ValueError(f"neck must be a positive number of channels or None, got {neck}")
        if box_coding not in BOX_CODINGS:
            raise ValueError(
                f"box_coding must be one of {', '.join(BOX_CODINGS)}, got {box_coding!r}"
            )
        row = get_backbone(backbone)
        c2, c3, c4, c5 = row.channels
        self.heads = dict(heads)
        self.backbone = backbone
        self.final_kernel = final_kernel
        self.head_conv = head_conv
        self.head_bn = head_bn
        self.neck = neck
        self.box_coding = box_coding
        self.classes = None if classes is None else tuple(classes)
        self.input_size = None if input_size is None else tuple(input_size)
        self.center_shift = (0.0, 0.0)

        self.base_network = row.build()
        self.dec_c2 = CombinationModule(neck or c3, c2, neck)
        self.dec_c3 = CombinationModule(neck or c4, c3, neck)
        self.dec_c4 = CombinationModule(c5, c4, neck)
        for name, channels in self.heads.items():
            kernel_size = 3 if name == "wh" else final_kernel
            bias = PRIOR_LOGIT if name == "hm" else 0.0
            head = make_head(self.dec_c2.c_out, head_conv, channels, kernel_size, head_bn, bias)
            self.add_module(name, head)
        if box_coding == RECTANGLE:
            start_as_rectangles(self.get_submodule("wh")[-1], self.get_submodule("reg")[-1])

        if pretrained not in (False, None, "none"):
            source = "imagenet" if pretrained is True else pretrained
            load_pretrained(self.base_network, backbone, source)

    def remove_center_shift(self) -> None:
        """Undo the shift of the centers in the weights, as training learns them without it."""
        bias = self.reg[-1].bias.data
        bias.sub_(bias.new_tensor(self.center_shift))
        self.center_shift = (0.0, 0.0)

    def forward(
        self, x: Tensor, logits: bool = False, cells: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compute the output maps of a batch of images.

        Args:
            x: [B, 3, H, W] images in BGR, `pixel / 255 - 0.5`; H and W are multiples of 32.
            logits: Return the heads as the losses expect them: `hm` and `cls_theta` before their
                sigmoid, and `wh` as it is coded. (An argument rather than a method, so that it
                works through a wrapper for several devices.)
            cells: [B, K] int64, `y * W + x` of some cells of the maps, or `EMPTY`. All heads but
                `hm` are then computed at these cells alone, as training needs them.

        Returns:
            A map [B, channels, H / 4, W / 4] for each head, or with `cells` values
            [B, K, channels] for those but `hm`. With the usual heads, in cells of that grid:
            `hm`: probability [0, 1] that an object of the class has its center in the cell; with
            the box coding "rectangle" also how well its box fits (`box_coding.fitting_score`);
            `wh`: vectors (x, y) from the center to the midpoints of the top, right, bottom and
            left edges, then width and height of the axis-aligned rectangle around the box;
            `reg`: offset (x, y) of the center from the cell's top left corner, 0 to 1 where the
            cell holds the center;
            `cls_theta`: probability [0, 1] that the box is rotated, so that the vectors apply; 1
            with the box coding "rectangle", whose vectors are right for upright boxes as well.
        """
        return self.outputs(self.features(x), logits, cells)

    def features(self, x: Tensor) -> Tensor:
        """Compute the input of the heads, [B, C, H / 4, W / 4], of images as in `forward`."""
        c2, c3, c4, c5 = self._backbone_maps(x)
        merged = self.dec_c4(c5, c4)
        merged = self.dec_c3(merged, c3)
        return self.dec_c2(merged, c2)

    def _backbone_maps(self, x: Tensor) -> Features:
        """Compute C2 to C5, also of a batch without images.

        In training, one of several processes may have no image of a batch. As attention cannot
        reshape a batch of none, one without content takes its place, whose maps are left out: all
        parameters still get a gradient, of 0, and the statistics of BatchNorm do not count it.
        """
        if not self.training or x.shape[0] or process_count() == 1:
            return self.base_network(x)
        with uncounted(self.base_network):
            maps = self.base_network(x.new_zeros(1, *x.shape[1:]))
        return tuple(one[:0] for one in maps)

    def outputs(
        self, merged: Tensor, logits: bool = False, cells: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compute what `forward` returns, which has the same arguments, from `features`."""
        maps = {
            name: head(merged)
            if cells is None or name == "hm"
            else head_at_cells(head, merged, cells)
            for name, head in ((name, self.get_submodule(name)) for name in self.heads)
        }
        return maps if logits else decode_heads(maps, self.box_coding)


def decode_heads(maps: Mapping[str, Tensor], box_coding: str) -> dict[str, Tensor]:
    """Turn the outputs of heads, as they are trained, into what `CTRBOX` returns.

    Args:
        maps: [B, channels, H, W] by the name of the head.
        box_coding: One of `structures.boxes.BOX_CODINGS`.
    """
    found = {
        name: torch.sigmoid(values) if name in SIGMOID_HEADS else values
        for name, values in maps.items()
    }
    return decoded_maps(found) if box_coding == RECTANGLE else found

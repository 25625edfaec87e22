"""What a detector is built like, told by its settings or by the keys and shapes of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from boxes import STRIDE
from DOTA_devkit.errors import InputError
from models.backbones import (
    BACKBONE_PREFIX,
    BACKBONES,
    add_batch_counters,
    canonical_keys,
    difference_text,
    listing,
    match_backbone,
    nearest_backbone,
    shapes_of,
)
from models.ctrbox_net import CTRBOX

_WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and torch.compile


@dataclass(frozen=True)
class Architecture:
    """All that decides the names and shapes of a `CTRBOX`'s weights."""

    backbone: str
    heads: dict[str, int]
    final_kernel: int
    head_conv: int
    head_bn: bool

    @classmethod
    def of(cls, model: CTRBOX) -> Architecture:
        return cls(
            model.backbone, dict(model.heads), model.final_kernel, model.head_conv, model.head_bn
        )

    def build(
        self,
        classes: tuple[str, ...] | None = None,
        input_size: tuple[int, int] | None = None,
    ) -> CTRBOX:
        """The network with random weights (with none at all under `torch.device('meta')`)."""
        return CTRBOX(
            self.heads,
            pretrained=None,
            down_ratio=STRIDE,
            final_kernel=self.final_kernel,
            head_conv=self.head_conv,
            backbone=self.backbone,
            head_bn=self.head_bn,
            classes=classes,
            input_size=input_size,
        )


def canonical_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Detector weights of any known layout under the names of `CTRBOX`, floats as float32.

    Known are `module.` before the keys, the classifier of the backbone among them, nested or flat
    MobileNetV2, and files from before BatchNorm counted its batches.
    """
    backbone, rest = {}, {}
    for key, value in state.items():
        while key.startswith(_WRAPPERS):
            key = key.partition(".")[2]
        if value.is_floating_point():
            value = value.float()
        if key.startswith(BACKBONE_PREFIX):
            backbone[key.removeprefix(BACKBONE_PREFIX)] = value
        else:
            rest[key] = value
    backbone = canonical_keys(backbone)
    state = {BACKBONE_PREFIX + key: value for key, value in backbone.items()} | rest
    return add_batch_counters(state)


def recognise(state: Mapping[str, Tensor], backbone: str | None = None) -> Architecture:
    """The architecture that weights belong to.

    Args:
        state: under the names of `canonical_state`.
        backbone: the name that the file says; it decides where several backbones of the table
            have the same keys and shapes.

    Raises:
        InputError: they are no weights of this detector, or of a backbone that is not in the table.
            The message does not name the file; the caller does.
    """
    shapes = shapes_of(state)
    body = {
        key.removeprefix(BACKBONE_PREFIX): shape
        for key, shape in shapes.items()
        if key.startswith(BACKBONE_PREFIX)
    }
    if not body:
        found = match_backbone(shapes_of(add_batch_counters(canonical_keys(dict(state)))))
        if found is not None:
            raise InputError(
                f"it holds the weights of a {found} classifier, not of a detector: they are for "
                f"--pretrained, with --backbone {found}"
            )
        raise InputError(
            "it holds no weights of this detector: their keys begin with "
            f"{BACKBONE_PREFIX.rstrip('.')}, dec_c2, dec_c3, dec_c4, hm, wh, reg and cls_theta; "
            f"it has {listing(shapes)}"
        )
    name = match_backbone(body, backbone)
    if name is None:
        nearest, difference = nearest_backbone(body)
        raise InputError(
            f"its backbone is none of the table ({', '.join(BACKBONES)}); nearest is {nearest}: "
            f"{difference}"
        )
    architecture = _recognise_heads(shapes, name)
    with torch.device("meta"):
        expected = shapes_of(architecture.build().state_dict())
    if expected != shapes:
        raise InputError(
            f"it is no complete {name} detector of this kind: {difference_text(expected, shapes)}"
        )
    return architecture


def _recognise_heads(shapes: Mapping[str, tuple[int, ...]], backbone: str) -> Architecture:
    """Heads are what stands outside backbone and merges: `<name>.0` a convolution, `<name>.1` its
    norm, if any, and a last convolution."""
    names = [
        key.removesuffix(".0.weight")
        for key, shape in shapes.items()
        if key.count(".") == 2 and key.endswith(".0.weight") and len(shape) == 4
    ]
    if "hm" not in names:
        raise InputError("it has a backbone but no heat map head (hm): no weights of this detector")
    head_bn = "hm.1.weight" in shapes
    last = {name: shapes.get(f"{name}.{3 if head_bn else 2}.weight") for name in names}
    broken = [name for name, shape in last.items() if shape is None or len(shape) != 4]
    if broken:
        expected = "hm.0, hm.1, hm.3 (with --head_bn)" if head_bn else "hm.0, hm.2"
        raise InputError(
            f"its heads differ: hm has the layers {expected}, and {', '.join(broken)} has not"
        )
    kernels = [shape[-1] for name, shape in last.items() if name != "wh"]
    return Architecture(
        backbone=backbone,
        heads={name: shape[0] for name, shape in last.items()},
        final_kernel=kernels[0],
        head_conv=shapes["hm.0.weight"][0],
        head_bn=head_bn,
    )

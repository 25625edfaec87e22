"""What a detector is built like, told by its settings or by the keys and shapes of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from DOTA_devkit.errors import InputError
from models.backbones import BACKBONES
from models.ctrbox_net import CTRBOX
from models.state_keys import (
    BACKBONE_PREFIX,
    add_batch_counters,
    canonical_keys,
    difference_text,
    listing,
    match_backbone,
    nearest_backbone,
    shapes_of,
)
from structures.boxes import HEAD_CHANNELS, STRIDE


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
    if lacking := {"hm", *HEAD_CHANNELS} - set(names):
        raise InputError(f"it has a backbone, but not the heads {', '.join(sorted(lacking))}")
    head_bn = "hm.1.weight" in shapes
    last = {name: shapes.get(f"{name}.{3 if head_bn else 2}.weight") for name in names}
    broken = [name for name, shape in last.items() if shape is None or len(shape) != 4]
    if broken:
        expected = "hm.0, hm.1, hm.3 (with --head_bn)" if head_bn else "hm.0, hm.2"
        raise InputError(
            f"its heads differ: hm has the layers {expected}, and {', '.join(broken)} has not"
        )
    heads = {name: shape[0] for name, shape in last.items()}
    for name, channels in HEAD_CHANNELS.items():
        if heads[name] != channels:
            raise InputError(
                f"its head {name} has {heads[name]} channels, this detector's {channels}"
            )
    return Architecture(
        backbone=backbone,
        heads=heads,
        final_kernel=last["hm"][-1],
        head_conv=shapes["hm.0.weight"][0],
        head_bn=head_bn,
    )

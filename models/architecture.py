"""The architecture of a detector, from its settings or from the keys and shapes of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import metadata
from typing import Any

import torch
from torch import Tensor

from DOTA_devkit.errors import InputError
from models.backbones import BACKBONES, is_timm
from models.ctrbox_net import CTRBOX
from models.state_keys import (
    BACKBONE_PREFIX,
    add_batch_counters,
    canonical_keys,
    describe_difference,
    join_keys,
    match_backbone,
    nearest_backbone,
    shapes_of,
)
from structures.boxes import HEAD_CHANNELS, STRIDE, VECTORS


@dataclass(frozen=True)
class Architecture:
    """Everything that determines the names and shapes of the weights of a `CTRBOX`.

    Attributes:
        backbone: A name in `models.backbones.BACKBONES`, or `timm/NAME`.
        heads: Channels of each output map by head name.
        final_kernel: Kernel size of the last convolution of each head except `wh`.
        head_conv: Hidden channels of each head.
        head_bn: Whether the heads have BatchNorm.
        neck: Channels of the merges, or None for those of the backbone's maps.
        box_coding: One of `structures.boxes.BOX_CODINGS`, which the weights do not show.
    """

    backbone: str
    heads: dict[str, int]
    final_kernel: int
    head_conv: int
    head_bn: bool
    neck: int | None = None
    box_coding: str = VECTORS

    @classmethod
    def of(cls, model: CTRBOX) -> Architecture:
        """Return the architecture of an existing model."""
        return cls(
            model.backbone,
            dict(model.heads),
            model.final_kernel,
            model.head_conv,
            model.head_bn,
            model.neck,
            model.box_coding,
        )

    def build(
        self,
        classes: tuple[str, ...] | None = None,
        input_size: tuple[int, int] | None = None,
    ) -> CTRBOX:
        """Build the network with random weights (without any under `torch.device('meta')`)."""
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
            neck=self.neck,
            box_coding=self.box_coding,
        )


def recognize(
    state: Mapping[str, Tensor], backbone: str | None = None, box_coding: str = VECTORS
) -> Architecture:
    """Find the architecture that weights belong to.

    Args:
        state: Weights under the names of `canonical_state`.
        backbone: The name given in the file; it decides if several backbones of the table have the
            same keys and shapes.
        box_coding: As given in the file.

    Returns:
        The architecture whose keys and shapes are exactly those of the weights.

    Raises:
        InputError: These are not the weights of this detector, or their backbone is not in the
            table, nor the model of timm that is named. The message does not name the file; the
            caller adds it.
    """
    shapes = shapes_of(state)
    body = {
        key.removeprefix(BACKBONE_PREFIX): shape
        for key, shape in shapes.items()
        if key.startswith(BACKBONE_PREFIX)
    }
    if not body:
        raise _no_backbone(state)
    name = match_backbone(body, backbone)
    if name is None:
        raise _unknown_backbone(body, backbone)
    architecture = replace(_recognize_heads(shapes, name), box_coding=box_coding)
    settings = vars(architecture) | {"heads": tuple(architecture.heads.items())}
    expected = _network_shapes(**settings)
    if expected != shapes:
        raise InputError(
            f"it is not a complete {name} detector: {describe_difference(expected, shapes)}"
        )
    return architecture


def _no_backbone(state: Mapping[str, Tensor]) -> InputError:
    """Make the error for weights without a backbone."""
    found = match_backbone(shapes_of(add_batch_counters(canonical_keys(dict(state)))))
    if found is not None:
        return InputError(
            f"it holds the weights of a {found} classifier, not of a detector: use it as "
            f"pretrained, with backbone={found}"
        )
    return InputError(
        "it holds no weights of this detector, whose keys begin with "
        f"{BACKBONE_PREFIX.rstrip('.')}, dec_c2, dec_c3, dec_c4, hm, wh, reg and cls_theta; "
        f"its keys are {join_keys(shapes_of(state))}"
    )


def _unknown_backbone(body: Mapping[str, tuple[int, ...]], backbone: str | None) -> InputError:
    """Make the error for a backbone, given by its shapes, that matches none."""
    nearest, difference = nearest_backbone(body, backbone)
    if is_timm(backbone):
        return InputError(
            f"its backbone differs from {backbone} of the installed timm "
            f"{metadata.version('timm')}: {difference}"
        )
    if all(key.startswith("timm.") for key in body):
        return InputError(
            "its backbone is a model of timm, but the file does not say which: it needs the "
            "entry backbone, such as 'timm/convnext_tiny'"
        )
    return InputError(
        f"its backbone is not in the table ({', '.join(BACKBONES)}); the nearest is {nearest}: "
        f"{difference}"
    )


@lru_cache(maxsize=16)
def _network_shapes(
    heads: tuple[tuple[str, int], ...], **settings: Any
) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of the weights of an architecture, whose heads are (name, channels).

    To build it takes a large part of the time to read a file, and commands read files of the same
    architecture again and again.
    """
    with torch.device("meta"):
        return shapes_of(Architecture(heads=dict(heads), **settings).build().state_dict())


def _recognize_heads(shapes: Mapping[str, tuple[int, ...]], backbone: str) -> Architecture:
    """Read the heads, which are everything outside backbone and merges.

    `<name>.0` is a convolution, `<name>.1` its norm, if any, and the last layer a convolution.
    """
    names = [
        key.removesuffix(".0.weight")
        for key, shape in shapes.items()
        if key.count(".") == 2 and key.endswith(".0.weight") and len(shape) == 4
    ]
    if missing := {"hm", *HEAD_CHANNELS} - set(names):
        raise InputError(f"it has a backbone, but lacks the heads {', '.join(sorted(missing))}")
    head_bn = "hm.1.weight" in shapes
    last = {name: shapes.get(f"{name}.{3 if head_bn else 2}.weight") for name in names}
    broken = [name for name, shape in last.items() if shape is None or len(shape) != 4]
    if broken:
        expected = "hm.0, hm.1, hm.3 (with head_bn)" if head_bn else "hm.0, hm.2"
        raise InputError(
            f"its heads differ: hm has the layers {expected}, but {', '.join(broken)} does not"
        )
    heads = {name: shape[0] for name, shape in last.items()}
    for name, channels in HEAD_CHANNELS.items():
        if heads[name] != channels:
            raise InputError(f"its head {name} has {heads[name]} channels, expected {channels}")
    return Architecture(
        backbone=backbone,
        heads=heads,
        final_kernel=last["hm"][-1],
        head_conv=shapes["hm.0.weight"][0],
        head_bn=head_bn,
        neck=_recognize_neck(shapes),
    )


def _recognize_neck(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Return the width that all merges share, or None if they have those of the table."""
    widths = {shapes.get(f"dec_c{stage}.up.0.weight", (0,))[0] for stage in (2, 3, 4)}
    shared = widths.pop()
    return None if widths or shared == 0 else shared

"""The backbone's first weights: ImageNet's from torchvision, or those of a file."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from DOTA_devkit.errors import InputError
from models.backbones import get_backbone
from models.state_keys import (
    BACKBONE_PREFIX,
    add_batch_counters,
    canonical_keys,
    difference_text,
    match_backbone,
    shapes_of,
)
from models.torch_files import read_torch_file, split_state

if TYPE_CHECKING:
    from models.ctrbox_net import CTRBOX  # which imports this module

logger = logging.getLogger(__name__)


def load_pretrained(model: CTRBOX, source: str | Path) -> None:
    """Give the backbone of a detector its first weights.

    Args:
        source: 'imagenet' (torchvision's, from its cache or the network), 'none', or a file with
            torchvision's or classic keys, with or without the classifier.

    Raises:
        InputError: they cannot be had, or belong to something else.
    """
    if source == "none":
        return
    if source == "imagenet":
        state = _imagenet_state(model.backbone)
        origin = f"torchvision's weights of {model.backbone}"
    else:
        state, _ = split_state(read_torch_file(source), Path(source))
        origin = str(source)
    state = {key.removeprefix("module."): value for key, value in state.items()}
    if any(key.startswith(BACKBONE_PREFIX) for key in state):
        raise InputError(
            f"{origin}: a whole detector, and --pretrained wants the weights of a classifier; to "
            "begin with a detector use --finetune"
        )
    state = add_batch_counters(canonical_keys(state))
    expected, found = shapes_of(model.base_network.state_dict()), shapes_of(state)
    if found != expected:
        name = match_backbone(found)
        hint = f"they are {name}'s: --backbone {name}" if name else difference_text(expected, found)
        raise InputError(f"{origin}: not the weights of {model.backbone} (--pretrained); {hint}")
    model.base_network.load_state_dict(state)
    logger.info("the backbone starts with %s", origin)


def _imagenet_state(backbone: str) -> dict[str, Tensor]:
    weights = get_backbone(backbone).imagenet
    if weights is None:
        raise InputError(
            f"torchvision has no ImageNet weights of {backbone}: use --pretrained FILE or none"
        )
    try:
        return weights.get_state_dict(
            map_location="cpu", progress=sys.stderr.isatty(), check_hash=True, weights_only=True
        )
    except Exception as error:  # no network, a download cut off, a damaged file in the cache
        raise InputError(
            f"the ImageNet weights of {backbone} could not be had from {weights.url} ({error}). "
            "Without a network: download that file elsewhere and give its path (--pretrained "
            "FILE), begin with a detector (--finetune FILE), or with random weights (--pretrained "
            "none)"
        ) from error

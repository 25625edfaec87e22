"""Initial weights of a backbone: torchvision's ImageNet weights, timm's, or those of a file."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from torch import Tensor, nn

from DOTA_devkit.errors import InputError
from DOTA_devkit.torch_files import read_torch_file, refuse_non_finite, split_state
from models.backbones import get_backbone, is_timm
from models.state_keys import (
    BACKBONE_PREFIX,
    add_batch_counters,
    canonical_keys,
    describe_difference,
    match_backbone,
    shapes_of,
)

logger = logging.getLogger(__name__)


def load_pretrained(backbone: nn.Module, name: str, source: str | Path) -> None:
    """Load pretrained weights into a backbone, in place.

    Args:
        backbone: The module to initialize, such as `CTRBOX.base_network`.
        name: Its name in `models.backbones.BACKBONES`, or `timm/NAME`.
        source: 'imagenet' for the weights of torchvision or timm (from their caches or the
            network), 'none' to keep the weights as they are, or a file with torchvision's, classic
            or timm's keys, with or without the classifier.

    Raises:
        InputError: The weights cannot be obtained or do not fit this backbone, or are not finite.
    """
    if source == "none":
        return
    if source == "imagenet":
        state = _imagenet_state(name)
        origin = f"{'timm' if is_timm(name) else 'torchvision'}'s weights of {name}"
    else:
        state, origin = _file_state(name, Path(source)), str(source)
    state = add_batch_counters(state)
    expected, found = shapes_of(backbone.state_dict()), shapes_of(state)
    if found != expected:
        owner = match_backbone(found)
        hint = (
            f"they belong to {owner}: set backbone={owner}"
            if owner
            else describe_difference(expected, found)
        )
        raise InputError(f"{origin}: not the weights of {name} (pretrained); {hint}")
    refuse_non_finite(state, origin)
    backbone.load_state_dict(state)
    logger.info("the backbone starts from %s", origin)


def _file_state(name: str, path: Path) -> dict[str, Tensor]:
    """Read the weights of a backbone from a file, under the keys of this project."""
    if is_timm(name):
        from models.timm_features import own_keys, read_weights

        state = read_weights(path)
    else:
        state, _ = split_state(read_torch_file(path), path)
    state = {key.removeprefix("module."): value for key, value in state.items()}
    if any(key.startswith(BACKBONE_PREFIX) for key in state):
        raise InputError(
            f"{path}: this is a whole detector, but pretrained expects the weights of a "
            "classifier; to start from a detector use finetune"
        )
    return own_keys(name, state) if is_timm(name) else canonical_keys(state)


def _imagenet_state(name: str) -> dict[str, Tensor]:
    """Return the weights of torchvision or timm, under the keys of this project."""
    if is_timm(name):
        from models.timm_features import pretrained_state

        return pretrained_state(name)
    known = get_backbone(name).imagenet
    if known is None:
        raise InputError(
            f"torchvision has no ImageNet weights for {name}: set `pretrained` to a file or to none"
        )
    from torchvision.models import get_weight  # takes longer to import than PyTorch

    weights = get_weight(known)
    try:
        state = weights.get_state_dict(
            map_location="cpu", progress=sys.stderr.isatty(), check_hash=True, weights_only=True
        )
    except Exception as error:  # no network, an interrupted download, a damaged cached file
        raise InputError(
            f"the ImageNet weights of {name} could not be downloaded from {weights.url} ({error}). "
            "Without a network, download that file elsewhere and give its path as `pretrained`, "
            "start from a detector with `finetune`, or start from random weights with `pretrained` "
            "none"
        ) from error
    return canonical_keys(state)

"""Keys of state dicts: convert known layouts, match a backbone, describe differences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from models.backbones import BACKBONES, get_backbone, is_timm

BACKBONE_PREFIX = "base_network."  # prefix of the backbone's keys in a detector
_WRAPPERS = ("module.", "_orig_mod.")  # prefixes of DataParallel and torch.compile
# A classifier, or the 1x1 convolution with its norm behind the last block of a MobileNet or
# EfficientNet (the convolution before the first block is `features.0`).
_UNUSED = re.compile(r"(fc|classifier)\.|features\.[1-9]\d*\.[01]\.\w+$")
_NESTED = re.compile(
    r"(?P<block>features\.\d+\.conv)\.(?P<unit>\d+)\.(?P<layer>\d+)\.(?P<name>\w+)"
)
_FLAT = re.compile(r"(?P<block>features\.\d+\.conv)\.(?P<layer>\d+)\.(?P<name>\w+)")
_Value = TypeVar("_Value")


def canonical_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert detector weights of any known layout to the keys of `CTRBOX`, floats to float32.

    Known layouts have `module.` in front of the keys, include the backbone's classifier, have a
    nested or flat MobileNetV2, or come from before BatchNorm counted its batches.
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


def canonical_keys(state: dict[str, _Value]) -> dict[str, _Value]:
    """Convert backbone keys to those of the backbone table, and drop layers that it does not use.

    torchvision nests the layers of a MobileNetV2 block: `features.4.conv.<unit>.<layer>` for the
    units of convolution, norm and activation, followed by a convolution and a norm on their own.
    In the flat layout each unit takes three numbers. Classifiers, and the last 1x1 convolution of
    MobileNets and EfficientNets, are dropped.

    Args:
        state: Keys relative to the backbone (no `base_network.`), in any known layout.

    Returns:
        The state with converted keys, in the same order.
    """
    units = {}  # block -> number of its nested units
    for key in state:
        if match := _NESTED.fullmatch(key):
            block, unit = match["block"], int(match["unit"])
            units[block] = max(units.get(block, 0), unit + 1)
    renamed = {}
    for key, value in state.items():
        if _UNUSED.match(key):
            continue
        if match := _NESTED.fullmatch(key):
            number = 3 * int(match["unit"]) + int(match["layer"])
            key = f"{match['block']}.{number}.{match['name']}"
        elif (match := _FLAT.fullmatch(key)) and match["block"] in units:
            after = int(match["layer"]) - units[match["block"]]
            key = f"{match['block']}.{3 * units[match['block']] + after}.{match['name']}"
        renamed[key] = value
    return renamed


def add_batch_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add the batch counters of BatchNorm, which files from before PyTorch 0.4.1 lack."""
    counters = {
        key.removesuffix("running_var") + "num_batches_tracked": torch.zeros((), dtype=torch.int64)
        for key in state
        if key.endswith(".running_var")
    }
    return state | {key: value for key, value in counters.items() if key not in state}


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor."""
    return {key: tuple(value.shape) for key, value in state.items()}


@cache
def _backbone_shapes(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return shapes_of(get_backbone(name).build().state_dict())


def match_backbone(
    shapes: Mapping[str, tuple[int, ...]], preferred: str | None = None
) -> str | None:
    """Find the backbone with exactly these keys and shapes.

    Args:
        shapes: Shapes by key, relative to the backbone (no `base_network.`).
        preferred: The name to return if several backbones match and it is one of them. A model of
            timm is only found with its name.

    Returns:
        A name in `models.backbones.BACKBONES`, the name of the model of timm, or None.

    Raises:
        InputError: The model of timm cannot be used, for example because timm is not installed.
    """
    # the likely one first, as each has to be built
    is_known = preferred in BACKBONES or is_timm(preferred)
    names = [preferred, *BACKBONES] if is_known else BACKBONES
    return next((name for name in names if _backbone_shapes(name) == shapes), None)


def nearest_backbone(
    shapes: Mapping[str, tuple[int, ...]], named: str | None = None
) -> tuple[str, str]:
    """Find the backbone that shares most keys and shapes, and describe the difference.

    Args:
        shapes: Shapes by key, relative to the backbone.
        named: The model of timm that a file names, which is then taken for the nearest.
    """

    def count_differences(name: str) -> int:
        return len(_backbone_shapes(name).items() ^ shapes.items())

    nearest = named if is_timm(named) else min(BACKBONES, key=count_differences)
    return nearest, describe_difference(_backbone_shapes(nearest), shapes)


def describe_difference(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> str:
    """Describe how keys and shapes differ: `missing: a, b, c and 5 more; unknown: d`."""
    missing = [key for key in expected if key not in found]
    unknown = [key for key in found if key not in expected]
    reshaped = [
        f"{key} ({list(expected[key])} expected, {list(found[key])} found)"
        for key in expected
        if key in found and expected[key] != found[key]
    ]
    parts = {"missing": missing, "unknown": unknown, "different shape": reshaped}
    return "; ".join(f"{name}: {join_keys(keys)}" for name, keys in parts.items() if keys)


def join_keys(keys: Iterable[str], shown: int = 3) -> str:
    """Join the first keys and count the others: `a, b, c and 5 more`."""
    keys = list(keys)
    more = f" and {len(keys) - shown} more" if len(keys) > shown else ""
    return ", ".join(keys[:shown]) + more

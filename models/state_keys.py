"""The names of weights: their layouts in the wild, whose they are, how two sets differ."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from models.backbones import BACKBONES

BACKBONE_PREFIX = "base_network."  # of the backbone's keys in a detector
_WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and torch.compile
_UNUSED = re.compile(r"(fc|classifier|features\.18)\.")
_NESTED = re.compile(
    r"(?P<block>features\.\d+\.conv)\.(?P<unit>\d+)\.(?P<layer>\d+)\.(?P<name>\w+)"
)
_FLAT = re.compile(r"(?P<block>features\.\d+\.conv)\.(?P<layer>\d+)\.(?P<name>\w+)")
_Value = TypeVar("_Value")


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


def canonical_keys(state: dict[str, _Value]) -> dict[str, _Value]:
    """The same backbone state under the names of this table, without the layers it leaves out.

    torchvision nests the layers of a MobileNetV2 block, `features.4.conv.<unit>.<layer>` for the
    units of convolution, norm and activation, then convolution and norm on their own; flat, the
    units take three numbers each. Classifiers and MobileNetV2's last 1x1 convolution are dropped.

    Args:
        state: keys relative to the backbone (no `base_network.`), in any known layout.
    """
    units = {}  # block -> number of nested units in it
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
    """The same with the counters of BatchNorm, which files from before PyTorch 0.4.1 lack."""
    counters = {
        key.removesuffix("running_var") + "num_batches_tracked": torch.zeros((), dtype=torch.int64)
        for key in state
        if key.endswith(".running_var")
    }
    return state | {key: value for key, value in counters.items() if key not in state}


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


@cache
def _backbone_shapes(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return shapes_of(BACKBONES[name].build().state_dict())


def match_backbone(
    shapes: Mapping[str, tuple[int, ...]], preferred: str | None = None
) -> str | None:
    """The backbone of the table with exactly these keys (no `base_network.`) and shapes."""
    names = [name for name in BACKBONES if _backbone_shapes(name) == shapes]
    return preferred if preferred in names else next(iter(names), None)


def nearest_backbone(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, str]:
    """The backbone that shares most keys and shapes, and what differs from it in words."""

    def unlike(name: str) -> int:
        return len(_backbone_shapes(name).items() ^ shapes.items())

    nearest = min(BACKBONES, key=unlike)
    return nearest, difference_text(_backbone_shapes(nearest), shapes)


def difference_text(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> str:
    """`missing a, b and 5 more; not known c; of another shape d (...)`."""
    missing = [key for key in expected if key not in found]
    unknown = [key for key in found if key not in expected]
    reshaped = [
        f"{key} ({list(expected[key])} expected, {list(found[key])} found)"
        for key in expected
        if key in found and expected[key] != found[key]
    ]
    parts = {"missing": missing, "not known": unknown, "of another shape": reshaped}
    return "; ".join(f"{name}: {listing(keys)}" for name, keys in parts.items() if keys)


def listing(keys: Iterable[str], shown: int = 3) -> str:
    """`a, b, c and 5 more`."""
    keys = list(keys)
    more = f" and {len(keys) - shown} more" if len(keys) > shown else ""
    return ", ".join(keys[:shown]) + more

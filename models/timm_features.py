"""Backbones of timm (PyTorch Image Models): any model with maps at strides 4, 8, 16 and 32.

timm is only imported here, where a name `timm/NAME` is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from DOTA_devkit.errors import InputError, did_you_mean
from DOTA_devkit.torch_files import read_torch_file, split_state
from models.backbone_row import FEATURE_STRIDES, TIMM, Backbone
from models.model_parts import Features

_NAME = re.compile(r"\w+(\.\w+)?", re.ASCII)
"""A model with or without the tag of its pretrained weights. timm itself also takes addresses of
models elsewhere, which a checkpoint of unknown origin must not be able to name."""

_ANY_SIZE = {"strict_img_size": False, "always_partition": True}
"""What lets a Swin transformer take inputs of any size, in windows as large as those of its
pretrained weights."""

_TESTED_HW = (64, 96)


class TimmFeatures(nn.Module):
    """A model of timm without the classifier.

    Args:
        name: `timm/NAME`.
        pretrained: Start from timm's pretrained weights, from its cache or the network.

    Raises:
        InputError: timm is not installed, has no such model, or the model has no maps at the
            strides of a detector.
    """

    def __init__(self, name: str, pretrained: bool = False) -> None:
        super().__init__()
        self.timm = _create(name, pretrained)
        strides = self.timm.feature_info.reduction()
        missing = [stride for stride in FEATURE_STRIDES if stride not in strides]
        if missing:
            raise InputError(
                f"backbone {name!r} cannot be used: its feature maps have the strides "
                f"{', '.join(map(str, strides))}, and a detector needs "
                f"{', '.join(map(str, FEATURE_STRIDES))}"
            )
        last = {stride: index for index, stride in enumerate(strides)}
        self._taken = [last[stride] for stride in FEATURE_STRIDES]
        self._channels_last = getattr(self.timm, "output_fmt", "NCHW") == "NHWC"

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Channels of C2 to C5, of timm's own table."""
        channels = self.timm.feature_info.channels()
        return tuple(channels[index] for index in self._taken)

    def forward(self, x: Tensor) -> Features:
        """Compute the feature maps C2 to C5 of a batch [B, 3, H, W]."""
        maps = self.timm(x)
        maps = [maps[index] for index in self._taken]
        if self._channels_last:
            maps = [one.permute(0, 3, 1, 2) for one in maps]
        return tuple(maps)


@cache
def timm_backbone(name: str) -> Backbone:
    """Return the row of a model of timm, after a run on shapes alone.

    Args:
        name: `timm/NAME`.

    Raises:
        InputError: See `TimmFeatures`; or the model does not take inputs of every size.
    """
    with torch.device("meta"):
        network = TimmFeatures(name).eval()
        _check_shapes(network, name)
    return Backbone(partial(TimmFeatures, name), network.channels, convolutional=False)


def pretrained_state(name: str) -> dict[str, Tensor]:
    """Return timm's pretrained weights of a model, under the keys of `TimmFeatures`.

    Raises:
        InputError: There are none, or they cannot be downloaded.
    """
    config = _config(_timm(name), name)
    if config is None or not config.has_weights:
        raise InputError(
            f"timm has no pretrained weights for {name}: set `pretrained` to a file or to none"
        )
    try:
        return TimmFeatures(name, pretrained=True).state_dict()
    except Exception as error:  # no network, an interrupted download, a damaged cached file
        place = f"huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else config.url
        raise InputError(
            f"the pretrained weights of {name} could not be downloaded from {place} "
            f"({_reason(error)}). Without a network, download the file of the weights elsewhere "
            "and give its path as `pretrained`, start from a detector with `finetune`, or start "
            "from random weights with `pretrained` none"
        ) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of a model of timm, in the file format of torch.save or safetensors.

    Raises:
        InputError: The file is missing, damaged, or holds no weights.
    """
    if path.suffix != ".safetensors" or not path.is_file():
        return split_state(read_torch_file(path), path)[0]
    from safetensors.torch import load_file  # timm requires it

    try:
        return load_file(path)
    except Exception as error:  # the package raises classes of its own
        raise InputError(
            f"{path}: not a file of safetensors, or truncated or damaged ({_reason(error)})"
        ) from error


def own_keys(name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert the keys of timm's model to those of `TimmFeatures`, and drop the classifier.

    A model that only computes features has the same layers under similar keys: a stage is
    `stages_0` instead of `stages.0`, and all may begin with `model`.

    Args:
        name: `timm/NAME`.
        state: The weights of the whole model.

    Returns:
        The weights. Keys that timm's model does not have either are kept, so that they can be
        reported.
    """
    with torch.device("meta"):
        own = TimmFeatures(name).state_dict()
        whole = _timm(name).create_model(name.removeprefix(TIMM)).state_dict()
    found = {_flat(key): key for key in state}
    renamed = {}
    for key in own:
        short = _flat(key.removeprefix("timm."))
        theirs = found.get(short) or found.get(short.removeprefix("model_"))
        if theirs is not None:
            renamed[key] = state[theirs]
            found.pop(_flat(theirs))
    return renamed | {key: state[key] for key in found.values() if key not in whole}


def _flat(key: str) -> str:
    return key.replace(".", "_")


def _timm(name: str) -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise InputError(
            f"backbone {name!r} needs {error.name}: pip install -e '.[timm]'"
        ) from None
    return timm


def _config(timm: ModuleType, name: str) -> object | None:
    """Return what timm stores about the pretrained weights of a model, None if it has nothing.

    Raises:
        InputError: timm has no such model, or no such weights of it.
    """
    short = name.removeprefix(TIMM)
    if not _NAME.fullmatch(short) or not timm.is_model(short):
        meant = did_you_mean(name, [TIMM + known for known in timm.list_models()])
        raise InputError(
            f"backbone {name!r} is unknown to timm {timm.__version__}{meant}: "
            "timm.list_models() lists its models"
        )
    try:
        return timm.get_pretrained_cfg(short)
    except RuntimeError as error:  # no such tag
        known = ", ".join(timm.list_pretrained(f"{short.partition('.')[0]}.*")) or "none"
        raise InputError(
            f"backbone {name!r}: {_reason(error)}. timm has these weights of the model: {known}"
        ) from None


def _create(name: str, pretrained: bool) -> nn.Module:
    """Build timm's network of features."""
    timm = _timm(name)
    config = _config(timm, name)
    build = partial(
        timm.create_model, name.removeprefix(TIMM), pretrained=pretrained, features_only=True
    )
    if config is not None and config.fixed_input_size:
        try:
            return build(**_ANY_SIZE)
        except TypeError:  # it has no such parameters
            pass
    try:
        return build()
    except (AttributeError, AssertionError, RuntimeError, TypeError, ValueError) as error:
        if pretrained:
            raise
        raise InputError(
            f"backbone {name!r} cannot be used: timm makes no feature maps of it ({_reason(error)})"
        ) from None


def _check_shapes(network: TimmFeatures, name: str) -> None:
    """Check the feature maps of a network on the meta device.

    Raises:
        InputError: It does not take an input of this size, or its maps have other shapes.
    """
    height, width = _TESTED_HW
    need = "and a detector has to take every multiple of 32"
    try:
        with torch.no_grad():
            maps = network(torch.empty(1, 3, height, width, device="meta"))
    except Exception as error:  # whatever a model raises for a size that is not its own
        raise InputError(
            f"backbone {name!r} cannot be used: it does not take an input of {height}x{width}, "
            f"{need} ({_reason(error)})"
        ) from None
    shapes = [tuple(one.shape) for one in maps]
    expected = [
        (1, channels, height // stride, width // stride)
        for channels, stride in zip(network.channels, FEATURE_STRIDES, strict=True)
    ]
    if shapes != expected:
        raise InputError(
            f"backbone {name!r} cannot be used: for an input of {height}x{width} its feature maps "
            f"have the shapes {shapes}, expected {expected}"
        )


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__

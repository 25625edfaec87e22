"""Mixed precision: in which type the network computes, and the loss scale that float16 needs.

Weights, their average, losses, targets and box coding stay in float32, and so does validation.
"""

from __future__ import annotations

import logging
import math
import platform

import torch
from torch import nn

from DOTA_devkit.errors import InputError
from models import Checkpoint

logger = logging.getLogger(__name__)

_LEAST_SCALE = 1.0
"""A gradient that overflows at this scale does so without one."""


class Precision:
    """The type that a network is trained in, and the scale of its losses.

    Args:
        device: where it is trained.
        dtype: float16 or bfloat16 for mixed precision, None for float32.

    Attributes:
        dtype: see above.
        scaler: of the losses; only enabled with float16, whose small gradients would else be 0.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype | None = None) -> None:
        self.dtype = dtype
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
        self._device_type = device.type

    def forward(self, model: nn.Module, *inputs: object, **options: object) -> dict:
        """Run a network in this precision.

        Returns:
            Its head maps by name, in float32.
        """
        with torch.autocast(self._device_type, self.dtype, enabled=self.dtype is not None):
            maps = model(*inputs, **options)
        return {name: values.float() for name, values in maps.items()}

    def can_lower_scale(self) -> bool:
        """Whether a gradient that is not finite may be due to the scale of the losses."""
        return self.scaler.is_enabled() and self.scaler.get_scale() > _LEAST_SCALE

    def state(self) -> dict[str, float]:
        """Return what a checkpoint stores: the numbers of the scaler, none without one."""
        return self.scaler.state_dict()

    def resume(self, resume: Checkpoint) -> None:
        """Take the scale from a checkpoint, if it was written with one and it is needed.

        Raises:
            InputError: it cannot be a scale.
        """
        stored = resume.extras.get("scaler_state_dict", {})
        if not (self.scaler.is_enabled() and stored):
            return
        scale, steps = stored.get("scale"), stored.get("_growth_tracker")
        fits = type(scale) is float and 0 < scale < math.inf and type(steps) is int and steps >= 0
        if not fits:
            raise InputError(
                f"{resume.path}: its scaler_state_dict is {dict(stored)}, but a positive scale and "
                "a number of steps (_growth_tracker) are expected; to start over with its weights "
                "use finetune"
            )
        own = self.scaler.state_dict()
        self.scaler.load_state_dict({**own, "scale": scale, "_growth_tracker": steps})


def choose_precision(amp: str, device: torch.device) -> Precision:
    """Choose the precision that the setting `amp` stands for on a device.

    Args:
        amp: one of `training.settings.AMP`.
        device: where the network is trained.

    Raises:
        InputError: the device cannot train in the type that is asked for.
    """
    if amp == "none":
        return Precision(device)
    if amp == "auto":
        if has_bfloat16(device):
            return Precision(device, torch.bfloat16)
        return Precision(device, torch.float16 if device.type == "cuda" else None)
    if amp == "float16" and device.type == "cpu":
        raise InputError(
            "`amp` float16 needs a GPU: a CPU computes float16 slower than float32; `amp` bfloat16 "
            "is for CPUs that have it, and `amp` without a value takes what is fast"
        )
    return Precision(device, getattr(torch, amp))


def log_precision(precision: Precision, amp: str, device: torch.device) -> None:
    """Log what the setting `amp` selects, and whether another setting would be faster."""
    where = "GPU" if device.type == "cuda" else "CPU"
    if amp == "none":
        if has_bfloat16(device):
            logger.info(
                "this %s has instructions for bfloat16: `amp` would make the training faster", where
            )
        return
    if precision.dtype is None:
        logger.info(
            "`amp`: this %s has no instructions for bfloat16, so that the network is trained in "
            "float32", where,
        )  # fmt: skip
        return
    logger.info("`amp`: the network is trained in %s", str(precision.dtype).removeprefix("torch."))
    if precision.dtype is torch.bfloat16 and not has_bfloat16(device):
        logger.warning(
            "this %s has no instructions for bfloat16: `amp` bfloat16 is slower than float32 here",
            where,
        )


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16; all others only emulate it."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if platform.machine().lower() in ("x86_64", "amd64"):
        # There is no public name for it; where PyTorch has another one, float32 is the safe choice.
        return getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()

"""Compiling the part of a network that takes the time of a step."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from DOTA_devkit.errors import InputError
from models import CTRBOX
from processes.group import process_count

logger = logging.getLogger(__name__)


class CompiledNetwork(nn.Module):
    """A network for training whose backbone and merges are compiled.

    They are nearly all of a step. The heads stay as they are: with `cells` their sizes differ from
    batch to batch, and each new one would be compiled again. A batch of another size, such as one
    from which images were left out, is compiled once for all sizes. Validation, averages and
    checkpoints use the network itself.

    Args:
        model: The network, which shares its weights with this one.

    Raises:
        InputError: Several processes train it.
    """

    def __init__(self, model: CTRBOX) -> None:
        super().__init__()
        _refuse_processes()
        self.module = model
        self._features = torch.compile(model.features)

    def forward(
        self, x: Tensor, logits: bool = False, cells: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compute what `CTRBOX.forward` does."""
        return self.module.outputs(self._features(x), logits, cells)


def check_compiler(device: torch.device) -> None:
    """Compile something small, before a run starts.

    Raises:
        InputError: PyTorch cannot compile for the device on this machine, or several processes
            train.
    """
    _refuse_processes()
    logger.info("`compile`: looking for a compiler; the first steps of the run take minutes, too")
    try:
        torch.compile(_double)(torch.ones(2, device=device))
    except Exception as error:  # of Python, Triton or the compiler: each has errors of its own
        needed = (
            "Triton and a C compiler" if device.type == "cuda" else "a C++ compiler (g++ or clang)"
        )
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        cause = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        raise InputError(
            f"`compile` needs {needed} that PyTorch can use, and there is none: {cause}. Install "
            "it, or train without `compile`"
        ) from error


def _refuse_processes() -> None:
    if process_count() > 1:  # which exchange the statistics of BatchNorm within the network
        raise InputError("`compile` works in a single process: leave it out, or set `ngpus` to 1")


def _double(values: Tensor) -> Tensor:
    return values * 2

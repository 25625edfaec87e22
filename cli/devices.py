"""Where a phase computes: the device that is asked for, or the first GPU if there is one.

PyTorch, which knows the GPUs, takes seconds to import, so it is only asked where it runs anyway.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.predict.settings import device_of_rank
from deploy.runtimes.registry import RUNTIMES, runtimes_of_file

if TYPE_CHECKING:
    import torch


def default_device() -> str:
    """The first GPU if there is one, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def torch_device(args: argparse.Namespace) -> torch.device:
    """The device of a phase that runs the network in PyTorch, with as many threads as asked for."""
    import torch

    use_threads(args)
    return torch.device(args.device or default_device())


def use_threads(args: argparse.Namespace) -> None:
    """Let PyTorch use as many CPU threads as asked for; the other runtimes use as many."""
    import torch

    if args.threads is not None:
        torch.set_num_threads(args.threads)


def model_file_device(args: argparse.Namespace, files: list[Path]) -> str:
    """The device of a phase that runs model files, in whatever runtime they have.

    Args:
        args: the flags.
        files: the model files; without `--device` a GPU is only looked for if a runtime of one of
            them can use it.
    """
    runtimes = [RUNTIMES[args.runtime or runtimes_of_file(file)[0]] for file in files]
    device = args.device
    if device is None:
        device = default_device() if any(one.uses_gpu() for one in runtimes) else "cpu"
    return device_of_rank(device, _gpus)


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()

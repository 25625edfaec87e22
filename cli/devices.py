"""The device and the number of CPU threads of a phase.

PyTorch is needed to find GPUs, but takes seconds to import, so only phases that run it do so.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.predict.settings import device_of_rank
from deploy.runtimes.registry import RUNTIMES, runtimes_of_file
from DOTA_devkit.cores import busy_cores, network_threads, quota_cores
from processes.numbers import ProcessNumbers

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("bbavectors")


def default_device() -> str:
    """The first GPU if there is one, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def torch_device(args: argparse.Namespace) -> torch.device:
    """The device of a phase that runs the network in PyTorch, with as many threads as asked for.

    Under torchrun it is the GPU of the process's rank.
    """
    import torch

    device = torch.device(device_of_rank(args.device or default_device(), _gpus))
    use_threads(args)
    if device.type == "cpu":
        warn_if_busy(torch.get_num_threads())
    return device


def use_threads(args: argparse.Namespace) -> None:
    """Let PyTorch use as many CPU threads as asked for, and no more than a container's quota."""
    import torch

    if (threads := asked_threads(args)) is not None:
        torch.set_num_threads(threads)


def asked_threads(args: argparse.Namespace) -> int | None:
    """CPU threads of the network, None for the usual number of its runtime.

    Several processes of a machine share its cores.
    """
    if args.threads is not None or "OMP_NUM_THREADS" in os.environ:
        return args.threads
    if (processes := ProcessNumbers.of().local_count) > 1:
        return max(1, network_threads() // processes)
    return quota_cores()


def warn_if_busy(threads: int) -> None:
    """Log that other work holds the cores that this many threads would need.

    Threads that share a core wait for each other. Where nine other processes wanted two cores, one
    thread was 1.3 times as fast as two.
    """
    busy, cores = busy_cores(), os.cpu_count()
    if threads < 2 or busy is None or cores is None or cores - busy > threads - 1:
        return
    logger.warning(
        "other work keeps the cores busy (load %.1f on %d cores), and threads that share a core "
        "wait for each other: --threads %d may be faster than %d",
        busy, cores, max(1, int(cores - busy)), threads,
    )  # fmt: skip


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

"""Sharing a phase out to several processes: those of torchrun, or those that --ngpus starts."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from deploy.runtimes.base import split_device
from DOTA_devkit.errors import InputError
from processes.launch import run_processes
from processes.numbers import ProcessNumbers

logger = logging.getLogger("bbavectors")

MAIN = Path(__file__).absolute().parent.parent / "main.py"


def start_processes(args: argparse.Namespace) -> int | None:
    """Run the command in as many processes as `--ngpus` asks for, and wait until they have ended.

    Args:
        args: the flags.

    Returns:
        Exit code; None if this process does the work itself, alone or as one of them.

    Raises:
        InputError: there are not so many GPUs, or one of the processes was killed.
    """
    numbers = ProcessNumbers.of()
    if numbers.count > 1 or "TORCHELASTIC_RUN_ID" in os.environ:
        if args.ngpus not in (1, numbers.count):
            logger.warning(
                "--ngpus %d has no effect, as torchrun has started %d processes",
                args.ngpus, numbers.count,
            )  # fmt: skip
        refuse_shared_device(args.device, numbers)
        return None
    count = process_number(args)
    if count == 1:
        return None
    if args.phase == "train" and "batch_size" in args.given and args.batch_size < count:
        raise InputError(  # each of them would find it, and torchrun would tell of each
            f"--batch_size {args.batch_size} cannot be shared by {count} processes: give a larger "
            "one, or fewer --ngpus"
        )
    return run_processes(MAIN, [*args.words, "--ngpus", str(count)], count)


def refuse_shared_device(device: str | None, numbers: ProcessNumbers) -> None:
    """Refuse one GPU for several processes of torchrun, each of which uses its own.

    Args:
        device: the device that was asked for, if one was.
        numbers: of this process.

    Raises:
        InputError: in the first process.
        SystemExit: in the others, with the exit code of an error: one message is enough.
    """
    kind, index = (None, None) if device is None else split_device(device)
    if index is None or numbers.local_count == 1:
        return
    if numbers.rank > 0:
        raise SystemExit(2)
    raise InputError(
        f"--device {device} is a single GPU, but torchrun has started {numbers.local_count} "
        f"processes on this machine, each of which uses one of its own: give --device {kind}"
    )


def process_number(args: argparse.Namespace) -> int:
    """Return how many processes `--ngpus` starts: one for each GPU, or on the CPU.

    Where no device is asked for, it is no more than there are GPUs, as scripts of the original ask
    for several anywhere.

    Raises:
        InputError: a device is asked for that cannot be shared out so.
    """
    if args.ngpus == 1 or args.device == "cpu":
        return args.ngpus
    import torch

    if args.device not in (None, "cuda"):
        raise InputError(
            f"--ngpus {args.ngpus} cannot be combined with --device {args.device}: give --device "
            "cuda for the first GPUs, or --device cpu"
        )
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if args.ngpus <= there:
        return args.ngpus
    if args.device is not None:
        raise InputError(f"--ngpus {args.ngpus}: this machine has {there} GPUs")
    logger.warning(
        "--ngpus %d: this machine has %d GPUs, so it is %d; with --device cpu the processes run on "
        "the CPU",
        args.ngpus, there, max(there, 1),
    )  # fmt: skip
    return max(there, 1)

"""Running a phase in several processes, which torchrun or --ngpus starts."""

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
        refuse_for_torchrun(args, numbers)
        return None
    count = process_number(args)
    if count == 1:
        return None
    if args.phase == "train" and "batch_size" in args.given and args.batch_size < count:
        raise InputError(  # each process would find it, and torchrun would report each one
            f"--batch_size {args.batch_size} cannot be shared by {count} processes: give a larger "
            "one, or fewer --ngpus"
        )
    _refuse_compiling(args, "give --ngpus 1")
    return run_processes(MAIN, [*args.words, "--ngpus", str(count)], count)


def refuse_for_torchrun(args: argparse.Namespace, numbers: ProcessNumbers) -> None:
    """Refuse flags that do not go with several processes of torchrun.

    Args:
        args: the flags.
        numbers: of this process.

    Raises:
        InputError: there is such a flag, in the first process.
        SystemExit: in the others, with the exit code of an error: one message is enough.
    """
    try:
        _refuse_shared_device(args, numbers)
        if numbers.count > 1:
            _refuse_compiling(args, "start one process")
    except InputError:
        if numbers.rank > 0:
            raise SystemExit(2) from None
        raise


def _refuse_shared_device(args: argparse.Namespace, numbers: ProcessNumbers) -> None:
    kind, index = (None, None) if args.device is None else split_device(args.device)
    if index is not None and numbers.local_count > 1:
        raise InputError(
            f"--device {args.device} is a single GPU, but torchrun has started "
            f"{numbers.local_count} processes on this machine, each of which uses one of its own: "
            f"give --device {kind}"
        )


def _refuse_compiling(args: argparse.Namespace, instead: str) -> None:
    """Refuse --compile for several processes; a resumed run continues without it."""
    if "compile" in args.given:
        raise InputError(f"--compile works in a single process: leave it out, or {instead}")


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

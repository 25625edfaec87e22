"""Starting several processes of a command on this machine, as torchrun does."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from DOTA_devkit.cores import network_threads
from DOTA_devkit.errors import InputError


def run_processes(script: Path, words: Sequence[str], count: int) -> int:
    """Run a script in several processes, which share its work, and wait until all have ended.

    PyTorch's launcher starts them. If one fails or is killed it ends the others, and Ctrl-C and
    SIGTERM are passed on to all. Their output goes where that of this process goes.

    Args:
        script: A Python script.
        words: Its arguments.
        count: Number of processes.

    Returns:
        Exit code, 0 if all have ended well.

    Raises:
        InputError: One of them was killed.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
    )
    with _threads_shared_out(count):
        try:
            elastic_launch(config, sys.executable)(str(script), *words)
        except SignalException as stopped:
            return 128 + stopped.sigval
        except ChildFailedError as failed:
            rank, failure = failed.get_first_failure()
            if failure.exitcode < 0:
                name = signal.Signals(-failure.exitcode).name
                raise InputError(
                    f"process {rank} of {count} was ended by {name}, and with it the others; "
                    "SIGKILL is often the system's, for want of memory"
                ) from None
            return failure.exitcode  # it has logged the reason
    return 0


@contextmanager
def _threads_shared_out(count: int) -> Iterator[None]:
    """Give each process of this machine its share of the cores, unless the user sets the number."""
    name = "OMP_NUM_THREADS"
    if name in os.environ:
        yield
        return
    os.environ[name] = str(max(1, network_threads() // count))
    try:
        yield
    finally:
        del os.environ[name]

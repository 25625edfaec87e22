"""Which of several processes this one is, as torchrun tells each of them; without PyTorch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple


class ProcessNumbers(NamedTuple):
    """The place of this process among those that were started together.

    Attributes:
        rank: Number of this process, from 0.
        count: Number of processes on all machines.
        local_rank: Number of this process among those of its machine; None if it is not known.
        local_count: Number of processes on this machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int | None = None
    local_count: int = 1

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> ProcessNumbers:
        """Read the variables that torchrun sets; without them there is one process.

        Args:
            environment: Environment variables.
        """

        def number(name: str) -> int | None:
            text = environment.get(name, "")
            return int(text) if text.isdecimal() else None

        rank, count, local_rank = map(number, ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        if rank is None or not count:
            rank, count = 0, 1
        return cls(rank, count, local_rank, number("LOCAL_WORLD_SIZE") or 1)


def restarted_job(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return what tells this job of torchrun from others once its processes were started again.

    Args:
        environment: Environment variables.

    Returns:
        None if they are started for the first time, or not by torchrun.
    """
    count = environment.get("TORCHELASTIC_RESTART_COUNT", "")
    return job_name(environment) if count.isdecimal() and int(count) > 0 else None


def job_name(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return what tells this job of torchrun from others, the same after a restart; None without.

    It is the id that `torchrun --rdzv-id` or `--standalone` gives it, else the name of the folder
    of its error files, which is new for each job.

    Args:
        environment: Environment variables.
    """
    job = environment.get("TORCHELASTIC_RUN_ID", "none")
    if job != "none":
        return job
    parts = environment.get("TORCHELASTIC_ERROR_FILE", "").split(os.sep)
    return next((part for part in parts if part.startswith("torchelastic_")), None)

"""Rank and number of the processes, as torchrun passes them to each; without PyTorch."""

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


def agent_name(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the name of the torchrun that started this process, the same after its restarts.

    Each machine has a torchrun of its own. It has no name, but a folder for the error files of its
    processes that no other has: "/tmp/torchelastic_x1/JOB_x2/attempt_0/0/error.json", where
    attempts may not be counted that another machine has caused.

    Args:
        environment: Environment variables.

    Returns:
        The name of that folder, None without torchrun.
    """
    parts = environment.get("TORCHELASTIC_ERROR_FILE", "").split(os.sep)
    return parts[-4] if len(parts) >= 4 and parts[-3].startswith("attempt_") else None

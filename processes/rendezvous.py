"""How the processes of a job find each other, also after torchrun has restarted them.

torchrun keeps one store for all its restarts. PyTorch's process groups write the addresses of
their processes into it under the same keys each time, so that a restarted process may read those
of one that has ended, and cannot reach it. Here each round of processes has keys of its own.

A process cannot know its round by itself: torchrun counts restarts by machine, and not those that
another machine has caused. So the first process numbers the rounds, and sends the number
to each of the others.
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta

import torch.distributed as dist

_POLL_SECONDS = 0.05
"""Between two polls of the store: a process that waits in its calls would not notice a signal."""


def meet(patience: timedelta) -> dist.Store:
    """Wait until all processes of this round have arrived.

    Args:
        patience: How long to wait for the others.

    Returns:
        The store of this round.

    Raises:
        RuntimeError: They have not come, or the store cannot be reached.
    """
    store, rank, count = next(dist.rendezvous("env://", timeout=patience))
    store = dist.PrefixStore("bbavectors", store)
    deadline = time.monotonic() + patience.total_seconds()
    number = _receive(store, count, deadline) if rank == 0 else _arrive(store, rank, deadline)
    return dist.PrefixStore(f"round{number}", store)


def _receive(store: dist.Store, count: int, deadline: float) -> int:
    """Send the number of a new round to all others.

    What stands under `process` may come from a process that has ended, until its successor has
    replaced it. So each is answered until it has confirmed this very round.
    """
    number = store.add("rounds", 1)
    missing = set(range(1, count))
    while True:
        for rank in sorted(missing):
            if store.check([f"process{rank}"]):
                name = store.get(f"process{rank}").decode()
                store.set(f"round of {name}", str(number))
            if store.check([f"confirmed{number} {rank}"]):
                missing.remove(rank)
        if not missing:
            return number
        _wait(deadline, f"processes {', '.join(map(str, sorted(missing)))} have not started")


def _arrive(store: dist.Store, rank: int, deadline: float) -> int:
    """Announce this process to the first one, and return the number of the round."""
    name = uuid.uuid4().hex
    store.set(f"process{rank}", name)
    while not store.check([f"round of {name}"]):
        _wait(deadline, "process 0 has not started")
    number = int(store.get(f"round of {name}"))
    store.set(f"confirmed{number} {rank}", "")
    return number


def _wait(deadline: float, otherwise: str) -> None:
    if time.monotonic() > deadline:
        raise dist.DistStoreError(otherwise)
    time.sleep(_POLL_SECONDS)

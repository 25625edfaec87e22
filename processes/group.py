"""What the processes of a phase exchange, over `torch.distributed`.

All processes must call the same functions in the same order: each waits for the others. With one
process they return at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from DOTA_devkit.errors import InputError
from processes.numbers import ProcessNumbers
from processes.rendezvous import meet

Value = TypeVar("Value")

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others: as long as one of them may work alone, such as on the
report of a run."""

_BUCKET = 2**23
"""Gradients that are added up at once."""


class ProcessLost(InputError):
    """Another process of the run has ended, or no longer answers."""


def process_count() -> int:
    """Return the number of processes that share the work."""
    return dist.get_world_size() if _is_joined() else 1


def process_rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if _is_joined() else 0


def is_first() -> bool:
    """Whether this is the process that writes files and logs."""
    return process_rank() == 0


def _is_joined() -> bool:
    return dist.is_available() and dist.is_initialized()


@contextmanager
def joined(device: torch.device | None = None) -> Iterator[None]:
    """Join the processes that torchrun has started together, for the length of the block.

    Args:
        device: Where this process computes what is exchanged; NCCL then moves the tensors of GPUs.
            None exchanges only values on the CPU.

    Raises:
        InputError: The processes cannot find each other, or two of them would share a GPU.
    """
    numbers = ProcessNumbers.of()
    if numbers.count == 1:
        yield
        return
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise InputError(
            f"RANK and WORLD_SIZE are set in the environment, but not {' and '.join(missing)}: "
            "start the processes with torchrun, or unset these variables for a single one"
        )
    backend = "gloo"
    if device is not None and device.type == "cuda":
        gpus = torch.cuda.device_count()
        if numbers.local_count > gpus:
            raise InputError(
                f"{numbers.local_count} processes of this machine would share {gpus} GPUs: start "
                "one for each GPU"
            )
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    with _watched():
        dist.init_process_group(
            backend, store=meet(PATIENCE), rank=numbers.rank, world_size=numbers.count,
            timeout=PATIENCE,
        )  # fmt: skip
    yield
    # After an error the others may wait for this process, until it ends.
    dist.destroy_process_group()


@contextmanager
def _watched() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of gloo and NCCL, none of which has a class of its own
        # "[path/pair.cc:545] Read error [127.0.0.1]:929: Connection reset by peer. This is ..."
        reason = re.sub(r"^\[\S+\] ", "", str(error).strip()).partition("\n")[0].partition(". ")[0]
        raise ProcessLost(
            f"process {ProcessNumbers.of().rank} has lost the others: one of them has ended, "
            f"which its own message or that of torchrun explains, or does not answer ({reason})"
        ) from error


@contextmanager
def agreed() -> Iterator[None]:
    """Wait at the end of the block until all processes have done it; an error in one ends all.

    The first process raises its own error, or else that of another one. The others end without a
    message, as most errors are those of all.

    Raises:
        InputError: Another process has failed; the message names it.
        SystemExit: In the others, with the exit code of an error.
    """
    if process_count() == 1:
        yield
        return
    failed = None
    try:
        yield
    except Exception as error:
        failed = error
    messages = share(None if failed is None else str(failed) or type(failed).__name__)
    if failed is not None and is_first():
        raise failed
    for rank, message in enumerate(messages):
        if message is not None:
            if not is_first():
                raise SystemExit(2) from failed
            raise InputError(f"process {rank}: {message}")


def share(value: Value) -> list[Value]:
    """Return the values of all processes, by rank."""
    if process_count() == 1:
        return [value]
    values: list[Value] = [value] * process_count()
    with _watched():
        dist.all_gather_object(values, value)
    return values


def collect(value: Value) -> list[Value] | None:
    """Return the values of all processes by rank in the first one, None in the others."""
    if process_count() == 1:
        return [value]
    values = [value] * process_count() if is_first() else None
    with _watched():
        dist.gather_object(value, values)
    return values


def from_first(value: Value) -> Value:
    """Return the value of the first process."""
    if process_count() == 1:
        return value
    values = [value]
    with _watched():
        dist.broadcast_object_list(values)
    return values[0]


def add_up(tensor: Tensor) -> Tensor:
    """Replace a tensor by its sum over the processes, and return it."""
    if process_count() > 1:
        with _watched():
            dist.all_reduce(tensor)
    return tensor


def gather_tensors(tensor: Tensor) -> Tensor:
    """Stack a tensor [N] of each process, by rank: [processes, N]."""
    parts = [torch.empty_like(tensor) for _ in range(process_count())]
    with _watched():
        dist.all_gather(parts, tensor)
    return torch.stack(parts)


def add_up_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradients by their sums over the processes.

    Sums, as the losses of each process are divided by the number of objects of all of them.
    `DistributedDataParallel` takes means of processes, and needs a gradient of every parameter,
    which a head that no loss reads does not have.

    Args:
        parameters: Of a network; those without a gradient are the same in every process.
    """
    if process_count() == 1:
        return
    gradients = [one.grad for one in parameters if one.grad is not None]
    pending = []
    with _watched():
        for bucket in _buckets(gradients):
            flat = torch.cat([one.reshape(-1) for one in bucket])
            pending.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
        for bucket, flat, work in pending:
            work.wait()
            parts = flat.split([one.numel() for one in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view(gradient.shape))


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Pack gradients of one type together, up to `_BUCKET` numbers."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        full = sum(one.numel() for one in bucket) + gradient.numel() > _BUCKET
        if bucket and (full or bucket[0].dtype != gradient.dtype):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket


@torch.no_grad()
def copy_from_first(model: nn.Module) -> None:
    """Copy the weights and buffers of the first process's network to all others."""
    if process_count() == 1:
        return
    with _watched():
        for tensor in (*model.parameters(), *model.buffers()):
            values = tensor.detach().contiguous()
            dist.broadcast(values, src=0)
            tensor.copy_(values)

"""Batching: collating samples, seeding worker processes and starting them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
import torch

from datasets.memory import keep_freed_memory
from DOTA_devkit import interrupts


def collate(samples: Sequence[dict]) -> dict:
    """Collate samples into a batch.

    Returns:
        For training: tensors with a new first axis. For detection: `image` [B, 3, H, W], and lists
        of everything else, which differs in size or is text.
    """
    if "image" not in samples[0]:
        return torch.utils.data.default_collate(list(samples))
    batch = {key: [sample[key] for sample in samples] for key in samples[0]}
    batch["image"] = torch.cat(batch["image"])
    return batch


def seed_worker(worker_id: int) -> None:
    """Seed a worker process reproducibly from the loader's generator (`worker_init_fn`).

    This is for user code that uses the global random states of NumPy or Python; the datasets here
    use generators of their own. OpenCV gets one thread, because the workers already share the
    cores.
    """
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)
    cv2.setNumThreads(0)
    keep_freed_memory()  # a spawned worker has not constructed a dataset


def iterate_loader(loader: Iterable[dict]) -> Iterator[dict]:
    """Start iterating over a loader, delaying Ctrl-C while its worker processes are created.

    Python loses a Ctrl-C that arrives in the middle of a fork (it is "ignored" in a fork hook).
    Workers ignore Ctrl-C; the main process ends them, so there is only one message.
    """
    with interrupts.deferred():
        return iter(loader)

"""Samples into batches, and what a worker process sets up."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
import torch

from datasets.memory import keep_freed_memory
from DOTA_devkit import interrupts


def collate(samples: Sequence[dict]) -> dict:
    """A batch of samples: tensors with a new first axis for training; for detection `image`
    [B, 3, H, W] and lists of everything else, which differs in size or is text."""
    if "image" not in samples[0]:
        return torch.utils.data.default_collate(list(samples))
    batch = {key: [sample[key] for sample in samples] for key in samples[0]}
    batch["image"] = torch.cat(batch["image"])
    return batch


def seed_worker(worker_id: int) -> None:
    """Random states of a worker process: its own, and repeatable from the loader's generator.

    For code of a user's own that draws from NumPy's or Python's global state; the data sets here
    use generators. OpenCV gets one thread, as the workers share the cores already.
    """
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)
    cv2.setNumThreads(0)
    keep_freed_memory()  # a worker that was not forked has made no data set


def start(loader: Iterable[dict]) -> Iterator[dict]:
    """An iterator of a loader, with Ctrl-C held back while its processes are made.

    In the middle of a fork Python loses it (it is "ignored" in a hook of the fork). The processes
    pay no heed to any: the main process ends them, and its message is the only one.
    """
    with interrupts.deferred():
        return iter(loader)

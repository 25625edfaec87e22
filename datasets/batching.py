"""Batching: collating samples, seeding worker processes and starting them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from datasets.images import UnreadableImage
from datasets.memory import keep_freed_memory
from datasets.sample_rng import seeded
from DOTA_devkit import interrupts

if TYPE_CHECKING:
    from datasets.base import BaseDataset


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


def collate_readable(samples: Sequence[dict]) -> dict:
    """Collate the samples of an `EpochSamples`.

    Returns:
        As `collate` of the images that could be read, {} if there are none, and
        `unreadable`, a list of (index, reason), if there are others.
    """
    unreadable = [sample["unreadable"] for sample in samples if "unreadable" in sample]
    readable = [sample for sample in samples if "unreadable" not in sample]
    batch = collate(readable) if readable else {}
    return batch | {"unreadable": unreadable} if unreadable else batch


class EpochSamples(torch.utils.data.Dataset):
    """The training samples of an epoch: each follows from seed, epoch and index alone.

    That includes what code of users draws from the global random states, so that a run goes on with
    the same samples wherever it was stopped, with any number of workers.

    Args:
        dataset: The dataset.
        epoch: Its epoch from now on.
        seed: Of the run.
        skip_bad_images: Let an image that cannot be read be left out, see `collate_readable`.
        mosaic: Probability of a mosaic, see `BaseDataset.training_sample`.
    """

    def __init__(
        self,
        dataset: BaseDataset,
        epoch: int,
        seed: int,
        skip_bad_images: bool = False,
        mosaic: float = 0.0,
    ):
        self.dataset = dataset
        self.epoch = epoch
        self.seed = seed
        self.skip_bad_images = skip_bad_images
        self.mosaic = mosaic
        dataset.set_epoch(epoch, seed)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        """Return the sample of an image; only its index and the reason if it is to be left out.

        Raises:
            UnreadableImage: It cannot be read, and such images are not left out.
        """
        try:
            with seeded(self.seed, self.epoch, index):
                if self.mosaic:
                    return self.dataset.training_sample(index, self.mosaic)
                return self.dataset[index]
        except UnreadableImage as error:
            if self.skip_bad_images:
                return {"unreadable": (int(index), str(error))}
            raise error.with_advice() from error


def share_of_batch(batch: Sequence[int], rank: int, processes: int) -> Sequence[int]:
    """Return the part of a batch that one of several processes gets.

    The shares, in the order of the processes, make up the batch, and differ by one image at most;
    if there are fewer images than processes, the last ones get none.

    Args:
        batch: Indices.
        rank: Number of the process, from 0.
        processes: Number of processes.
    """
    least, more = divmod(len(batch), processes)
    first = rank * least + min(rank, more)
    return batch[first : first + least + (rank < more)]


class EpochBatches(torch.utils.data.Sampler):
    """The shuffled batches of indices of an epoch, from one of them on.

    Args:
        length: Number of samples.
        batch_size: Samples of a batch.
        drop_last: Leave out a last batch that is smaller.
        generator: Of the order.
        start: Number of steps that are done already.
        accumulate: Batches of a step, which are the parts of one large batch.
        rank: Number of this process among those that share each batch, see `share_of_batch`.
        processes: Number of these.

    Attributes:
        total: Number of steps of the whole epoch.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        drop_last: bool,
        generator: torch.Generator,
        start: int = 0,
        accumulate: int = 1,
        rank: int = 0,
        processes: int = 1,
    ):
        order = torch.utils.data.RandomSampler(range(length), generator=generator)
        self._steps = torch.utils.data.BatchSampler(order, batch_size * accumulate, drop_last)
        self._length, self._batch_size = length, batch_size
        self._rank, self._processes = rank, processes
        self.start = start
        self.total = len(self._steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in islice(iter(self._steps), self.start, None):
            for first in range(0, len(step), self._batch_size):
                batch = step[first : first + self._batch_size]
                yield share_of_batch(batch, self._rank, self._processes)

    def __len__(self) -> int:
        return sum(self.batches_of_steps())

    def batches_of_steps(self) -> list[int]:
        """Return the number of batches of each step that is left."""
        size = self._steps.batch_size
        images = (min(size, self._length - step * size) for step in range(self.start, self.total))
        return [-(-count // self._batch_size) for count in images]


def seed_worker(worker_id: int) -> None:
    """Seed a worker process reproducibly from the loader's generator (`worker_init_fn`).

    This is for user code that uses the global random states of NumPy or Python; the datasets here
    use generators of their own.
    """
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)
    prepare_worker(worker_id)
    keep_freed_memory()  # a spawned worker has not constructed a dataset


def prepare_worker(worker_id: int) -> None:
    """Prepare a worker process (`worker_init_fn`): one thread, and ended by the main process alone.

    OpenCV gets one thread, because the workers already share the cores.
    """
    cv2.setNumThreads(0)
    if torch.utils.data.get_worker_info() is not None:
        interrupts.end_quietly()


def iterate_loader(loader: Iterable[dict]) -> Iterator[dict]:
    """Start iterating over a loader, delaying Ctrl-C while its worker processes are created.

    Python loses a Ctrl-C that arrives in the middle of a fork (it is "ignored" in a fork hook).
    Workers ignore it (`prepare_worker`); the main process ends them, so there is only one message.
    """
    with interrupts.deferred():
        return iter(loader)


def to_device(
    images: torch.Tensor,
    device: torch.device,
    memory_format: torch.memory_format = torch.channels_last,
) -> torch.Tensor:
    """Move a batch to the device, channels last, which is faster for convolutions."""
    return images.to(device, non_blocking=True, memory_format=memory_format)

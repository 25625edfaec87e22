"""Random numbers of training samples: reproducible across workers and resumed runs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


class SampleRng:
    """Random generators for the samples of a dataset.

    Once `set_epoch` has been called, the generator of a sample depends on (seed, epoch, index)
    alone. Until then, generators follow from PyTorch's seed of each process.
    """

    def __init__(self) -> None:
        # [epoch, seed] in shared memory, so that persistent workers see the epoch change.
        self._clock = torch.tensor([-1, 0]).share_memory_()
        self._process_stream: tuple[int, np.random.Generator] | None = None
        self._current: np.random.Generator | None = None

    def set_epoch(self, epoch: int, seed: int) -> None:
        """Set the epoch and seed in this process and all workers."""
        self._clock[0], self._clock[1] = epoch, seed

    def start_sample(self, index: int) -> None:
        """Make the generator of a sample the current one."""
        self._current = self._generator_of(index)

    def current(self) -> np.random.Generator:
        """Return the generator of the current sample, or of sample 0 if none has been started."""
        if self._current is None:
            self.start_sample(0)
        return self._current

    def _generator_of(self, index: int) -> np.random.Generator:
        epoch, seed = self._clock.tolist()
        if epoch >= 0:
            return np.random.default_rng([seed, epoch, index])
        process_seed = torch.initial_seed()  # differs from worker to worker
        if self._process_stream is None or self._process_stream[0] != process_seed:
            self._process_stream = (process_seed, np.random.default_rng(process_seed))
        return self._process_stream[1]


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Seed the global random states of Python, NumPy and PyTorch (CPU) for a block.

    Code of users in a dataset may draw from them. With the states of each sample following from its
    numbers alone, its augmentation does not depend on the samples before it, nor on the process.

    Args:
        *numbers: Whole numbers of 0 or more, such as seed, epoch and index of a sample.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    first, second, third = np.random.SeedSequence(numbers).generate_state(3).tolist()
    random.seed(first)
    np.random.seed(second)
    torch.default_generator.manual_seed(third)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])

"""Random numbers of training samples: reproducible across workers and resumed runs."""

from __future__ import annotations

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

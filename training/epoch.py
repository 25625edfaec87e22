"""Progress within an epoch, and its sums so far."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from torch import Tensor
from torch.utils.data import DataLoader

from datasets import IGNORE_REASONS
from datasets.batching import iterate_loader
from DOTA_devkit.errors import InputError

_LOSS, _IGNORED = "loss_", "ignored_"


@dataclass
class EpochProgress:
    """Position of a run between two steps, and the sums of its epoch.

    Attributes:
        epoch: number of the epoch, from 1.
        batches: steps of the whole epoch, 0 before it starts.
        step: steps that are done.
        finite: those of them whose loss and gradient were finite.
        bad_in_a_row: steps that were not finite, in a row up to now, also those of earlier epochs.
        left_out: images of the epoch that could not be read.
        images: images that the steps have seen, in all processes.
        totals: sum over the finite steps of each named loss.
        ignored: ignored objects by option.
        seconds: that the steps have taken, the waiting included.
        waited: seconds of these that were spent waiting for data.
    """

    epoch: int
    batches: int = 0
    step: int = 0
    finite: int = 0
    bad_in_a_row: int = 0
    left_out: int = 0
    images: int = 0
    totals: dict[str, float] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=lambda: dict.fromkeys(IGNORE_REASONS, 0))
    seconds: float = 0.0
    waited: float = 0.0

    def add_losses(self, losses: Mapping[str, Tensor]) -> None:
        """Count a step that was finite."""
        self.finite += 1
        for name, value in losses.items():
            self.totals[name] = self.totals.get(name, 0.0) + value.item()

    def add_ignored(self, counts: Iterable[Sequence[int]]) -> None:
        """Add the counts of each image, in the order of `IGNORE_REASONS`."""
        for one in counts:
            for reason, count in zip(IGNORE_REASONS, one, strict=True):
                self.ignored[reason] += count

    def timed(self, loader: DataLoader) -> Iterator[list[dict]]:
        """Iterate over the batches of each step, and add up the time of that and of the waiting.

        Args:
            loader: with an `EpochBatches`.
        """
        begin = time.perf_counter()
        batches = iterate_loader(loader)
        for count in (*loader.batch_sampler.batches_of_steps(), None):
            step = None if count is None else list(islice(batches, count))
            ready = time.perf_counter()
            self.waited += ready - begin
            self.seconds += ready - begin
            if step is None:
                return
            yield step
            begin = time.perf_counter()
            self.seconds += begin - ready

    def time_text(self) -> str:
        """Say how long the steps took: `52 s, 31 % of it waiting for data`."""
        share = self.waited / self.seconds if self.seconds else 0.0
        return f"{self.seconds:.0f} s, {100 * share:.0f} % of it waiting for data"

    def speed(self) -> dict[str, float]:
        """Return `epoch`, `seconds`, `images_per_second` and `waiting`, a share of the seconds."""
        row = {"epoch": self.epoch, "seconds": self.seconds}
        if self.seconds:
            row["images_per_second"] = self.images / self.seconds
            row["waiting"] = self.waited / self.seconds
        return row

    def means(self) -> dict[str, float]:
        """Return the mean of each named loss so far."""
        return {name: total / self.finite for name, total in self.totals.items()}

    def __str__(self) -> str:
        if self.step:
            return f"batch {self.step} of {self.batches} in epoch {self.epoch}"
        return f"the end of epoch {self.epoch - 1}" if self.epoch > 1 else "its start"

    def entry(self) -> dict[str, int | float]:
        """Return what a checkpoint stores, a dict of numbers."""
        return {
            "step": self.step,
            "batches": self.batches,
            "finite": self.finite,
            "bad_in_a_row": self.bad_in_a_row,
            "left_out": self.left_out,
            "images": self.images,
            "seconds": self.seconds,
            "waited": self.waited,
            **{f"{_LOSS}{name}": total for name, total in self.totals.items()},
            **{f"{_IGNORED}{reason}": count for reason, count in self.ignored.items()},
        }

    @classmethod
    def of_entry(cls, entry: Mapping[str, int | float], epoch: int, path: Path) -> EpochProgress:
        """Read what `entry` returned; an empty entry stands for the start of the epoch.

        Args:
            entry: the numbers by name.
            epoch: the epoch that they are of.
            path: the file, for errors.

        Raises:
            InputError: the numbers cannot be those of a place in an epoch.
        """
        names = ("step", "batches", "finite", "bad_in_a_row", "left_out", "images")
        counts = {name: entry.get(name, 0) for name in names}
        ignored = {reason: entry.get(f"{_IGNORED}{reason}", 0) for reason in IGNORE_REASONS}
        numbers = [*counts.values(), *ignored.values()]
        whole = all(type(number) is int and 0 <= number < 2**40 for number in numbers)
        if not whole or not counts["finite"] <= counts["step"] <= counts["batches"]:
            raise InputError(f"{path}: its progress within an epoch, {counts}, is damaged")
        totals = {
            name.removeprefix(_LOSS): float(total)
            for name, total in entry.items()
            if name.startswith(_LOSS)
        }
        if not all(map(math.isfinite, totals.values())) or (totals and not counts["finite"]):
            raise InputError(f"{path}: its progress within an epoch has no finite losses")
        times = {name: float(entry.get(name, 0.0)) for name in ("seconds", "waited")}
        if not all(0 <= seconds < math.inf for seconds in times.values()):
            raise InputError(f"{path}: its progress within an epoch has no times: {times}")
        return cls(epoch, **counts, totals=totals, ignored=ignored, **times)

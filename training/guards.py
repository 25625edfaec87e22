"""What a run skips and records: steps that are not finite, and images that cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

import torch
from torch import nn

from DOTA_devkit.files import appending
from processes.group import is_first
from training.errors import TrainingStopped

logger = logging.getLogger(__name__)


class Outcome(Enum):
    """Outcome of a step.

    Attributes:
        DONE: it has changed the weights.
        OVERFLOW: it is skipped, as its gradient was too large for float16 at the scale of the
            losses, which is lower from now on. That is how a scale is found.
        BAD: it is skipped, as a loss or the gradient was not finite.
    """

    DONE = "done"
    OVERFLOW = "overflow"
    BAD = "bad"


class BadSteps:
    """Counts steps with a non-finite loss or gradient and records their images.

    Such a step changes nothing. Many in a row mean that the weights themselves are at fault.

    Args:
        path: text file that gets one line per step.
        limit: steps in a row that stop the run.
        last_good: path of the checkpoint to resume from.
        in_a_row: steps in a row, up to now, that were not finite.
    """

    def __init__(self, path: Path, limit: int, last_good: Path, in_a_row: int = 0):
        self.path = path
        self.limit = limit
        self.last_good = last_good
        self.in_a_row = in_a_row

    def good(self) -> None:
        """Note a step that was finite."""
        self.in_a_row = 0

    def add(
        self, epoch: int, step: int, image_ids: Sequence[str], losses: Mapping[str, torch.Tensor]
    ) -> None:
        """Record a step that was not finite, once: a resumed run may do it again.

        Raises:
            TrainingStopped: it is one too many in a row.
        """
        self.in_a_row += 1
        values = " ".join(f"{name}={value.item():g}" for name, value in losses.items())
        line = f"epoch {epoch} batch {step + 1} {values} images {' '.join(image_ids)}\n"
        _append_once(self.path, line)
        logger.warning(
            "a loss or gradient of epoch %d, batch %d is not finite (%s); the step is skipped, "
            "its images are listed in %s", epoch, step + 1, values, self.path,
        )  # fmt: skip
        if self.in_a_row >= self.limit:
            kept = (
                f"the last good checkpoint is {self.last_good}"
                if epoch > 1
                else "no epoch was finished"
            )
            raise TrainingStopped(
                f"{self.in_a_row} steps in a row had a non-finite loss or gradient (their images "
                f"are listed in {self.path}); {kept}"
            )


class BadImages:
    """Records images that cannot be read and are left out, each of them once.

    Args:
        path: text file that gets one line per image.
    """

    def __init__(self, path: Path):
        self.path = path
        self._seen: set[str] = set()

    def add(self, image_id: str, reason: str) -> None:
        """Record an image; only the first time in this process costs anything."""
        if image_id in self._seen:
            return
        self._seen.add(image_id)
        _append_once(self.path, f"{image_id}: {' '.join(reason.split())}\n")
        logger.warning("left out: %s", reason)


def _append_once(path: Path, line: str) -> None:
    """Append a line to a file unless it is there: a resumed run may do a step again."""
    if not is_first():  # the first process knows the line as well
        return
    with appending(path) as file:
        file.seek(0)
        if line.encode() not in file.readlines():
            file.write(line.encode())


class NormStatistics:
    """The running statistics of the BatchNorms, to be restored after a step that is skipped.

    A forward pass that meets NaN has written it into them before the loss shows it.
    """

    def __init__(self, model: nn.Module):
        self.buffers = list(model.buffers())
        self.copies = [torch.empty_like(buffer) for buffer in self.buffers]

    @torch.no_grad()
    def save(self) -> None:
        """Remember the statistics before a step."""
        if self.buffers:
            torch._foreach_copy_(self.copies, self.buffers)

    @torch.no_grad()
    def restore(self) -> None:
        """Put back what `save` remembered."""
        if self.buffers:
            torch._foreach_copy_(self.buffers, self.copies)

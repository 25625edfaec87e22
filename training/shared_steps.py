"""What the processes of a run exchange about each step before it is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain

from torch import Tensor

from DOTA_devkit import interrupts
from processes.group import process_count, share

_TOO_SMALL = 32 * 32


@dataclass
class StepNotes:
    """What is known of the images of a step.

    Attributes:
        unreadable: Index and reason of each image that could not be read.
        indices: Of the images that are learned.
        ignored: Of each of these, the number of ignored objects by option.
    """

    unreadable: list[tuple[int, str]] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    ignored: list[list[int]] = field(default_factory=list)


@dataclass
class BatchNotes(StepNotes):
    """What is known of the part of a batch that a process has read.

    Attributes:
        area: Pixels of its images.
        empty: Its tensors without any image, {} if it has none.
    """

    area: int = 0
    empty: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def take(cls, batch: dict) -> BatchNotes:
        """Take out of a batch of `collate_readable` what the network does not need."""
        notes = cls(batch.pop("unreadable", []))
        if "input" in batch:
            notes.indices = batch.pop("index").tolist() if "index" in batch else []
            notes.ignored = batch.pop("ignored").tolist() if "ignored" in batch else []
            notes.area = batch["input"][:, 0].numel()
        return notes


def is_trainable(parts: Sequence[BatchNotes]) -> bool:
    """Whether a batch is left with more than the one 32x32 image that is too little for BatchNorm.

    Images that cannot be read are left out of it.

    Args:
        parts: Of the batch, by process.
    """
    return sum(part.area for part in parts) > _TOO_SMALL


def share_step(
    batches: Sequence[dict], signals: Sequence[tuple[int, object]] = ()
) -> tuple[list[dict], StepNotes]:
    """Exchange the batches of a step with the other processes.

    Args:
        batches: The parts of this process, as `collate_readable` returns them.
        signals: Ctrl-C and SIGTERM that have come, see `interrupts.deferred`.

    Returns:
        The batches to be learned from, and the notes of all their parts. A process without an image
        of such a batch gets it with none, as it computes the statistics of BatchNorm with the
        others.

    Raises:
        KeyboardInterrupt: A signal has come in one of several processes: all stop at this step.
    """
    notes = [BatchNotes.take(batch) for batch in batches]
    several = process_count() > 1
    if several:
        for batch, note in zip(batches, notes, strict=True):
            note.empty = {name: _without_images(value) for name, value in batch.items()}
    received = share((signals[0][0] if signals and several else 0, notes))
    if signum := max(signum for signum, _ in received):
        interrupts.stop_for(signum)
    merged = StepNotes()
    learned = []
    for batch, parts in zip(
        batches, zip(*(notes for _, notes in received), strict=True), strict=True
    ):
        merged.unreadable += chain.from_iterable(part.unreadable for part in parts)
        if is_trainable(parts):
            merged.indices += chain.from_iterable(part.indices for part in parts)
            merged.ignored += chain.from_iterable(part.ignored for part in parts)
            learned.append(batch or dict(next(part.empty for part in parts if part.empty)))
    return learned, merged


def _without_images(values: Tensor) -> Tensor:
    """Return a tensor of the same kind for a batch of no images."""
    return values.new_empty((0, *values.shape[1:]))


@contextmanager
def stopped_together() -> Iterator[Sequence[tuple[int, object]]]:
    """Let Ctrl-C and SIGTERM wait for `share_step` where there are several processes.

    Yields:
        The signals that have come, for `share_step`.
    """
    if process_count() == 1:
        yield ()
        return
    with interrupts.deferred() as signals:
        yield signals

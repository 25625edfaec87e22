"""A run under way: what its checkpoints hold, and when they are written."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from DOTA_devkit import interrupts
from DOTA_devkit.errors import InputError
from models import Checkpoint
from training.average import WeightAverage
from training.epoch import EpochProgress
from training.files import BEST, LAST
from training.history import History
from training.settings import TrainSettings
from training.state import (
    TRAINED_STATE,
    load_optimizer_state,
    load_trained_state,
    random_state,
    restore_random_state,
)

logger = logging.getLogger(__name__)


class Run:
    """Saves a run so that it can go on at the very step.

    Args:
        model: the network.
        optimizer: of its parameters.
        settings: how it is trained.
        folder: of the checkpoints.
        save: writes a checkpoint, `models.save_checkpoint`.
        extras: plain values that every checkpoint carries beside the rest.
        average: the average of the network's weights, if the run has one: checkpoints then hold it
            as their weights, and those of training beside it.

    Attributes:
        folder: see above.
        average: see above.
        progress: the place of the run.
        history: the finished epochs.
        loader_state: state of the loader's generator at the start of the epoch, from which order
            and seeds of the workers follow; None before the first one.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: TrainSettings,
        folder: Path,
        save: Callable[[Path, Checkpoint], None],
        extras: Mapping[str, object] | None = None,
        average: WeightAverage | None = None,
    ):
        self.progress = EpochProgress(1)
        self.history = History()
        self.loader_state: torch.Tensor | None = None
        self._model, self._optimizer, self.average = model, optimizer, average
        self._settings, self.folder, self._extras = settings, folder, dict(extras or {})
        self._write = save
        self._busy = False  # in the middle of a step, or of saving
        self._saved: tuple[int, int] | None = None
        self._saved_at = time.monotonic()

    def resume(self, resume: Checkpoint) -> None:
        """Take everything from a checkpoint but the weights that its model was built with.

        Raises:
            InputError: something in it does not belong to this model, or is damaged.
        """
        entry = resume.extras.get("progress", {})
        self.progress = EpochProgress.of_entry(entry, resume.epoch + 1, resume.path)
        self.history.rows = list(resume.history)
        load_optimizer_state(self._optimizer, resume)
        if self.average is not None:
            load_trained_state(self._model, resume)
            self.average.steps = int(entry.get("averaged", 0))
        self.loader_state = restore_random_state(resume)
        batch = f", batch {self.progress.step + 1}" if self.progress.step else ""
        logger.info(
            "resuming at epoch %d of %d%s", self.progress.epoch, self._settings.epochs, batch
        )

    def start_epoch(self, batches: int, loader_state: torch.Tensor) -> None:
        """Take the number of batches and the generator's state of the epoch that is to go on.

        Raises:
            InputError: the epoch was started with another number of batches.
        """
        if self.progress.step and batches != self.progress.batches:
            raise InputError(
                f"epoch {self.progress.epoch} was started with {self.progress.batches} batches and "
                f"has {batches} now: the training set or batch_size has changed"
            )
        self.progress.batches = batches
        self.loader_state = loader_state

    def checkpoint(self) -> Checkpoint:
        """Return all that the run needs to go on from here."""
        average = self.average
        progress = self.progress.entry()
        trained: dict[str, object] = {}
        if average is not None:
            progress["averaged"] = average.steps
            trained[TRAINED_STATE] = self._model.state_dict()
        return Checkpoint.of(
            self._model if average is None else average.model,
            epoch=self.progress.epoch - 1,
            optimizer=self._optimizer,
            history=self.history.rows,
            random_state=random_state(self.loader_state),
            extras={
                **self._extras,
                **trained,
                "train": asdict(self._settings),
                "progress": progress,
                # All steps are in float32: there is no loss scale, whose state would be here.
                "scaler_state_dict": {},
            },
        )

    def save(self) -> None:
        """Write `model_last.pth`; Ctrl-C waits for that."""
        if self._saved == (self.progress.epoch, self.progress.step):
            return
        with self._undisturbed():
            self._write_last(self.checkpoint())

    def _write_last(self, checkpoint: Checkpoint) -> None:
        self._write(self.folder / LAST, checkpoint)
        self._saved = (self.progress.epoch, self.progress.step)
        self._saved_at = time.monotonic()

    def save_if_due(self) -> None:
        """Save the run if the last time is long enough ago."""
        minutes = self._settings.save_minutes
        if minutes and time.monotonic() - self._saved_at >= 60 * minutes:
            self.save()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Count the block as a step; Ctrl-C waits for its end."""
        with self._undisturbed():
            yield
            self.progress.step += 1

    def finish_epoch(self, row: Mapping[str, float]) -> None:
        """Write the files of a finished epoch; Ctrl-C waits for that.

        `model_last.pth` comes last: a run that is stopped in between does the end of the epoch
        again, and the best file is written again.
        """
        before = self.history.rows
        best = max((other["ap"] for other in before if "ap" in other), default=-1.0)
        with self._undisturbed():
            epoch = self.progress.epoch
            self.history.rows = [*before, dict(row)]
            bad_in_a_row = self.progress.bad_in_a_row
            self.progress = EpochProgress(epoch + 1, bad_in_a_row=bad_in_a_row)
            self.history.write(self.folder)
            checkpoint = self.checkpoint()
            if "ap" in row and row["ap"] >= best:  # of equal ones the later, which has seen more
                self._write(self.folder / BEST, checkpoint)
            if self._settings.save_every and epoch % self._settings.save_every == 0:
                self._write(self.folder / f"model_{epoch}.pth", checkpoint)
            self._write_last(checkpoint)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Save the run when the block is left by Ctrl-C, SIGTERM or an error between two steps.

        Raises:
            Interrupted: it was Ctrl-C or SIGTERM, and the run is saved.
        """
        try:
            yield
        except BaseException as error:
            if self._busy:
                raise
            try:
                with suppress(KeyboardInterrupt), interrupts.deferred():
                    self.save()
            except InputError as failed:
                logger.warning("%s", failed)
                raise error from None
            kept = f"the run up to {self.progress} is kept in {self.folder / LAST}"
            if isinstance(error, KeyboardInterrupt) or interrupts.pressed():
                raise interrupts.Interrupted(
                    f"{kept}; give `resume_train` to continue from there"
                ) from error
            logger.info("%s", kept)
            raise

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Defer Ctrl-C, after which nothing is half done; an error leaves it half done."""
        with interrupts.deferred():
            self._busy = True
            yield
            self._busy = False

"""The state of a run: what its checkpoints contain, and when they are written."""

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
from processes.group import is_first
from training.average import WeightAverage
from training.best import keep_later, restore_best
from training.centers import AlignedCenters
from training.epoch import EpochProgress
from training.files import BEST, LAST, epoch_file, is_same_file
from training.history import History
from training.memory import peak_memory_mb
from training.precision import Precision
from training.reporting import Reporting
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
    """Saves a run so that it can be resumed at the exact step.

    Of several processes, the first one writes; the others keep up with it.

    Args:
        model: the network.
        optimizer: of its parameters.
        settings: how it is trained.
        folder: of the checkpoints.
        save: writes a checkpoint, `models.save_checkpoint`.
        reporting: shows how the run goes.
        extras: plain values that every checkpoint carries beside the rest.
        average: the average of the network's weights, if the run has one: checkpoints then hold it
            as their weights, and those of training beside it.
        precision: of the steps; float32 by default.

    Attributes:
        folder: see above.
        average: see above.
        centers: shifts the boxes of `scored_model`, if the run does that.
        precision: see above.
        reporting: see above.
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
        reporting: Reporting,
        extras: Mapping[str, object] | None = None,
        average: WeightAverage | None = None,
        precision: Precision | None = None,
    ):
        self.progress = EpochProgress(1)
        self.history = History()
        self.loader_state: torch.Tensor | None = None
        self._model, self._optimizer, self.average = model, optimizer, average
        self.centers: AlignedCenters | None = None
        self._settings, self.folder, self._extras = settings, folder, dict(extras or {})
        self.precision = precision or Precision(torch.device("cpu"))
        self._write = save
        self.reporting = reporting
        self._busy = False  # in the middle of a step, or of saving
        self._saved: tuple[int, int] | None = None
        self._saved_at = time.monotonic()

    def resume(self, resume: Checkpoint) -> None:
        """Restore everything from a checkpoint except the weights, which the model has already.

        Raises:
            InputError: something in it does not belong to this model, or is damaged.
        """
        entry = resume.extras.get("progress", {})
        self.progress = EpochProgress.of_entry(entry, resume.epoch + 1, resume.path)
        since = _whole_number(entry.get("best_since", 0), "best_since", resume.path)
        self.history = History(list(resume.history), list(resume.extras.get("speed", ())), since)
        load_optimizer_state(self._optimizer, resume)
        self.precision.resume(resume)
        # A run without an average, such as one of the original, gets one that begins here.
        if self.average is not None and ("averaged" in entry or TRAINED_STATE in resume.extras):
            load_trained_state(self._model, resume)
            self.average.steps = _whole_number(
                entry.get("averaged", 0), "of averaged steps", resume.path
            )
        if self.centers is not None:
            self.centers.resume(entry, resume.path)
        self.loader_state = restore_random_state(resume)
        batch = f", batch {self.progress.step + 1}" if self.progress.step else ""
        logger.info(
            "resuming at epoch %d of %d%s", self.progress.epoch, self._settings.epochs, batch
        )

    def begin(self, resume: Checkpoint | None) -> None:
        """Save the run, so that it can be resumed from now on.

        Args:
            resume: The checkpoint that it goes on from, None for a new run.
        """
        if resume is not None and is_same_file(resume.path, self.folder / LAST):
            return
        if resume is not None and is_first():
            keep_later(self.folder, resume)
            if not restore_best(self.folder, resume, self.history):
                self.history.best_since = resume.epoch
        self.save()

    @property
    def scored_model(self) -> nn.Module:
        """The network that is scored and saved for use: the average, if the run has one."""
        return self._model if self.average is None else self.average.model

    def start_epoch(self, batches: int, loader_state: torch.Tensor) -> None:
        """Take the number of batches and the generator's state of the epoch to be continued.

        Raises:
            InputError: the epoch was started with another number of batches.
        """
        if self.progress.step and batches != self.progress.batches:
            raise InputError(
                f"epoch {self.progress.epoch} was started with {self.progress.batches} batches and "
                f"has {batches} now: the training set or batch_size has changed"
            )
        if self.centers is not None:
            self.centers.restore()
        self.progress.batches = batches
        self.loader_state = loader_state
        if is_first():
            self.reporting.start_epoch(self.progress, self.history)

    def checkpoint(self) -> Checkpoint:
        """Return a checkpoint from which the run can be resumed."""
        progress = self.progress.entry()
        if self.history.best_since:
            progress["best_since"] = self.history.best_since
        trained: dict[str, object] = {}
        if self.average is not None:
            progress["averaged"] = self.average.steps
            trained[TRAINED_STATE] = self._model.state_dict()
        if self.centers is not None:
            progress |= self.centers.entry()
        return Checkpoint.of(
            self.scored_model,
            epoch=self.progress.epoch - 1,
            optimizer=self._optimizer,
            history=self.history.rows,
            random_state=random_state(self.loader_state),
            extras={
                **self._extras,
                **trained,
                "train": asdict(self._settings),
                "progress": progress,
                "speed": self.history.speed,
                "scaler_state_dict": self.precision.state(),
            },
        )

    def save(self) -> None:
        """Write `model_last.pth`; Ctrl-C waits for that."""
        if not is_first() or self._saved == (self.progress.epoch, self.progress.step):
            return
        with self._undisturbed():
            self._write_last(self.checkpoint())

    def _write_last(self, checkpoint: Checkpoint) -> None:
        self.reporting.flush()  # a resumed run shows nothing again that is before the checkpoint
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
        with self._undisturbed():
            epoch = self.progress.epoch
            # new lists: the checkpoints made before share the old ones
            self.history = History(
                [*self.history.rows, dict(row)],
                [*self.history.speed, self._speed()],
                self.history.best_since,
            )
            bad_in_a_row, batches = self.progress.bad_in_a_row, self.progress.batches
            self.progress = EpochProgress(epoch + 1, bad_in_a_row=bad_in_a_row)
            if not is_first():
                return
            self.history.write(self.folder)
            self.reporting.finish_epoch(self.history, batches)
            checkpoint = self.checkpoint()
            if self.history.best_epoch() == epoch:
                self._write(self.folder / BEST, checkpoint)
            if self._settings.save_every and epoch % self._settings.save_every == 0:
                self._write(self.folder / epoch_file(epoch), checkpoint)
            self._write_last(checkpoint)

    def _speed(self) -> dict[str, float]:
        """Return the row of the finished epoch for `History.speed`."""
        memory = peak_memory_mb(next(self._model.parameters()).device)
        return self.progress.speed() | ({} if memory is None else {"memory_mb": memory})

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Write the report when the block is left, however that happens.

        Raises:
            Interrupted: the run has ended, and Ctrl-C or SIGTERM came while its report was written.
        """
        try:
            yield
        except BaseException:
            # the error that ended the run is raised, not one of the report after it
            with suppress(Exception, KeyboardInterrupt):
                self._conclude()
            raise
        try:
            self._conclude()
        except KeyboardInterrupt as pressed:
            raise interrupts.Interrupted(
                f"the run has ended before that, and all its files are in {self.folder}"
            ) from pressed

    def _conclude(self) -> None:
        if not is_first():
            return
        model = self._model
        sections = {
            "Model": {
                "backbone": model.backbone,
                "classes": model.classes,
                "input_size": model.input_size,
                "head_conv": model.head_conv,
                "parameters": sum(one.numel() for one in model.parameters()),
            },
            "Training": asdict(self._settings),
        }
        texts = {"dataset": self._extras["dataset"]} if "dataset" in self._extras else {}
        for name in ("data", "validation", "run"):
            sections[name.capitalize()] = dict(self._extras.get(name, {}))
        sections["Data"] = texts | sections["Data"]
        with interrupts.deferred():
            shown = {title: section for title, section in sections.items() if section}
            self.reporting.conclude(self.history, shown)

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


def _whole_number(number: object, name: str, path: Path | None) -> int:
    """Check a number of a checkpoint.

    Raises:
        InputError: it is not one.
    """
    if type(number) is not int or not 0 <= number < 2**40:
        raise InputError(f"{path}: its number {name}, {number!r}, is damaged")
    return number

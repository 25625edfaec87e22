"""Reports of a run besides its log: pictures of its validations, TensorBoard, and the report.

Nothing here draws random numbers or changes the network, so that a run ends with the same weights
with or without reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from training.epoch import EpochProgress
from training.files import REPORT, TENSORBOARD, VALIDATION
from training.history import History, loss_names
from training.report import Commands, Section, write_report
from training.settings import TrainSettings
from training.tensorboard import EventFile, import_writer
from training.validation import Validation, validation_columns
from training.validation_files import keep_only, write_validation

_POINTS_OF_AN_EPOCH = 50
"""Steps of an epoch whose losses go to TensorBoard, about."""


class Reporting:
    """Writes the reports of a run.

    Args:
        settings: how the network is trained.
        folder: of the run.
        commands: commands that the report offers; None leaves them out.

    Raises:
        InputError: TensorBoard is asked for and not installed.
    """

    def __init__(self, settings: TrainSettings, folder: Path, commands: Commands | None = None):
        if settings.tensorboard:
            import_writer()
        self._settings = settings
        self._folder = folder
        self._commands = commands
        self._events: EventFile | None = None

    def start_epoch(self, progress: EpochProgress, history: History) -> None:
        """Open the event file before the first step of this process.

        Where there is none yet, it gets the epochs that the run has finished without TensorBoard.

        Args:
            progress: the place of the run, with the number of batches.
            history: the finished epochs.
        """
        if not self._settings.tensorboard or self._events is not None:
            return
        folder = self._folder / TENSORBOARD
        is_new = not any(folder.glob("events.out.tfevents.*"))
        # The values of an epoch have the number of its last step, which is missing as long as the
        # epoch is not finished.
        last_done = _step(progress) - (0 < progress.step == progress.batches)
        self._events = EventFile(folder, 1 if is_new else last_done + 1)
        if is_new:
            speeds = {row.get("epoch"): row for row in history.speed}
            for row in history.rows:
                step = int(row["epoch"]) * progress.batches
                self._events.add_values(epoch_values(row, speeds.get(row["epoch"], {})), step)

    def add_step(self, progress: EpochProgress, losses: Mapping[str, Tensor], rate: float) -> None:
        """Show the losses of a step in which they were finite.

        Args:
            progress: the place of the run before the step.
            losses: scalars by name.
            rate: the learning rate.
        """
        step = progress.step + 1
        every = max(1, progress.batches // _POINTS_OF_AN_EPOCH)
        # The last step has the number of the epoch's own values.
        if self._events is None or step % every or step == progress.batches:
            return
        values = {f"step/{name}": value.item() for name, value in losses.items()}
        self._events.add_values({**values, "step/learning_rate": rate}, _step(progress) + 1)

    def add_validation(
        self, progress: EpochProgress, found: float | Validation
    ) -> dict[str, float]:
        """Draw images of a validation and keep its scores.

        Args:
            progress: the place of the run, at the end of its epoch.
            found: a whole validation, or a score alone.

        Returns:
            The columns of the history, see `training.validation.validation_columns`.

        Raises:
            UnreadableImage: an image can no longer be read.
        """
        if not hasattr(found, "scores"):
            return {"ap": found}
        folder = self._folder / VALIDATION
        kept = write_validation(folder, progress.epoch, found, self._settings.val_pictures)
        if self._events is not None:
            for one in kept.pictures:
                path = one.path(folder, progress.epoch)
                self._events.add_jpeg(f"{one.role}/{one.number}", path, _step(progress))
        return validation_columns(found)

    def finish_epoch(self, history: History, batches: int) -> None:
        """Show the values of the last epoch of the history, and delete pictures of earlier ones.

        Args:
            history: the finished epochs.
            batches: steps of an epoch.
        """
        row, speed = history.rows[-1], history.speed[-1]
        if "ap" in row:
            keep_only(self._folder / VALIDATION, {history.best_epoch(), int(row["epoch"])})
        if self._events is not None:
            self._events.add_values(epoch_values(row, speed), int(row["epoch"]) * batches)

    def flush(self) -> None:
        """Write all values so far, before a checkpoint from which the run may be resumed."""
        if self._events is not None:
            self._events.flush()

    def conclude(self, history: History, sections: Mapping[str, Section]) -> None:
        """Write the report, if an epoch is finished, and close the event file.

        Args:
            history: the finished epochs.
            sections: settings by heading and name.
        """
        if self._events is not None:
            self._events.close()
            self._events = None
        if history.rows:
            write_report(self._folder / REPORT, history, self._settings, sections, self._commands)


def _step(progress: EpochProgress) -> int:
    """Return the number of steps that the run has done."""
    return (progress.epoch - 1) * progress.batches + progress.step


def epoch_values(row: Mapping[str, float], speed: Mapping[str, float]) -> dict[str, float]:
    """Return the values of an epoch by their tags in TensorBoard.

    Args:
        row: of `History.rows`.
        speed: of `History.speed`, empty if it is not known.
    """
    tags = {"epoch": "epoch", "lr": "learning_rate", "loss": "train/loss", "ap": "AP"}
    tags |= {name: f"train/{name}" for name in loss_names(row)}
    for name in row:
        if name.startswith("val_"):
            tags[name] = f"validation/{name.removeprefix('val_')}"
        elif name in ("precision", "recall"):
            tags[name] = f"validation/{name}"
        for score in ("ap50", "ap75"):
            if name == score:
                tags[name] = score.upper()
            elif name.startswith(f"{score}_"):
                tags[name] = f"{score.upper()}/{name.removeprefix(f'{score}_')}"
    values = {tag: row[name] for name, tag in tags.items() if name in row}
    shown = {name: value for name, value in speed.items() if name != "epoch"}
    return values | {f"speed/{name}": value for name, value in shown.items()}

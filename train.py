"""Training: epochs of forward, named losses, finite check, step; a checkpoint after each."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor, nn

from datasets import BaseDataset
from datasets.images import UnreadableImage
from DOTA_devkit.errors import InputError
from DOTA_devkit.progress import ProgressBar, progress_bar
from models import CTRBOX, Checkpoint, DetectionLoss, save_checkpoint
from models.global_batch_norm import use_global_statistics
from models.rectangle_loss import RectangleLoss
from processes.group import agreed, copy_from_first, from_first, is_first, process_count
from structures.boxes import RECTANGLE
from training.average import WeightAverage
from training.centers import AlignedCenters
from training.compiling import CompiledNetwork
from training.epoch import EpochProgress
from training.files import BAD_BATCHES, BAD_IMAGES, LAST
from training.guards import BadImages, BadSteps, NormStatistics, Outcome
from training.history import History, epoch_line
from training.loading import epoch_loader, save_pictures
from training.optimizer import make_optimizer
from training.precision import choose_precision, log_precision
from training.report import Commands
from training.reporting import Reporting
from training.run import Run
from training.schedule import learning_rate, set_rate
from training.settings import TrainSettings
from training.shared_steps import share_step, stopped_together
from training.step import train_step
from training.teacher import Teacher
from training.validation import Validation

logger = logging.getLogger(__name__)

_MANY_LEFT_OUT = 0.25
"""Share of the images that an epoch may leave out without a warning, as a part of a step."""

Score = Callable[[CTRBOX], "float | Validation"]
"""Measures a model on a validation set, higher is better: a number, or the whole validation."""


# Over 60 lines because its arguments are documented; the body is a run from start to end.
def train(
    model: CTRBOX,
    train_set: BaseDataset,
    settings: TrainSettings,
    folder: Path,
    device: torch.device,
    *,
    score: Score | None = None,
    resume: Checkpoint | None = None,
    extras: Mapping[str, object] | None = None,
    commands: Commands | None = None,
    teacher: CTRBOX | None = None,
) -> History:
    """Train a model and leave checkpoints, curves, pictures and a report in a folder.

    Several processes (see `processes.group`) share each batch: all call this with the same
    arguments, learn the same, and the first one writes.

    Args:
        model: the network, whose weights are changed.
        train_set: samples of the phase 'train'.
        settings: how to train.
        folder: where to write; made if it does not exist.
        device: where to train.
        score: measures the model after every `settings.val_every` epochs, and decides which
            checkpoint is the best; None trains without a score.
        resume: a checkpoint of the same model with the state of the optimizer; training continues
            at the step after it.
        extras: plain values that every checkpoint carries beside the weights.
        commands: commands that the report offers.
        teacher: a trained network, whose output this one learns beside the labels.

    Raises:
        InputError: the state of the optimizer in `resume` belongs to another model, one image of
            32x32 is too little for BatchNorm, a batch has fewer images than there are processes,
            `patience` is set without a score, TensorBoard is set and not installed, the device
            does not support the precision, or `compile` is set with several processes.
        ProcessLost: another process has ended.
        Interrupted: Ctrl-C or SIGTERM came; the run is saved, and the message says where.
        TrainingStopped: the losses stay non-finite.
    """
    with agreed():
        check_settings(train_set, settings, has_score=score is not None)
    precision = choose_precision(settings.amp, device)
    log_precision(precision, settings.amp, device)
    folder.mkdir(parents=True, exist_ok=True)
    model.to(device, memory_format=torch.channels_last)
    if process_count() > 1:
        copy_from_first(model)
        use_global_statistics(model)
    optimizer = make_optimizer(model, settings)
    average = WeightAverage(model, settings.ema_decay) if settings.ema_decay else None
    reporting = Reporting(settings, folder, commands)
    run = Run(
        model, optimizer, settings, folder, save_checkpoint, reporting, extras, average, precision
    )
    if settings.align_centers:
        run.centers = AlignedCenters(run.scored_model, train_set)
    if resume is not None:
        with agreed():
            run.resume(resume)
    network = CompiledNetwork(model) if settings.compile else model
    batch_size = min(settings.batch_size, len(train_set))
    images = min(settings.batch_size * settings.accumulate, len(train_set))
    criterion = loss_class(model.box_coding)(train_set.mean_objects(images))
    if teacher is not None:
        teacher = Teacher(teacher, device, criterion.mean_objects)
    log_batch_size(settings, batch_size, images, len(train_set))
    if is_first():
        save_pictures(train_set, settings, folder)
    with run.reported(), run.kept():
        run.begin(resume)
        while run.progress.epoch <= settings.epochs and not run.history.stalled(settings.patience):
            epoch = run.progress.epoch
            loader = epoch_loader(train_set, settings, epoch, device, run)
            row = train_one_epoch(
                network, loader, criterion, optimizer, settings, run, device, teacher
            )
            if run.centers is not None:
                run.centers.align()
            if score is not None and (epoch % settings.val_every == 0 or epoch == settings.epochs):
                row |= validate(score, run)
            logger.info("%s  %s", epoch_line(row, settings.epochs), run.progress.time_text())
            run.finish_epoch(row)
    if run.progress.epoch <= settings.epochs:
        logger.info("no better AP in %d epochs (patience): the run ends early", settings.patience)
    return run.history


def loss_class(box_coding: str) -> type[DetectionLoss]:
    """Return the losses that a network with a coding of boxes is trained with."""
    return RectangleLoss if box_coding == RECTANGLE else DetectionLoss


def check_settings(train_set: BaseDataset, settings: TrainSettings, has_score: bool) -> None:
    """Raise an InputError if settings do not go with the training set, or lack a score."""
    if settings.patience and not has_score:
        raise InputError("patience needs a validation list with objects, whose AP it waits for")
    batch_size = min(settings.batch_size, len(train_set))
    if batch_size * train_set.input_h * train_set.input_w == 32 * 32:
        raise InputError(
            "at stride 32 a single 32x32 image is one cell, too little for BatchNorm: use a larger "
            "batch_size, input_h or input_w"
        )
    if batch_size < process_count():
        raise InputError(
            f"a batch of {batch_size} images cannot be shared by {process_count()} processes: use "
            "a larger `batch_size` or training set, or fewer processes"
        )


def log_batch_size(settings: TrainSettings, batch_size: int, images: int, all_images: int) -> None:
    """Log how many images a step uses, if that is not the batch of one process.

    Args:
        settings: how the network is trained.
        batch_size: images of a batch.
        images: images of a step.
        all_images: images of the training set.
    """
    left_out = all_images % images
    if left_out > _MANY_LEFT_OUT * all_images:
        logger.warning(
            "each epoch leaves out %d of %d images, others each time, as a step sees %d: choose a "
            "`batch_size` and `accumulate` that fit better",
            left_out, all_images, images,
        )  # fmt: skip
    if settings.accumulate > 1:
        logger.info(
            "a step sees a global batch of %d images, in %d batches of %d",
            images, -(-images // batch_size), batch_size,
        )  # fmt: skip
    if process_count() > 1:
        logger.info(
            "%d processes share each batch of %d images; the learning rate is that of a single "
            "process, %g at most",
            process_count(), batch_size, settings.lr,
        )  # fmt: skip


# Over 60 lines because its arguments are documented; the body is the loop over the batches.
def train_one_epoch(
    model: nn.Module,
    loader: torch.utils.data.DataLoader,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    run: Run,
    device: torch.device,
    teacher: Teacher | None = None,
) -> dict[str, float]:
    """Pass over `loader` once.

    Args:
        model: the network.
        loader: batches of the epoch, or those that are left of it, see `epoch_loader`.
        criterion: head maps and targets -> losses by name.
        optimizer: of the model's parameters.
        settings: how to train.
        run: knows the place in the epoch, and saves it.
        device: where the model is.
        teacher: what the network learns from beside the labels.

    Returns:
        `epoch`, `lr`, the mean of each named loss, and their sum as `loss`.

    Raises:
        TrainingStopped: too many steps in a row were not finite.
        ProcessLost: another process has ended.
    """
    model.train()
    progress = run.progress
    rate = learning_rate(settings, progress.batches)
    bad_steps = BadSteps(
        run.folder / BAD_BATCHES, settings.max_bad_steps, run.folder / LAST, progress.bad_in_a_row
    )
    bad_images = BadImages(run.folder / BAD_IMAGES)
    statistics = NormStatistics(model)
    image_ids = loader.dataset.dataset.img_ids
    with epoch_bar(progress, settings) as bar, stopped_together() as signals:
        for parts in progress.timed(loader):
            batches, notes = share_step(parts, signals)
            with run.step():
                for index, reason in notes.unreadable:
                    bad_images.add(image_ids[index], reason)
                    progress.left_out += 1
                set_rate(optimizer, rate(progress.epoch - 1 + progress.step / progress.batches))
                if batches:
                    progress.images += len(notes.indices)
                    progress.add_ignored(notes.ignored)
                    losses, outcome = train_step(
                        model, batches, criterion, optimizer, settings.clip_norm, statistics,
                        device, run.precision, teacher,
                    )  # fmt: skip
                    if outcome is Outcome.DONE:
                        count_step(run, losses, optimizer, bad_steps)
                    elif outcome is Outcome.BAD:
                        seen = [image_ids[index] for index in notes.indices]
                        bad_steps.add(progress.epoch, progress.step, seen, losses)
                    progress.bad_in_a_row = bad_steps.in_a_row
            bar.set_postfix({name: f"{mean:.3f}" for name, mean in progress.means().items()})
            bar.update()
            run.save_if_due()
        share_step((), signals)  # one that came in the last step stops all as well
    log_left_out(progress, bad_images.path)
    last = rate(progress.epoch - 1 + (progress.batches - 1) / progress.batches)
    set_rate(optimizer, last)  # also where no batch was left
    return history_row(progress, last)


def count_step(
    run: Run, losses: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, bad_steps: BadSteps
) -> None:
    """Update the average of the weights, the sums and the reports after a step."""
    bad_steps.good()
    if run.average is not None:
        run.average.update()
    run.progress.add_losses(losses)
    run.reporting.add_step(run.progress, losses, optimizer.param_groups[0]["lr"])


def history_row(progress: EpochProgress, rate: float) -> dict[str, float]:
    """Return the row of an epoch: its losses and its last learning rate."""
    means = progress.means()
    return {
        "epoch": progress.epoch,
        "lr": rate,
        "loss": sum(means.values()) if means else math.nan,
        **means,
    }


def epoch_bar(
    progress: EpochProgress, settings: TrainSettings
) -> AbstractContextManager[ProgressBar]:
    """Return the progress bar of an epoch, which starts in the middle for a resumed run."""
    return progress_bar(
        f"epoch {progress.epoch}/{settings.epochs}", progress.batches, unit="batch",
        initial=progress.step, leave=True,
    )  # fmt: skip


def log_left_out(progress: EpochProgress, bad_images: Path) -> None:
    """Log which objects an epoch has ignored (once), and how many images it has left out."""
    if progress.epoch == 1 and any(progress.ignored.values()):
        logger.info(
            "objects in view that were ignored in epoch 1, by option: %s",
            ", ".join(f"{reason} {count}" for reason, count in progress.ignored.items()),
        )
    if progress.left_out:
        logger.warning(
            "epoch %d: %d images could not be read and were left out, see %s",
            progress.epoch, progress.left_out, bad_images,
        )  # fmt: skip


def validate(score: Score, run: Run) -> dict[str, float]:
    """Score the model of a run, and report the result.

    Returns:
        `ap` and, if `score` hands back the whole validation, the other columns of
        `training.validation.validation_columns`; in all processes those of the first one.

    Raises:
        UnreadableImage: an image of the validation set cannot be read.
    """
    try:
        found = score(run.scored_model)
        columns = run.reporting.add_validation(run.progress, found) if is_first() else {}
    except UnreadableImage as error:
        raise error.with_advice() from error
    return from_first(columns)

"""Training: epochs of forward, named losses, finite check, step; a checkpoint after each."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add
from pathlib import Path

import torch
from torch import nn

from datasets import BaseDataset, seed_worker
from datasets.batching import EpochBatches, EpochSamples, collate_readable
from datasets.images import UnreadableImage
from DOTA_devkit.errors import InputError
from DOTA_devkit.progress import progress_bar
from inference import to_device
from models import CTRBOX, Checkpoint, DetectionLoss, save_checkpoint
from models.assignment import object_cells
from models.global_batch_norm import use_global_statistics
from models.losses import ObjectCounts
from models.rectangle_loss import RectangleLoss
from processes.group import (
    add_up,
    add_up_gradients,
    agreed,
    copy_from_first,
    from_first,
    is_first,
    process_count,
    process_rank,
)
from processes.numbers import ProcessNumbers
from structures.boxes import RECTANGLE
from structures.drawing import contact_sheet, draw_targets, write_picture
from training.average import WeightAverage
from training.compiling import CompiledNetwork
from training.files import BAD_BATCHES, BAD_IMAGES, LAST, is_same_file
from training.guards import BadImages, BadSteps, NormStatistics, Outcome
from training.history import History, epoch_line
from training.optimizer import make_optimizer
from training.precision import Precision, choose_precision, tell_precision
from training.report import Commands
from training.reporting import Reporting
from training.run import Run
from training.schedule import learning_rate, set_rate
from training.settings import TrainSettings
from training.shared_steps import share_step, stopped_together
from training.validation import Validation

logger = logging.getLogger(__name__)

Score = Callable[[CTRBOX], "float | Validation"]
"""Measures a model on a validation set, higher is better: a number, or the whole validation."""


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
        resume: a checkpoint of the same model with the state of the optimizer; training goes on
            at the step after it.
        extras: plain values that every checkpoint carries beside the weights.
        commands: commands that the report offers.

    Raises:
        InputError: the state of the optimizer in `resume` belongs to another model, one image of
            32x32 is too little for BatchNorm, a batch has fewer images than there are processes,
            `patience` is set without a score, TensorBoard is asked for and not installed, the
            device lacks the precision, or `compile` meets several processes.
        ProcessLost: another process has ended.
        Interrupted: Ctrl-C or SIGTERM came; the run is saved, and the message says where.
        TrainingStopped: the losses stay non-finite.
    """
    with agreed():
        check_batches(train_set, settings)
        if settings.patience and score is None:
            raise InputError("patience needs a validation list, whose AP it waits for")
    precision = choose_precision(settings.amp, device)
    tell_precision(precision, settings.amp, device)
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
    if resume is not None:
        with agreed():
            run.resume(resume)
    network = CompiledNetwork(model) if settings.compile else model
    batch_size = min(settings.batch_size, len(train_set))
    images = min(settings.batch_size * settings.accumulate, len(train_set))
    loss = RectangleLoss if model.box_coding == RECTANGLE else DetectionLoss
    criterion = loss(train_set.mean_objects(images))
    tell_batches(settings, batch_size, images)
    if is_first():
        save_pictures(train_set, settings, folder)
    with run.reported(), run.kept():
        if resume is None or not is_same_file(resume.path, folder / LAST):
            run.save()  # from now on there is a run to go on with
        while run.progress.epoch <= settings.epochs and not run.history.stalled(settings.patience):
            progress = run.progress
            epoch = progress.epoch
            loader = epoch_loader(train_set, settings, epoch, device, run)
            row = train_one_epoch(network, loader, criterion, optimizer, settings, run, device)
            if score is not None and (epoch % settings.val_every == 0 or epoch == settings.epochs):
                row |= validate(score, run)
            logger.info("%s  %s", epoch_line(row, settings.epochs), progress.time_text())
            run.finish_epoch(row)
    if run.progress.epoch <= settings.epochs:
        logger.info("no better AP in %d epochs (patience): the run ends early", settings.patience)
    return run.history


def check_batches(train_set: BaseDataset, settings: TrainSettings) -> None:
    """Raise an InputError if a batch is too small for BatchNorm, or for the processes."""
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


def tell_batches(settings: TrainSettings, batch_size: int, images: int) -> None:
    """Log how many images a step sees, where that is not the batch of one process.

    Args:
        settings: how the network is trained.
        batch_size: images of a batch.
        images: images of a step.
    """
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


def train_one_epoch(
    model: nn.Module,
    loader: torch.utils.data.DataLoader,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    run: Run,
    device: torch.device,
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
    image_id_of = loader.dataset.dataset.img_ids
    description = f"epoch {progress.epoch}/{settings.epochs}"
    shown = progress_bar(
        description, progress.batches, unit="batch", initial=progress.step, leave=True
    )
    with shown as bar, stopped_together() as signals:
        for parts in progress.timed(loader):
            batches, notes = share_step(parts, signals)
            with run.step():
                for index, reason in notes.unreadable:
                    bad_images.add(image_id_of[index], reason)
                    progress.left_out += 1
                set_rate(optimizer, rate(progress.epoch - 1 + progress.step / progress.batches))
                if batches:
                    progress.images += len(notes.indices)
                    progress.add_ignored(notes.ignored)
                    losses, outcome = train_step(
                        model, batches, criterion, optimizer, settings.clip_norm, statistics,
                        device, run.precision,
                    )  # fmt: skip
                    if outcome is Outcome.DONE:
                        bad_steps.good()
                        if run.average is not None:
                            run.average.update()
                        progress.add_losses(losses)
                        run.reporting.add_step(progress, losses, optimizer.param_groups[0]["lr"])
                    elif outcome is Outcome.BAD:
                        image_ids = [image_id_of[index] for index in notes.indices]
                        bad_steps.add(progress.epoch, progress.step, image_ids, losses)
                    progress.bad_in_a_row = bad_steps.in_a_row
            bar.set_postfix({name: f"{mean:.3f}" for name, mean in progress.means().items()})
            bar.update()
            run.save_if_due()
        share_step((), signals)  # one that came in the last step stops all as well
    if progress.epoch == 1 and any(progress.ignored.values()):
        logger.info(
            "objects in view that were ignored in epoch 1, by option: %s",
            ", ".join(f"{reason} {count}" for reason, count in progress.ignored.items()),
        )
    if progress.left_out:
        logger.warning(
            "epoch %d: %d images could not be read and were left out, see %s",
            progress.epoch, progress.left_out, bad_images.path,
        )  # fmt: skip
    means = progress.means()
    last = rate(progress.epoch - 1 + (progress.batches - 1) / progress.batches)
    set_rate(optimizer, last)  # also where no batch was left
    return {
        "epoch": progress.epoch,
        "lr": last,
        "loss": sum(means.values()) if means else math.nan,
        **means,
    }


def validate(score: Score, run: Run) -> dict[str, float]:
    """Measure the model of a run, and show what the measurement has found.

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


def train_step(
    model: nn.Module,
    batches: Sequence[dict[str, torch.Tensor]],
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    clip_norm: float,
    statistics: NormStatistics,
    device: torch.device,
    precision: Precision,
) -> tuple[dict[str, torch.Tensor], Outcome]:
    """Forward, named losses and backward of each batch, finite check, step.

    Args:
        model: the network in training mode.
        batches: one, or those whose gradients are added up: `input` [B, 3, H, W] and the training
            targets of each. Of several processes, each has a part of the images, maybe none.
        criterion: head maps and targets -> losses by name.
        optimizer: of the model's parameters.
        clip_norm: largest norm of the gradient.
        statistics: of the model's BatchNorms.
        device: where the model is.
        precision: of the network, and the scale of its losses.

    Returns:
        The losses by name, of all processes together, and what became of the step: if they or the
        gradient were not finite, it has changed nothing.
    """
    parts = {}
    if len(batches) > 1 or process_count() > 1:  # losses are means over the objects of all of them
        counts = reduce(add, map(ObjectCounts.of, batches))
        parts["counts"] = ObjectCounts(*add_up(torch.stack(counts)).to(device))
    statistics.save()
    optimizer.zero_grad(set_to_none=True)
    totals: dict[str, torch.Tensor] = {}
    for batch in batches:
        images = to_device(batch.pop("input"), device)
        targets = {k: v.to(device, non_blocking=True) for k, v in batch.items()}
        targets = criterion.assign(targets)
        maps = precision.forward(model, images, logits=True, cells=object_cells(targets))
        losses = criterion(maps, targets, logits=True, **parts)
        precision.scaler.scale(sum(losses.values())).backward()
        for name, value in losses.items():
            totals[name] = totals[name] + value.detach() if name in totals else value.detach()

    add_up_gradients(model.parameters())
    precision.scaler.unscale_(optimizer)  # all processes find the same overflow in the sum
    norm = nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    totals, norm = add_up_losses(totals, norm)
    finite = torch.isfinite(sum(totals.values()))
    outcome = Outcome.DONE if finite and torch.isfinite(norm) else Outcome.BAD
    if outcome is Outcome.DONE:
        precision.scaler.step(optimizer)
    else:
        statistics.restore()
        if finite and precision.can_lower_scale():
            outcome = Outcome.OVERFLOW
            logger.info(
                "the gradient is too large for float16 at a loss scale of %g: the step is skipped, "
                "and the scale is halved", precision.scaler.get_scale(),
            )  # fmt: skip
    precision.scaler.update()
    return totals, outcome


def add_up_losses(
    losses: dict[str, torch.Tensor], norm: torch.Tensor
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Add up the losses of all processes, and the norms, so that they find the same one finite."""
    if process_count() == 1:
        return losses, norm
    *values, norm = add_up(torch.stack([*losses.values(), norm])).unbind()
    return dict(zip(losses, values, strict=True)), norm


def epoch_loader(
    dataset: BaseDataset,
    settings: TrainSettings,
    epoch: int,
    device: torch.device,
    run: Run | None = None,
) -> torch.utils.data.DataLoader:
    """Make the batches of an epoch, or those that are left of it.

    Their order and augmentation follow from seed and epoch alone, so that a resumed run sees what
    an uninterrupted one would have seen.

    Args:
        dataset: samples of the phase 'train'.
        settings: how to train.
        epoch: its number, from 1.
        device: where the batches will be moved to.
        run: knows the place in the epoch; without it, that is the start.

    Raises:
        InputError: the epoch has another number of batches than when it was started.
    """
    generator = torch.Generator().manual_seed(settings.seed * 100_003 + epoch)
    start = run.progress.step if run is not None else 0
    if start and run.loader_state is not None:
        generator.set_state(run.loader_state)
    batches = EpochBatches(
        len(dataset),
        settings.batch_size,
        # A last batch of few images has noisy batch statistics; a set below one batch is used.
        drop_last=len(dataset) > settings.batch_size * settings.accumulate,
        generator=generator,
        start=start,
        accumulate=settings.accumulate,
        rank=process_rank(),
        processes=process_count(),
    )
    if run is not None:
        run.start_epoch(batches.total, generator.get_state())
    return torch.utils.data.DataLoader(
        EpochSamples(dataset, epoch, settings.seed, settings.skip_bad_images),
        batch_sampler=batches,
        generator=generator,
        num_workers=-(-settings.num_workers // ProcessNumbers.of().local_count),
        collate_fn=collate_readable,
        worker_init_fn=seed_worker,
        pin_memory=device.type == "cuda",
    )


def save_pictures(dataset: BaseDataset, settings: TrainSettings, folder: Path) -> None:
    """Draw the first batches of epoch 1 with their targets: `train_batch_<i>.jpg`."""
    if not settings.pictures:
        return
    samples = EpochSamples(dataset, 1, settings.seed, settings.skip_bad_images)
    per_picture = min(settings.batch_size, 8)
    for picture in range(settings.pictures):
        indices = range(picture * per_picture, min((picture + 1) * per_picture, len(dataset)))
        drawn = [sample for sample in map(samples.__getitem__, indices) if "input" in sample]
        images = [draw_targets(sample, dataset.category) for sample in drawn]
        if images:
            write_picture(folder / f"train_batch_{picture}.jpg", contact_sheet(images))

"""Training: epochs of forward, named losses, finite check, step; a checkpoint after each."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from datasets import IGNORE_REASONS, BaseDataset, collate, seed_worker
from datasets.batching import iterate_loader
from DOTA_devkit.errors import InputError
from DOTA_devkit.progress import progress_bar
from inference import to_device
from models import CTRBOX, Checkpoint, DetectionLoss, save_checkpoint
from structures.drawing import contact_sheet, draw_targets, write_picture
from training.files import BAD_BATCHES, BEST, LAST
from training.guards import BadSteps, NormStatistics
from training.history import History, epoch_line
from training.schedule import learning_rate, set_rate
from training.settings import TrainSettings
from training.state import load_optimizer_state, random_state, restore_random_state

logger = logging.getLogger(__name__)

Score = Callable[[CTRBOX], float]
"""Measures a model on a validation set, higher is better."""


def train(
    model: CTRBOX,
    train_set: BaseDataset,
    settings: TrainSettings,
    folder: Path,
    device: torch.device,
    *,
    score: Score | None = None,
    gpus: int = 1,
    resume: Checkpoint | None = None,
    extras: Mapping[str, object] | None = None,
) -> History:
    """Train a model and leave checkpoints, curves and pictures in a folder.

    Args:
        model: the network, whose weights are changed.
        train_set: samples of the phase 'train'.
        settings: how to train.
        folder: where to write; made if it does not exist.
        device: where to train.
        score: measures the model after every `settings.val_every` epochs, and decides which
            checkpoint is the best; None trains without a score.
        gpus: above 1, DataParallel over so many.
        resume: a checkpoint of the same model with the state of the optimizer; training continues
            at the epoch after it.
        extras: plain values that every checkpoint carries beside the weights.

    Raises:
        InputError: the state of the optimizer in `resume` belongs to another model, or one image of
            32x32 is too little for BatchNorm.
        TrainingStopped: the losses stay non-finite.
    """
    batch_size = min(settings.batch_size, len(train_set))
    if batch_size * train_set.input_h * train_set.input_w == 32 * 32:
        raise InputError(
            "at stride 32 a single 32x32 image is one cell, too little for BatchNorm: use a larger "
            "batch_size, input_h or input_w"
        )
    # The length of this function is that of its arguments; what it does fits on a screen.
    folder.mkdir(parents=True, exist_ok=True)
    model.to(device, memory_format=torch.channels_last)
    # Fused: on a CPU the unfused step takes as long as a small network's backward pass.
    optimizer = torch.optim.Adam(model.parameters(), settings.lr, fused=True)
    history, first = History(), 1
    if resume is not None:
        first = resume.epoch + 1
        history.rows = list(resume.history)
        load_optimizer_state(optimizer, resume)
        restore_random_state(resume)
        logger.info("resuming at epoch %d of %d", first, settings.epochs)
    parallel = nn.DataParallel(model, list(range(gpus))) if gpus > 1 else model
    criterion = DetectionLoss(train_set.mean_objects(batch_size))
    bad_steps = BadSteps(folder / BAD_BATCHES, settings.max_bad_steps, folder / LAST)
    save_pictures(train_set, settings, folder)

    for epoch in range(first, settings.epochs + 1):
        loader = epoch_loader(train_set, settings, epoch, device)
        rate = learning_rate(settings, len(loader))
        row = train_one_epoch(
            parallel, loader, criterion, optimizer, rate, settings, bad_steps, epoch, device
        )
        if score is not None and (epoch % settings.val_every == 0 or epoch == settings.epochs):
            row["ap"] = score(model)
        history.rows.append(row)
        history.write(folder)
        logger.info("%s", epoch_line(row, settings.epochs))
        checkpoint = Checkpoint.of(
            model,
            epoch=epoch,
            optimizer=optimizer,
            history=history.rows,
            random_state=random_state(),
            extras={**(extras or {}), "train": asdict(settings)},
        )
        save_epoch(checkpoint, history, settings, folder)
    return history


def save_epoch(
    checkpoint: Checkpoint, history: History, settings: TrainSettings, folder: Path
) -> None:
    """Write the checkpoints of a finished epoch, the last row of `history`.

    `model_last.pth` comes last: a run that is stopped in between repeats the epoch, and the best
    file is written again.
    """
    *before, row = history.rows
    best = max((other["ap"] for other in before if "ap" in other), default=-1.0)
    if "ap" in row and row["ap"] >= best:  # of equal ones the later, which has seen more
        save_checkpoint(folder / BEST, checkpoint)
    if settings.save_every and checkpoint.epoch % settings.save_every == 0:
        save_checkpoint(folder / f"model_{checkpoint.epoch}.pth", checkpoint)
    save_checkpoint(folder / LAST, checkpoint)


def train_one_epoch(
    model: nn.Module,
    loader: torch.utils.data.DataLoader,
    criterion: DetectionLoss,
    optimizer: torch.optim.Optimizer,
    rate: Callable[[float], float],
    settings: TrainSettings,
    bad_steps: BadSteps,
    epoch: int,
    device: torch.device,
) -> dict[str, float]:
    """Pass over `loader` once.

    Args:
        model: the network, possibly wrapped for several devices.
        loader: batches of the epoch, see `epoch_loader`.
        criterion: head maps and targets -> losses by name.
        optimizer: of the model's parameters.
        rate: learning rate as a function of the epochs done, fractions included.
        settings: how to train.
        bad_steps: counts steps that are not finite.
        epoch: its number, from 1.
        device: where the model is.

    Returns:
        `epoch`, `lr`, the mean of each named loss, and their sum as `loss`.

    Raises:
        TrainingStopped: too many steps in a row were not finite.
    """
    # Longer than a screen on purpose: the steps of the algorithm stand in one place, in order.
    model.train()
    totals: dict[str, float] = {}
    steps = 0
    statistics = NormStatistics(model)
    ignored = torch.zeros(len(IGNORE_REASONS), dtype=torch.int64)
    image_id_of = loader.dataset.img_ids
    description = f"epoch {epoch}/{settings.epochs}"
    with progress_bar(description, len(loader), unit="batch", leave=True) as bar:
        for step, batch in enumerate(iterate_loader(loader)):
            set_rate(optimizer, rate(epoch - 1 + step / len(loader)))
            ignored += batch.pop("ignored").sum(dim=0)
            image_ids = [image_id_of[index] for index in batch.pop("index").tolist()]
            images = to_device(batch.pop("input"), device)
            targets = {k: v.to(device, non_blocking=True) for k, v in batch.items()}
            statistics.save()
            losses = criterion(model(images, logits=True), targets, logits=True)
            loss = sum(losses.values())

            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            if not (torch.isfinite(loss) and torch.isfinite(norm)):
                statistics.restore()
                bad_steps.add(epoch, step, image_ids, losses)
                bar.update()
                continue
            optimizer.step()
            bad_steps.good()

            steps += 1
            for name, value in losses.items():
                totals[name] = totals.get(name, 0.0) + value.item()
            bar.set_postfix({name: f"{total / steps:.3f}" for name, total in totals.items()})
            bar.update()
    if epoch == 1 and ignored.any():
        counts = zip(IGNORE_REASONS, ignored.tolist(), strict=True)
        logger.info(
            "objects in view that were ignored in epoch 1, by option: %s",
            ", ".join(f"{reason} {count}" for reason, count in counts),
        )
    means = {name: total / steps for name, total in totals.items()}
    return {
        "epoch": epoch,
        "lr": optimizer.param_groups[0]["lr"],
        "loss": sum(means.values()) if steps else math.nan,
        **means,
    }


def epoch_loader(
    dataset: BaseDataset, settings: TrainSettings, epoch: int, device: torch.device
) -> torch.utils.data.DataLoader:
    """Make the batches of an epoch.

    Their order and augmentation follow from seed and epoch alone, so that a resumed run sees what
    an uninterrupted one would have seen.
    """
    dataset.set_epoch(epoch, settings.seed)
    generator = torch.Generator().manual_seed(settings.seed * 100_003 + epoch)
    return torch.utils.data.DataLoader(
        dataset,
        batch_size=settings.batch_size,
        shuffle=True,
        generator=generator,
        num_workers=settings.num_workers,
        collate_fn=collate,
        worker_init_fn=seed_worker,
        pin_memory=device.type == "cuda",
        # A last batch of few images has noisy batch statistics; a set below one batch is used.
        drop_last=len(dataset) > settings.batch_size,
    )


def save_pictures(dataset: BaseDataset, settings: TrainSettings, folder: Path) -> None:
    """Draw the first batches of epoch 1 with their targets: `train_batch_<i>.jpg`."""
    if not settings.pictures:
        return
    dataset.set_epoch(1, settings.seed)
    per_picture = min(settings.batch_size, 8)
    for picture in range(settings.pictures):
        indices = range(picture * per_picture, min((picture + 1) * per_picture, len(dataset)))
        images = [draw_targets(dataset[index], dataset.category) for index in indices]
        if images:
            write_picture(folder / f"train_batch_{picture}.jpg", contact_sheet(images))

"""The batches of an epoch, and pictures of the first ones."""

from __future__ import annotations

from pathlib import Path

import torch

from datasets import BaseDataset, seed_worker
from datasets.batching import EpochBatches, EpochSamples, collate_readable
from processes.group import process_count, process_rank
from processes.numbers import ProcessNumbers
from structures.drawing import contact_sheet, draw_targets, write_picture
from training.run import Run
from training.settings import TrainSettings


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
        epoch_samples(dataset, settings, epoch),
        batch_sampler=batches,
        generator=generator,
        num_workers=-(-settings.num_workers // ProcessNumbers.of().local_count),
        collate_fn=collate_readable,
        worker_init_fn=seed_worker,
        pin_memory=device.type == "cuda",
    )


def epoch_samples(dataset: BaseDataset, settings: TrainSettings, epoch: int) -> EpochSamples:
    """Make the samples of an epoch."""
    mosaic = settings.mosaic if dataset.allows_mosaics() else 0.0
    return EpochSamples(dataset, epoch, settings.seed, settings.skip_bad_images, mosaic)


def save_pictures(dataset: BaseDataset, settings: TrainSettings, folder: Path) -> None:
    """Draw the first batches of epoch 1 with their targets: `train_batch_<i>.jpg`."""
    if not settings.pictures:
        return
    samples = epoch_samples(dataset, settings, 1)
    per_picture = min(settings.batch_size, 8)
    for picture in range(settings.pictures):
        indices = range(picture * per_picture, min((picture + 1) * per_picture, len(dataset)))
        drawn = [sample for sample in map(samples.__getitem__, indices) if "input" in sample]
        images = [draw_targets(sample, dataset.category) for sample in drawn]
        if images:
            write_picture(folder / f"train_batch_{picture}.jpg", contact_sheet(images))

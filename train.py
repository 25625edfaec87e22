"""Training: epochs of forward, named losses, finite check, step; checkpoints, curves, pictures."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from datasets import IGNORE_REASONS, BaseDataset, collate, seed_worker
from datasets.batching import iterate_loader
from DOTA_devkit import interrupts
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from eval import EvalSettings, average_precision
from inference import to_device
from models import CTRBOX, Checkpoint, DetectionLoss, save_checkpoint
from structures.drawing import contact_sheet, draw_targets, write_picture

logger = logging.getLogger(__name__)

SCHEDULES = ("exponential", "cosine")
LAST = "model_last.pth"
BEST = "model_best.pth"
RUN_FILES = (
    "model_*.pth", "train_loss.txt", "ap_list.txt", "history.csv", "curves.png", "bad_batches.txt",
    "train_batch_*.jpg",
)  # fmt: skip


class TrainingStopped(RuntimeError):
    """Training cannot go on; the message says why and where the last good checkpoint is."""


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained.

    lr falls by `lr_gamma` an epoch (schedule "exponential", the original's) or along half a
    cosine to 1 % of itself (schedule "cosine"). warmup_steps: the rate rises linearly over so many
    steps, one epoch at the most. save_every: keep `model_<epoch>.pth` every so many epochs, 0 for
    never. val_every: epochs between two APs on the val list; the last epoch always has one.
    max_bad_steps: so many non-finite steps in a row stop the run.
    """

    epochs: int = 80
    batch_size: int = 16
    lr: float = 1.25e-4
    schedule: str = "exponential"
    lr_gamma: float = 0.96
    warmup_steps: int = 100
    clip_norm: float = 35.0
    save_every: int = 5
    val_every: int = 1
    num_workers: int = 4
    seed: int = 317
    max_bad_steps: int = 20
    pictures: int = 2


@dataclass
class History:
    """One row an epoch: losses by name, their sum, learning rate, AP where it was measured."""

    rows: list[dict[str, float]] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """train_loss.txt and ap_list.txt as the original has them, and all columns as a table."""
        for key, name in (("loss", "train_loss.txt"), ("ap", "ap_list.txt")):
            if values := [row[key] for row in self.rows if key in row]:
                with replacing(folder / name) as file:
                    file.writelines(f"{value:.6f}\n" for value in values)
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with replacing(folder / "history.csv") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        plot_history(self.rows, folder / "curves.png")


def train(
    model: CTRBOX,
    train_set: BaseDataset,
    val_set: BaseDataset | None,
    settings: TrainSettings,
    eval_settings: EvalSettings,
    folder: Path,
    device: torch.device,
    gpus: int = 1,
    resume: Checkpoint | None = None,
    extras: Mapping[str, object] | None = None,
) -> History:
    """Train `model` and leave checkpoints, curves and pictures in `folder`.

    val_set: samples for detection, scored after each epoch; None trains without an AP. gpus:
    above 1, DataParallel over so many. resume: a checkpoint of the same model with the state of
    the optimizer; training goes on at the epoch after it. extras: plain values that every
    checkpoint carries beside the weights. Raises TrainingStopped where the losses stay non-finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.to(device, memory_format=torch.channels_last)
    # Fused: on a CPU the unfused step takes as long as a small network's backward pass.
    optimizer = torch.optim.Adam(model.parameters(), settings.lr, fused=True)
    history, start = History(), 1
    if resume is not None:
        start = resume.epoch + 1
        history.rows = list(resume.history)
        load_optimizer_state(optimizer, resume)
        restore_random_state(resume.random_state)
        logger.info("going on at epoch %d of %d", start, settings.epochs)
    parallel = nn.DataParallel(model, list(range(gpus))) if gpus > 1 else model
    batch_size = min(settings.batch_size, len(train_set))
    if batch_size * train_set.input_h * train_set.input_w == 32 * 32:
        raise InputError(
            "the coarsest map of one image of 32x32 is one cell, too little for BatchNorm: give a "
            "larger --batch_size, --input_h or --input_w"
        )
    criterion = DetectionLoss(train_set.mean_objects(batch_size))
    truth = val_set.truth() if val_set is not None else None
    bad_steps = BadSteps(folder / "bad_batches.txt", settings.max_bad_steps, folder / LAST)
    best = max((row["ap"] for row in history.rows if "ap" in row), default=-1.0)
    save_pictures(train_set, settings, folder)

    for epoch in range(start, settings.epochs + 1):
        loader = epoch_loader(train_set, settings, epoch, device)
        rate = learning_rate(settings, len(loader))
        row = train_one_epoch(
            parallel, loader, criterion, optimizer, rate, settings, bad_steps, epoch, device
        )
        scored = truth is not None and (epoch % settings.val_every == 0 or epoch == settings.epochs)
        if scored:
            row["ap"] = average_precision(model, val_set, truth, eval_settings, device)
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
        # the last one last: a run that is stopped in between repeats the epoch, best file included
        if scored and row["ap"] >= best:  # of equal ones the later: it has seen more
            best = row["ap"]
            save_checkpoint(folder / BEST, checkpoint)
        if settings.save_every and epoch % settings.save_every == 0:
            save_checkpoint(folder / f"model_{epoch}.pth", checkpoint)
        save_checkpoint(folder / LAST, checkpoint)
    return history


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
    """One pass over `loader`; returns the mean of each named loss, their sum, and the rate.

    rate: learning rate as a function of the epochs done, fractions included.
    """
    model.train()
    totals: dict[str, float] = {}
    steps = 0
    buffers = Buffers(model)
    ignored = torch.zeros(len(IGNORE_REASONS), dtype=torch.int64)
    image_id_of = loader.dataset.img_ids
    description = f"epoch {epoch}/{settings.epochs}"
    with tqdm(iterate_loader(loader), description, len(loader), unit="batch", disable=None) as bar:
        for step, batch in enumerate(bar):
            set_rate(optimizer, rate(epoch - 1 + step / len(loader)))
            ignored += batch.pop("ignored").sum(dim=0)
            image_ids = [image_id_of[index] for index in batch.pop("index").tolist()]
            images = to_device(batch.pop("input"), device)
            targets = {k: v.to(device, non_blocking=True) for k, v in batch.items()}
            buffers.remember()
            losses = criterion(model(images, logits=True), targets, logits=True)
            loss = sum(losses.values())

            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            if not (torch.isfinite(loss) and torch.isfinite(norm)):
                buffers.restore()
                bad_steps.add(epoch, step, image_ids, losses)
                continue
            optimizer.step()
            bad_steps.good()

            steps += 1
            for name, value in losses.items():
                totals[name] = totals.get(name, 0.0) + value.item()
            bar.set_postfix({name: f"{total / steps:.3f}" for name, total in totals.items()})
            interrupts.stop_if_pressed()
    if epoch == 1 and ignored.any():
        counts = zip(IGNORE_REASONS, ignored.tolist(), strict=True)
        logger.info(
            "objects in view that were not taught in epoch 1, by reason: %s",
            ", ".join(f"{reason} {count}" for reason, count in counts),
        )
    means = {name: total / steps for name, total in totals.items()}
    return {
        "epoch": epoch,
        "lr": optimizer.param_groups[0]["lr"],
        "loss": sum(means.values()) if steps else math.nan,
        **means,
    }


class BadSteps:
    """Counts steps with a non-finite loss or gradient and writes down their images.

    Such a step changes nothing; so many in a row mean that the weights themselves are at fault.
    """

    def __init__(self, path: Path, limit: int, last_good: Path):
        self.path = path
        self.limit = limit
        self.last_good = last_good
        self.count = 0
        self.in_a_row = 0

    def good(self) -> None:
        self.in_a_row = 0

    def add(
        self, epoch: int, step: int, image_ids: Sequence[str], losses: Mapping[str, torch.Tensor]
    ) -> None:
        self.count += 1
        self.in_a_row += 1
        values = " ".join(f"{name}={value.item():g}" for name, value in losses.items())
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(f"epoch {epoch} batch {step + 1} {values} images {' '.join(image_ids)}\n")
        logger.warning(
            "a loss or gradient of epoch %d, batch %d is not finite (%s); the step is skipped, "
            "its images stand in %s", epoch, step + 1, values, self.path,
        )  # fmt: skip
        if self.in_a_row >= self.limit:
            kept = (
                f"the last good checkpoint is {self.last_good}: go on from it with --resume_train "
                if self.last_good.is_file()
                else "no epoch was finished: begin again "
            )
            raise TrainingStopped(
                f"{self.in_a_row} steps in a row had a non-finite loss or gradient (their images "
                f"stand in {self.path}); {kept}"
                "and a lower --init_lr, or --head_bn for small batches"
            )


class Buffers:
    """The running statistics of the batch norms, to be put back after a step that is skipped.

    A forward pass that meets NaN has written it into them before the loss shows it.
    """

    def __init__(self, model: nn.Module):
        self.buffers = list(model.buffers())
        self.copies = [torch.empty_like(buffer) for buffer in self.buffers]

    @torch.no_grad()
    def remember(self) -> None:
        if self.buffers:
            torch._foreach_copy_(self.copies, self.buffers)

    @torch.no_grad()
    def restore(self) -> None:
        if self.buffers:
            torch._foreach_copy_(self.buffers, self.copies)


def learning_rate(settings: TrainSettings, steps_per_epoch: int) -> Callable[[float], float]:
    """The learning rate as a function of the epochs done (a float: fractions within an epoch)."""
    warmup = min(settings.warmup_steps / steps_per_epoch, 1.0)

    def rate(done: float) -> float:
        if settings.schedule == "cosine":
            share = min(done / settings.epochs, 1.0)
            factor = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))
        else:
            factor = settings.lr_gamma ** math.floor(done)
        rise = min((done + 1 / steps_per_epoch) / warmup, 1.0) if warmup else 1.0
        return settings.lr * factor * rise

    return rate


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def epoch_loader(
    dataset: BaseDataset, settings: TrainSettings, epoch: int, device: torch.device
) -> torch.utils.data.DataLoader:
    """The batches of one epoch; their order and augmentation follow from (seed, epoch) alone,
    so that a resumed run sees what an unbroken one would have seen."""
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
        # a last batch of few images makes noisy batch statistics; a set below one batch is used
        drop_last=len(dataset) > settings.batch_size,
    )


def load_optimizer_state(optimizer: torch.optim.Optimizer, resume: Checkpoint) -> None:
    """InputError where the state belongs to other parameters: `load_state_dict` compares only
    their number, and the first step would fail."""
    optimizer_state = resume.optimizer_state
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    try:
        shapes = {i: s["exp_avg"].shape for i, s in optimizer_state["state"].items()}
        if any(parameters[i].shape != shape for i, shape in shapes.items()):
            raise ValueError("the shapes differ")
        optimizer.load_state_dict(optimizer_state)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{resume.path}: its optimizer state is not that of these parameters ({error}); to "
            "begin anew from its weights use --finetune"
        ) from error


def random_state() -> dict[str, torch.Tensor]:
    """The states of torch's generators, to go on with after a stop."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state |= {f"cuda:{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    return state


def restore_random_state(state: Mapping[str, torch.Tensor]) -> None:
    """The reverse of `random_state`; devices that are no longer there are passed over."""
    if "cpu" in state:
        torch.set_rng_state(state["cpu"])
    for index in range(torch.cuda.device_count()):
        if f"cuda:{index}" in state:
            torch.cuda.set_rng_state(state[f"cuda:{index}"], index)


def epoch_line(row: Mapping[str, float], epochs: int) -> str:
    """One epoch for the log: `epoch 3/80  loss 1.234 (hm 0.9 ...)  AP 0.456`."""
    known = ("epoch", "lr", "loss", "ap")
    parts = " ".join(f"{name} {value:.4f}" for name, value in row.items() if name not in known)
    ap = f"  AP {row['ap']:.4f}" if "ap" in row else ""
    return (
        f"epoch {row['epoch']}/{epochs}  loss {row['loss']:.4f} ({parts})  lr {row['lr']:.2e}{ap}"
    )


def save_pictures(dataset: BaseDataset, settings: TrainSettings, folder: Path) -> None:
    """The first batches of epoch 1 with their targets drawn: `train_batch_<i>.jpg`."""
    if not settings.pictures:
        return
    dataset.set_epoch(1, settings.seed)
    per_picture = min(settings.batch_size, 8)
    for picture in range(settings.pictures):
        indices = range(picture * per_picture, min((picture + 1) * per_picture, len(dataset)))
        images = [draw_targets(dataset[index], dataset.category) for index in indices]
        if images:
            write_picture(folder / f"train_batch_{picture}.jpg", contact_sheet(images))


def plot_history(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Losses and AP over the epochs as a picture; without matplotlib there is none."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = dict.fromkeys(name for row in rows for name in row)
    names = [name for name in names if name not in ("epoch", "lr", "ap")]
    for name in names:
        left.plot([row["epoch"] for row in rows], [row.get(name, math.nan) for row in rows],
                  label=name)  # fmt: skip
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    left.legend()
    scored = [row for row in rows if "ap" in row]
    right.plot([row["epoch"] for row in scored], [row["ap"] for row in scored], marker=".")
    right.set(xlabel="epoch", ylabel="AP on the val list", ylim=(0, 1))
    with replacing(path, "wb") as file:
        figure.savefig(file, format=path.suffix[1:], dpi=110)

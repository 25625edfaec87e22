"""Names of the files of a training run."""

from __future__ import annotations

from pathlib import Path

LAST = "model_last.pth"
BEST = "model_best.pth"
HISTORY = "history.csv"
SPEED = "speed.csv"
CURVES = "curves.png"
BAD_BATCHES = "bad_batches.txt"
BAD_IMAGES = "bad_images.txt"
REPORT = "report.html"
PRECISION_RECALL = "precision_recall.png"
VALIDATION = "validation"
"""Folder of the pictures and scores of validations, see `training.validation_files`."""
TENSORBOARD = "tensorboard"
"""Folder of the event files."""

RUN_FILES = (
    "model_*.pth", "model_*.pth.tmp", "train_loss.txt", "ap_list.txt", HISTORY, SPEED, CURVES,
    BAD_BATCHES, BAD_IMAGES, "train_batch_*.jpg", REPORT, PRECISION_RECALL,
    f"{VALIDATION}/epoch_*", f"{TENSORBOARD}/events.out.tfevents.*",
)  # fmt: skip
"""Patterns of all files that a run writes; of checkpoints only if `is_own_checkpoint`."""


def epoch_file(epoch: int) -> str:
    """Return the name of the checkpoint at the end of an epoch."""
    return f"model_{epoch}.pth"


def epoch_of(name: str) -> int | None:
    """Return the epoch of a checkpoint that has the name of `epoch_file`, else None."""
    number = name.removeprefix("model_").removesuffix(".pth")
    return int(number) if number.isdecimal() and name == f"model_{number}.pth" else None


def is_own_checkpoint(name: str) -> bool:
    """Return whether a run writes a checkpoint of that name, so that a new run replaces it.

    Those of other names, such as exported ones and copies, belong to the user.
    """
    return name in (LAST, BEST) or epoch_of(name) is not None


def is_same_file(a: Path | None, b: Path) -> bool:
    """Whether two paths lead to one file, which exists."""
    return a is not None and a.is_file() and b.is_file() and a.samefile(b)

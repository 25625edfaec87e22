"""Names of the files of a training run."""

from __future__ import annotations

LAST = "model_last.pth"
BEST = "model_best.pth"
BAD_BATCHES = "bad_batches.txt"

RUN_FILES = (
    "model_*.pth", "model_*.pth.tmp", "train_loss.txt", "ap_list.txt", "history.csv", "curves.png",
    BAD_BATCHES, "train_batch_*.jpg",
)  # fmt: skip
"""Patterns of all files that a run writes into its folder."""

"""The losses and scores of a run, one row per epoch: as files, a log line and curves."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from DOTA_devkit.files import replacing
from training.files import CURVES, HISTORY, SPEED

_NO_LOSSES = ("epoch", "lr", "loss", "ap", "ap50", "ap75", "precision", "recall")
_NO_LOSS_PREFIXES = ("ap50_", "ap75_", "val_")


@dataclass
class History:
    """The finished epochs of a run.

    Attributes:
        rows: one per epoch: losses by name, their sum, learning rate and, if it was validated, AP
            and the other columns of `training.validation.validation_columns`. A resumed run has the
            same rows as one that was never stopped.
        speed: one per epoch: time, images per second and memory, which differ from run to run.
        best_since: the last epoch of those whose best checkpoint is lost: `model_best.pth` is the
            best of later ones.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    speed: list[dict[str, float]] = field(default_factory=list)
    best_since: int = 0

    def stalled(self, patience: int) -> bool:
        """Whether the AP has not risen for so many epochs; never for a patience of 0.

        Epochs after the last validation do not count: the next one may be better.
        """
        scored = [row for row in self.rows if math.isfinite(row.get("ap", math.nan))]
        if not patience or not scored:
            return False
        best = max(scored, key=lambda row: row["ap"])  # the first of equal ones
        return scored[-1]["epoch"] - best["epoch"] >= patience

    def best_epoch(self) -> int | None:
        """Return the epoch of `model_best.pth`: the highest AP, of equal ones the later."""
        best, epoch = -math.inf, None
        for row in self.rows:
            if row["epoch"] > self.best_since and row.get("ap", math.nan) >= best:
                best, epoch = row["ap"], int(row["epoch"])
        return epoch

    def write(self, folder: Path) -> None:
        """Write train_loss.txt and ap_list.txt as the original does, the tables and the curves."""
        for key, name in (("loss", "train_loss.txt"), ("ap", "ap_list.txt")):
            if values := [row[key] for row in self.rows if key in row]:
                with replacing(folder / name) as file:
                    file.writelines(f"{value:.6f}\n" for value in values)
        write_table(self.rows, folder / HISTORY)
        write_table(self.speed, folder / SPEED)
        plot_history(self.rows, folder / CURVES)


def write_table(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Write rows as csv with the columns of all of them; missing values stay empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def loss_names(row: Mapping[str, float]) -> list[str]:
    """Return the names of the training losses in a row of the history, without their sum."""
    return [
        name for name in row
        if name not in _NO_LOSSES and not name.startswith(_NO_LOSS_PREFIXES)
    ]  # fmt: skip


def epoch_line(row: Mapping[str, float], epochs: int) -> str:
    """Format an epoch for the log: `epoch 3/80  loss 1.234 (hm 0.9 ...)  AP 0.456`."""
    parts = " ".join(f"{name} {row[name]:.4f}" for name in loss_names(row))
    scores = "".join(f"  {name.upper()} {row[name]:.4f}" for name in ("ap", "ap75") if name in row)
    return (
        f"epoch {row['epoch']}/{epochs}  loss {row['loss']:.4f} ({parts})  lr {row['lr']:.2e}"
        f"{scores}"
    )


def plot_history(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw losses, AP and learning rate over the epochs; without matplotlib there is no picture."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(9, 7), layout="constrained")
    (losses, scores), (validation, rates) = figure.subplots(2, 2)
    names = list(dict.fromkeys(name for row in rows for name in loss_names(row)))
    _draw(losses, rows, {"loss": "sum", **{name: name for name in names}})
    losses.set(xlabel="epoch", ylabel="training loss", yscale="log")
    measured = [name for name in ("loss", *names) if any(f"val_{name}" in row for row in rows)]
    _draw(validation, rows, {f"val_{n}": "sum" if n == "loss" else n for n in measured})
    validation.set(xlabel="epoch", ylabel="loss of a validation image", yscale="log")
    shown = {"ap": "AP", "ap50": "AP50", "ap75": "AP75"}
    if all(row.get("ap50") == row["ap"] for row in rows if "ap" in row):
        del shown["ap"]
    _draw(scores, rows, shown)
    scores.set(xlabel="epoch", ylabel="AP on the validation list", ylim=(0, 1))
    _draw(rates, rows, {"lr": "learning rate"})
    rates.set(xlabel="epoch", ylabel="learning rate", ylim=(0, None))
    with replacing(path, "wb") as file:
        figure.savefig(file, format=path.suffix[1:], dpi=110)


def _draw(axes, rows: Sequence[Mapping[str, float]], columns: Mapping[str, str]) -> None:
    """Draw columns over the epochs that have them, under the given labels."""
    for name, label in columns.items():
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        if points:
            axes.plot(*zip(*points, strict=True), marker=".", label=label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(axes.lines) > 1:
        axes.legend(fontsize="small")

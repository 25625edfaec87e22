"""The losses and scores of a run, one row per epoch: as files, a log line and curves."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from DOTA_devkit.files import replacing


@dataclass
class History:
    """One row per epoch: losses by name, their sum, learning rate, and AP if it was measured."""

    rows: list[dict[str, float]] = field(default_factory=list)

    def stalled(self, patience: int) -> bool:
        """Whether the AP has not risen for so many epochs; never for a patience of 0."""
        scored = [row for row in self.rows if "ap" in row]
        if not patience or not scored:
            return False
        best = max(scored, key=lambda row: row["ap"])  # the first of equal ones
        return self.rows[-1]["epoch"] - best["epoch"] >= patience

    def write(self, folder: Path) -> None:
        """Write train_loss.txt and ap_list.txt as the original does, a table and the curves."""
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


def epoch_line(row: Mapping[str, float], epochs: int) -> str:
    """Format an epoch for the log: `epoch 3/80  loss 1.234 (hm 0.9 ...)  AP 0.456`."""
    known = ("epoch", "lr", "loss", "ap")
    parts = " ".join(f"{name} {value:.4f}" for name, value in row.items() if name not in known)
    ap = f"  AP {row['ap']:.4f}" if "ap" in row else ""
    return (
        f"epoch {row['epoch']}/{epochs}  loss {row['loss']:.4f} ({parts})  lr {row['lr']:.2e}{ap}"
    )


def plot_history(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw losses and AP over the epochs; without matplotlib there is no picture."""
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
    right.set(xlabel="epoch", ylabel="AP on the validation list", ylim=(0, 1))
    with replacing(path, "wb") as file:
        figure.savefig(file, format=path.suffix[1:], dpi=110)

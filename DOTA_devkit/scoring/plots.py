"""Plots of an evaluation: precision/recall curves and the confusion matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.scoring.evaluation import Evaluation


def plot_evaluation(evaluation: Evaluation, path: Path | str) -> None:
    """Plot the precision/recall curves and, if it was computed, the confusion matrix.

    Args:
        evaluation: the result of `DOTA_devkit.scoring.evaluate`.
        path: image file to write, with any suffix matplotlib supports.

    Raises:
        InputError: matplotlib is not installed, or does not support the suffix.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("plots need matplotlib: pip install matplotlib") from None
    panels = 1 if evaluation.confusion is None else 2
    size = max(6.0, 0.35 * len(evaluation.classes) + 3)
    figure = Figure(figsize=(size * panels, size), layout="constrained")
    axes = np.ravel(figure.subplots(1, panels))
    _plot_curves(axes[0], evaluation)
    if evaluation.confusion is not None:
        _plot_confusion(axes[1], evaluation)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.savefig(path, dpi=120)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _plot_curves(axes, evaluation: Evaluation) -> None:
    for score in evaluation.classes:
        if score.objects:
            axes.step(
                score.curve.recall, score.curve.precision, where="post",
                label=f"{score.name} {100 * score.ap[0]:.1f}",
            )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.set_title(
        f"{evaluation.metric}, IoU {evaluation.iou_thresholds[0]:g}: "
        f"mean AP {100 * evaluation.mean_ap[0]:.1f}"
    )
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small", title="class, AP")


def _plot_confusion(axes, evaluation: Evaluation) -> None:
    counts = evaluation.confusion
    row_share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(row_share, cmap="Blues", vmin=0, vmax=1)
    names = [*(score.name for score in evaluation.classes), "background"]
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="detected as", ylabel="labeled as", title="at each class's best F1")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if row_share[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count}", ha="center", va="center", color=color, size=7)

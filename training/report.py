"""The report of a run: one HTML file with its curves, scores, pictures and settings."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from DOTA_devkit.errors import InputError
from DOTA_devkit.html_page import (
    Html,
    element,
    figure,
    folded,
    gallery,
    picture,
    prose,
    table,
    write_page,
)
from DOTA_devkit.scoring import Evaluation, plot_evaluation
from structures.defaults import CONF_THRESH
from training.files import BAD_BATCHES, BAD_IMAGES, BEST, CURVES, PRECISION_RECALL, VALIDATION
from training.history import History
from training.settings import TrainSettings
from training.validation_files import (
    BEST_LOSS,
    SPREAD,
    WORST_LOSS,
    KeptValidation,
    kept_epochs,
    read_validation,
)

logger = logging.getLogger(__name__)

Section = Mapping[str, object]
"""Settings by name."""


@dataclass(frozen=True)
class Commands:
    """Commands that the report offers.

    Attributes:
        stopped: resumes a run that was stopped.
        stalled: continues a run that `patience` has ended.
        finished: continues a finished run for more epochs.
        others: what can be done with the trained network -> command.
    """

    stopped: str
    stalled: str
    finished: str
    others: Mapping[str, str] = field(default_factory=dict)


def write_report(
    path: Path,
    history: History,
    settings: TrainSettings,
    sections: Mapping[str, Section],
    commands: Commands | None = None,
) -> None:
    """Write the report of a run into its folder, from whose files the pictures are taken.

    The scores and pictures are those of the best epoch. If they are not in the folder, because the
    run was resumed in another one, they are those of the latest validation that is.

    Args:
        path: the HTML file, in the folder of the run.
        history: the finished epochs, at least one.
        settings: how the network is trained.
        sections: all settings, by heading and name.
        commands: the next steps; None leaves them out.
    """
    folder = path.parent
    shown = _shown_validation(folder / VALIDATION, history)
    state, text = run_state(history, settings)
    parts = [element("p", text), *_faults(folder)]
    if commands is not None:
        parts.append(element("h2", "Next steps"))
        offered = {_NEXT_COMMANDS[state]: getattr(commands, state), **commands.others}
        parts += [
            part
            for label, words in offered.items()
            for part in (element("p", f"{label}:"), element("pre", words))
        ]
    parts += _curves(folder)
    if shown is not None:
        parts += [*_scores(shown, history), *_precision_recall(shown.scores, folder)]
        parts += _pictures(shown, folder / VALIDATION)
    parts += [*_speed(history), *_epochs(history), *_settings(sections)]
    name = sections.get("Model", {}).get("backbone", "")
    write_page(path, f"Training report {name}".strip(), *parts)


_NEXT_COMMANDS = {
    "finished": "Train for more epochs",
    "stalled": "Train on in spite of patience",
    "stopped": "Resume the run where it was stopped",
}
"""State of a run, an attribute of `Commands` -> what its command does."""


def run_state(history: History, settings: TrainSettings) -> tuple[str, str]:
    """Return the state of a run, "finished", "stalled" or "stopped", and a text about it."""
    done = int(history.rows[-1]["epoch"])
    if done >= settings.epochs:
        state, text = "finished", f"The run is finished after {done} epochs."
    elif history.stalled(settings.patience):
        state = "stalled"
        text = (
            f"The run has ended early after {done} of {settings.epochs} epochs, since the AP had "
            f"not risen for {settings.patience} epochs."
        )
    else:
        state, text = "stopped", f"The run was stopped after {done} of {settings.epochs} epochs."
    best = history.best_epoch()
    if best is not None:
        ap = next(row["ap"] for row in history.rows if row["epoch"] == best)
        text += f" The best AP on the validation list is {ap:.4f}, of epoch {best} ({BEST})."
    return state, text


def _shown_validation(folder: Path, history: History) -> KeptValidation | None:
    """Read the validation of the best epoch, else the latest one of the run's that there is."""
    last = history.rows[-1]["epoch"]
    kept = [epoch for epoch in kept_epochs(folder) if epoch <= last]
    for epoch in sorted(kept, key=lambda epoch: (epoch == history.best_epoch(), epoch))[::-1]:
        if (found := read_validation(folder, epoch)) is not None:
            return found
    return None


def _faults(folder: Path) -> list[Html]:
    """Describe what the run has skipped."""
    texts = {
        BAD_IMAGES: "images could not be read and were left out",
        BAD_BATCHES: "steps were skipped because a loss or gradient was not finite",
    }
    counts = {
        name: len((folder / name).read_bytes().splitlines())
        for name in texts
        if (folder / name).is_file()
    }
    return [element("p", f"{count} {texts[name]} ({name}).") for name, count in counts.items()]


def _curves(folder: Path) -> list[Html]:
    path = folder / CURVES
    if not path.is_file():
        return [
            element("h2", "Curves"),
            element("p", "The curves need matplotlib, which is not installed."),
        ]
    caption = "Losses, AP and learning rate over the epochs"
    return [element("h2", "Curves"), _figure(path, caption)]


def _scores(shown: KeptValidation, history: History) -> list[Html]:
    scores = shown.scores
    which = "the best" if shown.epoch == history.best_epoch() else "the latest"
    columns = [f"AP{100 * threshold:g}" for threshold in scores.iou_thresholds]
    kept = [place for place, name in enumerate(columns) if name in ("AP50", "AP75")]
    header = ["class", "objects", *(columns[place] for place in kept), "precision", "recall",
              "at score"]  # fmt: skip
    rows = [
        [
            score.name, score.objects, *(percent(score.ap[place]) for place in kept),
            percent(score.best_precision), percent(score.best_recall), number(score.best_score),
        ]
        for score in scores.classes
    ]  # fmt: skip
    mean = [percent(scores.mean_ap[place]) for place in kept]
    total = sum(score.objects for score in scores.classes)
    rows.append(["mean", total, *mean, "", "", ""])
    return [
        element("h2", "AP by class"),
        element(
            "p",
            f"Epoch {shown.epoch}, {which}, on the {scores.images} images of the validation list "
            f"({scores.metric}, in percent). Precision and recall are those at the score threshold "
            "with the highest F1, at an IoU of 0.5.",
        ),
        table(header, rows),
    ]


def _precision_recall(scores: Evaluation, folder: Path) -> list[Html]:
    path = folder / PRECISION_RECALL
    try:
        plot_evaluation(scores, path)
    except InputError:  # without matplotlib
        return []
    caption = "Precision and recall of each class over the score thresholds"
    return [element("h2", "Precision and recall"), _figure(path, caption)]


def _figure(path: Path, caption: str) -> Html:
    """Return an image file with its caption, which also describes it where it is not shown."""
    kind = "png" if path.suffix == ".png" else "jpeg"
    return figure(picture(path.read_bytes(), caption, kind), caption)


def _pictures(shown: KeptValidation, folder: Path) -> list[Html]:
    titles = {
        WORST_LOSS: "Worst images by loss",
        BEST_LOSS: "Best images by loss",
        SPREAD: "Images across the validation list",
    }
    parts: list[Html] = []
    for role, title in titles.items():
        drawn = [one for one in shown.pictures if one.role == role]
        files = [(one, one.path(folder, shown.epoch)) for one in drawn]
        there = [(one, path) for one, path in files if path.is_file()]
        if there:
            parts += [
                element("h2", title),
                gallery(_figure(path, one.caption()) for one, path in there),
            ]
    if parts:
        legend = (
            f"In the pictures, the ground truth is white; detections of epoch {shown.epoch} with a "
            f"score above {CONF_THRESH:g} are in the colors of their classes. The loss is that of "
            "the whole image, not augmented, as a batch of its own."
        )
        parts.insert(1, element("p", legend))
    return parts


def _speed(history: History) -> list[Html]:
    rows = [row for row in history.speed if row.get("seconds")]
    if not rows:
        return []
    seconds = sum(row["seconds"] for row in rows)
    waited = sum(row["seconds"] * row.get("waiting", 0.0) for row in rows)
    images = sum(row["seconds"] * row.get("images_per_second", 0.0) for row in rows)
    cells = [
        ["training time without validation", f"{seconds / 60:.1f} min"],
        ["images per second", f"{images / seconds:.3g}"],
        ["time spent waiting for data", f"{100 * waited / seconds:.0f} %"],
    ]
    if memory := [row["memory_mb"] for row in rows if "memory_mb" in row]:
        cells.append(["peak memory", f"{max(memory):.0f} MB"])
    return [element("h2", "Speed and memory"), table(["over all epochs", ""], cells)]


def _epochs(history: History) -> list[Html]:
    names = list(dict.fromkeys(name for row in history.rows for name in row))
    rows = [[number(row.get(name, math.nan)) for name in names] for row in history.rows]
    return [element("h2", "Epochs"), folded("All values of all epochs", table(names, rows))]


def _settings(sections: Mapping[str, Section]) -> list[Html]:
    parts = [element("h2", "Settings")]
    for title, section in sections.items():
        parts.append(folded(title, table(["name", prose("value")], _rows(section))))
    return parts


def _rows(section: Section) -> Iterable[Sequence[object]]:
    for name, value in section.items():
        shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        yield name, prose("" if shown is None else shown)


def percent(value: float) -> str:
    """Format a share of 1 in percent, "" if it is not known."""
    return "" if math.isnan(value) else f"{100 * value:.1f}"


def number(value: float) -> str:
    """Format a number with four digits, "" if it is not known."""
    if isinstance(value, int):
        return str(value)
    return "" if math.isnan(value) else f"{value:.4g}"

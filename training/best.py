"""The best checkpoint of a run that goes back to an earlier one, or moves to a new folder."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from models import Checkpoint, read_checkpoint
from training.files import BEST
from training.history import History

logger = logging.getLogger(__name__)


def restore_best(folder: Path, resume: Checkpoint, history: History) -> None:
    """Let `model_best.pth` be the best epoch of the history, if that can be had.

    A later one than the checkpoint is of epochs that the run does again. It becomes
    `model_<epoch>.pth`, so that nothing is lost.

    Args:
        folder: Of the run's checkpoints.
        resume: The checkpoint that the run goes on from; one that was not read from a file leaves
            all as it is.
        history: Its finished epochs.
    """
    if resume.path is None:
        return
    best = folder / BEST
    epoch = history.best_epoch()
    found = _finished_epoch(best)
    if found is not None and found > resume.epoch:
        later = best.replace(folder / f"model_{found}.pth")
        logger.warning(
            "%s was of epoch %d, which this run does again: it is %s now", best, found, later
        )
        found = None
    if epoch is None or found == epoch:
        return
    folders = dict.fromkeys([resume.path.parent, folder])
    sources = [resume.path, *(place / f"model_{epoch}.pth" for place in folders)]
    for source in [*sources, resume.path.parent / BEST]:
        if source != best and _finished_epoch(source) == epoch:
            with replacing(best, "wb") as file, source.open("rb") as content:
                shutil.copyfileobj(content, file)
            return


def _finished_epoch(path: Path) -> int | None:
    """Return the epoch at whose end a checkpoint was made, None if there is no such checkpoint."""
    if not path.is_file():
        return None
    try:
        found = read_checkpoint(path)
    except InputError:
        return None
    progress = found.extras.get("progress", {})
    return None if progress.get("step") else found.epoch

"""The checkpoints of a run that goes back to an earlier one, or moves to a new folder."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from models import Checkpoint, read_checkpoint
from training.files import BEST, LAST, epoch_file
from training.history import History

logger = logging.getLogger(__name__)


def keep_later(folder: Path, resume: Checkpoint) -> None:
    """Rename checkpoints of epochs that a run does again to `model_<epoch>.pth`.

    Args:
        folder: Of the run's checkpoints.
        resume: The checkpoint that the run goes on from; one that was not read from a file leaves
            all as it is.
    """
    if resume.path is None:
        return
    for path in (folder / LAST, folder / BEST):
        found = _checkpoint_in(path)
        if found is None or _place(found) <= _place(resume):
            continue
        epoch, step = _place(found)
        name = f"model_{epoch}_step_{step}.pth" if step else epoch_file(epoch)
        later = path.replace(folder / name)
        logger.warning(
            "%s was of epoch %d, which this run does again: it is %s now",
            path, epoch + bool(step), later,
        )  # fmt: skip


def restore_best(folder: Path, resume: Checkpoint, history: History) -> bool:
    """Let `model_best.pth` be the best epoch up to a checkpoint, if that can be had.

    Args:
        folder: Of the run's checkpoints, which has none of later epochs, see `keep_later`.
        resume: The checkpoint that the run goes on from; one that was not read from a file leaves
            all as it is.
        history: Its epochs.

    Returns:
        Whether that could be had, or no epoch was validated.
    """
    if resume.path is None:
        return True
    best = folder / BEST
    epoch = history.best_epoch()
    if epoch is None or _epoch_in(best) == epoch:
        return True
    source = resume.path if _finished_epoch(resume) == epoch else None
    if source is None:
        beside = resume.path.parent
        others = [beside / epoch_file(epoch), folder / epoch_file(epoch), beside / BEST]
        source = next((one for one in others if one != best and _epoch_in(one) == epoch), None)
    if source is None:
        logger.warning(
            "the checkpoint of epoch %d, the best one so far, is not there: %s will be the best "
            "of the epochs from now on", epoch, best,
        )  # fmt: skip
        return False
    with replacing(best, "wb") as file, source.open("rb") as content:
        shutil.copyfileobj(content, file)
    return True


def _checkpoint_in(path: Path) -> Checkpoint | None:
    """Read a file, None if there is no such checkpoint."""
    if not path.is_file():
        return None
    try:
        return read_checkpoint(path)
    except InputError:
        return None


def _epoch_in(path: Path) -> int | None:
    """Return the `_finished_epoch` of a file, None if there is no such checkpoint."""
    found = _checkpoint_in(path)
    return None if found is None else _finished_epoch(found)


def _place(checkpoint: Checkpoint) -> tuple[int, int]:
    """Return the number of finished epochs, and of steps after them."""
    return checkpoint.epoch, checkpoint.extras.get("progress", {}).get("step") or 0


def _finished_epoch(checkpoint: Checkpoint) -> int | None:
    """Return the epoch at whose end a checkpoint was made, None if it was made within one."""
    epoch, step = _place(checkpoint)
    return None if step else epoch

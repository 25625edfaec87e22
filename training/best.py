"""The best checkpoint of a run that goes back to an earlier one, or moves to a new folder."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from models import Checkpoint, read_checkpoint
from training.files import BEST, epoch_file
from training.history import History

logger = logging.getLogger(__name__)


def restore_best(folder: Path, resume: Checkpoint) -> None:
    """Let `model_best.pth` be the best epoch before a checkpoint, if that can be had.

    A later one than the checkpoint is of epochs that the run does again. It becomes
    `model_<epoch>.pth`, so that nothing is lost.

    Args:
        folder: Of the run's checkpoints.
        resume: The checkpoint that the run goes on from; one that was not read from a file leaves
            all as it is.
    """
    if resume.path is None:
        return
    best = folder / BEST
    epoch = History(resume.history).best_epoch()
    found = _epoch_in(best)
    if found is not None and found > resume.epoch:
        later = best.replace(folder / epoch_file(found))
        logger.warning(
            "%s was of epoch %d, which this run does again: it is %s now", best, found, later
        )
        found = None
    if epoch is None or found == epoch:
        return
    source = resume.path if _finished_epoch(resume) == epoch else None
    if source is None:
        beside = resume.path.parent
        others = [beside / epoch_file(epoch), folder / epoch_file(epoch), beside / BEST]
        source = next((one for one in others if one != best and _epoch_in(one) == epoch), None)
    if source is not None:
        with replacing(best, "wb") as file, source.open("rb") as content:
            shutil.copyfileobj(content, file)


def _epoch_in(path: Path) -> int | None:
    """Return the `_finished_epoch` of a file, None if there is no such checkpoint."""
    if not path.is_file():
        return None
    try:
        return _finished_epoch(read_checkpoint(path))
    except InputError:
        return None


def _finished_epoch(checkpoint: Checkpoint) -> int | None:
    """Return the epoch at whose end a checkpoint was made, None if it was made within one."""
    return None if checkpoint.extras.get("progress", {}).get("step") else checkpoint.epoch

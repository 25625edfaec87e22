"""The teacher of a run: a file that the run leaves alone, and the same network to its end."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from cli.run_dir import RunDir
from DOTA_devkit.errors import InputError
from models import CTRBOX, Checkpoint, load_model

_DIGEST = "teacher_sha256"


def load_teacher(args: argparse.Namespace, run: RunDir, resume: Checkpoint | None) -> CTRBOX | None:
    """Load the network that a run learns from as well, None if there is none.

    Args:
        args: the flags; those of a resumed run have been restored.
        run: its folders.
        resume: the checkpoint that it is resumed from, if it is.

    Raises:
        InputError: the file cannot be used, lies where the run writes, or is not the one that the
            run was started with.
    """
    path: Path | None = args.teacher
    if path is not None and run.holds(path):
        raise InputError(
            f"--teacher {path}: the teacher is in {run.weights}, where this run writes its own "
            "checkpoints; move it, or choose another --run_dir"
        )
    if resume is not None:
        _check_same(path, resume)
    return None if path is None else load_model(path)


def teacher_entries(path: Path | None) -> dict[str, str]:
    """Return what checkpoints store of the teacher beside its path."""
    return {_DIGEST: "" if path is None else _digest(path)}


def _check_same(path: Path | None, resume: Checkpoint) -> None:
    """Raise an InputError if a resumed run had another teacher, or none, or if it is gone.

    Checkpoints of earlier versions do not store what the teacher was.
    """
    if path is not None and not path.is_file():
        raise InputError(
            f"{path}: no such file, but the run of {resume.path} learns from this teacher; if it "
            "was moved, give its new place with --teacher FILE"
        )
    before = resume.extras.get("run", {}).get(_DIGEST)
    if path is None or before is None or before == _digest(path):
        return
    others = "a teacher with other content" if before else "no teacher"
    raise InputError(
        f"--teacher {path}: the run of {resume.path} was started with {others}, so this would make "
        f"it a different run. Start a new one from its weights: --finetune {resume.path} --teacher "
        f"{path} --run_dir DIR"
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

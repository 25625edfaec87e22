"""Resuming a run: its settings come from the checkpoint, and flags may change some of them."""

from __future__ import annotations

import argparse
import logging
import math
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from cli.arguments import bands, device
from cli.flags import FLAGS, Flag
from cli.given import asked_classes
from cli.recipes import recipe_of
from cli.run_dir import RunDir, class_name, weights_name
from cli.teacher import teacher_entries
from datasets import DataOptions
from deploy.runtimes.base import split_device
from DOTA_devkit.errors import InputError
from eval import EvalSettings
from models import Checkpoint, read_checkpoint
from models.image_entries import BANDS, DEPTH, image_entries
from models.schema import brief
from processes.group import share
from processes.numbers import ProcessNumbers, agent_name
from training import files
from training.history import History
from training.settings import TrainSettings

logger = logging.getLogger("bbavectors")


class _Place(NamedTuple):
    """Where a checkpoint stores the value of a flag.

    Attributes:
        section: key of the file.
        name: key within the section.
        free: whether a resumed run may change it: it learns the same from the same data.
    """

    section: str
    name: str
    free: bool = False


PLACES = {
    "epochs": _Place("train", "epochs", free=True),
    "batch_size": _Place("train", "batch_size"),
    "accumulate": _Place("train", "accumulate"),
    "init_lr": _Place("train", "lr"),
    "ema": _Place("train", "ema_decay"),
    "mosaic": _Place("train", "mosaic"),
    "recipe": _Place("run", "recipe"),
    "teacher": _Place("run", "teacher", free=True),  # the file may lie elsewhere now
    "schedule": _Place("train", "schedule"),
    "save_every": _Place("train", "save_every", free=True),
    "save_minutes": _Place("train", "save_minutes", free=True),
    "val_every": _Place("train", "val_every", free=True),
    "num_workers": _Place("train", "num_workers", free=True),
    "patience": _Place("train", "patience", free=True),
    "skip_bad_images": _Place("train", "skip_bad_images", free=True),
    "tensorboard": _Place("train", "tensorboard", free=True),
    # As another device, they change nothing but rounding.
    "amp": _Place("train", "amp", free=True),
    "compile": _Place("train", "compile", free=True),
    "seed": _Place("train", "seed"),
    "data_dir": _Place("run", "data_dir", free=True),
    "threads": _Place("run", "threads", free=True),
    "ngpus": _Place("run", "ngpus", free=True),
    "device": _Place("run", "device", free=True),
    "allow_overlap": _Place("run", "allow_overlap", free=True),
    "max_pixels": _Place("run", "max_pixels", free=True),
    "allow_remote": _Place("run", "allow_remote", free=True),
    # The files may lie elsewhere now.
    "train_list": _Place("data", "train_list", free=True),
    "val_list": _Place("data", "val_list", free=True),
    "hrsc_level": _Place("data", "hrsc_level"),
    "min_size": _Place("data", "min_size"),
    "min_visible": _Place("data", "min_visible"),
    "max_objs": _Place("data", "max_objs"),
    "no_augment": _Place("data", "augment"),
    "depth": _Place("data", DEPTH),
    "bands": _Place("data", BANDS),
    "metric": _Place("validation", "metric"),
    "K": _Place("validation", "K"),
    "conf_thresh": _Place("validation", "conf_thresh"),
    "nms_thresh": _Place("validation", "nms_thresh"),
    "theta_thresh": _Place("validation", "theta_thresh"),
}
"""Attribute of each flag that a resumed run takes from its checkpoint -> where that stores it.

Backbone, heads, classes and input size are in the checkpoint as well, and checked elsewhere.
"""

_OF_PROCESSES = ("ngpus", "device", "threads")
"""Attributes of the flags that decide which processes are started, and how each computes."""


def run_entries(
    args: argparse.Namespace,
    options: DataOptions,
    evaluation: EvalSettings,
    train_scale: float | None,
    agents: Collection[str],
) -> dict[str, Any]:
    """Return what the checkpoints of a run store beside the settings of the training.

    Args:
        args: the flags of the run.
        options: which objects and views it learns from.
        evaluation: how its validation scores.
        train_scale: input pixels per pixel of its images (median), None if it is not known.
        agents: see `torchrun_agents`.
    """
    return {
        "dataset": lasting(args.dataset),
        "data": {
            "train_list": options.train_list,
            "val_list": options.val_list,
            "hrsc_level": options.hrsc_level,
            "min_size": options.min_size,
            "min_visible": options.min_visible,
            "max_objs": options.max_objs,
            "augment": options.augment,
            **image_entries(options.reading, train_scale),
        },
        "validation": {
            "metric": evaluation.metric,
            "K": evaluation.inference.K,
            "conf_thresh": evaluation.inference.conf_thresh,
            "nms_thresh": evaluation.inference.nms_thresh,
            "theta_thresh": evaluation.inference.theta_thresh,
        },
        "run": {
            "own_classes": args.classes is None,
            "data_dir": None if args.data_dir is None else os.path.abspath(args.data_dir),
            "recipe": args.recipe,
            "teacher": None if args.teacher is None else os.path.abspath(args.teacher),
            **teacher_entries(args.teacher),
            "threads": args.threads,
            "ngpus": args.ngpus,
            "device": args.device,
            "allow_overlap": options.allow_overlap,
            "max_pixels": options.reading.max_pixels,
            "allow_remote": options.reading.allow_remote,
            **({"agents": "/".join(sorted(agents))} if agents else {}),
        },
    }


def lasting(dataset: str) -> str:
    """Return a dataset name that is valid in any working folder."""
    file, colon, name = dataset.rpartition(":")
    return f"{os.path.abspath(file)}:{name}" if colon else dataset


def find_run(args: argparse.Namespace) -> None:
    """Set `data_dir` and `dataset` to those of the run that is to be resumed, where not given.

    With `data_dir` it is the one in the folder that the flags lead to; without one there, the only
    run in `run_dir`, or else that of the checkpoint with the given path.

    Raises:
        InputError: there are several runs, or the checkpoint cannot be used.
    """
    if {"dataset", "data_dir"} <= args.given:
        return
    name, folders = args.resume_train, []
    if "dataset" in args.given:
        folders = [args.run_dir / weights_name(args.dataset, args.run_dir)]
    elif not Path(name).is_absolute():
        own = args.run_dir / weights_name(args.dataset, args.data_dir)
        if args.data_dir is not None and (own / name).is_file():
            return
        folders = sorted(args.run_dir.glob("weights_*"))
    found = [folder / name for folder in folders if (folder / name).is_file()]
    if len(found) > 1:
        runs = ", ".join(str(path.parent) for path in found)
        raise InputError(f"there are several runs: {runs}; name the one to resume by its path")
    if not found and Path(name).is_file():
        found = [Path(name)]
    if not found:
        return  # where the checkpoint is read, the error says where it was looked for
    resume = read_checkpoint(found[0])
    check_dataset(args, resume)
    stored = resume.extras.get("run", {}).get("data_dir")
    if args.data_dir is None and stored is not None:
        args.data_dir = Path(str(stored))
        if not args.data_dir.is_dir():
            raise InputError(
                f"{stored}: no such data folder, though the run of {resume.path} was started with "
                "it; give its new place with --data_dir DIR"
            )


def restore_processes(args: argparse.Namespace) -> None:
    """Set the flags of `_OF_PROCESSES` to those of the run that is to be resumed, where not given.

    They are needed before the processes start, and each process reads the run again. That reading
    reports errors in the checkpoint, so they are ignored here.
    """
    if args.given.issuperset(_OF_PROCESSES):
        return
    asked = argparse.Namespace(**vars(args))
    try:
        find_run(asked)
        resume = read_checkpoint(RunDir.of(asked).checkpoint(args.resume_train))
    except InputError:
        return
    stored = resume.extras.get("run", {})
    for flag in FLAGS:
        if flag.dest in _OF_PROCESSES and flag.dest not in args.given and flag.dest in stored:
            with suppress(InputError):
                setattr(args, flag.dest, _stored(flag, stored[flag.dest], resume.path))
    if "device" not in args.given and args.device is not None:
        args.device = _device_here(args.device, max(args.ngpus, ProcessNumbers.of().local_count))


def _device_here(before: str, processes: int) -> str | None:
    """Return the device of a run on this machine, None if it lacks that GPU."""
    if processes > 1:
        before, _ = split_device(before)  # each process has one of its own
    try:
        return device(before)
    except argparse.ArgumentTypeError:
        return None


def torchrun_agents() -> set[str]:
    """Return the names of the torchruns that have started the processes of this run."""
    return {name for name in share(agent_name()) if name is not None}


def resume_restarted(args: argparse.Namespace, agents: Collection[str]) -> bool:
    """Resume the run that torchrun has restarted, with the command line that the run began with.

    That command line starts a new run, or resumes another checkpoint. Only a run that one of these
    very torchruns has begun is resumed (those of other machines may have been replaced). A run of
    another job stays in the way.

    Args:
        args: the flags.
        agents: see `torchrun_agents`.

    Returns:
        Whether that run has ended already, as processes may fail after their last step.
    """
    if not agents or args.resume_train == files.LAST:
        return False
    path = RunDir.of(args).weights / files.LAST
    if not path.is_file():
        return False
    last = read_checkpoint(path)
    before = last.extras.get("run", {}).get("agents", "")
    if set(str(before).split("/")).isdisjoint(agents):
        return False
    settings = last.extras.get("train", {})
    epochs = args.epochs or settings.get("epochs", math.inf)
    patience = args.patience or settings.get("patience", 0)
    if why_ended(last, epochs, patience) is not None:
        logger.info("torchrun has restarted a run that has ended: nothing is left to train")
        return True
    logger.info("torchrun has restarted the run: it continues from %s", path)
    args.resume_train = files.LAST
    args.finetune = args.pretrained = None  # which have given it its first weights
    return False


def why_ended(resume: Checkpoint, epochs: float, patience: int) -> str | None:
    """Return why a run has ended and what would continue it; None if it has steps left.

    Args:
        resume: its last checkpoint.
        epochs: passes over the training set that are asked for.
        patience: epochs without a better score that end a run, 0 for never.
    """
    if resume.epoch >= epochs:
        return (
            f"{resume.path} is at epoch {resume.epoch} of {epochs}: nothing is left to train; for "
            "more epochs give --num_epoch"
        )
    if History(resume.history).stalled(patience):
        return (
            f"{resume.path}: the AP has not risen for {patience} epochs, so that the run has "
            "ended; to continue, give a larger --patience"
        )
    return None


def check_dataset(args: argparse.Namespace, resume: Checkpoint) -> None:
    """Set `dataset` to that of the run if it was not given.

    Raises:
        InputError: the run was started with another one, or with one in a user's file, which is
            not imported because a checkpoint says so.
    """
    started = resume.extras.get("dataset", args.dataset)
    if "dataset" not in args.given:
        if ":" in started:
            raise InputError(
                f"{resume.path}: the run was started with --dataset {started}; give that again, as "
                "a checkpoint must not decide which code is run"
            )
        args.dataset = started
    elif class_name(started) != class_name(args.dataset):
        raise InputError(
            f"{resume.path}: the run was started with --dataset {started}, so it cannot continue "
            f"with {args.dataset}"
        )


def classes_to_open(args: argparse.Namespace, resume: Checkpoint) -> tuple[str, ...] | None:
    """Return the classes that the data of a resumed run are opened with, None for their own."""
    if resume.extras.get("run", {}).get("own_classes") is True:
        return asked_classes(args)
    return asked_classes(args) or resume.classes


def restore_flags(args: argparse.Namespace, resume: Checkpoint) -> None:
    """Set the flags that were not given to what the run was started with.

    A given value is used, and logged, if the run stays the same with it. Checkpoints of earlier
    versions store less and let everything be changed, which they still do, with a warning.

    Raises:
        InputError: a flag would make it a different run, or the file has an impossible value.
    """
    complete = "run" in resume.extras
    stored = dict(resume.extras)
    if complete:  # settings that came later had these values
        stored["train"] = {**asdict(TrainSettings()), **stored.get("train", {})}
    others = []
    for flag in FLAGS:
        place = PLACES.get(flag.dest)
        if place is None or place.name not in stored.get(place.section, {}):
            continue
        before = _stored(flag, stored[place.section][place.name], resume.path)
        now = getattr(args, flag.dest)
        if flag.dest == "device" and flag.dest not in args.given:  # see `restore_processes`
            if now is None and before is not None:
                logger.warning("the run continues without --device %s, which is not here", before)
        elif flag.dest not in args.given:
            setattr(args, flag.dest, before)
        elif _differ(now, before):
            change = _change(flag, now, before)
            if complete and not place.free:
                others.append(change)
            elif place.free:
                logger.info("the run continues with %s", change)
            else:
                logger.warning("the run continues with %s, which makes it a different run", change)
    check_dataset(args, resume)
    if "recipe" not in stored.get("run", {}):  # of the original, or of an earlier version
        own = recipe_of(resume.architecture.box_coding)
        if "recipe" in args.given and args.recipe != own:
            others.append(f"--recipe {args.recipe} instead of {own}")
        args.recipe = own
    if complete:
        others += _other_input_size(args, resume)
    if others:
        raise InputError(
            f"{resume.path}: this run cannot continue with {', '.join(others)}, which would make "
            f"it a different run. Leave that out, or start a new run from its weights: --finetune "
            f"{resume.path} --run_dir DIR"
        )


def _other_input_size(args: argparse.Namespace, resume: Checkpoint) -> list[str]:
    sides = zip(("input_h", "input_w"), resume.input_size or (), strict=False)
    return [
        f"--{name} {getattr(args, name)} instead of {side}"
        for name, side in sides
        if getattr(args, name) not in (None, side)
    ]


def _stored(flag: Flag, value: object, path: Path | None) -> Any:
    """Return what a file stores for a flag as the flag's own value.

    Raises:
        InputError: It is no value of the flag.
    """
    options = flag.options
    # The run may have had a GPU that this machine lacks.
    kind = _device_name if flag.dest == "device" else options.get("type", str)
    try:
        if options.get("action") == "store_true":
            if not isinstance(value, bool):
                raise ValueError("true or false is expected")
            return not value if flag.dest == "no_augment" else value
        if value is None and options.get("default") is None:
            return None
        if not isinstance(value, str if kind in (str, Path, bands, _device_name) else (int, float)):
            raise ValueError("it is of another type")
        parsed = kind(str(value))
        if parsed not in options.get("choices", (parsed,)):
            raise ValueError(f"it is none of {', '.join(map(str, options['choices']))}")
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise InputError(
            f"{path}: what it stores for {flag.names[0]} is {brief(value)}, but {error}"
        ) from error
    return parsed


def _device_name(text: str) -> str:
    try:
        split_device(text)
    except InputError as error:
        raise ValueError(str(error)) from None
    return text


def _differ(now: object, before: object) -> bool:
    if isinstance(now, Path) and isinstance(before, Path):
        return os.path.realpath(now) != os.path.realpath(before)
    return now != before


def _change(flag: Flag, now: object, before: object) -> str:
    """Describe how a given value differs from the one that the run was started with."""
    if now is True:
        return f"{flag.names[0]}, without which it was started"
    return f"{flag.names[0]} {_shown(now)} instead of {_shown(before)}"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "the default" if value is None else str(value)

"""Flags -> the settings of the code below the command line."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace

from cli.defaults import Defaults
from cli.given import given, nms_thresh, one_conf_thresh, reading_flags
from cli.recipes import recipe_settings
from cli.run_dir import RunDir
from datasets import DataOptions
from DOTA_devkit.class_thresholds import resolve_thresholds
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import HIGH_BYTE, ReadOptions
from eval import EvalSettings
from inference import InferenceSettings
from models import Checkpoint
from structures.defaults import CONF_THRESH, EVAL_CONF_THRESH
from training.settings import TrainSettings

logger = logging.getLogger("bbavectors")


PHASE_CONF_THRESH = {"test": CONF_THRESH, "eval": EVAL_CONF_THRESH, "train": EVAL_CONF_THRESH}
"""Score above which detections are kept, of classes for which no other is given."""


def read_options(args: argparse.Namespace, checkpoint: Checkpoint | None) -> ReadOptions:
    """How the images of a data set are read: as the flags say, else as for the checkpoint.

    Training took the upper 8 of 16 bits before checkpoints stored how images were read.
    """
    trained = ReadOptions()
    if checkpoint is not None:
        trained = checkpoint.reading or ReadOptions(HIGH_BYTE)
    return replace(trained, **reading_flags(args))


def check_flags(
    args: argparse.Namespace, checkpoint: Checkpoint, classes: Sequence[str] | None
) -> None:
    """Raise an InputError if flags or the classes of the data contradict a checkpoint."""
    checkpoint.require(
        backbone=args.backbone,
        classes=classes,
        head_conv=args.head_conv,
        head_bn=args.head_bn,
        neck=args.neck,
    )


def input_size(
    args: argparse.Namespace, defaults: Defaults, trained: tuple[int, int] | None
) -> tuple[int, int]:
    """Height and width of the network's input: of the flags, else the checkpoint, else a default.

    Args:
        args: the flags.
        defaults: of the data.
        trained: height and width of the checkpoint, if there is one.

    Raises:
        InputError: a side is not a multiple of 32.
    """
    height, width = trained or defaults.input_hw
    size = (args.input_h or height, args.input_w or width)
    for flag, value in zip(("--input_h", "--input_w"), size, strict=True):
        if value % 32:
            below, above = value // 32 * 32, -(-value // 32) * 32
            fit = f"{below} or {above}" if below else f"{above}"
            raise InputError(f"{flag} {value} is not a multiple of 32; {fit} would be")
    if trained and size != tuple(trained):
        logger.info("input size %dx%d; the model was trained at %dx%d", *size, *trained)
    return size


def data_options(
    args: argparse.Namespace, classes: tuple[str, ...] | None, reading: ReadOptions
) -> DataOptions:
    """Options of a data set with these classes (None for its own), read by this rule."""
    return DataOptions(
        classes=classes,
        train_list=args.train_list,
        val_list=args.val_list,
        test_list=args.test_list,
        allow_overlap=args.allow_overlap,
        min_size=args.min_size,
        min_visible=args.min_visible,
        max_objs=args.max_objs,
        squash=args.squash,
        hrsc_level=args.hrsc_level,
        augment=not args.no_augment,
        nms_thresh=nms_thresh(args),
        keep_source=args.phase == "test",
        reading=reading,
    )


def train_settings(
    args: argparse.Namespace, run: RunDir, resume: Checkpoint | None
) -> TrainSettings:
    """Settings of a training: the flags, else those of the resumed run, else the defaults.

    A resumed run has the settings that it was started with, whatever recipe is the default now.
    """
    if resume is not None:
        before = TrainSettings.checked(resume.extras.get("train", {}), resume.path)
    else:
        before = recipe_settings(args.recipe, run.defaults)
    defaults = {
        "epochs": run.defaults.epochs,
        "batch_size": run.defaults.batch_size,
        "save_every": run.defaults.save_every,
        "num_workers": run.defaults.num_workers,
    } | before
    asked = given(
        epochs=args.epochs,
        batch_size=args.batch_size,
        accumulate=args.accumulate,
        ema_decay=args.ema,
        mosaic=args.mosaic,
        lr=args.init_lr,
        schedule=args.schedule,
        save_every=args.save_every,
        save_minutes=args.save_minutes,
        val_every=args.val_every,
        num_workers=args.num_workers,
        patience=args.patience,
        skip_bad_images=args.skip_bad_images,
        tensorboard=args.tensorboard,
        amp=args.amp,
        compile=args.compile,
        seed=args.seed,
    )
    return TrainSettings(**(defaults | asked))


def inference_settings(
    args: argparse.Namespace, phase: str, run: RunDir, classes: Sequence[str] | None = None
) -> InferenceSettings:
    """How a phase runs the network over a list of images.

    Args:
        args: the flags.
        phase: the phase.
        run: its folders and defaults.
        classes: class names of the images; None where all have one score threshold.

    Raises:
        InputError: a score threshold is of another class.
    """
    conf_thresh = resolve_thresholds(
        one_conf_thresh(args) if classes is None else args.conf_thresh,
        classes or (),
        PHASE_CONF_THRESH[phase],
        "conf_thresh",
    )
    defaults = {
        "batch_size": run.defaults.batch_size,
        "num_workers": run.defaults.num_workers,
    }
    asked = given(
        conf_thresh=conf_thresh,
        nms_thresh=args.nms_thresh,
        agnostic_nms_thresh=args.agnostic_nms_thresh,
        theta_thresh=args.theta_thresh,
        K=args.K,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
    )
    return InferenceSettings(**(defaults | asked), squash=args.squash, tta=args.tta)


def eval_settings(
    args: argparse.Namespace, phase: str, run: RunDir, classes: Sequence[str] | None = None
) -> EvalSettings:
    """How a phase detects and scores; `classes` as for `inference_settings`."""
    return EvalSettings(
        inference=inference_settings(args, phase, run, classes),
        metric=args.metric,
        merge=args.merge,
        truth_dir=args.truth_dir,
        worst=args.worst,
        against=args.against,
    )

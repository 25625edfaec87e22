"""The phase train: from flags to a run of `train.train`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch

import train as trainer
from cli.defaults import Defaults
from cli.devices import torch_device
from cli.given import asked_classes, given
from cli.next_steps import next_steps
from cli.processes import start_processes
from cli.recipes import DEFAULT, RECIPES, recipe_of
from cli.resume import (
    classes_to_open,
    find_run,
    restore_flags,
    restore_processes,
    resume_restarted,
    run_entries,
    torchrun_agents,
    why_ended,
)
from cli.resumed_data import digest_entry, refuse_other_classes, refuse_other_data
from cli.run_dir import RunDir, clear_run, refuse_to_replace
from cli.settings import (
    check_flags,
    data_options,
    eval_settings,
    input_size,
    read_options,
    train_settings,
)
from cli.teacher import load_teacher
from datasets import BaseDataset, DataOptions, open_dataset
from datasets.diagnosis import finding_lines
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import sweep_leftovers
from DOTA_devkit.locks import locked
from eval import EvalSettings, score_split
from models import CTRBOX, Checkpoint, build_model, finetune, read_checkpoint
from models.architecture import Architecture
from models.backbones import get_backbone
from processes.group import agreed, is_first, joined
from structures.boxes import HEAD_CHANNELS, STRIDE
from training import files
from training.compiling import check_compiler
from training.guards import BadImages
from training.image_losses import ImageLosses
from training.precision import choose_precision
from training.settings import TrainSettings
from training.state import seed_all
from training.teacher import check_teacher
from training.tensorboard import import_writer

logger = logging.getLogger("bbavectors")


def train(args: argparse.Namespace) -> int | None:
    """Train from ImageNet or random weights, from another detector, or resume a run."""
    if args.resume_train:
        restore_processes(args)
    if (code := start_processes(args)) is not None:
        return code
    device = torch_device(args)
    with joined(device), ExitStack() as held:
        agents = torchrun_agents()
        with agreed():
            refuse_contradictions(args)
            if args.resume_train:
                find_run(args)
            ended = resume_restarted(args, agents)
            run = RunDir.of(args)
            if is_first() and not ended:
                held.enter_context(locked(run.weights))
                sweep_leftovers(run.weights)
                sweep_leftovers(run.weights / files.VALIDATION)
                run.data_dir()  # drawn once, if it is the sample set
        if not ended:
            train_in(args, run, device, agents)
    return None


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that a run needs, before anything is written.

    Attributes:
        model: the network.
        train_set: the images that it learns from.
        val_set: the images that it is scored on, if there are any.
        settings: how it is trained.
        evaluation: how it is scored.
        options: which objects and views it learns from.
        resume: the checkpoint to resume from.
        in_place: whether that lies in the folder of the run.
        teacher: a trained network that it learns from as well, if there is one.
        scored: whether there is an object to score it on.
    """

    model: CTRBOX
    train_set: BaseDataset
    val_set: BaseDataset | None
    settings: TrainSettings
    evaluation: EvalSettings
    options: DataOptions
    resume: Checkpoint | None
    in_place: bool
    teacher: CTRBOX | None
    scored: bool


def plan_training(args: argparse.Namespace, run: RunDir, device: torch.device) -> TrainingPlan:
    """Read and check all that the flags ask for, and build the network.

    Raises:
        InputError: a flag, a file or a label is wrong, or the folder holds another run.
    """
    resume = resumed(args, run) if args.resume_train else None
    in_place = resume is not None and run.holds(resume.path)
    if not (in_place or run.sample or args.overwrite):
        refuse_to_replace(run.weights)

    start = read_checkpoint(args.finetune).architecture if args.finetune else None
    replaced = args.finetune and files.is_own_checkpoint(Path(args.finetune).name)
    if replaced and run.holds(args.finetune):
        raise InputError(
            f"--finetune {args.finetune}: this run replaces the checkpoints in {run.weights}; "
            "rename the file, or choose another --run_dir"
        )
    if resume is None:
        args.recipe = choose_recipe(args, start)
    teacher = load_teacher(args, run, resume)
    settings = train_settings(args, run, resume)
    evaluation = eval_settings(args, "train", run)
    classes = classes_to_open(args, resume) if resume else asked_classes(args)
    options = data_options(args, classes, read_options(args, resume))
    input_hw = input_size(args, run.defaults, resume.input_size if resume else None)
    train_set, val_set = open_sets(args, run, input_hw, options, resume)
    settings = with_possible_mosaics(settings, train_set, "mosaic" in args.given)
    if resume is not None:
        check_flags(args, resume, train_set.category)
        refuse_other_data(resume, train_set, val_set)
        model = build_model(resume)
    else:
        seed_all(settings.seed)
        model = new_model(args, run.defaults, tuple(train_set.category), input_hw, start)
        logger.info("recipe %s: %s", args.recipe, recipe_line(args.recipe, model, settings))
    if teacher is not None:
        check_teacher(args.teacher, teacher, model)
    # All that may be wrong is reported before an earlier run is deleted.
    scored = has_objects(val_set)
    trainer.check_settings(train_set, settings, has_score=scored)
    choose_precision(settings.amp, device)
    settings = compilable(args, settings, device)
    if settings.tensorboard:
        import_writer()
    return TrainingPlan(
        model, train_set, val_set, settings, evaluation, options, resume, in_place, teacher,
        scored,
    )  # fmt: skip


def train_in(
    args: argparse.Namespace, run: RunDir, device: torch.device, agents: Collection[str]
) -> None:
    """Train in the folder of a run, which nothing else uses; all processes or none of them."""
    with agreed():
        plan = plan_training(args, run, device)
    settings, model, val_set = plan.settings, plan.model, plan.val_set
    if val_set is not None and not plan.scored:
        logger.warning(
            "the validation list has no object to find (difficult ones do not count): there will "
            "be no AP, and no %s", files.BEST,
        )  # fmt: skip
    if settings.tensorboard:
        logger.info("to watch the run: tensorboard --logdir %s", run.weights / files.TENSORBOARD)
    digest = digest_entry(plan.train_set, val_set)  # of all images
    with agreed():
        unreadable = left_out_of_validation(plan)
    if is_first() and not plan.in_place:
        clear_run(run.weights)
    listed = BadImages(run.weights / files.BAD_IMAGES)
    for image_id, reason in unreadable.items():
        listed.add(image_id, reason)
    scale = plan.train_set.typical_scale()
    extras = run_entries(args, plan.options, plan.evaluation, scale, agents)
    extras["data_digest"] = digest
    logger.info(
        "training %s: %s", model.backbone,
        ", ".join(f"{name} {value}" for name, value in asdict(settings).items()),
    )  # fmt: skip
    trainer.train(
        model, plan.train_set, settings, run.weights, device,
        score=scorer(val_set, plan.evaluation, device, model.box_coding),
        resume=plan.resume, extras=extras, teacher=plan.teacher,
        commands=next_steps(args, run, settings.epochs, plan.scored),
    )  # fmt: skip
    logger.info("checkpoints and curves are in %s", run.weights)
    logger.info("report of the run: %s", run.weights / files.REPORT)


def choose_recipe(args: argparse.Namespace, start: Architecture | None) -> str:
    """Return the recipe of a new run: the asked one, or else the one that fits.

    A detector that was trained with boxes as vectors is fine-tuned with them, so that its heads
    keep what they know.

    Args:
        args: the flags.
        start: of the checkpoint to fine-tune, if there is one.
    """
    if args.recipe is not None:
        return args.recipe
    return DEFAULT if start is None else recipe_of(start.box_coding)


def with_possible_mosaics(
    settings: TrainSettings, train_set: BaseDataset, asked: bool
) -> TrainSettings:
    """Return the settings without mosaics if the training set cannot show them.

    Args:
        settings: how to train.
        train_set: the training set.
        asked: whether mosaics were asked for, and are not just part of the recipe.

    Raises:
        InputError: it cannot, but they were asked for.
    """
    if not settings.mosaic or train_set.allows_mosaics():
        return settings
    reason = "views are not augmented"
    if train_set.options.augment:
        reason = f"{type(train_set).__name__} has its own data_transform or __getitem__"
    if asked:
        raise InputError(f"`mosaic` {settings.mosaic:g} cannot be used: {reason}")
    logger.info("no mosaics: %s", reason)
    return replace(settings, mosaic=0.0)


def recipe_line(name: str, model: CTRBOX, settings: TrainSettings) -> str:
    """Describe in one line what a run trains, in the parts that a recipe determines.

    Flags may have changed some of them, and a network that is fine-tuned keeps its layers.
    """
    norm = "with" if model.head_bn else "without"
    chosen = ", ".join(f"{part} {getattr(settings, part)}" for part in RECIPES[name].settings)
    return (
        f"boxes coded as {model.box_coding}, heads {norm} BatchNorm, final_kernel "
        f"{model.final_kernel}, {chosen}"
    )


def resumed(args: argparse.Namespace, run: RunDir) -> Checkpoint:
    """Read the checkpoint to resume from, and set the flags to those of its run.

    Raises:
        InputError: there is none, it cannot be resumed, or the flags would make it a different run.
    """
    resume = read_checkpoint(run.checkpoint(args.resume_train))
    if resume.optimizer_state is None:
        raise InputError(f"{resume.path} has no optimizer state to resume from: use --finetune")
    check_flags(args, resume, asked_classes(args))
    restore_flags(args, resume)
    reason = why_ended(resume, args.epochs or run.defaults.epochs, args.patience or 0)
    if reason is not None:
        raise InputError(reason)
    return resume


def open_sets(
    args: argparse.Namespace,
    run: RunDir,
    input_hw: tuple[int, int],
    options: DataOptions,
    resume: Checkpoint | None,
) -> tuple[BaseDataset, BaseDataset | None]:
    """Open the training and the validation set, if there is one, and check all their labels."""
    data_dir = run.data_dir()
    train_set = open_dataset(args.dataset, data_dir, "train", input_hw, options)
    val_set = open_dataset(args.dataset, data_dir, "val", input_hw, options)
    if resume is not None:
        refuse_other_classes(resume, train_set)  # before labels have unknown classes
    for dataset in filter(None, (train_set, val_set)):
        dataset.check_labels()
    if resume is None:  # else it was logged when the run began
        for line in finding_lines(train_set, val_set):
            logger.warning("%s", line)
    return train_set, val_set


def compilable(
    args: argparse.Namespace, settings: TrainSettings, device: torch.device
) -> TrainSettings:
    """Return the settings, without `compile` if a resumed run uses it and this machine cannot.

    Raises:
        InputError: the flag was given, and nothing can be compiled here.
    """
    if not settings.compile:
        return settings
    try:
        check_compiler(device)
    except InputError as error:
        if "compile" in args.given:
            raise
        logger.warning("the run continues without compiling: %s", error)
        return replace(settings, compile=False)
    return settings


def has_objects(val_set: BaseDataset | None) -> bool:
    """Return whether a network can be scored on a validation set: it has an object to find."""
    truth = None if val_set is None else val_set.truth()
    return truth is not None and not truth.difficult.all()


def left_out_of_validation(plan: TrainingPlan) -> dict[str, str]:
    """Leave out the images of the validation set that cannot be read.

    Those of the training set are left out when their turn comes: it is many times as large.

    Returns:
        Id -> reason of each.

    Raises:
        InputError: none is left.
    """
    if not plan.settings.skip_bad_images or plan.val_set is None:
        return {}
    return plan.val_set.leave_out_unreadable()


def scorer(
    val_set: BaseDataset | None, settings: EvalSettings, device: torch.device, box_coding: str
) -> trainer.Score | None:
    """What detects on the validation set and scores it; None without one."""
    if val_set is None:
        return None
    return partial(
        score_split, dataset=val_set, truth=val_set.truth(), settings=settings, device=device,
        measure=ImageLosses(val_set, trainer.loss_class(box_coding)(val_set.mean_objects(1))),
    )  # fmt: skip


def refuse_contradictions(args: argparse.Namespace) -> None:
    """Raise an InputError for flags that exclude each other, or a backbone that cannot be used."""
    first_weights = {"--finetune": args.finetune, "--pretrained": args.pretrained}
    named = list(given(**first_weights))
    if args.resume_train and named:
        raise InputError(f"--resume_train cannot be combined with {named[0]}: leave one out")
    if len(named) > 1:
        raise InputError("--finetune cannot be combined with --pretrained: leave one out")
    if args.backbone:
        get_backbone(args.backbone)  # before all labels are read


def new_model(
    args: argparse.Namespace,
    defaults: Defaults,
    classes: tuple[str, ...],
    input_hw: tuple[int, int],
    start: Architecture | None,
) -> CTRBOX:
    """Build a network to be trained, with the first weights that the flags name.

    Args:
        args: the flags.
        defaults: of the data.
        classes: class names.
        input_hw: height and width of the network's input.
        start: of the checkpoint to fine-tune, if there is one.
    """
    if start is None:
        pretrained = args.pretrained or defaults.pretrained
        if not is_first():  # it gets the weights of the first process
            pretrained = "none"
        return network(args, classes, input_hw, args.head_conv or defaults.head_conv, pretrained)
    args.backbone = args.backbone or start.backbone
    if args.head_bn is None and start.box_coding == RECIPES[args.recipe].box_coding:
        args.head_bn = start.head_bn
    args.neck = args.neck or start.neck
    head_conv = args.head_conv or start.head_conv
    model = network(args, classes, input_hw, head_conv, "none", start.final_kernel)
    finetune(model, args.finetune)
    return model


def network(
    args: argparse.Namespace,
    classes: tuple[str, ...],
    input_hw: tuple[int, int],
    head_conv: int,
    pretrained: str,
    final_kernel: int | None = None,
) -> CTRBOX:
    """Build the network that the flags describe.

    Args:
        args: the flags.
        classes: class names.
        input_hw: height and width of the network's input.
        head_conv: hidden channels of the heads.
        pretrained: first weights of the backbone, as `CTRBOX` takes them.
        final_kernel: size of the last convolutions of the heads, by default the recipe's.
    """
    recipe = RECIPES[args.recipe or DEFAULT]
    return CTRBOX(
        heads={"hm": len(classes), **HEAD_CHANNELS},
        pretrained=pretrained,
        down_ratio=STRIDE,
        final_kernel=final_kernel or recipe.final_kernel,
        head_conv=head_conv,
        backbone=args.backbone or "resnet101",
        head_bn=recipe.head_bn if args.head_bn is None else args.head_bn,
        classes=classes,
        input_size=input_hw,
        neck=args.neck,
        box_coding=recipe.box_coding,
    )

"""Flags -> settings -> one phase.

python main.py --phase train --backbone resnet18
python main.py --phase test
python main.py --phase eval

Without --data_dir the three use a built-in sample set. Errors of the user's input end in one line
(see `console`) and an exit code; the flags are in `flags`.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

import eval as evaluation
import test as testing
import train as training
from console import Advice, explain, fail, set_up_logging
from datasets import BaseDataset, DataOptions, find_dataset, open_dataset
from datasets.images import read_image
from datasets.sample import CLASSES as SAMPLE_CLASSES
from datasets.sample import make_sample
from deploy import benchmark as timing
from deploy.detector import Detector, file_digest
from deploy.export import settings as export_settings
from deploy.export.requirements import require_onnx
from deploy.export.types import CheckImage
from deploy.predict import pipeline as prediction
from deploy.predict.settings import ModelInfo, PredictSettings, Shard, device_of_rank
from deploy.predict.sources import find_sources
from deploy.runtimes.base import DetectorSettings
from DOTA_devkit import interrupts
from DOTA_devkit.class_lists import parse_class_list
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import refuse_unwritable
from DOTA_devkit.formats import DOTA_CLASSES
from flags import OWN_DATA, SAMPLE, Defaults, parse_args
from inference import InferenceSettings
from models import (
    CTRBOX,
    Checkpoint,
    build_model,
    finetune,
    load_model,
    read_checkpoint,
)
from models.info import describe
from structures.boxes import HEAD_CHANNELS, STRIDE
from structures.defaults import CONF_THRESH, NMS_THRESH

logger = logging.getLogger("bbavectors")

Item = TypeVar("Item")

SAMPLE_DIR = Path("sample_data")

TAUGHT = ("train_list", "val_list", "min_size", "min_visible", "max_objs", "augment")
"""Options of the data that a run goes on with as it was begun, or is told."""

CALIBRATION_IMAGES = 64
PREDICT_BATCH = 16 if torch.cuda.is_available() else 2
"""Windows at a time: on a CPU more of them are no faster, and resnet101 would need over 2 GB."""

PHASE_CONF_THRESH = {"test": CONF_THRESH, "eval": 0.01, "train": 0.01}


@dataclass(frozen=True)
class Run:
    """Where a run reads and writes."""

    given_data: Path | None
    weights: Path
    result: Path
    merge: Path

    @classmethod
    def of(cls, args: argparse.Namespace) -> Run:
        find_dataset(args.dataset)  # a name that is none is told before all else
        sample = args.data_dir is None
        if sample and args.dataset.lower() != "dota":
            raise InputError(
                f"--dataset {args.dataset} needs --data_dir; the built-in sample set is in DOTA "
                "layout"
            )
        name = "sample" if sample else args.dataset.rpartition(":")[2].lower()
        return cls(
            given_data=args.data_dir,
            weights=args.run_dir / f"weights_{name}",
            result=args.run_dir / f"result_{name}",
            merge=args.run_dir / f"merge_{name}",
        )

    @property
    def sample(self) -> bool:
        return self.given_data is None

    def data_dir(self) -> Path:
        """The folder of the data; the sample set is made where it is not there yet."""
        return make_sample(SAMPLE_DIR) if self.sample else self.given_data

    @property
    def defaults(self) -> Defaults:
        return SAMPLE if self.sample else OWN_DATA

    def checkpoint(self, name: str | None) -> Path:
        """The checkpoint by name in the run's folder, else by path; without a name best or last."""
        if name is not None:
            for path in (self.weights / name, Path(name)):
                if path.is_file():
                    return path
            raise InputError(f"no checkpoint {name}, neither in {self.weights} nor as a path")
        for known in (training.BEST, training.LAST):
            if (self.weights / known).is_file():
                return self.weights / known
        raise InputError(
            f"no checkpoint in {self.weights}: train first (--phase train), or name one with "
            "--weights FILE"
        )


def train(args: argparse.Namespace) -> None:
    """Train from ImageNet or random weights, from another detector, or go on with a run."""
    refuse_idle_flags(args)
    run = Run.of(args)
    resume = read_checkpoint(run.checkpoint(args.resume_train)) if args.resume_train else None
    settings = train_settings(args, run, resume)
    if resume is not None:
        check_can_go_on(resume, settings)
    goes_on = resume is not None and (
        os.path.dirname(os.path.realpath(resume.path)) == os.path.realpath(run.weights)
    )
    if not (goes_on or run.sample or args.overwrite):
        refuse_to_replace(run.weights)

    classes = asked_classes(args) or (resume.classes if resume else None)
    input_hw = input_size(args, run.defaults, resume.input_size if resume else None)
    options = data_options(args, classes)
    kept = {name: getattr(options, name) for name in TAUGHT}
    if resume is not None:
        tell_what_is_taught_otherwise(resume, kept)
    data_dir = run.data_dir()
    train_set = open_dataset(args.dataset, data_dir, "train", input_hw, options)
    val_set = open_dataset(args.dataset, data_dir, "val", input_hw, options)
    for dataset in filter(None, (train_set, val_set)):
        dataset.check_labels()

    if resume is not None:
        check_flags(args, resume, train_set.category)
        model = build_model(resume)
    else:
        torch.manual_seed(settings.seed)
        model = new_model(args, run.defaults, tuple(train_set.category), input_hw)
    if not goes_on:
        clear_run(run.weights)
    logger.info(
        "training %s: %s", model.backbone,
        ", ".join(f"{name} {value}" for name, value in asdict(settings).items()),
    )  # fmt: skip
    training.train(
        model, train_set, val_set, settings, eval_settings(args, "train", run), run.weights,
        args.device, gpus=usable_gpus(args), resume=resume,
        extras={"dataset": args.dataset, "data": kept},
    )  # fmt: skip
    logger.info("checkpoints, curves and pictures are in %s", run.weights)


def refuse_idle_flags(args: argparse.Namespace) -> None:
    """InputError for flags that would change nothing in this training."""
    if args.squash:
        raise InputError("--squash is for test and eval with weights of the original")
    if args.weights is not None:
        raise InputError(
            "--weights (--resume) is for test and eval; to train from a checkpoint use "
            "--resume_train (go on with its run) or --finetune (begin with its weights)"
        )
    first_weights = {"--finetune": args.finetune, "--pretrained": args.pretrained}
    named = list(given(**first_weights))
    if args.resume_train and named:
        raise InputError(
            f"--resume_train goes on with a run, so {named[0]} has no place: leave it out"
        )
    if len(named) > 1:
        raise InputError("--finetune begins with a whole detector, so --pretrained has no place")


def check_can_go_on(resume: Checkpoint, settings: training.TrainSettings) -> None:
    if resume.optimizer_state is None:
        raise InputError(f"{resume.path} holds no state of an optimizer: use --finetune")
    if resume.epoch >= settings.epochs:
        raise InputError(
            f"{resume.path} is at epoch {resume.epoch} of {settings.epochs}: nothing is left to "
            "train; for more epochs give --num_epoch"
        )


def tell_what_is_taught_otherwise(resume: Checkpoint, options: Mapping[str, object]) -> None:
    """Warn of a run that goes on with other objects, images or views than it was begun with."""
    before = resume.extras.get("data", {})
    for name, value in options.items():
        if name in before and before[name] != value:
            logger.warning(
                "the run was begun with %s %s and goes on with %s: the same flags as then keep it",
                name, before[name], value,
            )  # fmt: skip


def refuse_to_replace(weights: Path) -> None:
    """InputError where a run lies in its folder."""
    if list(weights.glob("*.pth")):
        raise InputError(
            f"{weights} holds a run: go on with it (--resume_train), replace it (--overwrite), "
            "or train beside it (--run_dir DIR)"
        )


def new_model(
    args: argparse.Namespace,
    defaults: Defaults,
    classes: tuple[str, ...],
    input_hw: tuple[int, int],
) -> CTRBOX:
    """A network to be trained, with the first weights that the flags name."""
    if args.finetune is None:
        pretrained = args.pretrained or defaults.pretrained
        return network(args, classes, input_hw, args.head_conv or defaults.head_conv, pretrained)
    there = read_checkpoint(args.finetune).architecture
    args.backbone = args.backbone or there.backbone
    args.head_bn = there.head_bn if args.head_bn is None else args.head_bn
    model = network(args, classes, input_hw, args.head_conv or there.head_conv, "none")
    finetune(model, args.finetune)
    return model


def network(
    args: argparse.Namespace,
    classes: tuple[str, ...],
    input_hw: tuple[int, int],
    head_conv: int,
    pretrained: str,
) -> CTRBOX:
    return CTRBOX(
        heads={"hm": len(classes), **HEAD_CHANNELS},
        pretrained=pretrained,
        down_ratio=STRIDE,
        final_kernel=1,
        head_conv=head_conv,
        backbone=args.backbone or "resnet101",
        head_bn=bool(args.head_bn),
        classes=classes,
        input_size=input_hw,
    )


def test(args: argparse.Namespace) -> None:
    run = Run.of(args)
    model, dataset = load_for_inference(args, run)
    settings = inference_settings(args, "test", run)
    testing.test_split(model, dataset, settings, run.result, args.device, show=args.show)


def evaluate(args: argparse.Namespace) -> None:
    run = Run.of(args)
    model, dataset = load_for_inference(args, run)
    settings = eval_settings(args, "eval", run)
    evaluation.evaluate_split(model, dataset, settings, run.result, run.merge, args.device)


def info(args: argparse.Namespace) -> None:
    """What a network is made of, its parameters and its cost: of a checkpoint, or of the flags."""
    if args.weights:
        checkpoint = read_checkpoint(Run.of(args).checkpoint(args.weights))
        check_flags(args, checkpoint, asked_classes(args))
        model = build_model(checkpoint)
        input_hw = input_size(args, OWN_DATA, model.input_size)
    else:
        input_hw = input_size(args, OWN_DATA, None)
        classes = asked_classes(args) or DOTA_CLASSES["1.0"]
        model = network(args, classes, input_hw, args.head_conv or OWN_DATA.head_conv, "none")
    logger.info("%s", describe(model, input_hw))


def predict(args: argparse.Namespace) -> int:
    """Detections in images of any size; 1 where some could not be used."""
    if not args.source or not args.weights:
        raise InputError("--phase predict needs --source PATH and --weights FILE")
    output = args.output or args.run_dir / "result_predict"
    refuse_unwritable(output)
    detector = Detector.load(args.weights, detector_settings(args))
    settings = PredictSettings(
        tile=args.tile,
        overlap=args.overlap,
        scales=args.scales,
        gsd=args.gsd,
        batch_size=args.batch_size or PREDICT_BATCH,
        formats=args.formats,
        shard=args.shard or Shard.from_environment(),
    )
    runtime = detector.runtime
    model = ModelInfo(
        weights=str(args.weights),
        file_digest=file_digest(args.weights),
        runtime=runtime.name,
        K=runtime.K,
        theta_thresh=runtime.theta_thresh,
        squash=args.squash,
    )
    done = prediction.predict(detector, args.source, settings, output, model)
    if done.written_elsewhere:
        logger.info("this process's part of %d windows is done", done.windows)
    elif not done.missing:
        logger.info("%s", done.table(detector.classes))
        logger.info(
            "%d windows, %d of them without data, in %.1f s; results in %s",
            done.windows, done.without_data, done.seconds, output,
        )  # fmt: skip
    else:
        logger.info(
            "this process's part is done; %d batches of others are not, and the last process to be "
            "done writes the results",
            done.missing,
        )  # fmt: skip
    if done.faults:
        logger.error("%d images were left out or not drawn; see above", len(done.faults))
    return 1 if done.faults else 0


def benchmark(args: argparse.Namespace) -> None:
    """Time the stages of model files in every runtime that is installed."""
    files = [*([Path(args.weights)] if args.weights else []), *args.models]
    if not files:
        raise InputError("--phase benchmark needs --weights FILE (and more with --models)")
    path = (args.output or args.run_dir) / "benchmark.json"
    refuse_unwritable(path.parent)
    settings = timing.BenchmarkSettings(runs=args.runs, batch_size=args.batch_size or 1)
    paths = find_sources(args.source or [make_sample(SAMPLE_DIR) / "images"])
    result = timing.benchmark(files, paths[: args.runs], detector_settings(args), settings)
    logger.info(
        "%s, %d cores, batches of %d, medians of %d runs, milliseconds an image; times faster: "
        "network and decode, against the first row",
        result["processor"], result["cores"], settings.batch_size, settings.runs,
    )  # fmt: skip
    logger.info("%s", timing.table(result))
    timing.write_json(result, path)
    logger.info("the same as JSON in %s", path)


def export(args: argparse.Namespace) -> None:
    """A file for runtimes outside Python, checked against the checkpoint on images."""
    require_onnx()
    from deploy.export import pipeline as exporting

    if not args.weights:
        raise InputError("--phase export needs --weights FILE")
    model = load_model(args.weights, backbone=args.backbone, classes=asked_classes(args))
    settings = export_settings.ExportSettings(
        format=args.format,
        static=None if args.static is None else tuple(args.static),
        input_hw=input_size(args, OWN_DATA, model.input_size),
        input_type=args.input,
        color=args.color,
        layout=args.layout,
        nms_thresh=nms_thresh(args) if args.nms == "graph" else None,
        fix_conf=args.fix_conf,
        half=args.half,
        int8=args.int8,
        check_nms_thresh=nms_thresh(args),
        **given(conf_thresh=args.conf_thresh, theta_thresh=args.theta_thresh, K=args.K),
    )
    if args.static and settings.input_hw != settings.static[:2] and (args.input_h or args.input_w):
        raise InputError(
            f"--static {args.static[0]} {args.static[1]} and --input_h, --input_w "
            f"{settings.input_hw[0]}, {settings.input_hw[1]} are two sizes: give one of them"
        )
    output = args.output or Path(args.weights).with_suffix(export_settings.SUFFIXES[args.format])
    for file in exporting.files_of(output, args.format):
        if file.exists() and file.samefile(args.weights):
            raise InputError(
                f"--output {output} would replace {file}, which it is made of: give another name"
            )
    calibration = calibration_images(args, model) if args.int8 else ()
    exporting.export(model, output, settings, export_pictures(args, model), calibration)


def calibration_images(args: argparse.Namespace, model: CTRBOX) -> list[np.ndarray]:
    """Images [H, W, 3] BGR from all over the list, as neighbours are often alike."""
    if args.calibrate:
        paths = find_sources(args.calibrate, "calibrate")
        return [read_image(path) for path in spread(paths, CALIBRATION_IMAGES)]
    of_the_sample = model.classes == SAMPLE_CLASSES and not args.source
    if args.data_dir is None and not of_the_sample:
        raise InputError(
            "--int8 needs images to calibrate with, like those that will come: --calibrate PATH or "
            "--data_dir"
        )
    dataset = export_dataset(args, model, "train")
    return [dataset.load_image(index) for index in spread(range(len(dataset)), CALIBRATION_IMAGES)]


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of them, evenly spaced."""
    return [items[len(items) * k // min(count, len(items))] for k in range(min(count, len(items)))]


def export_pictures(args: argparse.Namespace, model: CTRBOX) -> list[CheckImage]:
    """The images of the parity report, with their labels where these are the model's classes."""
    if args.source:
        paths = find_sources(args.source)[: args.check_images]
        return [CheckImage(path.name, read_image(path)) for path in paths]
    dataset = export_dataset(args, model, "test")
    labelled = tuple(dataset.category) == model.classes
    return [
        CheckImage(
            dataset.img_ids[index],
            dataset.load_image(index),
            picture_labels(dataset, index) if labelled and dataset.has_labels(index) else None,
        )
        for index in range(min(args.check_images, len(dataset)))
    ]


def export_dataset(args: argparse.Namespace, model: CTRBOX, phase: str) -> BaseDataset:
    """Own data, or the sample set, of which the images are taken as they are."""
    run = Run.of(args)
    options = data_options(args, None if run.sample else model.classes)
    return open_dataset(args.dataset, run.data_dir(), phase, (32, 32), options)


def picture_labels(dataset: BaseDataset, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners, labels and difficulties of an image."""
    labels = dataset.load_annotation(index)
    difficult = labels.get("dif")
    if difficult is None:
        difficult = np.zeros(len(labels["cat"]), np.int64)
    return labels["pts"], labels["cat"], difficult


def detector_settings(args: argparse.Namespace) -> DetectorSettings:
    """What the flags ask of a model file; what is not given is the file's to say."""
    if (args.input_h is None) != (args.input_w is None):
        raise InputError("--input_h and --input_w go together here: give both or none")
    return DetectorSettings(
        device=device_of_rank(args.device, torch.cuda.device_count()),
        classes=asked_classes(args),
        backbone=args.backbone,
        input_hw=None if args.input_h is None else (args.input_h, args.input_w),
        conf_thresh=args.conf_thresh,
        nms_thresh=args.nms_thresh,
        theta_thresh=args.theta_thresh,
        K=args.K,
        squash=args.squash,
        runtime=args.runtime,
        batch_size=args.batch_size or OWN_DATA.batch_size,
    )


def load_for_inference(args: argparse.Namespace, run: Run) -> tuple[CTRBOX, BaseDataset]:
    """The checkpoint's model and the test split as it wants it."""
    checkpoint = read_checkpoint(run.checkpoint(args.weights))
    input_hw = input_size(args, run.defaults, checkpoint.input_size)
    options = data_options(args, asked_classes(args) or checkpoint.classes)
    dataset = open_dataset(args.dataset, run.data_dir(), "test", input_hw, options)
    check_flags(args, checkpoint, dataset.category)
    model = build_model(checkpoint, args.device)
    logger.info(
        "%s: %s of epoch %d, input %dx%d, classes %s",
        checkpoint.path, model.backbone, checkpoint.epoch, *input_hw, ", ".join(dataset.category),
    )  # fmt: skip
    return model, dataset


def given(**flags: Any) -> dict[str, Any]:
    """Those that are not None; the others are left to the defaults of what they are for."""
    return {name: value for name, value in flags.items() if value is not None}


def nms_thresh(args: argparse.Namespace) -> float:
    return NMS_THRESH if args.nms_thresh is None else args.nms_thresh


def asked_classes(args: argparse.Namespace) -> tuple[str, ...] | None:
    return None if args.classes is None else parse_class_list(args.classes)


def check_flags(
    args: argparse.Namespace, checkpoint: Checkpoint, classes: Sequence[str] | None
) -> None:
    """InputError where flags or the classes of the data contradict a checkpoint."""
    checkpoint.require(
        backbone=args.backbone,
        classes=classes,
        head_conv=args.head_conv,
        head_bn=args.head_bn,
    )


def input_size(
    args: argparse.Namespace, defaults: Defaults, trained: tuple[int, int] | None
) -> tuple[int, int]:
    """(height, width) of the network's input: of the flags, else the checkpoint, else a default."""
    height, width = trained or defaults.input_hw
    size = (args.input_h or height, args.input_w or width)
    for flag, value in zip(("--input_h", "--input_w"), size, strict=True):
        if value % 32:
            below, above = value // 32 * 32, -(-value // 32) * 32
            fit = f"{below} or {above}" if below else f"{above}"
            raise InputError(f"{flag} {value} is no multiple of 32: {fit} would be")
    if trained and size != tuple(trained):
        logger.info("input %dx%d instead of %dx%d, at which it was trained", *size, *trained)
    return size


def data_options(args: argparse.Namespace, classes: tuple[str, ...] | None) -> DataOptions:
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
    )


def train_settings(
    args: argparse.Namespace, run: Run, resume: Checkpoint | None
) -> training.TrainSettings:
    """Flags, else what the run that goes on was trained with, else the defaults."""
    before = resume.extras.get("train", {}) if resume else {}
    known = {field.name for field in fields(training.TrainSettings)}
    defaults = {
        "epochs": run.defaults.epochs,
        "batch_size": run.defaults.batch_size,
        "lr": run.defaults.lr,
        "schedule": run.defaults.schedule,
        "save_every": run.defaults.save_every,
        "num_workers": run.defaults.num_workers,
    } | {name: value for name, value in before.items() if name in known}
    asked = given(
        epochs=args.epochs,
        batch_size=args.batch_size,
        lr=args.init_lr,
        schedule=args.schedule,
        save_every=args.save_every,
        val_every=args.val_every,
        num_workers=args.num_workers,
        seed=args.seed,
    )
    return training.TrainSettings(**(defaults | asked))


def inference_settings(args: argparse.Namespace, phase: str, run: Run) -> InferenceSettings:
    defaults = {
        "conf_thresh": PHASE_CONF_THRESH[phase],
        "batch_size": run.defaults.batch_size,
        "num_workers": run.defaults.num_workers,
    }
    asked = given(
        conf_thresh=args.conf_thresh,
        nms_thresh=args.nms_thresh,
        theta_thresh=args.theta_thresh,
        K=args.K,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
    )
    return InferenceSettings(**(defaults | asked), squash=args.squash)


def eval_settings(args: argparse.Namespace, phase: str, run: Run) -> evaluation.EvalSettings:
    return evaluation.EvalSettings(
        inference=inference_settings(args, phase, run),
        metric=args.metric,
        merge=args.merge,
        truth_dir=args.truth_dir,
    )


def usable_gpus(args: argparse.Namespace) -> int:
    """--ngpus, or as many as there are: the original's scripts ask for several on any machine."""
    there = torch.cuda.device_count() if args.device.type == "cuda" else 1
    if args.ngpus <= max(there, 1):
        return args.ngpus
    logger.warning("--ngpus %d: training on %s, the only ones there", args.ngpus, there)
    return there


def clear_run(folder: Path) -> None:
    """Take away the files of an earlier run that is to be replaced, and nothing else."""
    for pattern in training.RUN_FILES:
        for path in folder.glob(pattern):
            path.unlink()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one phase; the exit code is 0 only where it did what was asked for."""
    args = parse_args(argv, tuple(PHASES))
    phase = PHASES[args.phase]
    set_up_logging(args.verbose)
    if args.threads is not None:
        torch.set_num_threads(args.threads)  # the other runtimes take as many
    with interrupts.remembered():
        try:
            return phase.run(args) or 0
        except (KeyboardInterrupt, Exception) as error:
            # a library may have made another error of it
            if isinstance(error, KeyboardInterrupt) or interrupts.pressed():
                return fail(f"stopped by Ctrl-C; {phase.advice.kept}", 130)
            message = explain(error, phase.advice)
            if message is None or args.verbose:
                raise
            return fail(message, 2)


class Phase(NamedTuple):
    """A value of --phase: what it does, and what to say where it comes to no end."""

    run: Callable[[argparse.Namespace], int | None]
    advice: Advice


_SMALLER = "a smaller --batch_size, --input_h and --input_w, or a lighter --backbone"
_FROM_THE_START = "the same command begins with the first image again"

PHASES = {
    "train": Phase(train, Advice(
        "the last finished epoch, if any, is kept, and --resume_train goes on from there", _SMALLER
    )),
    "test": Phase(test, Advice(_FROM_THE_START, _SMALLER)),
    "eval": Phase(evaluate, Advice(_FROM_THE_START, _SMALLER)),
    "info": Phase(info, Advice("nothing was to be written", _SMALLER)),
    "predict": Phase(predict, Advice(
        "what is done so far, if anything, is kept beside the results, and the same command goes "
        "on from there",
        "a smaller --batch_size or --tile, or a model of a lighter --backbone, which begin anew",
    )),
    "benchmark": Phase(benchmark, Advice(
        "no times were written", "a smaller --batch_size, or fewer files at once"
    )),
    "export": Phase(export, Advice(
        "no file was written; the same command begins anew",
        "smaller images for the report or fewer to calibrate with (--source, --calibrate)",
    )),
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

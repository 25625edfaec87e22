"""The phase export: a checkpoint -> a model file, checked on images before it is written."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from cli.defaults import OWN_DATA
from cli.devices import use_threads, warn_if_busy
from cli.given import asked_classes, given, nms_thresh, one_conf_thresh, reading_flags
from cli.run_dir import RunDir
from cli.settings import data_options, input_size
from datasets import BaseDataset, open_dataset
from datasets.sample import CLASSES as SAMPLE_CLASSES
from deploy.export import pipeline
from deploy.export.formats import EXPORT_FORMATS
from deploy.export.requirements import require_onnx
from deploy.export.settings import ExportSettings
from deploy.export.types import CheckImage
from deploy.predict.sources import find_sources
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import ReadOptions, read_image
from models import CTRBOX, build_model, read_checkpoint

Item = TypeVar("Item")

CALIBRATION_IMAGES = 64


def export(args: argparse.Namespace) -> None:
    """Write a file for runtimes outside Python, checked against the checkpoint on images."""
    row = EXPORT_FORMATS[args.format]
    if row.needs_onnx:
        require_onnx()
    if not args.weights:
        raise InputError("--phase export needs --weights FILE")
    use_threads(args)
    warn_if_busy(torch.get_num_threads())
    checkpoint = read_checkpoint(args.weights)
    checkpoint.require(backbone=args.backbone, classes=asked_classes(args))
    checkpoint.classes = checkpoint.classes or asked_classes(args)
    model = build_model(checkpoint)
    settings = replace(
        export_settings(args, model, checkpoint.reading),
        train_scale=checkpoint.train_scale,
        epoch=checkpoint.epoch,
    )
    output = args.output or default_output(Path(args.weights), args.format)
    for file in row.files_of(output):
        refuse_to_replace(file, Path(args.weights), output)
    reading = replace(settings.reading or ReadOptions(), **reading_flags(args))
    pipeline.export(
        model,
        output,
        settings,
        images=partial(check_images, args, model, reading),
        calibration=partial(calibration_images, args, model, reading),
    )


def refuse_to_replace(file: Path, weights: Path, output: Path) -> None:
    """Raise an InputError if an export would replace a file that is not an export.

    Args:
        file: one that the export writes.
        weights: the file to export.
        output: what the user knows as the output.
    """
    if not file.exists():
        return
    if file.samefile(weights):
        raise InputError(
            f"--output {output} would replace {file}, the file to export: choose another name"
        )
    if file.suffix == ".pth" and _resumes_training(file):
        raise InputError(
            f"--output {output} would replace {file}, from which a training can be resumed: choose "
            "another name"
        )


def _resumes_training(path: Path) -> bool:
    try:
        return read_checkpoint(path).optimizer_state is not None
    except InputError:
        return False


def default_output(weights: Path, format: str) -> Path:
    """The file beside the checkpoint, with the same name as far as that is free."""
    row = EXPORT_FORMATS[format]
    return weights.with_name(weights.stem + row.name_ending + row.suffix)


def export_settings(
    args: argparse.Namespace, model: CTRBOX, trained: ReadOptions | None
) -> ExportSettings:
    """What the flags ask of the file of a model that was trained on images read as `trained`."""
    settings = ExportSettings(
        format=args.format,
        static=None if args.static is None else tuple(args.static),
        input_hw=input_size(args, OWN_DATA, model.input_size),
        squash=args.squash,
        input_type=args.input,
        color=args.color,
        layout=args.layout,
        nms_thresh=nms_thresh(args) if args.nms == "graph" else None,
        fix_conf=args.fix_conf,
        conf_input=args.conf_input,
        half=args.half,
        int8=args.int8,
        check_nms_thresh=nms_thresh(args),
        reading=export_reading(args, trained),
        **given(
            conf_thresh=one_conf_thresh(args),
            theta_thresh=args.theta_thresh,
            K=args.K,
            opset=args.opset,
        ),
    )
    if args.static and settings.input_hw != settings.static[:2] and (args.input_h or args.input_w):
        raise InputError(
            f"--static {args.static[0]} {args.static[1]} and --input_h, --input_w "
            f"{settings.input_hw[0]}, {settings.input_hw[1]} differ: give only one of them"
        )
    return settings


def export_reading(args: argparse.Namespace, trained: ReadOptions | None) -> ReadOptions | None:
    """How the file says that images are to be read; None if neither flags nor checkpoint say so."""
    asked = given(depth=args.depth, bands=args.bands)
    return replace(trained or ReadOptions(), **asked) if asked else trained


def calibration_images(
    args: argparse.Namespace, model: CTRBOX, reading: ReadOptions
) -> list[np.ndarray]:
    """Images [H, W, 3] BGR from all over the list, as neighbors are often alike."""
    if args.calibrate:
        paths = find_sources(args.calibrate, "calibrate")
        return [read_image(path, reading) for path in spread(paths, CALIBRATION_IMAGES)]
    of_sample_set = model.classes == SAMPLE_CLASSES and not args.source
    if args.data_dir is None and not of_sample_set:
        raise InputError(
            "--int8 needs calibration images like those of the deployment: give --calibrate PATH "
            "or --data_dir"
        )
    dataset = open_images(args, model, "train", reading)
    return [
        dataset.source_image(index) for index in spread(range(len(dataset)), CALIBRATION_IMAGES)
    ]


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of the items, evenly spaced."""
    return [items[len(items) * k // min(count, len(items))] for k in range(min(count, len(items)))]


def check_images(args: argparse.Namespace, model: CTRBOX, reading: ReadOptions) -> list[CheckImage]:
    """The images of the parity report, with their labels if these have the model's classes."""
    if args.source:
        paths = find_sources(args.source)[: args.check_images]
        return [CheckImage(path.name, read_image(path, reading)) for path in paths]
    dataset = open_images(args, model, "test", reading)
    labeled = tuple(dataset.category) == model.classes
    return [
        CheckImage(
            dataset.img_ids[index],
            dataset.source_image(index),
            labels_of(dataset, index) if labeled and dataset.has_labels(index) else None,
        )
        for index in range(min(args.check_images, len(dataset)))
    ]


def open_images(
    args: argparse.Namespace, model: CTRBOX, phase: str, reading: ReadOptions
) -> BaseDataset:
    """Own data, or the sample set, whose images are read as they are, whatever the input size."""
    run = RunDir.of(args)
    options = data_options(args, None if run.sample else model.classes, reading)
    return open_dataset(args.dataset, run.data_dir(), phase, (32, 32), options)


def labels_of(dataset: BaseDataset, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners, labels and difficulties of an image."""
    labels = dataset.load_annotation(index)
    difficult = labels.get("dif")
    if difficult is None:
        difficult = np.zeros(len(labels["cat"]), np.int64)
    return labels["pts"], labels["cat"], difficult

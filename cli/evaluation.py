"""The phases test and eval: a checkpoint on the test images."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable

import eval as evaluator
import test as tester
from cli.devices import torch_device
from cli.given import asked_classes
from cli.processes import start_processes
from cli.run_dir import RunDir
from cli.settings import (
    check_flags,
    data_options,
    eval_settings,
    inference_settings,
    input_size,
    read_options,
)
from datasets import BaseDataset, open_dataset
from models import CTRBOX, build_model, read_checkpoint
from models.folding import fold_batch_norms
from processes.group import agreed, is_first, joined
from structures.views import parse_views

logger = logging.getLogger("bbavectors")


def test(args: argparse.Namespace) -> int | None:
    """Draw what a checkpoint detects in the test images, and measure its speed."""
    return shared_out(args, _test)


def evaluate(args: argparse.Namespace) -> int | None:
    """Compute the AP of a checkpoint on the test images."""
    return shared_out(args, _evaluate)


def shared_out(
    args: argparse.Namespace, run_phase: Callable[[argparse.Namespace], None]
) -> int | None:
    """Run a phase whose images are shared by all processes; `--ngpus` starts them first."""
    code = start_processes(args)
    if code is None:
        with joined():  # only detections are exchanged, no tensors on a GPU
            run_phase(args)
    return code


def _test(args: argparse.Namespace) -> None:
    run, model, dataset = load_for_inference(args)
    with agreed():
        settings = inference_settings(args, "test", run, dataset.category)
    tester.test_split(model, dataset, settings, run.result, torch_device(args), show=args.show)


def _evaluate(args: argparse.Namespace) -> None:
    run, model, dataset = load_for_inference(args)
    with agreed():
        settings = eval_settings(args, "eval", run, dataset.category)
    evaluator.evaluate_split(model, dataset, settings, run.result, run.merge, torch_device(args))


def load_for_inference(args: argparse.Namespace) -> tuple[RunDir, CTRBOX, BaseDataset]:
    """Find the folders of a run, its model, and the test set; all processes or none of them."""
    with agreed():
        run = RunDir.of(args)
        if is_first():
            run.data_dir()  # drawn once
    with agreed():
        return run, *load_model_and_images(args, run)


def load_model_and_images(args: argparse.Namespace, run: RunDir) -> tuple[CTRBOX, BaseDataset]:
    """Load the model of a checkpoint, and open the test set with its classes and input size."""
    checkpoint = read_checkpoint(run.checkpoint(args.weights))
    input_hw = input_size(args, run.defaults, checkpoint.input_size)
    classes = asked_classes(args) or checkpoint.classes
    options = data_options(args, classes, read_options(args, checkpoint))
    dataset = open_dataset(args.dataset, run.data_dir(), "test", input_hw, options)
    check_flags(args, checkpoint, dataset.category)
    model = build_model(checkpoint, torch_device(args))
    fold_batch_norms(model)
    logger.info(
        "%s: %s of epoch %d, input %dx%d, classes %s",
        checkpoint.path, model.backbone, checkpoint.epoch, *input_hw, ", ".join(dataset.category),
    )  # fmt: skip
    if args.tta is not None:
        views = len(parse_views(args.tta))
        logger.info("test-time augmentation: %d views of each image (%s)", views, args.tta)
    return model, dataset

"""The phases: what each does, what runs it, and what to say if it does not finish.

The code of a phase is imported when it runs: importing PyTorch takes seconds, for which
help and errors about flags need not wait.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

from cli.console import Advice


class Phase(NamedTuple):
    """A value of --phase."""

    about: str
    """What it does, in a few words, for the help."""
    run: Callable[[argparse.Namespace], int | None]
    """Runs it; returns an exit code, or None for 0."""
    advice: Advice
    sharing: str = "alone"
    """What several processes of torchrun do: "together" they have one result, "apart" each has its
    own, and "alone" the first one does the work."""


def _train(args: argparse.Namespace) -> int | None:
    from cli.training import train

    return train(args)


def _test(args: argparse.Namespace) -> int | None:
    from cli.evaluation import test

    return test(args)


def _eval(args: argparse.Namespace) -> int | None:
    from cli.evaluation import evaluate

    return evaluate(args)


def _predict(args: argparse.Namespace) -> int:
    from cli.deployment import predict

    return predict(args)


def _export(args: argparse.Namespace) -> None:
    from cli.exporting import export

    export(args)


def _benchmark(args: argparse.Namespace) -> None:
    from cli.deployment import benchmark

    benchmark(args)


def _info(args: argparse.Namespace) -> None:
    from cli.info import info

    info(args)


_LIGHTER = "a smaller --batch_size, --input_h and --input_w, or a lighter --backbone"
_STARTS_OVER = "the same command starts over with the first image"

PHASES = {
    "train": Phase("train a detector", _train, Advice(
        "the last finished epoch, or a later step of the run, is kept: --resume_train continues "
        "from there with the same settings, and --finetune starts a new run from its weights, with "
        "any settings",
        _LIGHTER,
        "start again with a lower --init_lr, or with --head_bn for small batches, also from its "
        "weights (--finetune); --resume_train would repeat these steps",
    ), "together"),
    "test": Phase("draw detections on the test images and measure the speed", _test,
                  Advice(_STARTS_OVER, _LIGHTER), "together"),
    "eval": Phase("compute AP on the test images", _eval,
                  Advice(_STARTS_OVER, _LIGHTER), "together"),
    "predict": Phase("detect in images of any size", _predict, Advice(
        "any progress so far is kept next to the results, and the same command resumes from there",
        "a smaller --batch_size or --tile, or a model with a lighter --backbone; each of them "
        "starts over",
    ), "apart"),
    "export": Phase("export a checkpoint for other runtimes", _export, Advice(
        "no file was written; the same command starts over",
        "smaller images for the check (--source), or fewer calibration images (--calibrate)",
    )),
    "benchmark": Phase("time each stage of model files", _benchmark, Advice(
        "no times were written", "a smaller --batch_size, or fewer files at once"
    )),
    "info": Phase("show the parts of a network, its parameters and its cost", _info,
                  Advice("this phase writes no files", _LIGHTER)),
}  # fmt: skip

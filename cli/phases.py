"""The phases: what each does, what runs it, and what to tell where it does not finish."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

from cli import deployment, evaluation, exporting, training
from cli.console import Advice


class Phase(NamedTuple):
    """A value of --phase."""

    about: str
    """What it does, in a few words, for the help."""
    run: Callable[[argparse.Namespace], int | None]
    """Runs it; returns an exit code, or None for 0."""
    advice: Advice


_LIGHTER = "a smaller --batch_size, --input_h and --input_w, or a lighter --backbone"
_STARTS_OVER = "the same command starts over with the first image"

PHASES = {
    "train": Phase("train a detector", training.train, Advice(
        "the last finished epoch, or a later step of the run, is kept: --resume_train goes on from "
        "there with the same settings, and --finetune starts with its weights and any others",
        _LIGHTER,
        "start again with a lower --init_lr, or with --head_bn for small batches, also from its "
        "weights (--finetune); --resume_train would repeat these steps",
    )),
    "test": Phase("draw detections on the test images and measure the speed", evaluation.test,
                  Advice(_STARTS_OVER, _LIGHTER)),
    "eval": Phase("compute AP on the test images", evaluation.evaluate,
                  Advice(_STARTS_OVER, _LIGHTER)),
    "predict": Phase("detect in images of any size", deployment.predict, Advice(
        "any progress so far is kept next to the results, and the same command resumes from there",
        "a smaller --batch_size or --tile, or a model with a lighter --backbone; each of them "
        "starts over",
    )),
    "export": Phase("export a checkpoint for other runtimes", exporting.export, Advice(
        "no file was written; the same command starts over",
        "smaller images for the check (--source), or fewer calibration images (--calibrate)",
    )),
    "benchmark": Phase("time each stage of model files", deployment.benchmark, Advice(
        "no times were written", "a smaller --batch_size, or fewer files at once"
    )),
    "info": Phase("show the parts of a network, its parameters and its cost", evaluation.info,
                  Advice("this phase writes no files", _LIGHTER)),
}  # fmt: skip

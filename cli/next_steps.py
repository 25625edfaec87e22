"""The commands that a training report offers."""

from __future__ import annotations

import argparse
import os
import shlex

from cli.processes import MAIN
from cli.resume import lasting
from cli.run_dir import RunDir
from training import files
from training.report import Commands


def next_steps(args: argparse.Namespace, run: RunDir, epochs: int, validated: bool) -> Commands:
    """Return commands that resume a run and use its network; they work in any folder.

    Args:
        args: the flags of the run.
        run: its folders.
        epochs: its number of epochs.
        validated: whether there is a validation list, so that there is a best checkpoint.
    """
    where = ["--run_dir", os.path.abspath(args.run_dir)]
    if run.given_data is not None:
        where += ["--data_dir", os.path.abspath(run.given_data)]
    if args.dataset != "dota":
        where += ["--dataset", lasting(args.dataset)]
    device = ["--device", args.device] if args.device is not None else []
    weights = os.path.abspath(run.weights / (files.BEST if validated else files.LAST))

    def phase(name: str, *words: str) -> str:
        return shlex.join(["python", str(MAIN), "--phase", name, *words])

    resume = ("train", *where, *device, "--resume_train")
    return Commands(
        stopped=phase(*resume),
        stalled=phase(*resume, "--patience", "0"),
        finished=phase(*resume, "--num_epoch", str(2 * epochs)),
        others={
            "AP on the test list": phase("eval", *where, *device),
            "Pictures of the test images": phase("test", *where, *device),
            "Detections on images of your own (a folder in place of IMAGES)": phase(
                "predict", "--weights", weights, "--source", "IMAGES"
            ),
            "A file for ONNX Runtime and other runtimes": phase("export", "--weights", weights),
        },
    )

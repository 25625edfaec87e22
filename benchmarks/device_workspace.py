"""The workspace of the device checks: a small data set, commands to run, and their results."""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.sample import CLASSES, write_scenes
from DOTA_devkit.formats import read_task1

ROOT = Path(__file__).parent.parent

TRAINING_FLAGS = {
    "float32": (),
    "bfloat16": ("--amp", "bfloat16"),
    "float16": ("--amp", "float16"),
    "compiled": ("--compile",),
    "cpu": ("--device", "cpu"),
}
"""Training run -> its flags. The checks compare these runs, which are otherwise the same."""

COUNT_TOLERANCE = 0.05
"""Allowed relative difference of the numbers of detections: rounding moves scores across the score
threshold, and IoUs across the NMS threshold. With convolutions rounded to TF32, it was 1.4 %."""


class CheckFailed(Exception):
    """A check has failed.

    Attributes:
        output: Output of the failed command, empty if no command failed.
    """

    def __init__(self, reason: str, output: str = "") -> None:
        super().__init__(reason)
        self.output = output


class CheckSkipped(Exception):
    """A check cannot run; the message names the missing requirement."""


@dataclass(frozen=True)
class Sizes:
    """How much work the checks do.

    Attributes:
        images: Number of images in the training set, and in each of the validation and test sets.
        side: Side of the network's input in pixels.
        batch_size: Batch size of the training runs.
        epochs: Number of epochs of the training runs.
        workers: Number of processes that read images.
        speed: Flags of `benchmarks.device_speed`.
    """

    images: tuple[int, int]
    side: int
    batch_size: int
    epochs: int
    workers: int
    speed: tuple[str, ...]


SIZES = {
    "cpu": Sizes((4, 1), 64, 2, 2, 0,
                 ("--backbone", "mobilenetv2", "--size", "64", "--batch_size", "2", "--steps",
                  "2")),
    "cuda": Sizes((96, 8), 192, 8, 3, 2, ()),
}  # fmt: skip
"""Device type -> sizes. A GPU gets enough work to get past the slow first steps."""


class Workspace:
    """A folder with a small data set in which commands run, each in a separate process.

    An error of the GPU thus ends only the process in which it occurs. Files that several checks
    need are made once, by the first check that needs them.

    Args:
        folder: An existing folder.
        device: cpu, cuda or cuda:N.
        limit_s: Seconds that all commands together may take.
    """

    def __init__(self, folder: Path, device: str, limit_s: float) -> None:
        self.folder = folder
        self.device = device
        self.on_gpu = device != "cpu"
        self.sizes = SIZES["cuda" if self.on_gpu else "cpu"]
        self._end = time.monotonic() + limit_s
        self._made: dict[str, Any] = {}

    def seconds_left(self) -> float:
        """Return the number of seconds until the time limit."""
        return self._end - time.monotonic()

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Return the result of `make`, or raise its error; it is called only once per name."""
        if name not in self._made:
            try:
                self._made[name] = make()
            except (CheckFailed, CheckSkipped) as error:
                self._made[name] = error
        if isinstance(self._made[name], Exception):
            raise self._made[name]
        return self._made[name]

    def data(self) -> Path:
        """Return the folder of the data set, in DOTA layout."""

        def make() -> Path:
            train, test = self.sizes.images
            write_scenes(self.folder / "data", {"train": train, "test": test, "val": test})
            return self.folder / "data"

        return self.once("data", make)

    def main(self, phase: str, *arguments: object) -> str:
        """Run a phase of `main.py` as a user would, and return its output."""
        return self.run([ROOT / "main.py", "--phase", phase, *arguments])

    def run(self, arguments: Sequence[object]) -> str:
        """Run Python with these arguments, and return its output.

        Raises:
            CheckFailed: The exit code is not 0, or the time ran out.
        """
        try:
            done = subprocess.run(
                [sys.executable, *map(str, arguments)], cwd=self.folder, env=self.environment(),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                timeout=max(self.seconds_left(), 1.0), check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            text = error.output or b""
            raise CheckFailed(
                "--minutes ran out before the command ended",
                text if isinstance(text, str) else text.decode(errors="replace"),
            ) from error
        if done.returncode:
            raise CheckFailed(last_line(done.stdout, done.returncode), done.stdout)
        return done.stdout

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the commands."""
        return {**os.environ, "PYTHONPATH": str(ROOT)}

    def train_arguments(self, folder: Path, flags: Sequence[str] = ()) -> list[object]:
        """Return the arguments of Python that train with `folder` as the run folder."""
        sizes = self.sizes
        arguments = [
            ROOT / "main.py", "--phase", "train", "--data_dir", self.data(), "--run_dir", folder,
            "--backbone", "mobilenetv2", "--pretrained", "none", "--head_conv", 16, "--neck", 16,
            "--input_h", sizes.side, "--input_w", sizes.side, "--batch_size", sizes.batch_size,
            "--num_epoch", sizes.epochs, "--num_workers", sizes.workers, "--seed", 1,
        ]  # fmt: skip
        return [*arguments, *(() if "--device" in flags else ("--device", self.device)), *flags]

    def trained_run(self, name: str) -> Path:
        """Return the folder of a run in `TRAINING_FLAGS`, which is trained once."""

        def make() -> Path:
            folder = self.folder / "runs" / name
            self.run(self.train_arguments(folder, TRAINING_FLAGS[name]))
            return folder

        return self.once(f"run {name}", make)

    def weights(self) -> Path:
        """Return the checkpoint of the float32 run."""
        return self.trained_run("float32") / "weights_dota" / "model_last.pth"

    def predictions(self, name: str, weights: Path, device: str) -> Path:
        """Return the folder of a model's detections in the data set, which are made once.

        Args:
            name: Name of the folder.
            weights: The model file.
            device: Device to run it on.
        """

        def make() -> Path:
            folder = self.folder / "predicted" / name
            self.main(
                "predict", "--source", self.data() / "images", "--weights", weights, "--output",
                folder, "--device", device, "--formats", "task1,json", "--conf_thresh", 0.01,
            )  # fmt: skip
            return folder

        return self.once(f"predicted {name}", make)


def last_line(output: str, code: int) -> str:
    """Return the line of a command's output that says why it failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    fallback = [f"the command ended with exit code {code}"]
    return (errors or lines or fallback)[-1].removeprefix("error: ")


def compare_losses(run: Path, reference: Path, tolerance: float, epochs: int | None = None) -> str:
    """Compare the losses of two runs, and return a text with the largest difference.

    Args:
        run: Folder of a run.
        reference: Folder of the run to compare it with.
        tolerance: Allowed difference, relative to the losses of the reference.
        epochs: How many epochs are compared; all by default.

    Raises:
        CheckFailed: The losses differ by more, or the numbers of epochs differ.
    """
    ours, theirs = (losses(folder) for folder in (run, reference))
    if len(ours) != len(theirs):
        raise CheckFailed(f"{len(ours)} epochs instead of {len(theirs)}")
    pairs = zip(ours[:epochs], theirs[:epochs], strict=True)
    worst = max(abs(a - b) / abs(b) for a, b in pairs)
    if not worst <= tolerance:
        raise CheckFailed(f"losses differ by {worst:.2g}, more than {tolerance:g}")
    return f"losses differ by {worst:.1g} (up to {tolerance:g})"


def losses(run: Path) -> list[float]:
    """Return the loss of each epoch of a run.

    Raises:
        CheckFailed: There are no losses, or one is not finite.
    """
    with open(run / "weights_dota" / "history.csv", newline="", encoding="utf-8") as file:
        found = [float(row["loss"]) for row in csv.DictReader(file)]
    if not found or not all(map(math.isfinite, found)):
        raise CheckFailed(f"expected finite losses, got {found} in {run.name}")
    return found


def compare_detections(folder: Path, reference: Path, tolerance: float) -> str:
    """Compare the Task1 files of two folders, and return a text with the largest difference.

    The scores of each class are sorted and compared in pairs, as the order of detections with
    nearly equal scores may differ.

    Args:
        folder: Folder of Task1 files.
        reference: Folder of the files to compare them with.
        tolerance: Allowed difference of scores.

    Raises:
        CheckFailed: The numbers of detections of a class differ by more than `COUNT_TOLERANCE`,
            scores differ by more than the tolerance, or there are no detections.
    """
    worst, total = 0.0, 0
    for name in CLASSES:
        ours, theirs = (scores(one / f"Task1_{name}.txt") for one in (folder, reference))
        if abs(len(ours) - len(theirs)) > COUNT_TOLERANCE * len(theirs):
            raise CheckFailed(f"{len(ours)} detections of {name} instead of {len(theirs)}")
        count = min(len(ours), len(theirs))
        if count:
            worst = max(worst, float(np.abs(ours[:count] - theirs[:count]).max()))
        total += count
    if not total:
        raise CheckFailed("there are no detections to compare")
    if not worst <= tolerance:
        raise CheckFailed(f"scores differ by {worst:.2g}, more than {tolerance:g}")
    return f"scores of {total} detections differ by {worst:.1g} (up to {tolerance:g})"


def scores(path: Path) -> np.ndarray:
    """Return the scores [N] of a Task1 file in descending order."""
    return np.sort(np.asarray(read_task1(path).scores, np.float64))[::-1]

"""Where the checks of a device work: a small data set, the commands of a user, what they made."""

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

TRAININGS = {
    "float32": (),
    "bfloat16": ("--amp", "bfloat16"),
    "float16": ("--amp", "float16"),
    "compiled": ("--compile",),
    "cpu": ("--device", "cpu"),
}
"""Trainings that checks compare -> their flags; all else is the same."""


COUNTS = 0.05
"""How much numbers of detections may differ relatively: rounding moves scores over the threshold,
and overlaps over that of the NMS. Where convolutions were rounded to TF32, it was 1.4 %."""


class Failed(Exception):
    """A check has failed.

    Attributes:
        output: of the command that failed, if it was one.
    """

    def __init__(self, why: str, output: str = "") -> None:
        super().__init__(why)
        self.output = output


class NotThere(Exception):
    """What a check is about is not there; the message says what is missing."""


@dataclass(frozen=True)
class Sizes:
    """How much work the checks do.

    Attributes:
        images: of the training set, and of the validation and the test set each.
        side: of the input in pixels.
        batch_size: of the trainings.
        epochs: of the trainings.
        workers: processes that read images.
        speed: flags of `benchmarks.device_speed`.
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
"""By the type of the device. A card gets enough to leave the first steps behind."""


class Workplace:
    """A folder with a small data set, in which commands run, each in a process of its own.

    A fault of a GPU ends the process that meets it, and nothing else. What several checks need is
    made once, by the first of them.

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

    def left_s(self) -> float:
        """Return how many seconds are left."""
        return self._end - time.monotonic()

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what `make` returns, which is called once, or raise its error again."""
        if name not in self._made:
            try:
                self._made[name] = make()
            except (Failed, NotThere) as error:
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

    def main(self, phase: str, *words: object) -> str:
        """Run a phase of `main.py` as a user would, and return what it printed."""
        return self.run([ROOT / "main.py", "--phase", phase, *words])

    def run(self, words: Sequence[object]) -> str:
        """Run Python with these arguments, and return what was printed.

        Raises:
            Failed: The exit code is not 0, or there is no time left.
        """
        try:
            done = subprocess.run(
                [sys.executable, *map(str, words)], cwd=self.folder, env=self.environment(),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                timeout=max(self.left_s(), 1.0), check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            text = error.output or b""
            raise Failed(
                "the --minutes for all checks were over before it ended",
                text if isinstance(text, str) else text.decode(errors="replace"),
            ) from error
        if done.returncode:
            raise Failed(last_line(done.stdout, done.returncode), done.stdout)
        return done.stdout

    def environment(self) -> dict[str, str]:
        """Return the environment of the commands."""
        return {**os.environ, "PYTHONPATH": str(ROOT)}

    def training(self, folder: Path, flags: Sequence[str] = ()) -> list[object]:
        """Return the words of the command that trains into a folder."""
        sizes = self.sizes
        words = [
            ROOT / "main.py", "--phase", "train", "--data_dir", self.data(), "--run_dir", folder,
            "--backbone", "mobilenetv2", "--pretrained", "none", "--head_conv", 16, "--neck", 16,
            "--input_h", sizes.side, "--input_w", sizes.side, "--batch_size", sizes.batch_size,
            "--num_epoch", sizes.epochs, "--num_workers", sizes.workers, "--seed", 1,
        ]  # fmt: skip
        return [*words, *(() if "--device" in flags else ("--device", self.device)), *flags]

    def trained(self, name: str) -> Path:
        """Return the folder of a run of `TRAININGS`."""

        def make() -> Path:
            folder = self.folder / "runs" / name
            self.run(self.training(folder, TRAININGS[name]))
            return folder

        return self.once(f"run {name}", make)

    def weights(self) -> Path:
        """Return the checkpoint of the float32 run."""
        return self.trained("float32") / "weights_dota" / "model_last.pth"

    def predicted(self, name: str, weights: Path, device: str) -> Path:
        """Return the folder of what a model detects in the images of the data set."""

        def make() -> Path:
            folder = self.folder / "predicted" / name
            self.main(
                "predict", "--source", self.data() / "images", "--weights", weights, "--output",
                folder, "--device", device, "--formats", "task1,json", "--conf_thresh", 0.01,
            )  # fmt: skip
            return folder

        return self.once(f"predicted {name}", make)


def last_line(output: str, code: int) -> str:
    """Return the line in which a command says why it failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or [f"it ended with exit code {code}"])[-1].removeprefix("error: ")


def compare_losses(run: Path, reference: Path, tolerance: float, epochs: int | None = None) -> str:
    """Compare the losses of two runs, and return by how much they differ.

    Args:
        run: Folder of a run.
        reference: Folder of the run to compare it with.
        tolerance: How much they may differ, relative to those of the reference.
        epochs: How many epochs are compared; all by default.

    Raises:
        Failed: They differ by more, or the runs have not as many epochs.
    """
    ours, theirs = (losses(folder) for folder in (run, reference))
    if len(ours) != len(theirs):
        raise Failed(f"{len(ours)} epochs instead of {len(theirs)}")
    pairs = zip(ours[:epochs], theirs[:epochs], strict=True)
    worst = max(abs(a - b) / abs(b) for a, b in pairs)
    if not worst <= tolerance:
        raise Failed(f"losses differ by {worst:.2g}, more than {tolerance:g}")
    return f"losses differ by {worst:.1g} (up to {tolerance:g})"


def losses(run: Path) -> list[float]:
    """Return the loss of each epoch of a run.

    Raises:
        Failed: One is not finite.
    """
    with open(run / "weights_dota" / "history.csv", newline="", encoding="utf-8") as file:
        found = [float(row["loss"]) for row in csv.DictReader(file)]
    if not found or not all(map(math.isfinite, found)):
        raise Failed(f"the losses of its epochs are {found}")
    return found


def compare_detections(folder: Path, reference: Path, tolerance: float) -> str:
    """Compare the Task1 files of two folders, and return by how much they differ.

    Scores are compared in their order: which of two nearly equal boxes comes first may differ.

    Raises:
        Failed: The numbers of detections differ by more than `COUNTS`, or a score by more than the
            tolerance.
    """
    worst, total = 0.0, 0
    for name in CLASSES:
        ours, theirs = (scores(one / f"Task1_{name}.txt") for one in (folder, reference))
        if abs(len(ours) - len(theirs)) > COUNTS * len(theirs):
            raise Failed(f"{len(ours)} detections of {name} instead of {len(theirs)}")
        count = min(len(ours), len(theirs))
        if count:
            worst = max(worst, float(np.abs(ours[:count] - theirs[:count]).max()))
        total += count
    if not total:
        raise Failed("there is no detection to compare")
    if not worst <= tolerance:
        raise Failed(f"scores differ by {worst:.2g}, more than {tolerance:g}")
    return f"scores of {total} detections differ by {worst:.1g} (up to {tolerance:g})"


def scores(path: Path) -> np.ndarray:
    """Return the scores of a Task1 file [N], the highest first."""
    return np.sort(np.asarray(read_task1(path).scores, np.float64))[::-1]

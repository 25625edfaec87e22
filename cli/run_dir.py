"""The folders that a run reads and writes."""

from __future__ import annotations

import argparse
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from cli.defaults import OWN_DATA, SAMPLE, SAMPLE_DIR, Defaults
from datasets import find_dataset
from datasets.sample import make_sample
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import model_hint
from training import files

logger = logging.getLogger("bbavectors")


@dataclass(frozen=True)
class RunDir:
    """Where a run reads and writes.

    Attributes:
        given_data: folder of the data, None for the built-in sample set.
        weights: checkpoints and curves.
        result: results of the images as they are listed.
        merge: results of the full images that patches were cut from.
    """

    given_data: Path | None
    weights: Path
    result: Path
    merge: Path

    @classmethod
    def of(cls, args: argparse.Namespace) -> RunDir:
        """Take the folders from the flags.

        Raises:
            InputError: `dataset` names no data set, or one that needs a data folder.
        """
        find_dataset(args.dataset)
        sample = args.data_dir is None
        if sample and args.dataset.lower() != "dota":
            raise InputError(
                f"--dataset {args.dataset} needs --data_dir; the built-in sample set is in DOTA "
                "layout"
            )
        name = "sample" if sample else class_name(args.dataset)
        return cls(
            given_data=args.data_dir,
            weights=args.run_dir / weights_name(args.dataset, args.data_dir),
            result=args.run_dir / f"result_{name}",
            merge=args.run_dir / f"merge_{name}",
        )

    @property
    def sample(self) -> bool:
        """Whether the data are the built-in sample set."""
        return self.given_data is None

    def data_dir(self) -> Path:
        """Return the folder of the data; the sample set is drawn if it does not exist yet."""
        return make_sample(SAMPLE_DIR) if self.sample else self.given_data

    @property
    def defaults(self) -> Defaults:
        """Default values of flags for these data."""
        return SAMPLE if self.sample else OWN_DATA

    def holds(self, checkpoint: Path) -> bool:
        """Whether a file lies where the run writes its checkpoints."""
        return os.path.dirname(os.path.realpath(checkpoint)) == os.path.realpath(self.weights)

    def checkpoint(self, name: str | None) -> Path:
        """Find a checkpoint of the run.

        Args:
            name: file name in `weights`, else a path; None for the best one, else the last. A run
                that was killed while it saved its first epoch has no last one: then another of it
                is taken, the best or else the one of the latest epoch.

        Raises:
            InputError: there is none.
        """
        if name is not None:
            for path in (self.weights / name, Path(name)):
                if path.is_file():
                    return path
            if name == files.LAST and (path := self._newest()) is not None:
                logger.warning("%s is missing: %s is taken", self.weights / name, path)
                return path
            raise InputError(
                f"no checkpoint {name}, neither in {self.weights} nor as a path{model_hint(name)}"
            )
        for known in (files.BEST, files.LAST):
            if (self.weights / known).is_file():
                return self.weights / known
        raise InputError(
            f"no checkpoint in {self.weights}: train first (--phase train), or name one with "
            "--weights FILE"
        )

    def _newest(self) -> Path | None:
        """Return the best checkpoint, else that of the latest epoch, None without any."""
        if (self.weights / files.BEST).is_file():
            return self.weights / files.BEST
        epochs = {files.epoch_of(path.name): path for path in self.weights.glob("model_*.pth")}
        epochs.pop(None, None)
        return epochs[max(epochs)] if epochs else None


def class_name(dataset: str) -> str:
    """Return the name of a dataset for names of folders, without the folder of its file."""
    return dataset.rpartition(":")[2].lower()


def weights_name(dataset: str, data_dir: Path | None) -> str:
    """Return the name of the folder of the checkpoints; None stands for the sample set."""
    return f"weights_{'sample' if data_dir is None else class_name(dataset)}"


def refuse_to_replace(weights: Path) -> None:
    """Raise an InputError if a run lies in the folder already."""
    if list(weights.glob("*.pth")):
        raise InputError(
            f"{weights} already contains a run: resume it (--resume_train), replace it "
            "(--overwrite), or train in another folder (--run_dir DIR)"
        )


def clear_run(folder: Path) -> None:
    """Delete the files of an earlier run that is to be replaced, and nothing else."""
    for pattern in files.RUN_FILES:
        for path in folder.glob(pattern):
            if path.suffix != ".pth" or files.is_own_checkpoint(path.name):
                path.unlink()

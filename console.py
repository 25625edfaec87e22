"""What a command says: its log lines, and the one line of an error that the user can mend."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass

import torch
from tqdm import tqdm

from DOTA_devkit.errors import InputError
from train import TrainingStopped


@dataclass(frozen=True)
class Advice:
    """What to say of a phase that did not come to its end.

    kept: what there is of its work, and how to go on. lighter: what takes less memory.
    """

    kept: str
    lighter: str


def fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def explain(error: Exception, advice: Advice) -> str | None:
    """One line on an error that the user can mend; None for one that is a fault of ours."""
    text = str(error)
    if text.startswith("Caught "):  # in a worker process, whose traceback comes first
        text = text.rpartition(f"{type(error).__name__}: ")[2].strip()
    if isinstance(error, (InputError, TrainingStopped)):
        return text
    if "DataLoader worker (pid" in text:
        return (
            "a process that reads images died, mostly for want of (shared) memory: use "
            f"--num_workers 0, a smaller --batch_size, or docker run --shm-size 8g; {advice.kept}"
        )
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        sign in text for sign in OUT_OF_MEMORY
    ):
        return f"out of memory: use {advice.lighter}; {advice.kept}"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or text
    return None


OUT_OF_MEMORY = ("can't allocate memory", "ArrayMemoryError")
"""Signs of it in the text of a RuntimeError: PyTorch's on the processor, NumPy's in a worker."""


class TqdmHandler(logging.StreamHandler):
    """Log lines that do not tear a progress bar apart."""

    def emit(self, record: logging.LogRecord) -> None:
        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """An output that takes no more (a full disk, a closed pipe) is an error like any other."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            return super().handleError(record)
        # what is still in its buffer would fail once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
        raise OSError(error.errno, error.strerror, "standard output")


def set_up_logging(verbose: bool) -> None:
    handler = TqdmHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, handlers=[handler], force=True
    )
    for name in ("matplotlib", "PIL"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)  # its errors come as exceptions too

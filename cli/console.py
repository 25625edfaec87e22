"""What a command prints: log lines, and one line for an error that the user can fix."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from DOTA_devkit.errors import InputError
from DOTA_devkit.progress import hide_bars, line_shown
from DOTA_devkit.terminal import VisibleFormatter, visible
from training.errors import TrainingStopped


@dataclass(frozen=True)
class Advice:
    """What to say about a phase that did not finish.

    Attributes:
        kept: what there is of its work, and how to continue.
        lighter: what takes less memory.
        diverged: what helps where the losses are not finite.
    """

    kept: str
    lighter: str
    diverged: str = ""


def fail(message: str, code: int) -> int:
    """Print an error and return the exit code."""
    print(f"error: {visible(message)}", file=sys.stderr)
    return code


def explain(error: Exception, advice: Advice, name_flags: Callable[[str], str]) -> str | None:
    """Return one line for an error that the user can fix.

    Args:
        error: what ended the phase.
        advice: of the phase.
        name_flags: replaces names of parameters by flags.

    Returns:
        The line, or None for an error that is a bug of this program.
    """
    text = str(error)
    if text.startswith("Caught "):  # in a worker process, whose traceback comes first
        text = text.rpartition(f"{type(error).__name__}: ")[2].strip()
    if isinstance(error, TrainingStopped):
        return f"{name_flags(text)}; {advice.diverged}"
    if type(error).__name__ == "ProcessLost":  # by name, as it comes with PyTorch
        return f"{text}; {advice.kept}"
    if isinstance(error, InputError):
        return name_flags(text)
    if "DataLoader worker (pid" in text:
        return (
            "a data loader worker died, usually because (shared) memory ran out: use "
            f"--num_workers 0, a smaller --batch_size, or docker run --shm-size 8g; {advice.kept}"
        )
    # by name: PyTorch, whose error it is, may not have been imported
    out_of_gpu_memory = type(error).__name__ == "OutOfMemoryError"
    if (
        isinstance(error, MemoryError)
        or out_of_gpu_memory
        or any(sign in text for sign in OUT_OF_MEMORY)
    ):
        return f"out of memory: use {advice.lighter}; {advice.kept}"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or text
    return None


OUT_OF_MEMORY = ("can't allocate memory", "ArrayMemoryError")
"""Parts of the messages of RuntimeErrors when memory runs out: PyTorch's on the CPU, and NumPy's in
a worker."""


class TqdmHandler(logging.StreamHandler):
    """Writes log lines without tearing a progress bar apart."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line above the bars."""
        from tqdm import tqdm

        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)
        line_shown()

    def handleError(self, record: logging.LogRecord) -> None:
        """Raise an OSError where the output takes no more (a full disk, a closed pipe)."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            return super().handleError(record)
        # what is still in its buffer would fail once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
        raise OSError(error.errno, error.strerror, "standard output")


class _FlagFormatter(VisibleFormatter):
    """Formats log lines, in which parameters of the code below are named as flags."""

    def __init__(self, name_flags: Callable[[str], str]) -> None:
        super().__init__("%(message)s")
        self._name_flags = name_flags

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        return self._name_flags(super().format(record))


def set_up_logging(
    verbose: bool, name_flags: Callable[[str], str], *, silent: bool = False
) -> None:
    """Send log lines to standard output.

    Args:
        verbose: whether to include those for debugging.
        name_flags: replaces names of parameters in a line by flags.
        silent: show neither lines nor bars, unless `verbose`: another process shows the same.
    """
    handler = TqdmHandler(sys.stdout)
    handler.setFormatter(_FlagFormatter(name_flags))
    level = logging.ERROR if silent else logging.INFO
    logging.basicConfig(
        level=logging.DEBUG if verbose else level, handlers=[handler], force=True
    )  # fmt: skip
    if silent:
        hide_bars()
    for name in ("matplotlib", "PIL"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)  # its errors come as exceptions too

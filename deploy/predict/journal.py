"""The progress of a prediction on disk, so that it can be resumed after a kill, and shared.

The work is a list of batches that every process plans alike. Each process appends the batches that
it has done to a file of its own, one line each, in a folder whose name identifies the work: the
same images, model and settings. A line that was cut off by a kill, or whose
checksum is wrong, does not count. The process that
finds all batches done writes the results.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.files import appending, remedy

logger = logging.getLogger(__name__)

PREFIX = "progress-"
"""Start of the name of every progress folder."""

# Columns of a row of `BatchResult.rows`.
POSITION, LABEL, CUT, SCORE = range(4)
CORNERS = slice(4, 12)
COLUMNS = 12


class FinishedElsewhere(Exception):
    """Another process has written the results and removed the progress folder."""


@dataclass(frozen=True)
class BatchResult:
    """What was found in one batch.

    Attributes:
        batch: Number of the batch.
        rows: [M, COLUMNS] float32: position of the window in the batch, label, whether the box may
            be cut, score, and four corners in pixels of the source image.
        without_data: Number of windows that were skipped because they hold no data.
        faults: Source number -> why its image could not be read.
        incomplete: Positions in the batch of windows that may hold more than the decoder lets
            through.
    """

    batch: int
    rows: np.ndarray
    without_data: int = 0
    faults: Mapping[int, str] = field(default_factory=dict)
    incomplete: tuple[int, ...] = ()

    def to_line(self) -> str:
        """Return the result as a line, without the line end: a checksum and JSON."""
        content = json.dumps({
            "batch": self.batch,
            "rows": base64.b64encode(self.rows.astype("<f4").tobytes()).decode(),
            "without_data": self.without_data,
            "faults": {str(source): text for source, text in self.faults.items()},
            "incomplete": list(self.incomplete),
        })  # fmt: skip
        return f"{_checksum(content.encode())} {content}"

    @classmethod
    def from_line(cls, line: bytes) -> BatchResult | None:
        """Read a line of `to_line`; None if it is not whole, or damaged."""
        checksum, _, text = line.rstrip(b"\r\n").partition(b" ")
        if checksum != _checksum(text).encode():
            return None
        try:
            content = json.loads(text)
            rows = np.frombuffer(base64.b64decode(content["rows"]), "<f4").reshape(-1, COLUMNS)
            faults = {int(source): text for source, text in content["faults"].items()}
            incomplete = tuple(map(int, content["incomplete"]))
            return cls(
                int(content["batch"]), rows, int(content["without_data"]), faults, incomplete
            )
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
                RecursionError):  # fmt: skip
            return None


def _checksum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]


def progress_folder(output: Path, work: Mapping[str, Any]) -> Path:
    """Return the folder in which the processes that share some work note what they have done.

    Args:
        output: Folder of the results.
        work: Everything that decides what the batches are and what they hold, as plain values.
    """
    digest = hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()[:12]
    return output / f"{PREFIX}{digest}"


class Journal:
    """The batches that are done.

    It is a context, left once no more batches are to be noted. Its content can still be read then.
    """

    def __init__(self, folder: Path, name: str):
        """Open the journal of some work.

        Args:
            folder: Folder of the work, see `progress_folder`.
            name: Name of this process's own file, without suffix.

        Raises:
            InputError: The file cannot be written.
        """
        self.folder = folder
        self._path = self.folder / f"{name}.jsonl"
        others = [path for path in sorted(folder.parent.glob(f"{PREFIX}*")) if path != self.folder]
        if others:
            logger.info(
                "%s holds the progress of a run with other images, model or settings; it is kept, "
                "and can be deleted", others[0],
            )  # fmt: skip
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = appending(self._path)
            self._end_last_line()
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def _end_last_line(self) -> None:
        """End a line that was cut off by a kill, so that the next one is not appended to it."""
        size = self._file.seek(0, os.SEEK_END)
        if size:
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")
                self._file.flush()

    def append(self, result: BatchResult) -> None:
        """Record that a batch is done.

        Raises:
            InputError: The disk is full.
        """
        try:
            self._file.write(result.to_line().encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def results(self) -> Iterator[BatchResult]:
        """Yield what all processes have done; a batch may come twice.

        Raises:
            FinishedElsewhere: Another process has written the results and removed the folder.
        """
        try:
            for path in sorted(filter(Path.is_file, self.folder.iterdir())):
                with open(path, "rb") as file:  # bytes: a failing disk may leave any
                    for line in file:
                        result = BatchResult.from_line(line)
                        if result is not None:
                            yield result
        except FileNotFoundError:
            if self.folder.exists():
                raise
            raise FinishedElsewhere from None

    def latest(self) -> dict[int, BatchResult]:
        """Return the batches that are done, by number.

        Of two results of a batch the later one counts, but a result without faults counts more
        than one with faults.

        Raises:
            FinishedElsewhere: Another process has written the results and removed the folder.
        """
        latest: dict[int, BatchResult] = {}
        for result in self.results():
            if not result.faults or result.batch not in latest or latest[result.batch].faults:
                latest[result.batch] = result
        return latest

    def done(self) -> dict[int, bool]:
        """Return the batches that are done: number -> whether all their images could be read.

        Raises:
            FinishedElsewhere: Another process has written the results and removed the folder.
        """
        return {number: not result.faults for number, result in self.latest().items()}

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def remove(self) -> None:
        """Remove the folder once the results are written.

        It is renamed first, so that no other process takes a part of it for the whole.
        """
        gone = self.folder.with_name(f".{self.folder.name}.{secrets.token_hex(4)}")
        try:
            self.folder.rename(gone)
        except OSError:  # another process was first, or it cannot be moved: delete it where it is
            gone = self.folder
        shutil.rmtree(gone, ignore_errors=True)


def _cannot_write(path: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot write {path}: {error.strerror or error}. What is done so far is kept: "
        f"{remedy(error)} and start the same command again to resume from there"
    )

"""What a prediction has done so far, on disk, so that it can be killed, resumed and shared out.

The work is a list of batches that every process plans alike. Each process appends the batches
that it has done to a file of its own, one line each, in a folder whose name says what the work
is: the same images, model and settings. A line that was cut off by a kill does not count. Where
all batches are there, whoever sees it can make the result.
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
from DOTA_devkit.files import remedy

logger = logging.getLogger(__name__)

PREFIX = "progress-"

# Columns of a row: place in the batch, class, whether it may be cut, score, corners.
PLACE, LABEL, CUT, SCORE = range(4)
CORNERS = slice(4, 12)
COLUMNS = 12


@dataclass(frozen=True)
class BatchResult:
    """batch: its number. rows: [M, COLUMNS] float32. without_data: windows that were skipped.
    faults: source number -> why its image could not be read. incomplete: places in the batch of
    windows that may hold more than the decoder lets through."""

    batch: int
    rows: np.ndarray
    without_data: int = 0
    faults: Mapping[int, str] = field(default_factory=dict)
    incomplete: tuple[int, ...] = ()

    def to_line(self) -> str:
        return json.dumps({
            "batch": self.batch,
            "rows": base64.b64encode(self.rows.astype("<f4").tobytes()).decode(),
            "without_data": self.without_data,
            "faults": {str(source): text for source, text in self.faults.items()},
            "incomplete": list(self.incomplete),
        })  # fmt: skip

    @classmethod
    def from_line(cls, line: bytes) -> BatchResult | None:
        """None for a line that is not whole."""
        try:
            content = json.loads(line)
            rows = np.frombuffer(base64.b64decode(content["rows"]), "<f4").reshape(-1, COLUMNS)
            faults = {int(source): text for source, text in content["faults"].items()}
            incomplete = tuple(map(int, content["incomplete"]))
            return cls(
                int(content["batch"]), rows, int(content["without_data"]), faults, incomplete
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def progress_folder(output: Path, work: Mapping[str, Any]) -> Path:
    """Where the processes that share some work note what they have done (see `Journal`).

    output: folder of the results. work: whatever decides what the batches are and hold, as plain
    values.
    """
    digest = hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()[:12]
    return output / f"{PREFIX}{digest}"


class Journal:
    """The batches that are done.

    folder: that of the work (see `progress_folder`). name: of this process's own file. It is a
    context that may be left for good once no more batches are to be noted; what is in it can still
    be read then.
    """

    def __init__(self, folder: Path, name: str):
        self.folder = folder
        self._path = self.folder / f"{name}.jsonl"
        others = [path for path in sorted(folder.parent.glob(f"{PREFIX}*")) if path != self.folder]
        if others:
            logger.info(
                "%s holds the progress of a run with other images, model or settings; it is left "
                "alone, and can be deleted", others[0],
            )  # fmt: skip
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+b")
            self._end_last_line()
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def _end_last_line(self) -> None:
        """A line that a kill cut off must not swallow the next one."""
        size = self._file.seek(0, os.SEEK_END)
        if size:
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")
                self._file.flush()

    def append(self, result: BatchResult) -> None:
        """Write down that a batch is done. InputError where the disk is full."""
        try:
            self._file.write(result.to_line().encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def results(self) -> Iterator[BatchResult]:
        """What all processes have done; a batch may come twice.

        FileNotFoundError where another process has made the result and taken the folder away.
        """
        for path in sorted(filter(Path.is_file, self.folder.iterdir())):
            with open(path, "rb") as file:  # what a failing disk left need not be text
                for line in file:
                    result = BatchResult.from_line(line)
                    if result is not None:
                        yield result

    def latest(self) -> dict[int, BatchResult]:
        """The batches that are done, by number: of two results the later one, but one of images
        that could all be read before one that met a fault."""
        latest: dict[int, BatchResult] = {}
        for result in self.results():
            if not result.faults or result.batch not in latest or latest[result.batch].faults:
                latest[result.batch] = result
        return latest

    def done(self) -> dict[int, bool]:
        """Numbers of the batches that are done, and whether all of their images could be read."""
        return {number: not result.faults for number, result in self.latest().items()}

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def remove(self) -> None:
        """Take the folder away, once the results are written: at once, so that no other process
        takes a part of it for the whole."""
        gone = self.folder.with_name(f".{self.folder.name}.{secrets.token_hex(4)}")
        try:
            self.folder.rename(gone)
        except OSError:  # another process was first, or it cannot be moved: it is done all the same
            gone = self.folder
        shutil.rmtree(gone, ignore_errors=True)


def _cannot_write(path: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot write {path}: {error.strerror or error}. What is done so far is kept: "
        f"{remedy(error)} and start the same command again, and it goes on from there"
    )

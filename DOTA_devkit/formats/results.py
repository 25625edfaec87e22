"""Task1 and Task2 result files: image id, score and box on each line, one file per class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.file_names import check_ids, check_image_id, task_of
from DOTA_devkit.files import replacing
from DOTA_devkit.formats.labels import warn_of_crossing
from DOTA_devkit.formats.text import (
    BLOCK_BYTES,
    UTF16_BOMS,
    not_a_number_error,
    shorten_line,
    text_table,
    utf8_of,
)
from DOTA_devkit.number_ranges import COORDINATE
from DOTA_devkit.patches import parse_patch_id
from DOTA_devkit.polygon import uncrossed
from DOTA_devkit.text_table import NotANumber, TextCodes

# Coordinates of a line.
_TASK1, _TASK2 = 8, 4


@dataclass(frozen=True)
class Task1:
    """Detections of one class, as a result file lists them.

    Attributes:
        image_ids: ``[N]``.
        scores: ``[N]`` float64.
        corners: ``[N, 4, 2]`` float64, in pixels of the image, put into an order around the box
            where those of the file cross; from a Task2 file the corners of the rectangle, from its
            smallest x and y on, clockwise on the screen.
    """

    image_ids: list[str]
    scores: np.ndarray
    corners: np.ndarray

    def __len__(self) -> int:
        return len(self.image_ids)


@dataclass(frozen=True)
class ResultBlock:
    """Consecutive lines of a result file.

    Attributes:
        images: ``[N]`` numbers of the image ids in the `TextCodes` of the reader.
        scores: ``[N]`` float64.
        corners: ``[N, 4, 2]`` float64, as in `Task1`.
        crossing: ``[K]`` int64, lines whose corners the file has in an order that crosses.
    """

    images: np.ndarray
    scores: np.ndarray
    corners: np.ndarray
    crossing: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def read_task1(path: Path | str) -> Task1:
    """Read a Task1 result file: image id, score and eight coordinates per line.

    The id may contain spaces, as the numbers are counted from the end of the line.

    Raises:
        InputError: a line is anything else; the message has file and line.
        OSError: the file cannot be read.
    """
    return _read_results(path, _TASK1)


def read_task2(path: Path | str) -> Task1:
    """Read a Task2 result file: image id, score, xmin, ymin, xmax, ymax per line.

    Raises:
        InputError: a line is anything else; the message has file and line.
        OSError: the file cannot be read.
    """
    return _read_results(path, _TASK2)


def iter_results(
    path: Path | str,
    image_ids: TextCodes,
    coordinates: int = _TASK1,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[ResultBlock]:
    """Read a result file block by block, for files that do not fit into memory.

    Args:
        path: the result file.
        image_ids: numbers of the image ids; new ids are added.
        coordinates: 8 for Task1, 4 for Task2.
        block_bytes: about how many bytes to read at once.

    Yields:
        The lines of each block.

    Raises:
        InputError: a line cannot be understood; the message has file and line.
        OSError: the file cannot be read.
    """
    crossing: list[str] = []
    for data, line in _iter_blocks(Path(path), block_bytes):
        block = _parse_results(data, coordinates, path, line, image_ids)
        crossing += [f"{path}:{number}" for number in block.crossing.tolist()]
        yield block
    warn_of_crossing(crossing)


def result_coordinates(path: Path | str) -> int | None:
    """Distinguish Task1 from Task2 by the name of a result file and all of its lines.

    Lines of 10 fields are those of Task1 and lines of 6 those of Task2. Ids with blanks have more
    fields; there the name decides (``Task1_ship.txt``) or, without one, how many numbers end the
    line.

    Returns:
        8 for Task1, 4 for Task2, None for a file without lines.

    Raises:
        InputError: a line is neither, or is of the other kind than the name or the first line.
        OSError: the file cannot be read.
    """
    task = task_of(path)
    named = None if task is None else {1: _TASK1, 2: _TASK2}[task]
    kind = None
    for data, first_line in _iter_blocks(Path(path), BLOCK_BYTES):
        for number, line in enumerate(data.split(b"\n"), first_line):
            fields = line.split()
            found = _kind_of_line(fields, named) if fields else kind
            if fields and found is None:
                raise InputError(
                    f"{path}:{number}: expected an image id, a score and 8 coordinates "
                    f"(Task1) or 4 (Task2), got {len(fields)} fields: {shorten_line(line)}"
                )
            if kind is not None and found != kind:
                raise InputError(
                    f"{path}:{number}: expected {kind} coordinates as in the lines before, got "
                    f"{len(fields)} fields, with {found}: {shorten_line(line)}"
                )
            kind = found
            if kind == named == _TASK1:
                return kind  # `iter_results` refuses every line of another kind
    return kind


def _kind_of_line(fields: list[bytes], named: int | None) -> int | None:
    """Return the coordinates of a line, 8 or 4, None if it cannot be one of results.

    Args:
        fields: of the line.
        named: the coordinates that the name of the file promises, None if it promises none.
    """
    if len(fields) == _TASK2 + 2:
        return _TASK2
    if len(fields) == _TASK1 + 2 and (named != _TASK2 or _are_numbers(fields[1:])):
        return _TASK1
    if len(fields) < _TASK2 + 2:
        return None
    if named is not None:
        return named
    if len(fields) > _TASK1 + 2 and _are_numbers(fields[-_TASK1 - 1 :]):
        return _TASK1
    return _TASK2 if _are_numbers(fields[-_TASK2 - 1 :]) else None


def write_task1(
    path: Path | str, image_ids: Sequence[str], scores: np.ndarray, corners: np.ndarray
) -> None:
    """Write detections of one class as the original detector does: ``id %.12f`` and 8 ``%.1f``.

    Args:
        path: the file to write; it is replaced once everything is written.
        image_ids: ``[N]``.
        scores: ``[N]``.
        corners: ``[N, 4, 2]``, in pixels of the image.

    Raises:
        InputError: an id has a line break or another control character.
    """
    check_ids(set(image_ids))
    values = np.concatenate(
        [np.asarray(scores, np.float64)[:, None], np.asarray(corners).reshape(-1, 8)], axis=1
    ).tolist()
    line = "%s %.12f" + 8 * " %.1f" + "\n"
    with replacing(path) as file:
        file.writelines(
            line % (image_id, *row) for image_id, row in zip(image_ids, values, strict=True)
        )


def _parse_results(
    data: bytes, coordinates: int, path: Path | str, first_line: int, image_ids: TextCodes
) -> ResultBlock:
    table = text_table(data, path, first_line)
    lines = np.flatnonzero(table.count)
    first, count = table.first[lines], table.count[lines]
    short = np.flatnonzero(count < coordinates + 2)
    if len(short):
        line = int(lines[short[0]])
        other = {_TASK2: _TASK1, _TASK1: _TASK2}[coordinates]
        hint = f"; {other + 2} fields are {'Task1' if other == _TASK1 else 'Task2'}"
        raise InputError(
            f"{path}:{first_line + line}: expected an image id, a score and {coordinates} "
            f"coordinates, got {count[short[0]]} fields"
            f"{hint if count[short[0]] == other + 2 else ''}: "
            f"{shorten_line(data.splitlines()[line])}"
        )
    last = first + count - 1
    try:
        numbers = table.numbers(last[:, None] + np.arange(-coordinates, 1))
    except NotANumber as error:
        raise not_a_number_error(table, path, error.token, first_line) from None
    if not (COORDINATE.holds(numbers[:, 1:]).all() and np.isfinite(numbers[:, 0]).all()):
        raise _number_error(numbers, path, first_line + lines)
    known = len(image_ids)
    images = table.codes(first, last - coordinates - 1, image_ids)
    for code in range(known, len(image_ids)):
        try:
            check_image_id(image_ids.texts[code])
            parse_patch_id(image_ids.texts[code])
        except InputError as error:
            line = first_line + lines[np.argmax(images == code)]
            raise InputError(f"{path}:{line}: {error}") from None
    corners = numbers[:, 1:]
    if coordinates == _TASK2:
        corners = corners[:, [0, 1, 2, 1, 2, 3, 0, 3]]
    corners, crossing = uncrossed(corners.reshape(-1, 4, 2))
    return ResultBlock(images, numbers[:, 0], corners, first_line + lines[crossing])


def _number_error(numbers: np.ndarray, path: Path | str, lines: np.ndarray) -> InputError:
    """Build the error for the first row of scores and coordinates that is out of its range."""
    finite = np.isfinite(numbers).all(axis=1)
    row = int(np.argmin(finite & COORDINATE.holds(numbers[:, 1:]).all(axis=1)))
    if finite[row]:
        return InputError(f"{path}:{lines[row]}: a coordinate is not {COORDINATE}")
    return InputError(f"{path}:{lines[row]}: a score or coordinate is not finite")


def _read_results(path: Path | str, coordinates: int) -> Task1:
    ids = TextCodes()
    blocks = list(iter_results(path, ids, coordinates))
    if not blocks:
        return Task1([], np.zeros(0), np.zeros((0, 4, 2)))
    return Task1(
        [ids.texts[image] for block in blocks for image in block.images.tolist()],
        np.concatenate([block.scores for block in blocks]),
        np.concatenate([block.corners for block in blocks]),
    )


def _iter_blocks(path: Path, size: int) -> Iterator[tuple[bytes, int]]:
    """Yield whole lines of a file, about `size` bytes at once, and the number of the first."""
    number = 1
    with open(path, "rb") as file:
        while block := file.read(size):
            block += file.readline()
            if number == 1 and block.startswith(UTF16_BOMS):
                block += file.read()  # bytes of a line break may be those of other characters
            text = utf8_of(block, path)
            yield text, number
            number += text.count(b"\n")


def _are_numbers(fields: list[bytes]) -> bool:
    try:
        for field in fields:
            float(field)
    except ValueError:
        return False
    return True

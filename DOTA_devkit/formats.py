"""The text formats of DOTA: labels, results of Task1 and Task2, and lists of image ids.

Fields are parted by any white space, lines may end in either way, blank lines count for nothing.
What can't be understood is an `InputError` that names file and line, never skipped in silence.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.text_table import NotANumber, TextCodes, TextTable

_DOTA_10 = (
    "plane", "baseball-diamond", "bridge", "ground-track-field", "small-vehicle",
    "large-vehicle", "ship", "tennis-court", "basketball-court", "storage-tank",
    "soccer-ball-field", "roundabout", "harbor", "swimming-pool", "helicopter",
)  # fmt: skip

DOTA_CLASSES: dict[str, tuple[str, ...]] = {
    "1.0": _DOTA_10,
    "1.5": (*_DOTA_10, "container-crane"),
    "2.0": (*_DOTA_10, "container-crane", "airport", "helipad"),
}
"""Class names of each version of DOTA, in the order of the original's class numbers."""

# Text read at once. Small enough for the cache, large enough for array operations.
BLOCK_BYTES = 1 << 20

# "imagesource:GoogleEarth", "gsd:0.14", "acquisition dates: 2016-05-04"
_HEADER = re.compile(r"\s*[^\W\d][^:]*:")


@dataclass(frozen=True)
class Labels:
    """The objects of one label file.

    Attributes:
        corners: ``[N, 4, 2]`` float64, pixels of the image.
        names: ``[N]`` class names.
        difficult: ``[N]`` int64, 0 where the file gives none.
        lines: ``[N]`` int64, line numbers in the file, from 1.
    """

    corners: np.ndarray
    names: tuple[str, ...]
    difficult: np.ndarray
    lines: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Task1:
    """Detections of one class, as a result file lists them.

    Attributes:
        image_ids: ``[N]``.
        scores: ``[N]`` float64.
        corners: ``[N, 4, 2]`` float64; of a Task2 file the rectangle's, from its smallest
            x and y on, clockwise on the screen.
    """

    image_ids: list[str]
    scores: np.ndarray
    corners: np.ndarray

    def __len__(self) -> int:
        return len(self.image_ids)


def read_labels(path: Path | str) -> Labels:
    """Read a DOTA label file: eight coordinates, class name and, if given, difficulty.

    Lines such as ``gsd:0.1`` are passed over, as is anything behind the difficulty. A class
    name may hold spaces where a difficulty follows it.

    Raises:
        InputError: with file and line, for anything else.
        OSError: the file can't be read.
    """
    return parse_labels(_text(Path(path).read_bytes(), path), path)


def read_label_files(paths: Iterable[Path | str]) -> Iterator[Labels]:
    """`read_labels` of many files, several times as fast: a block of files is parsed together."""
    sources: list[Path | str] = []
    texts: list[bytes] = []
    size = 0
    for path in paths:
        sources.append(path)
        texts.append(_text(Path(path).read_bytes(), path))
        size += len(texts[-1])
        if size >= BLOCK_BYTES:
            yield from _parse_together(texts, sources)
            sources, texts, size = [], [], 0
    yield from _parse_together(texts, sources)


def _parse_together(texts: list[bytes], sources: list[Path | str]) -> list[Labels]:
    try:
        labels = parse_labels(b"\n".join(texts))
    except InputError:
        # Once more one by one, so that the error names the file.
        return [parse_labels(text, source) for text, source in zip(texts, sources, strict=True)]
    lines = np.cumsum([0] + [text.count(b"\n") + 1 for text in texts])
    ends = np.searchsorted(labels.lines, lines, "right").tolist()
    return [
        Labels(
            labels.corners[start:end],
            labels.names[start:end],
            labels.difficult[start:end],
            labels.lines[start:end] - before,
        )
        for start, end, before in zip(ends[:-1], ends[1:], lines[:-1], strict=True)
    ]


def parse_labels(data: bytes, source: Path | str = "labels") -> Labels:
    """`read_labels` of bytes; ``source`` names them in errors."""
    table = TextTable(data)
    lines = np.flatnonzero(table.count)
    # A line that begins with a letter is a header, or wrong.
    letters = np.flatnonzero(
        np.frombuffer(table.data, np.uint8)[table.starts[table.first[lines]]] > ord("9")
    )
    if len(letters):
        whole = table.data.split(b"\n")
        headers = [k for k in letters if _HEADER.match(whole[lines[k]].decode())]
        lines = np.delete(lines, headers)
    first, count = table.first[lines], table.count[lines]
    short = np.flatnonzero(count < 9)
    if len(short):
        raise _bad_label(table, source, lines[short[0]], f"{count[short[0]]} fields")
    try:
        corners = table.numbers(first[:, None] + np.arange(8))
    except NotANumber as error:
        raise _not_a_number(table, source, error.token) from None
    infinite = np.flatnonzero(~np.isfinite(corners).all(axis=1))
    if len(infinite):
        raise _bad_label(table, source, lines[infinite[0]], "a coordinate that is not finite")
    names = table.fields(first + 8)
    difficult = np.zeros(len(lines), np.int64)
    given = np.flatnonzero(count > 9)
    try:
        values = table.numbers(first[given] + 9)
    except NotANumber:
        values = np.array([np.nan])
    if np.all(values % 1 == 0) and np.all(values >= 0):
        difficult[given] = values
    else:
        for k in given.tolist():
            fields = table.fields(np.arange(first[k] + 8, first[k] + count[k]))
            names[k], difficult[k] = _name_and_difficulty(fields, table, source, lines[k])
    return Labels(corners.reshape(-1, 4, 2), tuple(names), difficult, lines + 1)


def read_task1(path: Path | str) -> Task1:
    """Read a Task1 result file: image id, score and eight coordinates a line.

    The id may hold spaces: the numbers are counted from the end of the line.

    Raises:
        InputError: with file and line, for a line that is none of these.
        OSError: the file can't be read.
    """
    return _read_results(path, coordinates=8)


def read_task2(path: Path | str) -> Task1:
    """Read a Task2 result file: image id, score, xmin, ymin, xmax, ymax a line."""
    return _read_results(path, coordinates=4)


@dataclass(frozen=True)
class ResultBlock:
    """Some lines of a result file.

    Attributes:
        images: ``[N]``, image ids by their number in the reader's `TextCodes`.
        scores: ``[N]``; corners: ``[N, 4, 2]``, as in `Task1`.
    """

    images: np.ndarray
    scores: np.ndarray
    corners: np.ndarray


def iter_results(
    path: Path | str,
    image_ids: TextCodes,
    coordinates: int = 8,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[ResultBlock]:
    """A result file block by block, for files larger than the memory.

    Args:
        path: the file.
        image_ids: numbers of the ids; new ones are added.
        coordinates: 8 for Task1, 4 for Task2.
        block_bytes: about how much text is read at once.
    """
    for data, line in _blocks(Path(path), block_bytes):
        yield _parse_results(data, coordinates, path, line, image_ids)


def result_coordinates(path: Path | str) -> int | None:
    """Coordinates of the first line of a result file: 8 (Task1) or 4 (Task2), None if empty.

    Raises:
        InputError: a first line that is neither.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            fields = _text(line, path).split()
            if len(fields) >= 10 and _are_numbers(fields[-9:]):
                return 8
            if len(fields) >= 6 and _are_numbers(fields[-5:]):
                return 4
            if fields:
                raise InputError(
                    f"{path}:{number}: expected an image id, a score and 8 coordinates "
                    f"(Task1) or 4 (Task2), came {len(fields)} fields: {_shortened(line)}"
                )
    return None


def write_task1(
    path: Path | str, image_ids: Sequence[str], scores: np.ndarray, corners: np.ndarray
) -> None:
    """Write detections of one class as the detector does: ``id %.12f`` and eight ``%.1f``.

    Args:
        path: replaced as a whole, once everything is written.
        image_ids: ``[N]``; scores: ``[N]``; corners: ``[N, 4, 2]``.
    """
    values = np.concatenate(
        [np.asarray(scores, np.float64)[:, None], np.asarray(corners).reshape(-1, 8)], axis=1
    ).tolist()
    line = "%s %.12f" + 8 * " %.1f" + "\n"
    with replacing(path) as file:
        file.writelines(
            line % (image_id, *row) for image_id, row in zip(image_ids, values, strict=True)
        )


def read_ids(path: Path | str) -> list[str]:
    """A list of image ids, one a line; a file name suffix in it is kept."""
    text = _text(Path(path).read_bytes(), path).decode()
    return [line.strip() for line in text.splitlines() if line.strip()]


def _parse_results(
    data: bytes, coordinates: int, path: Path | str, first_line: int, image_ids: TextCodes
) -> ResultBlock:
    table = TextTable(data)
    lines = np.flatnonzero(table.count)
    first, count = table.first[lines], table.count[lines]
    short = np.flatnonzero(count < coordinates + 2)
    if len(short):
        line = int(lines[short[0]])
        other = {4: 8, 8: 4}[coordinates]
        hint = f"; {other + 2} fields are {'Task1' if other == 8 else 'Task2'}"
        raise InputError(
            f"{path}:{first_line + line}: expected an image id, a score and {coordinates} "
            f"coordinates, came {count[short[0]]} fields"
            f"{hint if count[short[0]] == other + 2 else ''}: "
            f"{_shortened(data.splitlines()[line])}"
        )
    last = first + count - 1
    try:
        numbers = table.numbers(last[:, None] + np.arange(-coordinates, 1))
    except NotANumber as error:
        raise _not_a_number(table, path, error.token, first_line) from None
    infinite = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
    if len(infinite):
        raise InputError(
            f"{path}:{first_line + lines[infinite[0]]}: a score or coordinate is not finite"
        )
    images = table.codes(first, last - coordinates - 1, image_ids)
    corners = numbers[:, 1:]
    if coordinates == 4:
        corners = corners[:, [0, 1, 2, 1, 2, 3, 0, 3]]
    return ResultBlock(images, numbers[:, 0], corners.reshape(-1, 4, 2))


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


def _blocks(path: Path, size: int) -> Iterator[tuple[bytes, int]]:
    """Whole lines of a file, about ``size`` bytes together, and the number of the first one."""
    number = 1
    with open(path, "rb") as file:
        while block := file.read(size):
            block += file.readline()
            if number == 1:
                block = block.removeprefix(b"\xef\xbb\xbf")
            yield _text(block, path), number
            number += block.count(b"\n")


def _text(data: bytes, path: Path | str) -> bytes:
    """The bytes themselves, without a byte order mark, once they are known to be UTF-8."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise InputError(
                f"{os.fspath(path)}:{line}: expected UTF-8 text, came the byte "
                f"{data[error.start]:#x}"
            ) from None
    return data


def _name_and_difficulty(
    fields: list[str], table: TextTable, source: Path | str, line: int
) -> tuple[str, int]:
    """What stands behind the coordinates: a name of one or more words, a whole number, anything."""
    for k, field in enumerate(fields[1:], 1):
        if field.isdecimal() or re.fullmatch(r"\d+\.0*", field):
            return " ".join(fields[:k]), int(float(field))
    raise _bad_label(table, source, line, f"the difficulty {fields[1]!r}")


def _bad_label(table: TextTable, source: Path | str, line: int, came: str) -> InputError:
    text = table.data.split(b"\n")[line]
    return InputError(
        f"{source}:{line + 1}: expected 8 coordinates, a class name and, if wanted, a difficulty "
        f"as a whole number of 0 or more, came {came}: {_shortened(text)}"
    )


def _not_a_number(
    table: TextTable, source: Path | str, token: int, first_line: int = 1
) -> InputError:
    line = int(np.searchsorted(table.first + table.count, token, "right"))
    return InputError(
        f"{source}:{first_line + line}: expected a number, came {table.field(token)!r} in: "
        f"{_shortened(table.data.split(bytes([10]))[line])}"
    )


def _are_numbers(fields: list[str]) -> bool:
    try:
        return all(map(np.isfinite, map(float, fields)))
    except ValueError:
        return False


def _shortened(line: bytes, limit: int = 80) -> str:
    text = line.decode(errors="replace").strip()
    return text if len(text) <= limit else text[: limit - 3] + "..."

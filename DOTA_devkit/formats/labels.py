"""DOTA label files: eight coordinates, class name and difficulty on each line."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.file_names import MAX_CLASS_NAME, is_short
from DOTA_devkit.formats.text import (
    BLOCK_BYTES,
    not_a_number_error,
    read_utf8,
    shorten_line,
    text_table,
)
from DOTA_devkit.number_ranges import COORDINATE, DIFFICULTY
from DOTA_devkit.polygon import uncrossed
from DOTA_devkit.text_table import NotANumber, TextTable

logger = logging.getLogger(__name__)

# "imagesource:GoogleEarth", "gsd:0.14", "acquisition dates: 2016-05-04"
_HEADER = re.compile(r"\s*[^\W\d][^:]*:")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_FIELDS_OF_TWO = 16  # a joined line, of which two fields may stick together


@dataclass(frozen=True)
class Labels:
    """The objects of one label file.

    Attributes:
        corners: ``[N, 4, 2]`` float64, in pixels of the image, in an order around the box: its
            edges do not cross.
        names: ``[N]`` class names.
        difficult: ``[N]`` int64, 0 if the file gives none.
        lines: ``[N]`` int64, line numbers in the file, starting at 1.
        crossing: ``[K]`` int64, those lines whose corners the file has in an order that crosses.
    """

    corners: np.ndarray
    names: tuple[str, ...]
    difficult: np.ndarray
    lines: np.ndarray
    crossing: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.names)


def read_labels(path: Path | str) -> Labels:
    """Read a DOTA label file: eight coordinates, class name and optional difficulty per line.

    Header lines such as ``gsd:0.1`` are skipped, and so is anything after the difficulty. A class
    name may contain spaces if a difficulty follows it. Corners in an order that crosses are put
    into the order around the box, see `warn_of_crossing`.

    Args:
        path: the label file.

    Returns:
        The objects in the order of the lines.

    Raises:
        InputError: a line is anything else; the message has file and line.
        OSError: the file cannot be read.
    """
    return parse_labels(read_utf8(path), path)


def read_label_files(paths: Iterable[Path | str]) -> Iterator[Labels]:
    """Read many label files, several times as fast as `read_labels` on each of them.

    Files are parsed together in blocks of about `BLOCK_BYTES`.

    Args:
        paths: the label files.

    Yields:
        The labels of each file, in the order of `paths`.

    Raises:
        InputError: as `read_labels`, for the first bad file.
        OSError: a file cannot be read.
    """
    sources: list[Path | str] = []
    texts: list[bytes] = []
    size = 0
    for path in paths:
        sources.append(path)
        texts.append(read_utf8(path))
        size += len(texts[-1])
        if size >= BLOCK_BYTES:
            yield from _parse_together(texts, sources)
            sources, texts, size = [], [], 0
    yield from _parse_together(texts, sources)


def _parse_together(texts: list[bytes], sources: list[Path | str]) -> list[Labels]:
    try:
        labels = parse_labels(b"\n".join(texts))
    except InputError:
        # Parse the files one by one, so that the error names the right one.
        return [parse_labels(text, source) for text, source in zip(texts, sources, strict=True)]
    line_offsets = np.cumsum([0] + [text.count(b"\n") + 1 for text in texts])
    ends = np.searchsorted(labels.lines, line_offsets, "right").tolist()
    crossing_ends = np.searchsorted(labels.crossing, line_offsets, "right").tolist()
    return [
        Labels(
            labels.corners[start:end],
            labels.names[start:end],
            labels.difficult[start:end],
            labels.lines[start:end] - offset,
            labels.crossing[first:last] - offset,
        )
        for (start, end), (first, last), offset in zip(
            pairwise(ends), pairwise(crossing_ends), line_offsets[:-1], strict=True
        )
    ]


def parse_labels(data: bytes, source: Path | str = "labels") -> Labels:
    """Parse the text of a label file, see `read_labels`.

    Args:
        data: UTF-8 text without a byte order mark.
        source: the name of the text, for errors.

    Returns:
        The objects in the order of the lines.

    Raises:
        InputError: a line is neither an object nor a header; the message has `source` and line.
    """
    table = text_table(data, source)
    lines = _lines_with_objects(table)
    first, count = table.first[lines], table.count[lines]
    short = np.flatnonzero(count < 9)
    if len(short):
        raise _bad_label(table, source, lines[short[0]], f"{count[short[0]]} fields")
    try:
        corners = table.numbers(first[:, None] + np.arange(8))
    except NotANumber as error:
        raise not_a_number_error(table, source, error.token) from None
    inside = COORDINATE.holds(corners)
    if not inside.all():
        row = int(np.argmin(inside.all(axis=1)))
        finite = np.isfinite(corners[row]).all()
        found = f"a coordinate that is not {COORDINATE if finite else 'finite'}"
        raise _bad_label(table, source, lines[row], found)
    names = table.fields(first + 8)
    difficult = np.zeros(len(lines), np.int64)
    given = np.flatnonzero(count > 9)
    try:
        values = table.numbers(first[given] + 9)
    except NotANumber:
        values = np.array([np.nan])
    if DIFFICULTY.holds(values).all():
        difficult[given] = values
    else:  # some class names have spaces
        for k in given.tolist():
            fields = table.fields(np.arange(first[k] + 8, first[k] + count[k]))
            names[k], difficult[k] = _split_name_and_difficulty(fields, table, source, lines[k])
    for k in np.flatnonzero(count >= _FIELDS_OF_TWO).tolist():
        rest = table.fields(np.arange(first[k] + 9, first[k] + count[k]))
        if _has_coordinates(rest):
            raise _bad_label(table, source, lines[k], "two objects on a line")
    long = {name for name in set(names) if not is_short(name, MAX_CLASS_NAME)}
    if long:
        row = next(row for row, name in enumerate(names) if name in long)
        found = f"a class name of more than {MAX_CLASS_NAME} bytes"
        raise _bad_label(table, source, lines[row], found)
    corners, crossing = uncrossed(corners.reshape(-1, 4, 2))
    return Labels(corners, tuple(names), difficult, lines + 1, lines[crossing] + 1)


def crossing_places(path: Path | str, labels: Labels) -> list[str]:
    """Return ``file:line`` of the objects whose corners the file has in an order that crosses."""
    return [f"{path}:{line}" for line in labels.crossing.tolist()]


def warn_of_crossing(places: Sequence[str]) -> None:
    """Log one warning about objects whose corners were put into another order.

    Args:
        places: ``file:line`` of every such object, see `crossing_places`.
    """
    if places:
        logger.warning(
            "%s: the corners of this box are in an order that crosses (such as top left, top "
            "right, bottom left, bottom right); %d boxes like this are read in the order around "
            "the box",
            places[0],
            len(places),
        )


def _lines_with_objects(table: TextTable) -> np.ndarray:
    """Return the indices of the lines that are neither blank nor headers."""
    lines = np.flatnonzero(table.count)
    # A line that begins with a letter is a header, or wrong.
    letters = np.flatnonzero(
        np.frombuffer(table.data, np.uint8)[table.starts[table.first[lines]]] > ord("9")
    )
    if len(letters):
        texts = table.data.split(b"\n")
        headers = [k for k in letters if _is_header(texts[lines[k]].decode())]
        lines = np.delete(lines, headers)
    return lines


def _is_header(line: str) -> bool:
    return _HEADER.match(line) is not None and not _has_coordinates(line.split())


def _has_coordinates(fields: Sequence[str]) -> bool:
    """Return whether there are eight numbers in a row, of which the first may stick to a word."""
    numbers = "".join("1" if _NUMBER.fullmatch(field) else " " for field in fields)
    return "1" * 7 in numbers


def _split_name_and_difficulty(
    fields: list[str], table: TextTable, source: Path | str, line: int
) -> tuple[str, int]:
    """Split the fields after the coordinates: name of one or more words, integer, anything."""
    for k, text in enumerate(fields[1:], 1):
        if re.fullmatch(r"[0-9]+(\.0*)?", text):
            if not DIFFICULTY.holds(float(text)):
                found = f"the difficulty {text[:40]}, which is not {DIFFICULTY}"
                raise _bad_label(table, source, line, found)
            return " ".join(fields[:k]), int(float(text))
    raise _bad_label(table, source, line, f"the difficulty {fields[1]!r}")


def _bad_label(table: TextTable, source: Path | str, line: int, found: str) -> InputError:
    text = table.data.split(b"\n")[line]
    return InputError(
        f"{source}:{line + 1}: expected 8 coordinates, a class name and optionally a difficulty "
        f"(an integer of 0 or more), got {found}: {shorten_line(text)}"
    )
